package daemon

import (
	"time"

	"golang.org/x/sys/unix"

	"weir/cmd/weir/internal/exit"
	"weir/nft/host"
)

// proven says whether a person who confirms a step that denies something comes
// by a connection that was opened under it. One that is older lives by the
// kernel's memory of it and says nothing of the next. Who comes from a console,
// or by a terminal that outlives its login, is believed.
func (d *Daemon) proven(c caller, sameSession bool) error {
	s := d.machine.State()
	if s.Trial == nil || sameSession || !s.Heads[s.Trial.Digest].Step.Blocks() || c.PID == 0 {
		return nil
	}
	began, remote, err := host.Login(int(c.PID))
	if err != nil {
		d.log.Error("cannot tell from where a step is confirmed", "error", err)
		return nil
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return err
	}
	armed := time.Duration(now.Nano()) - (s.Trial.Lease - d.machine.Look().Left)
	if !remote || began >= armed {
		return nil
	}
	return exit.Errorf(exit.Refused, "cannot confirm: your login was open before the step was armed, and does not show that the next one works").
		WithHint("log in once more, and confirm from there; or weir confirm --same-session")
}
