package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/daemon"
	"weir/cmd/weir/internal/exit"
	"weir/cmd/weir/internal/lifeline"
	"weir/nft/capture"
	"weir/nft/host"
	"weir/nft/kernel"
	"weir/nft/lab"
	"weir/phases"
	"weir/phases/rehearse"
)

// check is one line of doctor's answer.
type check struct {
	Name  string `json:"name"`
	State string `json:"state"` // "ok", "look", "bad" or "unknown"
	Words string `json:"words"`
}

var _ = register(func(e *env) *cobra.Command {
	var in api.AcceptArgs
	c := &cobra.Command{
		Use:   "doctor",
		Short: "check this machine and what hides traffic from weir",
		Long: `Reads, and changes nothing but a table of its own for a moment: what the kernel
can do, connection tracking's head-room, other programs' chains on the same
hooks, and what lets traffic pass unseen. Exit 2 where something needs a look.

No step that denies is armed while something here hides traffic, shows it changed
or shares it with another gateway, until a person says that they know:

  weir doctor --accept keepalived --reason "the evidence of gw2 was imported"`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if in.Name != "" {
				return e.call(c.Context(), "accept", in, &struct{}{})
			}
			out := e.examine(c.Context())
			if e.output == "json" {
				return e.json("Doctor", out)
			}
			bad := false
			for _, x := range out {
				fmt.Fprintf(e.out, "%-8s %-12s %s\n", x.State, x.Name, safe(x.Words))
				bad = bad || x.State != "ok"
			}
			if bad {
				return &difference{}
			}
			return nil
		},
	}
	c.Flags().StringVar(&in.Name, "accept", "", "the name of something that is listed: you know of it")
	c.Flags().StringVar(&in.Reason, "reason", "", "with --accept: why the evidence holds all the same")
	c.MarkFlagsRequiredTogether("accept", "reason")
	e.outputFlag(c)
	return c
})

func (e *env) examine(ctx context.Context) []check {
	var out []check
	say := func(name, state, format string, args ...any) {
		out = append(out, check{name, state, fmt.Sprintf(format, args...)})
	}
	k, err := kernel.Open(kernel.Options{})
	switch {
	case err != nil:
		say("kernel", "unknown", "%v", err)
	default:
		defer k.Close()
		if err := k.Probe(ctx); err != nil {
			say("kernel", "bad", "%v", err)
		} else {
			say("kernel", "ok", "timed verdict maps, concatenated ranges and conditional batches work")
		}
	}
	switch r, err := lab.Run(ctx, lab.Script{Inside: []string{rehearse.AnyInside}, Outside: []string{rehearse.AnyOutside}}); {
	case err != nil:
		say("rehearsal", "bad", "no step can be frozen: %v", err)
	default:
		say("rehearsal", "ok", "throw-away network namespaces work, made in %d ms", r.Took.Milliseconds())
	}
	head, err := capture.ReadHeadRoom(capture.Options{})
	switch {
	case err != nil:
		say("conntrack", "bad", "%v", err)
	case head.Left() < 0.3: // said below
	default:
		say("conntrack", "ok", "the connection table holds %d of at most %d", head.Count, head.Max)
	}
	if changes, err := capture.ReadSysctls(capture.Options{}); err == nil && len(changes) > 0 {
		var names []string
		for _, s := range changes {
			names = append(names, s.Name+" "+s.Old+" → "+s.New)
		}
		say("sysctls", "ok", "the first step will set %s; weir remove puts them back", strings.Join(names, ", "))
	}
	e.examineBoot(ctx, k, say)
	m, err := host.Look("/")
	if err != nil {
		say("machine", "unknown", "%v", err)
		return out
	}
	for _, l := range lifeline.Lines(nil, m) {
		say("lifeline", "ok", "%s", l)
	}
	for _, p := range m.Problems {
		say("machine", "unknown", "%s", p)
	}
	e.examineAround(ctx, k, say)
	for _, c := range m.Chains {
		if c.Table == "weir" || c.Hook != "forward" && c.Hook != "output" {
			continue
		}
		state, words := "ok", "an accept there does not override a deny of weir, nor the reverse"
		if c.Drops {
			words = "its policy is drop: what it denies weir cannot open"
		}
		say("chains", state, "%s %s %s hooks %s at priority %d: %s", c.Family, c.Table, c.Name, c.Hook, c.Priority, words)
	}
	var s api.Status
	err = e.call(ctx, "status", struct{}{}, &s)
	if x := exit.From(err); x != nil {
		state := "look"
		if x.Code != exit.NoDaemon {
			state = "bad"
		}
		say("daemon", state, "%s", x.Text)
		return out
	}
	say("daemon", "ok", "answers on %s", e.socket)
	switch {
	case s.Drift != "":
		say("drift", "bad", "%s", s.Drift)
	case s.Foreign != nil:
		say("drift", "bad", "%s; put it back: weir diff --restore", s.Foreign.Words)
	case s.Gone:
		say("drift", "bad", "the kernel is empty though %s was confirmed: everything passes; weir restore", s.Step)
	case len(s.Openings) > 0:
		say("openings", "look", "the gate is more open than was approved: weir status")
	}
	if s.Plan != "" && slices.ContainsFunc(s.Targets, denies) && s.Drill.IsZero() {
		say("drill", "look", "the unblock procedure was never exercised: weir unblock --drill")
	}
	return out
}

func denies(t phases.Target) bool { return t.Treatment.Denies() }

// examineAround says what hides traffic from weir: with the plan and what people
// said of it, where the daemon answers.
func (e *env) examineAround(ctx context.Context, k *kernel.Kernel, say func(name, state, format string, args ...any)) {
	var list []phases.Surrounding
	err := e.call(ctx, "around", struct{}{}, &list)
	if x := exit.From(err); x != nil && k != nil {
		list, err = daemon.Surroundings(ctx, k, nil)
	}
	if err != nil {
		say("around", "unknown", "%v", err)
		return
	}
	for _, x := range list {
		switch {
		case x.By != "":
			say("around", "ok", "%s (accepted by %s: %s)", x.Words, x.By, x.Why)
		case x.Holds == phases.Fail:
			say("around", "bad", "%s", x.Words)
		case x.Holds == phases.CannotTell:
			say("around", "look", "%s; a step that denies waits until: weir doctor --accept %s --reason …", x.Words, x.Name)
		default:
			say("around", "look", "%s", x.Words)
		}
	}
}
