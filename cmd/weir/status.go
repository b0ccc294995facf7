package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/boot"
	"weir/cmd/weir/internal/exit"
	"weir/nft"
	"weir/phases"
)

var _ = register(func(e *env) *cobra.Command {
	var watch bool
	c := &cobra.Command{
		Use:   "status",
		Short: "what is in force, what is on trial, what comes next and what it waits for",
		Long: `Says what the kernel holds and where the rollout stands. Without the daemon it
reads the kernel and the plain files, and says less.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			for {
				err := e.status(c.Context())
				if !watch || err != nil {
					return err
				}
				select {
				case <-c.Context().Done():
					return nil
				case <-time.After(2 * time.Second):
				}
				fmt.Fprintln(e.out)
			}
		},
	}
	c.Flags().BoolVarP(&watch, "watch", "w", false, "again every two seconds")
	e.outputFlag(c)
	return c
})

func (e *env) status(ctx context.Context) error {
	var s api.Status
	bare, err := e.readOnly(ctx, "status", &s)
	if err != nil {
		return err
	}
	if bare != nil {
		return e.bareStatus(ctx, bare)
	}
	if e.output == "json" {
		return e.json("Status", s)
	}
	return e.showStatus(s)
}

func (e *env) showStatus(s api.Status) error {
	now := e.now()
	if s.Plan == "" {
		fmt.Fprintln(e.out, "no plan is registered: weir apply PLAN")
		if s.Off != "" {
			fmt.Fprintf(e.out, "OFF       weir is switched off by %s\n", safe(s.Off))
		}
		if s.Drift != "" { // a new journal over a kernel that an older one filled
			fmt.Fprintf(e.out, "drift     %s\n", safe(s.Drift))
			fmt.Fprintln(e.out, "          go back: weir rollback; open everything and begin anew: weir remove --yes")
		}
		return nil
	}
	fmt.Fprintf(e.out, "plan      %s\n", safe(s.PlanName))
	since := ""
	if !s.Since.IsZero() {
		since = " since " + when(s.Since, now)
	}
	fmt.Fprintf(e.out, "in force  %s%s\n", s.Step, since)
	if s.Audit != "" {
		fmt.Fprintf(e.out, "audit     DOES NOT HOLD: %s: weir audit verify\n", safe(s.Audit))
	}
	if t := s.Trust; t != nil {
		switch {
		case t.Refused != "":
			fmt.Fprintf(e.out, "trust     NO APPROVAL COUNTS: %s: weir trust\n", safe(t.Refused))
		case t.Office:
			fmt.Fprintf(e.out, "trust     %s, office: one person may approve their own steps\n", short(t.Hash))
		default:
			fmt.Fprintf(e.out, "trust     %s\n", short(t.Hash))
		}
	}
	switch {
	case s.Gone && s.Revision != "":
		fmt.Fprintln(e.out, "          BUT A BOOT RESTORED AN OLDER STEP; put this one back: weir restore")
	case s.Gone && s.Present:
		fmt.Fprintln(e.out, "          BUT THE KERNEL HOLDS A COPY OF AN EARLIER BOOT: replace it: weir restore; or open: weir rollback --to off")
	case s.Gone:
		fmt.Fprintln(e.out, "          BUT THE KERNEL IS EMPTY: everything passes; close the gate again: weir restore")
	case !s.Present:
		fmt.Fprintln(e.out, "          nothing of weir is in the kernel")
	}
	if s.Off != "" {
		fmt.Fprintf(e.out, "OFF       weir is switched off by %s: nothing is loaded, armed or restored\n", safe(s.Off))
	}
	if s.Boot != "" {
		fmt.Fprintf(e.out, "boot      %s: weir findings\n", safe(s.Boot))
	}
	if s.Drift != "" {
		fmt.Fprintf(e.out, "drift     %s\n", safe(s.Drift))
	}
	if f := s.Foreign; f != nil {
		fmt.Fprintf(e.out, "drift     since %s: %s\n", when(f.Since, now), safe(f.Words))
		fmt.Fprintln(e.out, "          what differs: weir diff; put it back: weir diff --restore")
	}
	if s.Ways != "" {
		fmt.Fprintf(e.out, "ways      not every way back can be taken: %s\n", safe(s.Ways))
	}
	if s.Unknown {
		fmt.Fprintln(e.out, "unknown   something was sent and could not be read back")
	}
	if t := s.Trial; t != nil {
		what := "confirm it: weir confirm"
		switch {
		case t.Emergency != "":
			what = "EMERGENCY by " + safe(t.By) + ": " + safe(t.Emergency) + "; void then, unless the quorum signs and it is confirmed"
		case t.Brownout:
			what = "a brownout, meant to lapse"
		}
		fmt.Fprintf(e.out, "on trial  %s, %s left as the kernel says; %s\n", t.Step, span(t.Left), what)
	}
	if p := s.Paused; p != nil {
		fmt.Fprintf(e.out, "paused    since %s by %s: %s; go on: weir resume\n", when(p.At, now), safe(p.By.Name), safe(p.Words))
	}
	if s.Behind > time.Second {
		fmt.Fprintf(e.out, "clock     %s behind the newest record: rollout time stands still, and gates that count it wait; was the clock set back, or forward before?\n", span(s.Behind))
	}
	if err := e.showHealth(s.Health); err != nil {
		return err
	}
	for _, o := range s.Openings {
		fmt.Fprintf(e.out, "open      %v since %s: more open than was approved: %s\n", o.Groups, when(o.Begin, now), safe(o.Words))
	}
	for _, o := range s.Overdue {
		fmt.Fprintf(e.out, "overdue   %s\n", safe(fmt.Sprint(o)))
	}
	if len(s.Targets) > 0 {
		fmt.Fprintln(e.out)
		t := newTable(e.out, "GROUP", "TREATMENT", "ALLOWED", "WOULD BE DENIED", "DENIED")
		for _, g := range s.Targets {
			what := string(g.Treatment)
			if g.Share > 0 && g.Share < 100 {
				what += fmt.Sprintf(" %d%%", g.Share)
			}
			if len(g.Prefixes) > 0 {
				what += fmt.Sprint(" ", g.Prefixes)
			}
			if slices.Contains(s.Back, g.Group) {
				what += " (put back)"
			}
			if slices.Contains(s.Spared, g.Group) {
				what += " (open connections spared)"
			}
			c := s.Counters[g.Group]
			t.row(g.Group, what, c.Allowed.Packets, c.Would.Packets, c.Denied.Packets)
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	for _, t := range s.Tickets {
		fmt.Fprintf(e.out, "ticket    %s\n", ticketText(t, now))
	}
	if s.Honeypot != "" {
		fmt.Fprintf(e.out, "honeypot  %s\n", safe(s.Honeypot))
	}
	for _, x := range s.Exceptions {
		fmt.Fprintf(e.out, "\n%s %s: %s left: %s", x.Kind, x.ID, span(x.Left), safe(x.Reason))
	}
	if len(s.Exceptions) > 0 {
		fmt.Fprintln(e.out)
	}
	fmt.Fprintln(e.out)
	if s.Request != nil {
		fmt.Fprintf(e.out, "waiting   %s, frozen as %s by %s, %d of %d approvals\n", s.Request.Step, short(s.Request.Digest), safe(s.Request.By), len(s.Request.Have), s.Request.Quorum)
		if r := s.Request.Rehearsal; r != nil {
			fmt.Fprintf(e.out, "          %s\n", safe(r.String()))
			if r.Leaks != nil {
				fmt.Fprintf(e.out, "          %s\n", safe(r.Leaks.String()))
			}
		}
		if s.Request.Refused != "" {
			fmt.Fprintf(e.out, "          %s\n", safe(s.Request.Refused))
		}
	} else if s.Next != "" {
		fmt.Fprintf(e.out, "next      %s\n", s.Next)
	} else if s.Trial == nil {
		fmt.Fprintln(e.out, "next      nothing: the plan is complete")
	}
	showGates(e, s.Gates)
	if s.Questions > 0 {
		fmt.Fprintf(e.out, "questions %d would-be-denied or denied without an answer: weir findings\n", s.Questions)
	}
	if !s.Observing && s.Step != phases.StepOff {
		fmt.Fprintln(e.out, "capture   NOT RUNNING: nothing is observed")
	}
	return nil
}

func showGates(e *env, gates []phases.GateResult) {
	for _, g := range gates {
		mark := map[phases.Verdict]string{phases.Pass: "pass", phases.Fail: "FAIL", phases.CannotTell: "CANNOT TELL"}[g.Verdict]
		fmt.Fprintf(e.out, "  gate %-11s %-11s %s", g.Gate, mark, safe(g.Words))
		if !g.Earliest.IsZero() && g.Verdict != phases.Pass {
			fmt.Fprintf(e.out, " (not before %s)", when(g.Earliest, e.now()))
		}
		fmt.Fprintln(e.out)
	}
}

// bareStatus is status without a daemon.
func (e *env) bareStatus(ctx context.Context, noDaemon *exit.Error) error {
	h, err := e.hold(ctx)
	if err != nil {
		return errors.Join(noDaemon, err)
	}
	defer h.k.Close()
	look, hs := h.look, h.heads
	if e.output == "json" {
		return e.json("Look", look)
	}
	why := "no daemon answers on " + e.socket
	if !strings.HasPrefix(noDaemon.Text, why) {
		why = noDaemon.Text
	}
	fmt.Fprintf(e.out, "%s; this is what the kernel holds\n", safe(why))
	if off := boot.Off(); off != "" {
		fmt.Fprintf(e.out, "OFF       weir is switched off by %s: nothing is loaded, armed or restored\n", safe(off))
	}
	if !look.Present {
		fmt.Fprintln(e.out, "in force  nothing: weir has no table in the kernel, everything passes")
		return nil
	}
	stable, ok := nft.One(look.Stable)
	if !ok {
		fmt.Fprintln(e.out, "in force  hooks or families differ: roll back to make them one again")
	} else {
		fmt.Fprintf(e.out, "in force  %s\n", stepName(hs, stable))
	}
	if trial, ok := nft.One(look.Trial); ok && trial != "" {
		fmt.Fprintf(e.out, "on trial  %s, %s left as the kernel says\n", stepName(hs, trial), span(look.Left))
	}
	if len(look.Back) > 0 {
		fmt.Fprintf(e.out, "put back  %s\n", strings.Join(look.Back, ", "))
	}
	if look.Kind == nft.TxHold {
		fmt.Fprintln(e.out, "hold      somebody rolled back by hand; nothing is armed until weir resume")
	}
	return nil
}
