package main

import (
	"context"
	"slices"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/daemon"
	"weir/nft"
	"weir/nft/kernel"
	"weir/phases"
)

// bareExplain is explain without a daemon: the kernel says which revision is in
// force, and its frozen file what is in it.
func (e *env) bareExplain(ctx context.Context, args []string) (api.Explained, error) {
	f, err := daemon.ParseFlow(args[0], args[1], args[2])
	if err != nil {
		return api.Explained{}, err
	}
	k, err := kernel.Open(kernel.Options{})
	if err != nil {
		return api.Explained{}, err
	}
	defer k.Close()
	look, err := k.Look(ctx)
	if err != nil {
		return api.Explained{}, err
	}
	id, _ := nft.One(look.Trial)
	if id == "" {
		id, _ = nft.One(look.Stable)
	}
	out := api.Explained{Flow: f}
	h, ok := heads(e.state)[id]
	if !ok {
		out.Now = api.Decision{Step: phases.StepOff, Verdict: "accept", Rule: "nothing is in force"}
		return out, nil
	}
	frozen, err := readFrozen(e.state, h)
	if err != nil {
		return out, err
	}
	hook := nft.HookForward
	if !slices.Contains(frozen.Input.Scope.Hooks, "forward") {
		hook = nft.HookOutput
	}
	out.Now, err = daemon.Decide(frozen, hook, f, "")
	return out, err
}
