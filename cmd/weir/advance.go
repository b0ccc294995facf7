package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/exit"
	"weir/phases"
	"weir/phases/policy"
	"weir/plans"
)

var _ = register(func(e *env) *cobra.Command {
	var step, notBefore, notAfter, take string
	var ask asking
	c := &cobra.Command{
		Use:   "request",
		Short: "freeze the next step, so that it can be approved",
		Long: `Freezes the next step: evidence up to now, the policy made from it, its ruleset,
its ways back, each by hash and as files. That, and nothing computed later, is
what people approve and "weir advance" arms. Where approvals are signed, they may be
bound to a time:

  weir request --not-before 2026-11-24T09:00:00Z --not-after 2026-11-24T15:00:00Z`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var out api.Requested
			in := api.StepArgs{Step: step}
			for text, at := range map[string]*time.Time{notBefore: &in.NotBefore, notAfter: &in.NotAfter} {
				if text == "" {
					continue
				}
				t, err := time.Parse(time.RFC3339, text)
				if err != nil {
					return exit.Errorf(exit.Usage, "cannot read the time %q", text).WithHint("write it as 2026-11-24T09:00:00Z")
				}
				*at = t
			}
			var err error
			if in.Tickets, err = ask.read(); err != nil {
				return err
			}
			if take != "" {
				if in.Frozen, err = e.readFile(take); err != nil {
					return err
				}
			}
			if err := e.call(c.Context(), "request", in, &out); err != nil {
				return err
			}
			if e.output == "json" {
				return e.json("Requested", out)
			}
			e.showRequested(out)
			fmt.Fprintf(e.out, "approve it: weir approve %s\n", short(out.Digest))
			return nil
		},
	}
	c.Flags().StringVar(&step, "step", "", "its name; refused unless it is the next one")
	c.Flags().StringVar(&notBefore, "not-before", "", "signatures count from this time on")
	c.Flags().StringVar(&notAfter, "not-after", "", "signatures count until this time; at most as long as the plan lets them")
	c.Flags().StringVar(&take, "take", "", "take a step that another machine of the set froze, so that its signatures count here too: the file STATE/frozen/DIGEST.json")
	c.MarkFlagsMutuallyExclusive("take", "step")
	c.MarkFlagsMutuallyExclusive("take", "not-before")
	c.MarkFlagsMutuallyExclusive("take", "not-after")
	ask.flags(c)
	c.MarkFlagsMutuallyExclusive("take", "ticket")
	e.outputFlag(c)
	return c
})

// short is the beginning of a digest that a person can type.
func short(digest string) string {
	d := strings.TrimPrefix(digest, "sha256:")
	return d[:min(12, len(d))]
}

func (e *env) showRequested(r api.Requested) {
	fmt.Fprintf(e.out, "step %s, frozen as %s\n", r.Step.Name, r.Digest)
	t := newTable(e.out, "  group", "now", "after", "rules")
	for _, g := range r.Changes.Groups {
		after := string(g.After)
		if g.Share > 0 && g.Share < 100 {
			after += fmt.Sprintf(" %d%%", g.Share)
		}
		if g.Before != g.After {
			after += " *"
		}
		t.row("  "+g.Group, g.Before, after, g.Rules)
	}
	t.flush()
	if p := r.Changes.Proof; p != nil {
		e.showProof(*p)
		if r.Step.Shadow != "" {
			for _, l := range p.Narrows.Examples {
				fmt.Fprintf(e.out, "  would deny %s, which was seen\n", safe(l))
			}
		}
	} else {
		for _, l := range policy.Lines(r.Changes.Widens, nil) {
			fmt.Fprintf(e.out, "  widens   %s\n", safe(l))
		}
		for _, l := range policy.Lines(r.Changes.Narrows, nil) {
			fmt.Fprintf(e.out, "  narrows  %s\n", safe(l))
		}
	}
	for i, f := range r.Changes.Used {
		if i == 10 {
			fmt.Fprintf(e.out, "  … and %d more: weir findings\n", len(r.Changes.Used)-i)
			break
		}
		fmt.Fprintf(e.out, "  denies   %s, which was seen and answered\n", f)
	}
	if f := r.Forecast; f != nil && f.Flows > 0 {
		fmt.Fprintf(e.out, "  foreseen  %s will lose %s that answered before\n", many(f.Endpoints, "endpoint"), many(f.Flows, "flow"))
	}
	open := 0
	for _, l := range r.Changes.Held {
		if l.Answer == nil {
			open++
		}
	}
	if open > 0 {
		fmt.Fprintf(e.out, "  %s of the evidence without an answer: weir findings\n", many(open, "question"))
	}
	if r.Rehearsal != nil {
		fmt.Fprintf(e.out, "  %s\n", safe(r.Rehearsal.String()))
		if l := r.Rehearsal.Leaks; l != nil {
			fmt.Fprintf(e.out, "  %s\n", safe(l.String()))
		}
	}
	for _, g := range r.Gates {
		if g.Moment || g.Gate == phases.GateTests {
			fmt.Fprintf(e.out, "  gate %s: %s: %s\n", g.Gate, g.Verdict, safe(g.Words))
		}
	}
}

