package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/exit"
	"weir/cmd/weir/internal/lifeline"
	"weir/nft/host"
	"weir/phases"
	"weir/phases/compile"
	"weir/phases/enforce"
	"weir/phases/monitor"
	"weir/phases/refactor"
	"weir/plans"
)

var _ = register(func(e *env) *cobra.Command {
	var file, step string
	c := &cobra.Command{
		Use:   "plan PLAN",
		Short: "see every step before it happens: gates, approvals, dates, rules, way back",
		Long: `Shows each step of a plan: what it does to each group, its gates and approval, the
earliest date, and with --step its nft text and its way back. It changes nothing
and needs no rights. Rules that come from evidence are compiled from --evidence
("weir evidence export"), else from the daemon's, else only the frame is shown.

  weir plan plan.yaml
  weir plan plan.yaml --step enforce/block:desks --evidence flows.jsonl`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return e.plan(c.Context(), args[0], file, step) },
	}
	c.Flags().StringVar(&file, "evidence", "", "a file written by weir evidence export")
	c.Flags().StringVar(&step, "step", "", "show this step's nft text and its way back")
	e.outputFlag(c)
	return c
})

// planStep is one step of the answer.
type planStep struct {
	phases.Step
	Rules    int             `json:"rules"`
	Proof    *refactor.Proof `json:"proof,omitempty"`
	Expected string          `json:"expected,omitempty"`
	Nft      string          `json:"nft,omitempty"`
	Backout  string          `json:"backout,omitempty"`

	Cuts []string `json:"cuts,omitempty"` // what it would deny of what this machine depends on: it is not frozen
}

func (e *env) plan(ctx context.Context, planFile, evidenceFile, only string) error {
	p, text, err := e.readPlan(planFile)
	if err != nil {
		return err
	}
	ev, from, err := e.planEvidence(ctx, p, evidenceFile)
	if err != nil {
		return err
	}
	now := e.now()
	m := phases.Material{UpTo: now}
	if machine, err := host.Look("/"); err == nil {
		m.Self = selfOf(machine)
		m.Lifelines = lifeline.Fixed(*p, machine)
	}
	facts := phases.Facts{}
	if ev != nil {
		rows := ev.Rows(plans.NewClassifier(p))
		m.Seen = func() []refactor.Seen { return refactor.SeenIn(rows, ev.Judged()) }
		m.Policy, _ = enforce.Build(p, rows, nil, now)
		facts.Observed = ev.Spans()
	} else {
		m.Policy, _ = enforce.Build(p, nil, nil, now)
	}
	drafts, err := phases.Drafts(*p, m, compile.Compile)
	if err != nil {
		return exit.Errorf(exit.Invalid, "%w", err)
	}
	dates := map[string]phases.Expected{}
	for _, x := range phases.Expect(*p, facts, phases.Fold(nil), now) {
		dates[x.Step] = x
	}
	if only != "" && !slices.ContainsFunc(drafts, func(d phases.Draft) bool { return d.Step.Name == only }) {
		var names []string
		for _, d := range drafts {
			names = append(names, d.Step.Name)
		}
		return exit.Errorf(exit.Usage, "the plan has no step %q", safe(only)).WithHint("its steps are %s", strings.Join(names, ", "))
	}
	if e.output == "json" {
		out := []planStep{}
		for _, d := range drafts {
			x := planStep{Step: d.Step, Rules: rulesIn(d), Proof: d.Proof, Nft: d.Rules.Ruleset.String(), Backout: d.Backout.Text(), Cuts: d.Cuts}
			if at, ok := dates[d.Step.Name]; ok && !at.At.IsZero() {
				x.Expected = at.At.Format("2006-01-02T15:04:05Z07:00")
			}
			if only == "" || only == d.Step.Name {
				out = append(out, x)
			}
		}
		return e.json("Plan", out)
	}
	fmt.Fprintf(e.out, "plan %s, %s\n%s\n", p.Name, p.Hash, from)
	if next, err := e.preview(ctx, planFile, text); err == nil {
		fmt.Fprintf(e.out, "registered with the daemon now, it goes on with %s\n", next.Name)
	}
	for i, d := range drafts {
		if only != "" && only != d.Step.Name {
			continue
		}
		e.showDraft(i+1, d, dates[d.Step.Name], p, ev == nil)
		if only != "" {
			fmt.Fprintf(e.out, "\n# the step's rules (the skeleton that they need is created by the first step)\n%s\n# the way back\n%s", d.Rules.Ruleset.String(), d.Backout.Text())
		}
	}
	return nil
}

// selfOf lists a machine's own addresses, for plans that name "self".
func selfOf(m host.Machine) []netip.Prefix {
	var out []netip.Prefix
	for _, i := range m.Interfaces {
		for _, p := range i.Prefixes {
			out = append(out, netip.PrefixFrom(p.Addr(), p.Addr().BitLen()))
		}
	}
	return out
}

