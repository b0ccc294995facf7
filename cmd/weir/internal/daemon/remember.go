package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"weir/nft"
	"weir/nft/kernel"
)

// An exception lives in the kernel, which ends it. What is written here is for
// one case only: the kernel's table is gone, by a reboot or by somebody's hand,
// and the confirmed step is put back. Then each exception comes back with the
// time it has left by the clock on the wall; never with more.

// rememberVersion is the version of the file.
const rememberVersion = 1

type remembered struct {
	Version    int            `json:"version"`
	Exceptions []rememberedEx `json:"exceptions"`
}

type rememberedEx struct {
	nft.Exception
	Quarantine bool      `json:"quarantine,omitempty"`
	Until      time.Time `json:"until"`
}

func rememberFile(state string) string { return filepath.Join(state, "exceptions.json") }

func (d *Daemon) rememberFile() string { return rememberFile(d.cfg.State) }

func (d *Daemon) readRemembered() (remembered, error) { return readRemembered(d.cfg.State) }

func readRemembered(state string) (remembered, error) {
	out := remembered{Version: rememberVersion}
	file := rememberFile(state)
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("cannot read the exceptions: %w", err)
	}
	if err := json.Unmarshal(data, &out); err != nil {
		return out, fmt.Errorf("cannot read %s: %w", file, err)
	}
	if out.Version != rememberVersion {
		return out, fmt.Errorf("cannot read %s: it has version %d, this weir reads %d", file, out.Version, rememberVersion)
	}
	return out, nil
}

// remember keeps an exception, or with a zero Until forgets it, and drops those
// that have ended.
func (d *Daemon) remember(now time.Time, x rememberedEx) error {
	all, err := d.readRemembered()
	if err != nil {
		return err
	}
	kept := []rememberedEx{}
	for _, o := range all.Exceptions {
		if o.ID != x.ID && o.Until.After(now) {
			kept = append(kept, o)
		}
	}
	if !x.Until.IsZero() {
		kept = append(kept, x)
	}
	all.Exceptions = kept
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(d.rememberFile(), data, 0o600); err != nil {
		return fmt.Errorf("cannot write down the exception: %w", err)
	}
	return nil
}

// recall opens again what the lost table held, with the time it has left.
func (d *Daemon) recall(ctx context.Context, now time.Time) error {
	return recall(ctx, d.kernel, d.cfg.State, now)
}

func recall(ctx context.Context, k *kernel.Kernel, state string, now time.Time) error {
	all, err := readRemembered(state)
	if err != nil || len(all.Exceptions) == 0 {
		return err
	}
	have, err := k.Exceptions(ctx)
	if err != nil {
		return err
	}
	live := map[string]bool{}
	for _, e := range have {
		live[e.ID] = true
	}
	var errs []error
	for _, x := range all.Exceptions {
		left := x.Until.Sub(now)
		if left < time.Second || left > x.For || live[x.ID] {
			continue // over; or the clock went back, and nobody gets more than was given
		}
		x.For = left
		if x.Quarantine {
			errs = append(errs, k.Quarantine(ctx, x.From.Addr(), left))
		} else {
			errs = append(errs, k.AddException(ctx, x.Exception))
		}
	}
	return errors.Join(errs...)
}

func quarantineOf(a netip.Addr, long time.Duration, now time.Time) rememberedEx {
	x := rememberedEx{Quarantine: true}
	x.ID, x.From, x.For = a.String(), netip.PrefixFrom(a, a.BitLen()), long
	if long > 0 {
		x.Until = now.Add(long)
	}
	return x
}
