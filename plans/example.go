package plans

import _ "embed"

//go:embed examples/hq.yaml
var example string

// Example returns a plan that uses most of what there is: the headquarters of
// a small company behind one gateway. It has no mistakes.
func Example() []byte { return []byte(example) }