func rulesIn(d phases.Draft) int { return len(d.Input.Policy.Rules) }

func (e *env) showDraft(n int, d phases.Draft, at phases.Expected, p *plans.Plan, frame bool) {
	fmt.Fprintf(e.out, "\n%d. %s\n", n, d.Step.Name)
	for _, c := range d.Cuts {
		fmt.Fprintf(e.out, "   REFUSED  it would cut a lifeline: %s\n", safe(c))
	}
	var groups []string
	for _, t := range d.Step.Targets {
		groups = append(groups, t.String())
	}
	fmt.Fprintf(e.out, "   groups    %s\n", strings.Join(groups, " · "))
	if d.Step.Denies() || d.Step.Name == phases.StepAlert {
		note := ""
		if frame && slices.ContainsFunc(p.Groups, func(g plans.Group) bool { return g.Allow == "observed" }) {
			note = " (declared ones only: without evidence this is the frame)"
		}
		fmt.Fprintf(e.out, "   rules     %d%s\n", rulesIn(d), note)
	}
	if len(d.Step.Narrows) > 0 {
		fmt.Fprintf(e.out, "   narrows   %s; open connections: %s\n", strings.Join(d.Step.Narrows, ", "), d.Step.Established)
	}
	if d.Proof != nil && !frame && (d.Step.Shadow != "" || !slices.Contains(d.Step.Gates, phases.GateShadow)) {
		for _, l := range proofLines(*d.Proof) {
			word, rest, _ := strings.Cut(l, " ")
			fmt.Fprintf(e.out, "   %-9s %s\n", word, safe(strings.TrimLeft(rest, " ")))
		}
		for _, r := range p.Refactor {
			if words := d.Proof.Exceeds(r.Budget); r.Name == d.Proof.Name && words != "" {
				fmt.Fprintf(e.out, "   refused   %s\n", safe(words))
			}
		}
	}
	if len(d.Step.Brownouts) > 0 {
		var b []string
		for _, x := range d.Step.Brownouts {
			b = append(b, plans.FormatDuration(x))
		}
		fmt.Fprintf(e.out, "   brownouts %s, meant to lapse\n", strings.Join(b, ", "))
	}
	if len(d.Step.Gates) > 0 {
		fmt.Fprintf(e.out, "   gates     %s\n", strings.Join(d.Step.Gates, ", "))
	}
	a := d.Step.Approval
	who := "the one who asks may be among them"
	if !a.SelfApproval {
		who = "not the one who asks"
	}
	fmt.Fprintf(e.out, "   approval  %d, %s; used within %s\n", a.Quorum, who, plans.FormatDuration(a.ExpireAfter))
	fmt.Fprintf(e.out, "   trial     falls back by itself after %s unless it is confirmed\n", plans.FormatDuration(d.Step.Lease))
	if !at.At.IsZero() {
		fmt.Fprintf(e.out, "   earliest  %s", at.At.In(p.Timezone).Format("2006-01-02 15:04 MST"))
		if at.Why != "" {
			fmt.Fprintf(e.out, " (%s)", safe(at.Why))
		}
		fmt.Fprintln(e.out)
	}
	back := "off"
	if d.Backout.ID != "" {
		back = d.Backout.ID
	}
	fmt.Fprintf(e.out, "   way back  to %s, %d lines of nft text\n", back, strings.Count(d.Backout.Text(), "\n"))
}

// planEvidence finds what observed rules are compiled from, and says so.
func (e *env) planEvidence(ctx context.Context, p *plans.Plan, file string) (*monitor.Evidence, string, error) {
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return nil, "", exit.Errorf(exit.Invalid, "cannot read the evidence: %w", err)
		}
		defer f.Close()
		ev, err := monitor.Decode(f, p.Timezone)
		if err != nil {
			return nil, "", exit.Errorf(exit.Invalid, "cannot read the evidence: %s: %w", file, err)
		}
		return ev, "rules compiled from the evidence in " + safe(file), nil
	}
	var text string
	if err := e.call(ctx, "evidence", struct{}{}, &text); err != nil {
		return nil, "no evidence: no daemon answers and no --evidence was given; rules of observed groups are left out", nil
	}
	ev, err := monitor.Decode(strings.NewReader(text), p.Timezone)
	if err != nil {
		return nil, "", fmt.Errorf("cannot read the daemon's evidence: %w", err)
	}
	return ev, "rules compiled from the daemon's evidence", nil
}

func (e *env) preview(ctx context.Context, file string, text []byte) (phases.Step, error) {
	var next phases.Step
	err := e.call(ctx, "preview", api.ApplyArgs{File: file, Text: text}, &next)
	return next, err
}