var _ = register(func(e *env) *cobra.Command {
	var deny bool
	var reason string
	var how approving
	c := &cobra.Command{
		Use:   "approve [DIGEST]",
		Short: "say yes to exactly one frozen step",
		Long: `A person's yes to exactly one frozen step. It is used once, expires as the plan
says, and is void when the step is denied, the plan is registered anew, or
another step is confirmed meanwhile. DIGEST may be cut to eight digits or more;
without it the step that waits is meant.

  weir approve 4f0c83d2a1b9
  weir approve --deny --reason "quarter end" 4f0c83d2a1b9

Where the machine has a trust file, the person is who signed, not who is logged
in: sign here, or print the statement, sign it elsewhere and bring the signature.

  weir approve --sign ~/.ssh/id_ed25519      or: --sign agent
  weir approve --statement > st
  ssh-keygen -Y sign -n weir-approval-v1 -f ~/.ssh/id_ed25519 st
  weir approve --signature st.sig`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			in := api.ApproveArgs{Deny: deny, Reason: reason}
			if len(args) > 0 {
				in.Digest = args[0]
			}
			if how.statement {
				return e.printStatement(c.Context(), api.StatementArgs{Digest: in.Digest, Deny: deny})
			}
			if how.sign != "" || how.signature != "" {
				if err := e.signed(c.Context(), &in, how); err != nil {
					return err
				}
			}
			var out api.Decided
			if err := e.call(c.Context(), "approve", in, &out); err != nil {
				return err
			}
			if out.Signer != "" {
				fmt.Fprintf(e.out, "signed by %s\n", safe(out.Signer))
			}
			if deny {
				fmt.Fprintln(e.out, "denied: this frozen step can never be armed")
				return nil
			}
			var s api.Status
			if err := e.call(c.Context(), "status", struct{}{}, &s); err != nil {
				return err
			}
			if s.Request != nil {
				fmt.Fprintf(e.out, "approved %s: %d of %d\n", s.Request.Step, len(s.Request.Have), s.Request.Quorum)
				if len(s.Request.Have) >= s.Request.Quorum {
					fmt.Fprintln(e.out, "arm it: weir advance")
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&deny, "deny", false, "say no instead")
	c.Flags().StringVar(&reason, "reason", "", "why")
	how.flags(c)
	return c
})

var _ = register(func(e *env) *cobra.Command {
	var yes bool
	var brownout, reason, long string
	var how approving
	c := &cobra.Command{
		Use:     "advance",
		Aliases: []string{"promote"},
		Short:   "arm the next step, on trial",
		Long: `Arms the approved frozen step behind a lease that the kernel holds: not confirmed
in time, the kernel goes back by itself. Where nothing is requested yet and one
local yes suffices, it freezes the next step, shows what changes, asks, and arms.

  weir advance                   freeze, show, ask, arm
  weir advance --yes             the same without asking
  weir advance --brownout 2m     a short lease that is meant to lapse

Where approvals are signed, one signer alone may arm what waits, with a reason and
for at most four hours, which the kernel ends. It can be kept only if the quorum
signs meanwhile:

  weir advance --emergency "worm on the desks, CHG-7" --for 2h --sign KEYFILE
  weir advance --emergency "…" --for 2h --statement > st; weir advance --signature st.sig`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			in := api.AdvanceArgs{}
			if brownout != "" {
				d, err := plans.ParseDuration(brownout)
				if err != nil {
					return exit.Errorf(exit.Usage, "%w", err)
				}
				in.Brownout = d
			}
			if reason != "" || how.signature != "" {
				return e.emergency(c.Context(), reason, long, how)
			}
			if how.sign != "" || how.statement {
				return exit.Errorf(exit.Usage, "what is signed here is an emergency: --emergency REASON").WithHint("to approve a step: weir approve --sign KEYFILE")
			}
			return e.advance(c.Context(), in, yes)
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().StringVar(&brownout, "brownout", "", "arm for this long only, meant to lapse")
	c.Flags().StringVar(&reason, "emergency", "", "arm without the quorum, for this reason")
	c.Flags().StringVar(&long, "for", "1h", "how long the emergency is held, at most 4h")
	how.flags(c)
	c.MarkFlagsMutuallyExclusive("brownout", "emergency", "signature")
	return c
})

func (e *env) advance(ctx context.Context, in api.AdvanceArgs, yes bool) error {
	var s api.Status
	if err := e.call(ctx, "status", struct{}{}, &s); err != nil {
		return err
	}
	// A step that one local yes suffices for is frozen again where what it was
	// frozen from has changed: an answer counts at once.
	if s.Request == nil || s.SelfServe && (s.Stale || s.Request.Refused != "") {
		if s.Void != "" {
			fmt.Fprintf(e.err, "weir: the last request cannot be used: %s; this is a new one\n", safe(s.Void))
		}
		var r api.Requested
		if err := e.call(ctx, "request", api.StepArgs{}, &r); err != nil {
			return err
		}
		e.showRequested(r)
		if err := e.call(ctx, "status", struct{}{}, &s); err != nil {
			return err
		}
		switch {
		case s.Request == nil && s.Trial != nil:
			return exit.From(fmt.Errorf("cannot arm: %w", phases.ErrPending))
		case s.Request == nil:
			return exit.Errorf(exit.Refused, "the request was replaced meanwhile").WithHint("weir status")
		}
	}
	in.Digest = s.Request.Digest
	if len(s.Request.Have) < s.Request.Quorum && s.SelfServe {
		if !yes {
			ok, err := e.ask(fmt.Sprintf("arm %s?", s.Request.Step))
			if err != nil {
				return err
			}
			if !ok {
				return exit.Errorf(exit.Approval, "not armed; the frozen step waits: weir advance")
			}
		}
		if err := e.approveOwn(ctx, s.Request.Digest); err != nil {
			return err
		}
	}
	var out api.Advanced
	if err := e.call(ctx, "advance", in, &out); err != nil {
		if code := exit.From(err).Code; s.SelfServe && (code == exit.Approval || code == exit.Refused) {
			if other := e.crossed(ctx, in.Digest, err); other != nil {
				return other
			}
		}
		return err
	}
	if in.Brownout > 0 {
		fmt.Fprintf(e.out, "brownout: %s is armed for %s and will lapse by itself\n", out.Step.Name, span(out.Lease))
		return nil
	}
	fmt.Fprintf(e.out, "armed %s on trial; the kernel goes back by itself in %s\nkeep it: weir confirm    go back now: weir rollback\n", out.Step.Name, span(out.Left))
	return nil
}

// approveOwn says the one local yes. Where somebody was faster with the same step,
// his is as good.
func (e *env) approveOwn(ctx context.Context, digest string) error {
	refused := e.call(ctx, "approve", api.ApproveArgs{Digest: digest}, nil)
	if refused == nil {
		return nil
	}
	return e.crossed(ctx, digest, refused)
}

// crossed is why a step that one local yes suffices for was refused, where it was
// because somebody else took it at the same moment; nil where he only said yes.
func (e *env) crossed(ctx context.Context, digest string, refused error) error {
	var s api.Status
	if err := e.call(ctx, "status", struct{}{}, &s); err != nil {
		return errors.Join(refused, err)
	}
	switch {
	case s.Trial != nil:
		return exit.From(fmt.Errorf("cannot arm: %w", phases.ErrPending))
	case s.Request != nil && s.Request.Digest != digest:
		return exit.Errorf(exit.Refused, "cannot arm: somebody else advances at the same moment, and his request replaced this one").WithHint("weir status")
	case s.Request != nil && len(s.Request.Have) >= s.Request.Quorum && exit.From(refused).Code == exit.Approval:
		return nil
	}
	return refused
}

// emergency arms what waits on one signature.
func (e *env) emergency(ctx context.Context, reason, long string, how approving) error {
	lease, err := plans.ParseDuration(long)
	if err != nil {
		return exit.Errorf(exit.Usage, "%w", err)
	}
	of := api.StatementArgs{Emergency: reason, Lease: lease}
	if how.statement {
		return e.printStatement(ctx, of)
	}
	if how.sign == "" && how.signature == "" {
		return exit.Errorf(exit.Approval, "an emergency is signed by one: --sign KEYFILE").WithHint("weir advance --help")
	}
	var in api.AdvanceArgs
	if in.Statement, in.Signature, err = e.signature(ctx, of, how); err != nil {
		return err
	}
	if in.Statement == nil {
		return exit.Errorf(exit.Usage, "the statement that was signed is missing: --of FILE")
	}
	var out api.Advanced
	if err := e.call(ctx, "advance", in, &out); err != nil {
		return err
	}
	fmt.Fprintf(e.out, "EMERGENCY: %s is armed for %s and will lapse by itself\nkeep it: the quorum signs (weir approve), then weir confirm    go back now: weir rollback\n", out.Step.Name, span(out.Lease))
	return nil
}

// ask asks a person; without a terminal nobody can answer.
func (e *env) ask(question string) (bool, error) {
	if !e.terminal() {
		return false, exit.Errorf(exit.Approval, "%s nobody can answer without a terminal", question).WithHint("add --yes")
	}
	fmt.Fprintf(e.out, "%s [y/N] ", question)
	line, err := bufio.NewReader(e.in).ReadString('\n')
	if err != nil && line == "" {
		return false, nil
	}
	return strings.EqualFold(strings.TrimSpace(line), "y") || strings.EqualFold(strings.TrimSpace(line), "yes"), nil
}

var _ = register(func(e *env) *cobra.Command {
	var in api.ConfirmArgs
	c := &cobra.Command{
		Use:   "confirm",
		Short: "keep the step that is on trial",
		Long: `Makes the step on trial the confirmed one, if its lease still runs: the kernel
itself refuses when it is too late (exit 6).

Of a step that denies something it wants to be asked from a login that was opened
since the step was armed: an older one says nothing of the next.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var out api.Confirmed
			if err := e.call(c.Context(), "confirm", in, &out); err != nil {
				return err
			}
			fmt.Fprintf(e.out, "confirmed %s\n", out.Step)
			return nil
		},
	}
	c.Flags().BoolVar(&in.SameSession, "same-session", false, "although this login was open before the step was armed")
	return c
})

var _ = register(func(e *env) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "pause",
		Short: "arm nothing until weir resume",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := e.call(c.Context(), "pause", api.PauseArgs{Reason: reason}, nil); err != nil {
				return err
			}
			fmt.Fprintln(e.out, "paused: nothing is armed until weir resume; what is in force stays")
			return nil
		},
	}
	c.Flags().StringVar(&reason, "reason", "paused by hand", "why")
	return c
})

var _ = register(func(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "resume",
		Short: "let the rollout go on after a pause or a rollback",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := e.call(c.Context(), "resume", struct{}{}, nil); err != nil {
				return err
			}
			fmt.Fprintln(e.out, "resumed")
			return nil
		},
	}
})

var _ = time.Second
