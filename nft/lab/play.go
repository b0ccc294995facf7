package lab

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"weir/nft"
	"weir/nft/kernel"
	"weir/phases/flow"
)

// play plays a script in namespaces that it makes; the caller closes the gateway,
// which is nil where there is none, or ends.
func play(ctx context.Context, s Script) (r Result, g *gateway, err error) {
	start := time.Now()
	defer func() { r.Took = time.Since(start) }()
	// What is sent on one processor is handled there in its order, so that one
	// last frame tells when everything before it is done.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	stay := onOneProcessor()
	defer stay()
	if g, err = newGateway(s); err != nil {
		return r, nil, fmt.Errorf("cannot make the lab's gateway: %w", err)
	}
	for i, a := range s.Acts {
		begin := time.Now()
		o, err := g.act(ctx, s, a)
		if err != nil {
			return r, g, fmt.Errorf("act %d, %s: %w", i+1, a, err)
		}
		o.Took = time.Since(begin)
		r.Outcomes = append(r.Outcomes, o)
	}
	return r, g, nil
}

// onOneProcessor keeps the thread on the processor of its first choice until the
// function that it returns is called. Where that is refused, every thread stays
// where it is.
func onOneProcessor() (undo func()) {
	var old, one unix.CPUSet
	if unix.SchedGetaffinity(0, &old) != nil {
		return func() {}
	}
	for cpu := range 1024 {
		if old.IsSet(cpu) {
			one.Set(cpu)
			break
		}
	}
	if unix.SchedSetaffinity(0, &one) != nil {
		return func() {}
	}
	return func() { unix.SchedSetaffinity(0, &old) } //nolint:errcheck // a wish
}

// String names an act for error messages.
func (a Act) String() string {
	switch {
	case a.Load != "":
		return "load " + a.Load
	case a.Arm != nil:
		return "arm " + a.Arm.ID
	case a.Confirm != nil:
		return "confirm " + a.Confirm.ID
	case a.Rollback != nil:
		return "go back to " + a.Rollback.ID
	case a.Bytes != nil:
		return "send the recorded way back"
	case a.Unblock != nil:
		return "unblock " + a.Unblock.ID
	case a.End != "":
		return "end " + a.End
	case a.Routes != nil:
		return "set routes"
	case a.Send != nil:
		return fmt.Sprintf("send %d packets", len(a.Send))
	}
	return "read"
}

func (g *gateway) act(ctx context.Context, s Script, a Act) (Outcome, error) {
	var o Outcome
	var err error
	switch {
	case a.Load != "":
		for _, r := range s.Revisions {
			if r.ID == a.Load {
				return o, g.k.Load(ctx, r)
			}
		}
		return o, errors.New("the script has no such revision")
	case a.Arm != nil:
		err = g.k.Arm(ctx, *a.Arm)
	case a.Confirm != nil:
		err = g.k.Confirm(ctx, *a.Confirm)
	case a.Rollback != nil:
		err = g.k.Rollback(ctx, *a.Rollback)
	case a.Bytes != nil:
		err = g.k.SendRaw(ctx, a.Bytes)
	case a.Unblock != nil:
		err = g.k.AddException(ctx, *a.Unblock)
	case a.End != "":
		err = g.k.EndException(ctx, a.End)
	case a.Routes != nil:
		err = g.at.RoutesOn(routesOf(a.Routes))
	case a.Send != nil:
		o.Left, err = g.send(a.Send)
	case a.Read:
		o.Counters, o.Holds, err = read(ctx, g.k)
	}
	return o, err
}

// read says what the kernel holds: what decides, and what was counted.
func read(ctx context.Context, k *kernel.Kernel) (map[string]uint64, map[string]string, error) {
	counts, err := k.Counters(ctx)
	if err != nil {
		return nil, nil, err
	}
	counters := map[string]uint64{}
	for name, c := range counts {
		counters[name] = c.Packets
	}
	holds, err := k.Fingerprints(ctx, true)
	if err != nil {
		return nil, nil, err
	}
	l, err := k.Look(ctx)
	if err != nil {
		return nil, nil, err
	}
	for what, maps := range map[string]map[string]map[flow.Family]string{"trial": l.Trial, "stable": l.Stable} {
		for hook, families := range maps {
			for f, id := range families {
				if id != "" {
					holds[Holding(what, hook, f)] = id
				}
			}
		}
	}
	for _, group := range l.Back {
		holds[HoldingBack(group)] = nft.AlertChain(group)
	}
	return counters, holds, nil
}

// Holding is the key in Outcome.Holds of what trial or stable of a hook goes to.
func Holding(what, hook string, f flow.Family) string {
	return what + " " + hook + " " + string(f)
}

// HoldingBack is the key in Outcome.Holds of a group that is back in alert.
func HoldingBack(group string) string { return "back " + group }
