package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"

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
	changed, err := RestoreSysctls(d.sysctlFile())
	for _, s := range changed {
		out.Sysctls = append(out.Sysctls, s.Name+" = "+s.Old)
	}
	return out, err
}

// RestoreSysctls puts back what was written down before the first change.
func RestoreSysctls(file string) (capture.Sysctls, error) {
	old, err := readSysctls(file)
	if err != nil || old == nil {
		return nil, err
	}
	changed, err := old.Restore(capture.Options{})
	if err != nil {
		return changed, err
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return changed, fmt.Errorf("cannot remove %s: %w", file, err)
	}
	return changed, nil
}
