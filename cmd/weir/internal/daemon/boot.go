package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"weir/cmd/weir/internal/boot"
	"weir/cmd/weir/internal/notify"
	"weir/nft/kernel"
	"weir/phases"
	"weir/phases/finding"
	"weir/store"
)

// The daemon keeps the snapshot from which a boot restores, hears what the last
// boot came to, and obeys what switches weir off.

// started is what this boot came to, as far as the daemon knows.
type started struct {
	report  *boot.Report
	said    string    // of the snapshot when the daemon started; "" nothing
	at      time.Time // when
	problem string    // why the snapshot cannot be kept now; "" it is
	tried   time.Time // when it was last tried
}

// bootRetry is how long a snapshot that could not be kept is left alone: large
// ones take their time.
const bootRetry = 2 * time.Second

// heardOf reads what the boot came to, and the snapshot as it is; what the
// snapshot knows as spent is spent.
func (d *Daemon) heardOf(ctx context.Context, now time.Time) {
	d.started.at = now
	look, err := d.kernel.Look(ctx)
	if err == nil && look.Present && look.Stale {
		d.replaceCopy(ctx, now)
	}
	if err == nil {
		if d.started.report, err = boot.ReadReport(filepath.Dir(d.cfg.Socket), look.BootID); err != nil {
			d.log.Error("cannot tell what the boot came to", "error", err)
		}
	}
	if r := d.started.report; r != nil {
		d.log.Info("the machine was started again", "boot", r.Words)
		for _, p := range r.Problems {
			d.log.Error("at boot", "problem", p)
		}
		if len(r.Problems) > 0 || r.Outcome == boot.Open {
			d.tell(notify.Page, notify.Drift, now, "at boot: "+r.Words)
		}
	}
	if err := d.machine.ReadBoot(); err != nil {
		d.started.said = err.Error()
		d.log.Error("the boot snapshot cannot be used; it is written again", "error", err)
	}
}

// replaceCopy puts what is confirmed in the place of a table that another
// program saved before the machine was started, and loaded again.
func (d *Daemon) replaceCopy(ctx context.Context, now time.Time) {
	r := boot.Restore(ctx, BootConfig(d.kernel, d.cfg.State, filepath.Dir(d.cfg.Socket), now))
	if err := r.Write(filepath.Dir(d.cfg.Socket)); err != nil {
		d.log.Error("cannot leave a report", "error", err)
	}
}

func (d *Daemon) tell(s notify.Severity, kind notify.Kind, now time.Time, words string) {
	d.notify.Tell(notify.Message{Severity: s, Kind: kind, At: now, Words: words, Command: "weir status"})
}

// keepBoot writes the snapshot where it says something else than what is
// confirmed.
func (d *Daemon) keepBoot(now time.Time) {
	was := d.started.problem
	if was != "" && time.Since(d.started.tried) < bootRetry {
		return
	}
	d.started.problem, d.started.tried = "", time.Now()
	if err := d.machine.KeepBoot(now); err != nil {
		d.started.problem = err.Error()
	}
	if d.started.problem != "" && d.started.problem != was {
		d.log.Error(d.started.problem)
	}
}

// bootFindings are what a person should look at.
func (d *Daemon) bootFindings() []finding.Finding {
	var out []finding.Finding
	add := func(at time.Time, words string) {
		out = append(out, finding.Finding{Fingerprint: finding.Fingerprint("boot", words), Kind: finding.Boot, Severity: finding.Critical,
			First: at, Last: at, Count: 1, State: finding.New, Words: words})
	}
	if r := d.started.report; r != nil {
		if r.Outcome == boot.Open {
			add(r.At, "at boot: "+r.Words)
		}
		for _, p := range r.Problems {
			add(r.At, "at boot: "+p)
		}
	}
	if d.started.said != "" {
		add(d.started.at, "when the daemon started: "+d.started.said)
	}
	if d.started.problem != "" {
		add(d.cfg.Now(), d.started.problem)
	}
	return out
}

// bootWords is what status says of the boot; "" where there is nothing to say.
func (d *Daemon) bootWords() string {
	if r := d.started.report; r != nil && (r.Outcome == boot.Open || len(r.Problems) > 0) {
		return r.Words
	}
	return ""
}

// BootConfig is the world of a boot on this machine, with its state folder and
// the folder of its socket.
func BootConfig(k *kernel.Kernel, state, run string, now time.Time) boot.Config {
	files := bootFiles{store.ReadBoots(state), store.ReadFiles(state)}
	return boot.Config{
		Kernel: k, Files: files, Now: now, Off: boot.Off(), Confirmed: confirmed(state),
		Recall: func(ctx context.Context) error { return recall(ctx, k, state, now) },
		Ways: func(h phases.Head) error {
			missing := false
			for _, b := range h.Backouts {
				_, _, err := files.Backout(h.Revision, b.To)
				missing = missing || err != nil
			}
			if !missing {
				return nil
			}
			return phases.WriteBackouts(h, k.EncodeRollback, nil, files)
		},
		Spent: func(nonces []string) error {
			if len(nonces) == 0 {
				return nil
			}
			s := nonceFolders(state, run)
			var errs []error
			for _, n := range nonces {
				errs = append(errs, s.Spend(n))
			}
			return errors.Join(errs...)
		},
	}
}

type bootFiles struct {
	*store.Boots
	*store.Files
}

// confirmed is the step that the plain history has as confirmed: no database is
// asked. A history that cannot be read says nothing.
func confirmed(state string) string {
	records, _, err := ReadHistory(state)
	if err != nil {
		return ""
	}
	if name, _, _, _ := phases.Fold(records).Current(); name != phases.StepOff {
		return name
	}
	return ""
}

// lookAtOff tells the machine whether weir is switched off.
func (d *Daemon) lookAtOff() {
	why := boot.Off()
	if why != d.machine.SwitchedOff() {
		if d.machine.SwitchOff(why); why != "" {
			d.log.Warn("weir is switched off: nothing is loaded into the kernel, and nothing is armed", "by", why)
		} else {
			d.log.Info("weir is not switched off any more")
		}
	}
}

// setAgain sets the kernel's settings that the capture needs, which a boot
// forgot.
func (d *Daemon) setAgain() error {
	old, err := d.oldSysctls()
	if err != nil || old == nil {
		return err
	}
	if err := d.prepareCapture(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot set what the capture needs: %w", err)
	}
	return nil
}
