package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/exit"
	"weir/phases"
)

var _ = register(func(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "history",
		Short: "every step, approval, rollback and unblock, with who and when",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			out := []phases.Record{}
			err := e.call(c.Context(), "history", struct{}{}, &out)
			if x := exit.From(err); x != nil && x.Code == exit.NoDaemon {
				if out, err = readHistory(e.state); err == nil {
					fmt.Fprintln(e.err, "weir: no daemon; this is the plain copy of the journal")
				}
			}
			if err != nil {
				return err
			}
			if e.output == "json" {
				return e.json("History", out)
			}
			t := newTable(e.out, "SEQ", "WHEN", "WHO", "WHAT", "")
			for _, r := range out {
				what := string(r.Kind)
				if r.Op != "" {
					what += " " + string(r.Op)
				}
				t.row(r.Seq, when(r.At, e.now()), r.Actor.Name, what, r.Words)
			}
			return t.flush()
		},
	}
	e.outputFlag(c)
	return c
})

// readHistory reads the plain copy of the journal.
func readHistory(state string) ([]phases.Record, error) {
	data, err := os.ReadFile(filepath.Join(state, "history.jsonl"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, exit.Errorf(exit.NoDaemon, "no daemon answers, and there is no history in %s", state)
	}
	if err != nil {
		return nil, err
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	if string(lines[0]) != `{"weirHistory":1}` {
		return nil, exit.Errorf(exit.Invalid, "cannot read the history in %s: its first line is not of version 1", state)
	}
	var out []phases.Record
	for i, line := range lines[1:] {
		var r phases.Record
		if err := json.Unmarshal(line, &r); err != nil {
			return out, exit.Errorf(exit.Failed, "cannot read line %d of the history: %w", i+2, err)
		}
		out = append(out, r)
	}
	return out, nil
}
