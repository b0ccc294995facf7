package fake

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"weir/nft"
	"weir/phases/flow"
)

// Kernel is a kernel in memory. Its methods may be called from any goroutine.
type Kernel struct {
	clock func() time.Time

	mu    sync.Mutex // guards what follows
	s     state
	boots int
	gen   uint32
	calls int
	fault Fault
	fired bool
}

// New returns an empty kernel whose time is what clock says.
func New(clock func() time.Time) *Kernel {
	return &Kernel{clock: clock, boots: 1, gen: 1}
}

var families = []flow.Family{flow.IPv4, flow.IPv6}

// entry is an element of a verdict map.
type entry struct {
	verdict string
	until   time.Time // zero: for ever
}

// state is what one transaction changes. The zero state has no table.
type state struct {
	present  bool
	layout   uint32
	tx       string
	kind     nft.TxKind
	loaded   map[string]nft.Revision
	chains   map[string]bool
	verdicts map[string]map[flow.Family]entry
}

func (s state) clone() state {
	s.loaded, s.chains, s.verdicts = maps.Clone(s.loaded), maps.Clone(s.chains), maps.Clone(s.verdicts)
	for name, m := range s.verdicts {
		s.verdicts[name] = maps.Clone(m)
	}
	return s
}

// transact applies f to a copy, which becomes the state where f succeeds.
func (k *Kernel) transact(ctx context.Context, what string, f func(s *state, now time.Time) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := k.counted(ctx, func() error {
		now := k.clock()
		s := k.s.clone()
		for _, m := range s.verdicts {
			maps.DeleteFunc(m, func(_ flow.Family, e entry) bool { return !e.until.IsZero() && !now.Before(e.until) })
		}
		if err := f(&s, now); err != nil {
			return err
		}
		k.s = s
		k.gen++
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot %s: %w", what, err)
	}
	return nil
}

// flush empties a map, which must exist.
func (s *state) flush(name string) error {
	m, ok := s.verdicts[name]
	if !ok {
		return fmt.Errorf("there is no map %s", name)
	}
	clear(m)
	return nil
}

// point makes both families of a map lead to one verdict. The chain behind a
// jump or goto must exist.
func (s *state) point(name string, v nft.Verdict, until time.Time) error {
	if err := s.flush(name); err != nil {
		return err
	}
	if v.Chain != "" && !s.chains[v.Chain] {
		return fmt.Errorf("%w: there is no chain %s", nft.ErrNotLoaded, v.Chain)
	}
	for _, f := range families {
		s.verdicts[name][f] = entry{strings.TrimSpace(v.Kind + " " + v.Chain), until}
	}
	return nil
}

func (s *state) mark(tx string, kind nft.TxKind) error {
	if tx == "" || len(tx) > 15 {
		return fmt.Errorf("cannot use %q as a transaction id: want 1 to 15 bytes", tx)
	}
	s.tx, s.kind = tx, kind
	return nil
}

// hooks lists the letters whose maps exist, sorted.
func (s *state) hooks() []string { return s.named(nft.TrialMap("")) }

func (s *state) named(prefix string) []string {
	var out []string
	for name := range s.verdicts {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			out = append(out, rest)
		}
	}
	slices.Sort(out)
	return out
}

// target names the revision that a verdict leads to, as nft/kernel does.
func target(verdict string) string {
	_, chain, ok := strings.Cut(verdict, " ")
	if !ok {
		return verdict
	}
	id, _, _ := strings.Cut(chain, "_")
	if len(id) == 13 && id[0] == 'r' {
		return id
	}
	return chain
}
