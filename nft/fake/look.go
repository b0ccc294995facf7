package fake

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"weir/nft"
	"weir/phases/flow"
)

// Look reads everything under one generation.
func (k *Kernel) Look(ctx context.Context) (nft.Look, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var l nft.Look
	err := k.counted(ctx, func() error {
		l = k.look()
		return nil
	})
	if err != nil {
		return nft.Look{}, fmt.Errorf("cannot look: %w", err)
	}
	return l, nil
}

func (k *Kernel) look() nft.Look {
	now := k.clock()
	l := nft.Look{BootID: fmt.Sprintf("boot-%d", k.boots), Gen: k.gen}
	if !k.s.present {
		return l
	}
	l.Present, l.Layout, l.Tx, l.Kind = true, k.s.layout, k.s.tx, k.s.kind
	l.Trial, l.Stable = map[string]map[flow.Family]string{}, map[string]map[flow.Family]string{}
	for _, h := range k.s.hooks() {
		var left time.Duration
		l.Trial[h], left = live(k.s.verdicts[nft.TrialMap(h)], now)
		if left > 0 && (l.Left == 0 || left < l.Left) {
			l.Left = left
		}
		l.Stable[h], _ = live(k.s.verdicts[nft.StableMap(h)], now)
	}
	// While a trial runs nat's map says accept: it redirects nothing.
	if nat := l.Trial[nft.HookNAT]; len(nat) > 0 {
		for _, h := range []string{nft.HookForward, nft.HookOutput} {
			for f, id := range l.Trial[h] {
				nat[f] = id
			}
		}
	}
	if len(l.Stable[nft.HookNAT]) == 0 { // a step without a honeypot leaves it so
		delete(l.Stable, nft.HookNAT)
		if len(l.Trial[nft.HookNAT]) == 0 {
			delete(l.Trial, nft.HookNAT)
		}
	}
	if len(k.s.loaded) > 0 {
		l.Loaded = slices.Sorted(maps.Keys(k.s.loaded))
	}
	l.Back = k.filled(nft.BackMap(""), now)
	l.Spared = k.filled(nft.SpareMap(""), now)
	return l
}

// live returns what the elements that have not lapsed lead to, and the least
// time left.
func live(m map[flow.Family]entry, now time.Time) (map[flow.Family]string, time.Duration) {
	out, least := map[flow.Family]string{}, time.Duration(0)
	for f, e := range m {
		if e.until.IsZero() {
			out[f] = target(e.verdict)
		} else if left := e.until.Sub(now); left > 0 {
			out[f] = target(e.verdict)
			if least == 0 || left < least {
				least = left
			}
		}
	}
	return out, least
}

func (k *Kernel) filled(prefix string, now time.Time) []string {
	var out []string
	for _, g := range k.s.named(prefix) {
		if m, _ := live(k.s.verdicts[prefix+g], now); len(m) > 0 {
			out = append(out, g)
		}
	}
	return out
}

// Decides returns the revision that judges packets of a hook and family now:
// the trial's, else the stable one, else "" (everything passes).
func (k *Kernel) Decides(hook string, f flow.Family) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := k.look()
	if id := l.Trial[hook][f]; id != "" {
		return id
	}
	return l.Stable[hook][f]
}
