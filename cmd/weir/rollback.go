package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/exit"
	"weir/nft"
	"weir/phases"
)

var _ = register(func(e *env) *cobra.Command {
	in := api.RollbackArgs{}
	var phase string
	var floor bool
	c := &cobra.Command{
		Use:     "rollback",
		Aliases: []string{"undo"},
		Short:   "go back, at once: end a trial, else one confirmed step",
		Long: `Goes back in one small message to the kernel, whatever state the rollout is in.
It needs no gate, no approval, no network, no daemon and no database. What passes
now is not denied by it; it pauses the rollout until "weir resume".

  weir rollback                      end the trial, else one confirmed step back
  weir rollback --to monitor         to an earlier step
  weir rollback --to off             open everything but to who is quarantined
  weir rollback --to off --floor     to them as well; root only
  weir rollback --group workstations put one group back to alert, touch nobody else`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if phase != "" {
				in.To = phase
			}
			if floor && os.Getuid() != 0 {
				return exit.Errorf(exit.NoPerm, "--floor lets out who was cut off: only root may")
			}
			if err := e.rollback(c.Context(), in); err != nil || !floor {
				return err
			}
			return e.endQuarantines(c.Context())
		},
	}
	c.Flags().StringVar(&in.To, "to", "", "a step's name, or off")
	c.Flags().StringVar(&phase, "phase", "", "the last confirmed step of a phase: monitor, enforce, refactor")
	c.Flags().StringVar(&in.Group, "group", "", "only this group, to alert")
	c.Flags().BoolVar(&floor, "floor", false, "end every quarantine too, which stays through a rollback otherwise")
	c.MarkFlagsMutuallyExclusive("to", "phase", "group")
	return c
})

// tellWithin is how long a daemon that is busy is waited for. The rollback is
// done; it finds the note at its next look.
const tellWithin = 50 * time.Millisecond

// rollback looks at the kernel, sends the recorded way back, looks again, says
// so, and only then speaks to the daemon. Who may not touch the kernel asks the
// daemon.
func (e *env) rollback(ctx context.Context, in api.RollbackArgs) error {
	start := time.Now()
	noted := e.leaveNote()
	done, err := e.rollbackDirectly(ctx, in)
	took := time.Since(start)
	direct := err == nil
	if err != nil {
		os.Remove(e.noteFile())
	}
	if errors.Is(err, os.ErrPermission) {
		var out api.RolledBack
		if err := e.call(ctx, "rollback", in, &out); err != nil {
			return err
		}
		done, took = out.Step, out.Took
	} else if err != nil {
		return err
	}
	if in.Group != "" {
		fmt.Fprintf(e.out, "group %s is back in alert: nothing of it is denied; seen in the kernel after %s\n", in.Group, span(took))
	} else {
		fmt.Fprintf(e.out, "rolled back to %s; seen in the kernel after %s\n", done, span(took))
	}
	fmt.Fprintln(e.out, "the rollout is paused; go on: weir resume")
	if !direct {
		return nil
	}
	e.keepBoot(ctx)
	ctx, cancel := context.WithTimeout(ctx, tellWithin)
	defer cancel()
	err = e.call(ctx, "noticed", api.Noticed{Took: took}, nil)
	switch x := exit.From(err); {
	case err == nil:
	case noted != nil:
		fmt.Fprintf(e.err, "weir: the daemon was not told, and no note could be left for it: %v\n", noted)
	case x.Code != exit.NoDaemon:
		fmt.Fprintln(e.err, "weir: the daemon is busy; it finds the rollback, and whose it was, at its next look")
	default:
		fmt.Fprintln(e.err, "weir: no daemon runs; the next one will see the rollback and whose it was")
	}
	return nil
}

// endQuarantines lets out everybody who is cut off: by the daemon, which then
// forgets them for a reboot too, else directly.
func (e *env) endQuarantines(ctx context.Context) error {
	h, err := e.hold(ctx)
	if err != nil {
		return err
	}
	defer h.k.Close()
	list, err := h.k.Quarantines(ctx)
	if err != nil {
		return err
	}
	for _, q := range list {
		tell, cancel := context.WithTimeout(ctx, time.Second)
		err := e.call(tell, "quarantine", api.QuarantineArgs{Host: q.Addr.String(), End: true}, nil)
		cancel()
		if err == nil {
			continue
		}
		if err := h.k.Unquarantine(ctx, q.Addr); err != nil {
			return err
		}
	}
	fmt.Fprintf(e.out, "ended %s\n", many(len(list), "quarantine"))
	return nil
}

