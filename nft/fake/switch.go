package fake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"weir/nft"
	"weir/phases/flow"
)

// Load makes the kernel hold a revision; nothing is decided differently.
func (k *Kernel) Load(ctx context.Context, r nft.Revision) error {
	return k.transact(ctx, "load revision "+r.ID, func(s *state, _ time.Time) error {
		if len(r.ID) != 13 || r.ID[0] != 'r' || strings.Trim(r.ID[1:], "0123456789abcdef") != "" {
			return fmt.Errorf("%q is no revision's id: want r and twelve hex digits", r.ID)
		}
		for _, c := range r.Ruleset.Chains {
			if !strings.HasPrefix(c.Name, r.ID+"_") || c.Hook != "" {
				return fmt.Errorf("its chain %s is a base chain or is not named after it", c.Name)
			}
		}
		if s.verdicts == nil {
			s.loaded, s.chains, s.verdicts = map[string]nft.Revision{}, map[string]bool{}, map[string]map[flow.Family]entry{}
		}
		s.present, s.layout = true, nft.LayoutVersion
		for _, part := range []nft.Ruleset{r.Skeleton, r.Ruleset} {
			for _, c := range part.Chains {
				s.chains[c.Name] = true
			}
			for _, set := range part.Sets {
				if set.Data == nft.VerdictType && s.verdicts[set.Name] == nil {
					s.verdicts[set.Name] = map[flow.Family]entry{}
				}
			}
		}
		s.loaded[r.ID] = r
		return nil
	})
}

// Arm puts a loaded revision on trial.
func (k *Kernel) Arm(ctx context.Context, a nft.Arm) error {
	return k.transact(ctx, "arm "+a.ID, func(s *state, now time.Time) error {
		if err := checkEntry(a.ID, a.Entry); err != nil {
			return err
		}
		if a.Lease < time.Millisecond {
			return fmt.Errorf("a lease of %v is no lease", a.Lease)
		}
		if !s.present {
			return fmt.Errorf("%w: there is no table", nft.ErrNotLoaded)
		}
		trial, stable, same := s.one(a.Entry)
		switch {
		case trial != "" || !same:
			return nft.ErrPending
		case stable != a.Over:
			return fmt.Errorf("%w: %q is stable, not %q", nft.ErrChanged, stable, a.Over)
		case s.loaded[a.ID].ID == "":
			return nft.ErrNotLoaded
		}
		until := now.Add(a.Lease)
		for h, c := range a.Entry {
			v := nft.Goto(c)
			if h == nft.HookNAT {
				v = nft.Accept()
			}
			if err := s.point(nft.TrialMap(h), v, until); err != nil {
				return err
			}
		}
		if s.natOnly(a.Entry) {
			if err := s.point(nft.TrialMap(nft.HookNAT), nft.Accept(), until); err != nil {
				return err
			}
		}
		for _, g := range a.Spare {
			if err := s.point(nft.SpareMap(g), nft.Jump("w_spare"), until); err != nil {
				return err
			}
		}
		return s.mark(a.Tx, nft.TxArm)
	})
}

// Confirm makes the running trial stable.
func (k *Kernel) Confirm(ctx context.Context, c nft.Confirm) error {
	return k.transact(ctx, "confirm "+c.ID, func(s *state, now time.Time) error {
		if err := checkEntry(c.ID, c.Entry); err != nil {
			return err
		}
		if !s.present {
			return fmt.Errorf("%w: there is no table", nft.ErrNotLoaded)
		}
		switch trial, _, same := s.one(c.Entry); {
		case trial == "" && same:
			return nft.ErrLapsed
		case trial != c.ID:
			return fmt.Errorf("%w: %q is on trial", nft.ErrChanged, trial)
		}
		for h, chain := range c.Entry {
			if err := errors.Join(s.flush(nft.TrialMap(h)), s.point(nft.StableMap(h), nft.Goto(chain), time.Time{})); err != nil {
				return err
			}
		}
		if s.natOnly(c.Entry) {
			if err := errors.Join(s.flush(nft.TrialMap(nft.HookNAT)), s.flush(nft.StableMap(nft.HookNAT))); err != nil {
				return err
			}
		}
		for _, g := range c.Spare {
			if err := s.flush(nft.SpareMap(g)); err != nil {
				return err
			}
			if c.SpareFor > 0 {
				if err := s.point(nft.SpareMap(g), nft.Jump("w_spare"), now.Add(c.SpareFor)); err != nil {
					return err
				}
			}
		}
		for _, g := range c.NoBack {
			if err := s.flush(nft.BackMap(g)); err != nil {
				return err
			}
		}
		return s.mark(c.Tx, nft.TxConfirm)
	})
}

