package kernel

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"weir/nft"
	"weir/phases/flow"
)

// families are the keys of trial, stable and group maps.
var families = []struct {
	f   flow.Family
	key []byte
}{{flow.IPv4, []byte{unix.NFPROTO_IPV4}}, {flow.IPv6, []byte{unix.NFPROTO_IPV6}}}

// Look reads what the kernel holds, all of it under one generation. Without a
// table Present is false and everything else but BootID and Gen is empty.
func (k *Kernel) Look(ctx context.Context) (nft.Look, error) {
	boot, err := bootID()
	if err != nil {
		return nft.Look{}, err
	}
	var l nft.Look
	gen, err := k.c.stable(ctx, func() error {
		l = nft.Look{}
		present, _, err := k.c.tableFlags(ctx, ours)
		if err != nil || !present {
			return err
		}
		sets, err := k.c.sets(ctx, ours)
		if err != nil {
			return err
		}
		var hooks, back, spare []string
		for name := range sets {
			if h, ok := strings.CutPrefix(name, nft.TrialMap("")); ok {
				hooks = append(hooks, h)
			} else if g, ok := strings.CutPrefix(name, nft.BackMap("")); ok {
				back = append(back, g)
			} else if g, ok := strings.CutPrefix(name, nft.SpareMap("")); ok {
				spare = append(spare, g)
			}
		}
		if err := k.switches(ctx, &l, hooks); err != nil {
			return err
		}
		if l.Back, err = k.filled(ctx, back, nft.BackMap); err != nil {
			return err
		}
		if l.Spared, err = k.filled(ctx, spare, nft.SpareMap); err != nil {
			return err
		}
		marks, err := k.marks(ctx)
		if err != nil {
			return err
		}
		l.Layout, l.Stale = marks["layout"], stale(marks, boot)
		for name := range marks {
			if isRevision(name) {
				l.Loaded = append(l.Loaded, name)
			}
		}
		slices.Sort(l.Loaded)
		return nil
	})
	if err != nil {
		return nft.Look{}, fmt.Errorf("cannot look at table inet weir: %w", err)
	}
	l.BootID, l.Gen = boot, gen
	return l, nil
}

// switches reads the transaction and trial and stable of some hook letters.
func (k *Kernel) switches(ctx context.Context, l *nft.Look, hooks []string) error {
	l.Present = true
	l.Trial = map[string]map[flow.Family]string{}
	l.Stable = map[string]map[flow.Family]string{}
	err := k.c.elements(ctx, ours, nft.TxMap, func(e *elemInfo) {
		l.Tx, l.Kind = text(e.key), nft.TxKindOf(e.mark)
	})
	if err != nil {
		return err
	}
	for _, h := range hooks {
		var left time.Duration
		if l.Trial[h], left, err = k.verdicts(ctx, nft.TrialMap(h)); err != nil {
			return err
		}
		if left > 0 && (l.Left == 0 || left < l.Left) {
			l.Left = left
		}
		if l.Stable[h], _, err = k.verdicts(ctx, nft.StableMap(h)); err != nil {
			return err
		}
	}
	holdNAT(l)
	return nil
}

// holdNAT reads nat's "accept" as what it stands for: while a revision is on
// trial in the filter hooks, nat redirects nothing. Empty maps of nat are no
// witness: a step without a honeypot leaves them so.
func holdNAT(l *nft.Look) {
	trial := map[string]map[flow.Family]string{}
	for h, m := range l.Trial {
		if h != nft.HookNAT {
			trial[h] = m
		}
	}
	id, ok := nft.One(trial)
	for f, v := range l.Trial[nft.HookNAT] {
		if v == "accept" && ok {
			l.Trial[nft.HookNAT][f] = id
		}
	}
	if len(l.Stable[nft.HookNAT]) == 0 {
		delete(l.Stable, nft.HookNAT)
		if len(l.Trial[nft.HookNAT]) == 0 {
			delete(l.Trial, nft.HookNAT)
		}
	}
}

// verdicts reads a verdict map keyed by family: the revisions its elements go
// to, and the least time left.
func (k *Kernel) verdicts(ctx context.Context, name string) (map[flow.Family]string, time.Duration, error) {
	m := map[flow.Family]string{}
	var left time.Duration
	err := k.c.elements(ctx, ours, name, func(e *elemInfo) {
		for _, fam := range families {
			if slices.Equal(e.key, fam.key) {
				m[fam.f] = target(e.verdict)
			}
		}
		if e.timeout > 0 && (left == 0 || e.left < left) {
			left = max(e.left, 1)
		}
	})
	return m, left, err
}

// target names what a verdict leads to: the revision of the chain, the whole
// chain where it is none of a revision, or the plain verdict.
func target(v nft.Verdict) string {
	if v.Chain == "" {
		return v.Kind
	}
	if id := revisionOf(v.Chain); id != "" {
		return id
	}
	return v.Chain
}

// isRevision: "r" and twelve hex digits.
func isRevision(name string) bool {
	if len(name) != 13 || name[0] != 'r' {
		return false
	}
	return strings.Trim(name[1:], "0123456789abcdef") == ""
}

// filled returns the sorted names whose maps hold an element.
func (k *Kernel) filled(ctx context.Context, names []string, mapOf func(string) string) ([]string, error) {
	var out []string
	for _, n := range names {
		any := false
		if err := k.c.elements(ctx, ours, mapOf(n), func(*elemInfo) { any = true }); err != nil {
			return nil, err
		}
		if any {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}

// marks reads the marker map.
func (k *Kernel) marks(ctx context.Context) (map[string]uint32, error) {
	m := map[string]uint32{}
	err := k.c.elements(ctx, ours, nft.MarkerMap, func(e *elemInfo) { m[text(e.key)] = e.mark })
	return m, err
}

// glance is the part of a look that a switch needs, for the given hooks: the
// transaction, trial and stable, under one generation.
func (k *Kernel) glance(ctx context.Context, hooks []string) (nft.Look, error) {
	var l nft.Look
	gen, err := k.c.stable(ctx, func() error {
		l = nft.Look{}
		return k.switches(ctx, &l, hooks)
	})
	l.Gen = gen
	return l, err
}
