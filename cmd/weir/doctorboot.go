package main

import (
	"context"
	"errors"
	"os"

	"weir/cmd/weir/internal/boot"
	"weir/nft/kernel"
	"weir/phases"
	"weir/phases/compile"
	"weir/store"
)

// examineBoot says what the next boot would do, and what this one could not.
func (e *env) examineBoot(ctx context.Context, k *kernel.Kernel, say func(name, state, format string, args ...any)) {
	if why := boot.Off(); why != "" {
		say("off", "look", "weir is switched off by %s: nothing is loaded, armed or restored", why)
	}
	boots := store.ReadBoots(e.state)
	snapshot, choice, err := boots.GetBoot()
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		say("boot", "bad", "%v", err)
	default:
		b, err := phases.DecodeBoot(snapshot)
		if err == nil {
			_, err = phases.DecodeChoice(choice)
		}
		if err != nil {
			say("boot", "bad", "%v; the daemon writes it again when it starts", err)
		} else {
			say("boot", "ok", "the next boot restores %s", b.Step)
		}
	}
	if k == nil {
		return
	}
	look, err := k.Look(ctx)
	if err != nil {
		say("boot", "unknown", "%v", err)
		return
	}
	if look.Present && look.Stale {
		say("boot", "bad", "another program loaded a copy of weir's table that it saved before the machine was started: weir restore replaces it")
	}
	if r, err := boot.ReadReport(e.run(), look.BootID); err != nil {
		say("boot", "unknown", "%v", err)
	} else if r != nil && (r.Outcome == boot.Open || len(r.Problems) > 0) {
		say("boot", "bad", "%s", r.Words)
		for _, p := range r.Problems {
			say("boot", "bad", "%s", p)
		}
	}
	e.examineCompiler(look.Present, say)
}

// examineCompiler says whether this weir would make another ruleset of what the
// step in force was compiled from. What was approved stays in force as it was
// recorded.
func (e *env) examineCompiler(present bool, say func(name, state, format string, args ...any)) {
	if !present {
		return
	}
	h, err := e.hold(context.Background())
	if err != nil || !h.known {
		if err == nil {
			h.k.Close()
		}
		return
	}
	defer h.k.Close()
	f, err := readFrozen(e.state, h.head)
	if err != nil {
		say("upgrade", "bad", "%v", err)
		return
	}
	now, err := compile.Compile(f.Input)
	switch {
	case err != nil:
		say("upgrade", "look", "this weir cannot compile what %s was made of: %v; it stays in force as it was recorded", f.Step.Name, err)
	case now.ID != f.Revision:
		say("upgrade", "look", "this weir would make another ruleset of %s: %s, not %s, which is recorded and in force; to take the new one: weir request --step %s", f.Step.Name, now.ID, f.Revision, f.Step.Name)
	default:
		say("upgrade", "ok", "this weir makes the same ruleset of %s as is recorded", f.Step.Name)
	}
}
