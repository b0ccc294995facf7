package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/exit"
	"weir/phases"
)

var update = flag.Bool("update", false, "write the reference page anew")

// TestReference keeps docs/reference.md equal to the program.
func TestReference(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Reference\n\nThis page is written from the program by `go test ./cmd/weir -run Reference -update`.\n\n## Exit codes\n\n| code | meaning |\n|---|---|\n")
	for _, m := range exit.Meanings {
		fmt.Fprintf(&b, "| %d | %s |\n", m.Code, m.Words)
	}
	b.WriteString("\n## Gates\n\nA gate answers pass, fail or cannot tell; only pass lets a step through.\n\n")
	for _, g := range phases.AllGates() {
		fmt.Fprintf(&b, "- `%s`: %s\n", g.Name, g.Words)
	}
	b.WriteString("\n## Commands\n")
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Name() == "help" || c.Name() == "completion" || c.Hidden {
			return
		}
		if c.HasParent() {
			fmt.Fprintf(&b, "\n### %s\n\n%s.\n\n```\n%s\n```\n", c.CommandPath(), strings.ToUpper(c.Short[:1])+c.Short[1:], strings.TrimSpace(c.UsageString()))
			if c.Long != "" {
				fmt.Fprintf(&b, "\n```\n%s\n```\n", strings.TrimRight(c.Long, "\n"))
			}
		}
		for _, s := range c.Commands() {
			walk(s)
		}
	}
	t.Setenv("WEIR_SOCKET", "")
	t.Setenv("WEIR_STATE", "")
	walk(newRoot(&env{}))
	const page = "../../docs/reference.md"
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != b.String() {
		t.Error("docs/reference.md is not what the program says; run: go test ./cmd/weir -run Reference -update")
	}
}