func (e *env) noteFile() string { return filepath.Join(e.state, api.RollbackNoteFile) }

// leaveNote says who rolls back, for the daemon that sees it next.
func (e *env) leaveNote() error {
	p := api.PeerOf(int32(os.Getpid()), uint32(os.Getuid()), uint32(os.Getgid()))
	note, err := json.Marshal(api.RollbackNote{Version: 1, UID: p.UID, LoginUID: p.LoginUID, Name: p.Name, PID: p.PID, Exe: p.Exe, At: e.now()})
	if err != nil {
		return err
	}
	return os.WriteFile(e.noteFile(), note, 0o600)
}

func (e *env) rollbackDirectly(ctx context.Context, in api.RollbackArgs) (string, error) {
	held, err := e.hold(ctx)
	if err != nil {
		return "", err
	}
	defer held.k.Close()
	k, look := held.k, held.look
	if !look.Present {
		return "", exit.Errorf(exit.Refused, "there is nothing to roll back: weir has no table in the kernel, everything passes")
	}
	if in.Group != "" {
		if err := k.Back(ctx, in.Group, true, newTx()); err != nil {
			return "", err
		}
		return in.Group, nil
	}
	from, h, known := held.id, held.head, held.known
	if _, same := nft.One(look.Stable); !known && held.name() == phases.StepOff && same {
		return "", exit.Errorf(exit.Refused, "there is nothing to roll back: everything passes already")
	}
	hooks := h.Hooks
	if len(hooks) == 0 {
		for hook := range look.Stable {
			hooks = append(hooks, hook)
		}
		slices.Sort(hooks)
	}
	var back *phases.Backout
	switch {
	case known && in.To == "":
		// The newest confirmed step before this one that the kernel treats differently.
		for i := range h.Backouts {
			if back = &h.Backouts[i]; back.Nft.ID != from {
				break
			}
		}
	case known:
		for i := range h.Backouts {
			if b := h.Backouts[i]; b.To == in.To || phases.PhaseOf(b.To) == in.To {
				back = &h.Backouts[i]
				break
			}
		}
	}
	if back == nil && in.To != "" && in.To != phases.StepOff {
		var names []string
		for _, b := range h.Backouts {
			if b.To != phases.StepOff {
				names = append(names, b.To)
			}
		}
		return "", exit.Errorf(exit.Refused, "no way back to %q is recorded", safe(in.To)).
			WithHint("recorded: %s", strings.Join(append(names, "off"), ", "))
	}
	if back == nil {
		// Nothing is recorded for what the kernel holds: open.
		back = &phases.Backout{To: phases.StepOff, Nft: nft.Rollback{Hooks: hooks, Kind: nft.TxRollback}}
	}
	r := back.Nft
	r.Tx, r.Kind = newTx(), nft.TxRollback
	switch err := k.Rollback(ctx, r); {
	case err == nil:
		return back.To, nil
	case errors.Is(err, nft.ErrNotLoaded) || back.To != phases.StepOff:
		open := nft.Rollback{Hooks: hooks, Tx: newTx(), Kind: nft.TxRollback}
		if err2 := k.Rollback(ctx, open); err2 != nil {
			if err3 := k.Remove(ctx); err3 != nil {
				return "", errors.Join(err, err2, err3)
			}
			fmt.Fprintf(e.err, "weir: %v; the whole table was deleted instead\n", errors.Join(err, err2))
			return phases.StepOff, nil
		}
		fmt.Fprintf(e.err, "weir: %v; everything was opened instead\n", err)
		return phases.StepOff, nil
	default:
		return "", err
	}
}

func newTx() string {
	var b [6]byte
	f, err := os.Open("/dev/urandom")
	if err == nil {
		_, err = f.Read(b[:])
		f.Close()
	}
	if err != nil {
		return fmt.Sprintf("%012x", time.Now().UnixNano()&0xffffffffffff)
	}
	return fmt.Sprintf("%x", b[:])
}
