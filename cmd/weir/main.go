// Command weir takes a network's outbound traffic from open to only what is
// needed, by a rollout plan, step by step, with a way back from each.
package main

import (
	"os"
)

func main() { os.Exit(Main(os.Args[1:])) }
