package main

// What works without the daemon: rollback, status, history and backout, from
// plain files and the kernel alone.

import (
	"bufio"
	"bytes"
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
	"weir/nft/kernel"
	"weir/phases"
)

// heads reads the first line of every frozen step's file: revision → head.
// Files that cannot be read are left out: the kernel is asked first, and a
// target whose file is gone cannot be named anyway.
func heads(state string) map[string]phases.Head {
	out := map[string]phases.Head{}
	files, _ := filepath.Glob(filepath.Join(state, "frozen", "*.json"))
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		line, err := bufio.NewReaderSize(f, 1<<20).ReadBytes('\n')
		f.Close()
		if err != nil {
			continue
		}
		var h phases.Head
		if json.Unmarshal(bytes.TrimSpace(line), &h) != nil {
			continue
		}
		if old, ok := out[h.Revision]; !ok || h.At.After(old.At) {
			out[h.Revision] = h
		}
	}
	return out
}

func stepName(hs map[string]phases.Head, id string) string {
	if id == "" {
		return phases.StepOff
	}
	if h, ok := hs[id]; ok {
		return h.Step.Name
	}
	for _, h := range hs {
		if h.OffID == id {
			return phases.StepOff
		}
	}
	return "revision " + id
}

// bareStatus is status without a daemon.
func (e *env) bareStatus(ctx context.Context, noDaemon *exit.Error) error {
	k, err := kernel.Open(kernel.Options{})
	if err != nil {
		return noDaemon
	}
	defer k.Close()
	look, err := k.Look(ctx)
	if err != nil {
		return errors.Join(noDaemon, err)
	}
	if e.output == "json" {
		return e.json("Look", look)
	}
	fmt.Fprintf(e.out, "no daemon answers on %s; this is what the kernel holds\n", e.socket)
	if !look.Present {
		fmt.Fprintln(e.out, "in force  nothing: weir has no table in the kernel, everything passes")
		return nil
	}
	hs := heads(e.state)
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

var _ = register(func(e *env) *cobra.Command {
	in := api.RollbackArgs{}
	var phase string
	c := &cobra.Command{
		Use:     "rollback",
		Aliases: []string{"undo"},
		Short:   "go back, at once: end a trial, else one confirmed step",
		Long: `Goes back in one small message to the kernel, whatever state the rollout is in.
It needs no gate, no approval, no network, no daemon and no database. What passes
now is not denied by it; it pauses the rollout until "weir resume".

  weir rollback                      end the trial, else one confirmed step back
  weir rollback --to monitor         to an earlier step
  weir rollback --to off             open everything
  weir rollback --group workstations put one group back to alert, touch nobody else`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if phase != "" {
				in.To = phase
			}
			return e.rollback(c.Context(), in)
		},
	}
	c.Flags().StringVar(&in.To, "to", "", "a step's name, or off")
	c.Flags().StringVar(&phase, "phase", "", "the last confirmed step of a phase: monitor, enforce, refactor")
	c.Flags().StringVar(&in.Group, "group", "", "only this group, to alert")
	c.MarkFlagsMutuallyExclusive("to", "phase", "group")
	return c
})

// rollback looks at the kernel, sends the recorded way back, looks again, and
// only then speaks to the daemon. Who may not touch the kernel asks the daemon.
func (e *env) rollback(ctx context.Context, in api.RollbackArgs) error {
	start := time.Now()
	done, err := e.rollbackDirectly(ctx, in)
	took := time.Since(start)
	if errors.Is(err, os.ErrPermission) {
		var out api.RolledBack
		if err := e.call(ctx, "rollback", in, &out); err != nil {
			return err
		}
		done, took = out.Step, out.Took
	} else if err != nil {
		return err
	} else {
		e.tell(ctx)
	}
	if in.Group != "" {
		fmt.Fprintf(e.out, "group %s is back in alert: nothing of it is denied; seen in the kernel after %s\n", in.Group, span(took))
	} else {
		fmt.Fprintf(e.out, "rolled back to %s; seen in the kernel after %s\n", done, span(took))
	}
	fmt.Fprintln(e.out, "the rollout is paused; go on: weir resume")
	return nil
}

// tell lets the daemon know who did it; without one a note waits for it.
func (e *env) tell(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := e.call(ctx, "noticed", struct{}{}, nil); err == nil {
		return
	}
	p := api.PeerOf(int32(os.Getpid()), uint32(os.Getuid()), uint32(os.Getgid()))
	note, _ := json.Marshal(api.RollbackNote{UID: p.UID, LoginUID: p.LoginUID, Name: p.Name, At: e.now()})
	if err := os.WriteFile(filepath.Join(e.state, api.RollbackNoteFile), note, 0o600); err != nil {
		fmt.Fprintf(e.err, "weir: the daemon does not answer and no note could be left for it: %v\n", err)
		return
	}
	fmt.Fprintln(e.err, "weir: the daemon does not answer; it will see the rollback when it starts")
}

func (e *env) rollbackDirectly(ctx context.Context, in api.RollbackArgs) (string, error) {
	k, err := kernel.Open(kernel.Options{})
	if err != nil {
		return "", err
	}
	defer k.Close()
	look, err := k.Look(ctx)
	if err != nil {
		return "", err
	}
	if !look.Present {
		return "", exit.Errorf(exit.Refused, "there is nothing to roll back: weir has no table in the kernel, everything passes")
	}
	if in.Group != "" {
		if err := k.Back(ctx, in.Group, true, newTx()); err != nil {
			return "", err
		}
		return in.Group, nil
	}
	hs := heads(e.state)
	from, _ := nft.One(look.Trial)
	stable, same := nft.One(look.Stable)
	if from == "" {
		from = stable
	}
	h, known := hs[from]
	if !known && stepName(hs, from) == phases.StepOff && same {
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
			names = append(names, b.To)
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

var _ = register(func(e *env) *cobra.Command {
	var to string
	c := &cobra.Command{
		Use:   "backout [STEP]",
		Short: "show the recorded way back, as nft text that works without weir",
		Long: `Lists the ways back from what the kernel holds, or prints one as the nft file
that a person can run when everything else fails.

  weir backout                    list them, with their files
  weir backout off                print the file`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			k, err := kernel.Open(kernel.Options{})
			if err != nil {
				return err
			}
			defer k.Close()
			look, err := k.Look(c.Context())
			if err != nil {
				return err
			}
			id, _ := nft.One(look.Trial)
			if id == "" {
				id, _ = nft.One(look.Stable)
			}
			hs := heads(e.state)
			h, ok := hs[id]
			if !ok {
				return exit.Errorf(exit.Refused, "no way back is recorded for what the kernel holds (%s)", stepName(hs, id)).
					WithHint("if everything else fails: nft delete table inet weir")
			}
			if len(args) == 0 {
				t := newTable(e.out, "TO", "FILE")
				for _, b := range h.Backouts {
					t.row(b.To, backoutFile(e.state, id, b.To))
				}
				return t.flush()
			}
			text, err := os.ReadFile(backoutFile(e.state, id, args[0]))
			if err != nil {
				return exit.Errorf(exit.Invalid, "no way back from %s to %q is recorded", stepName(hs, id), safe(args[0])).
					WithHint("weir backout lists them")
			}
			_, err = e.out.Write(text)
			return err
		},
	}
	_ = to
	return c
})

func backoutFile(state, id, to string) string {
	return filepath.Join(state, "backout", id, strings.ReplaceAll(to, "/", "+")+".nft")
}
