package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/exit"
	"weir/nft/capture"
)

// removeAll takes weir's table out of the kernel and puts the sysctls back, and
// reads both back.
func (d *Daemon) removeAll(ctx context.Context, c caller, in api.RemoveArgs) (api.Removed, error) {
	if !in.Yes {
		return api.Removed{}, exit.Errorf(exit.Usage, "this opens the gate and stops the watching").WithHint("weir remove --yes")
	}
	d.stopReaders()
	d.recs = make(chan flowRecord, cap(d.recs))
	var out api.Removed
	if err := d.kernel.Remove(ctx); err != nil {
		return out, err
	}
	if err := d.machine.Removed(ctx, c.now, c.Actor); err != nil {
		return out, err
	}
	d.noteOpenings()
	out.Table = true
	back, left, err := RestoreSysctls(d.sysctlFile())
	for _, s := range back {
		out.Sysctls = append(out.Sysctls, "put back "+s.Name+" = "+s.Old)
	}
	for _, s := range left {
		out.Sysctls = append(out.Sysctls, fmt.Sprintf("left alone %s = %s: somebody else set it, it was %s", s.Name, s.New, s.Old))
	}
	return out, err
}

// RestoreSysctls puts back what was written down before the first change, and
// returns that, and what somebody else has changed meanwhile and was left alone.
func RestoreSysctls(file string) (back, left capture.Sysctls, err error) {
	old, err := readSysctls(file)
	if err != nil || old == nil {
		return nil, nil, err
	}
	if left, err = old.Restore(capture.Options{}); err != nil {
		return nil, left, err
	}
	back = slices.DeleteFunc(slices.Clone(old), func(s capture.Sysctl) bool {
		return slices.ContainsFunc(left, func(l capture.Sysctl) bool { return l.Name == s.Name })
	})
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return back, left, fmt.Errorf("cannot remove %s: %w", file, err)
	}
	return back, left, nil
}
