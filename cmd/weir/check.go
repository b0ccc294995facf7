package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/exit"
	"weir/phases/expect"
	"weir/plans"
)

var _ = register(func(e *env) *cobra.Command {
	var schema bool
	c := &cobra.Command{
		Use:   "check PLAN",
		Short: "find every mistake in a plan, with its place and what to write instead",
		Long: `Reads a plan and reports all its mistakes in one run, each with file, line,
column, a caret, and what to write instead. It needs no daemon and no rights.
The plan's tests are asked what the plan itself decides; what depends on
evidence is said, and asked again before each step.
"-" reads standard input.

  weir check plan.yaml
  weir check --schema > weir.schema.json     for editors (JSON Schema, draft-07)`,
		Args: func(c *cobra.Command, args []string) error {
			if schema {
				return cobra.NoArgs(c, args)
			}
			return cobra.ExactArgs(1)(c, args)
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if schema {
				_, err := e.out.Write(plans.Schema())
				return err
			}
			p, data, err := e.readPlan(args[0])
			if err != nil {
				return err
			}
			tests, err := expect.Plan(p, e.now())
			if err != nil {
				return exit.Errorf(exit.Invalid, "%w", err)
			}
			if err := failing(tests, data); err != nil {
				return exit.Errorf(exit.Invalid, "%w", err)
			}
			_, err = fmt.Fprintf(e.out, "%s: no mistakes: plan %s, %d groups, %s\n", safe(args[0]), p.Name, len(p.Groups), p.Hash)
			if len(tests) > 0 && err == nil {
				_, err = fmt.Fprintln(e.out, expect.Words(tests))
			}
			for _, t := range tests {
				if t.Verdict == expect.Depends && err == nil {
					_, err = fmt.Fprintf(e.out, "  line %d %s; asked before each step\n", t.Test.Pos.Line, t)
				}
			}
			return err
		},
	}
	c.Flags().BoolVar(&schema, "schema", false, "print the JSON Schema instead")
	return c
})

// failing are the tests of a plan that its own words contradict, as mistakes.
func failing(tests []expect.Result, data []byte) error {
	var out plans.Mistakes
	for _, t := range tests {
		if t.Verdict == expect.Fails {
			out = append(out, plans.NewMistake(t.Test.Pos, data, "the test fails: "+t.String(), "change the test, or what decides"))
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// readPlan reads and checks a plan file; every mistake comes in the error.
func (e *env) readPlan(file string) (*plans.Plan, []byte, error) {
	var data []byte
	var err error
	name := file
	if file == "-" {
		name = "standard input"
		data, err = io.ReadAll(io.LimitReader(e.in, plans.MaxSize+1))
	} else {
		data, err = readLimited(file, plans.MaxSize+1)
	}
	if err != nil {
		if errors.Is(err, os.ErrPermission) {
			return nil, nil, exit.Errorf(exit.NoPerm, "cannot read the plan: %w", err)
		}
		return nil, nil, exit.Errorf(exit.Invalid, "cannot read the plan: %w", err)
	}
	p, err := plans.Parse(name, data)
	if err != nil {
		return nil, nil, exit.Errorf(exit.Invalid, "%w", err)
	}
	return p, data, nil
}

func readLimited(file string, n int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, n))
}