// Rollback makes a loaded revision stable, whatever the kernel holds.
func (k *Kernel) Rollback(ctx context.Context, r nft.Rollback) error {
	return k.transact(ctx, fmt.Sprintf("roll back to %q", r.ID), func(s *state, _ time.Time) error {
		if r.Kind != nft.TxRollback && r.Kind != nft.TxBoot && r.Kind != nft.TxHold {
			return fmt.Errorf("a rollback cannot be of kind %q", r.Kind)
		}
		if len(r.Hooks) == 0 {
			return errors.New("a rollback needs the hooks whose maps it writes")
		}
		if r.ID != "" {
			if err := checkEntry(r.ID, r.Entry); err != nil {
				return err
			}
		}
		if !s.present && r.ID == "" {
			return nil
		}
		for _, h := range r.Hooks {
			if err := errors.Join(s.flush(nft.TrialMap(h)), s.flush(nft.StableMap(h))); err != nil {
				return fmt.Errorf("%w: %w", nft.ErrNotLoaded, err)
			}
			if c, ok := r.Entry[h]; ok && r.ID != "" {
				if err := s.point(nft.StableMap(h), nft.Goto(c), time.Time{}); err != nil {
					return err
				}
			}
		}
		for _, g := range r.Alert {
			if err := s.point(nft.BackMap(g), nft.Goto(nft.AlertChain(g)), time.Time{}); err != nil {
				return fmt.Errorf("%w: %w", nft.ErrNotLoaded, err)
			}
		}
		return s.mark(r.Tx, r.Kind)
	})
}

// Back puts one group back to alert (on), or ends that.
func (k *Kernel) Back(ctx context.Context, group string, on bool, tx string) error {
	return k.transact(ctx, "put group "+group+" back to alert", func(s *state, _ time.Time) error {
		err := s.flush(nft.BackMap(group))
		if err == nil && on {
			err = s.point(nft.BackMap(group), nft.Goto(nft.AlertChain(group)), time.Time{})
		}
		return errors.Join(err, s.mark(tx, nft.TxGroup))
	})
}

// EncodeRollback returns a rollback as bytes for SendRaw.
func (k *Kernel) EncodeRollback(r nft.Rollback) ([]byte, error) { return json.Marshal(r) }

// SendRaw applies the bytes of EncodeRollback.
func (k *Kernel) SendRaw(ctx context.Context, raw []byte) error {
	var r nft.Rollback
	if err := json.Unmarshal(raw, &r); err != nil {
		return fmt.Errorf("cannot read the backout's bytes: %w", err)
	}
	return k.Rollback(ctx, r)
}

// one returns the revision on trial and the stable one of some hooks; same is
// false where hooks or families differ.
func (s *state) one(entry map[string]string) (trial, stable string, same bool) {
	same = true
	first := true
	for _, h := range slices.Sorted(maps.Keys(entry)) {
		for _, f := range families {
			st := target(s.verdicts[nft.StableMap(h)][f].verdict)
			tr := target(s.verdicts[nft.TrialMap(h)][f].verdict)
			if h == nft.HookNAT && tr == "accept" && !first {
				tr = trial
			}
			if h == nft.HookNAT && st == "" {
				st = stable // no honeypot until now
			}
			if first {
				trial, stable, first = tr, st, false
			}
			same = same && trial == tr && stable == st
		}
	}
	return trial, stable, same
}

// natOnly says whether an earlier step brought a honeypot that this one is
// without.
func (s *state) natOnly(entry map[string]string) bool {
	_, own := entry[nft.HookNAT]
	return !own && s.verdicts[nft.TrialMap(nft.HookNAT)] != nil
}

// checkEntry refuses what could half switch: no hook, or a chain of another
// revision.
func checkEntry(id string, entry map[string]string) error {
	if len(entry) == 0 {
		return errors.New("it has no entry chains")
	}
	for h, c := range entry {
		if target("goto "+c) != id {
			return fmt.Errorf("the entry chain %q of hook %q is not of revision %q", c, h, id)
		}
	}
	return nil
}
