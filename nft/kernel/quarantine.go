package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"weir/nft"
)

// Quarantined is one endpoint that is cut off, and for how long yet.
type Quarantined struct {
	Addr netip.Addr
	Left time.Duration
}

// quarantine returns the set of an address's family, and the address as a key.
func quarantine(a netip.Addr) (*set, []byte) {
	a = a.Unmap()
	s := nft.Set{Name: "w_quar4", Key: []nft.Type{nft.IPv4Addr}, HasTimeout: true}
	if a.Is6() {
		s.Name, s.Key = "w_quar6", []nft.Type{nft.IPv6Addr}
	}
	l, _ := keyLayout(s.Key)
	return &set{Set: s, layout: l}, a.AsSlice()
}

// Quarantine cuts an endpoint off for d, or sets the time of one that is.
// The kernel ends it by itself.
//
//	delete element inet weir w_quar4 { ADDR } ; add element inet weir w_quar4 { ADDR timeout D }
func (k *Kernel) Quarantine(ctx context.Context, a netip.Addr, d time.Duration) error {
	if !a.IsValid() || d < time.Millisecond {
		return fmt.Errorf("cannot quarantine %v for %v", a, d)
	}
	if err := k.setQuarantine(ctx, a, d); err != nil {
		return fmt.Errorf("cannot quarantine %v: %w", a, err)
	}
	return nil
}

// Unquarantine ends it. Ending what has ended is no error.
func (k *Kernel) Unquarantine(ctx context.Context, a netip.Addr) error {
	if !a.IsValid() {
		return errors.New("cannot end the quarantine of no address")
	}
	if err := k.setQuarantine(ctx, a, 0); err != nil {
		return fmt.Errorf("cannot end the quarantine of %v: %w", a, err)
	}
	return nil
}

func (k *Kernel) setQuarantine(ctx context.Context, a netip.Addr, d time.Duration) error {
	s, key := quarantine(a)
	var sent error
	for range maxTries {
		there := false
		if err := k.c.elements(ctx, ours, s.Name, func(e *elemInfo) { there = there || bytes.Equal(e.key, key) }); err != nil {
			return err
		}
		b := newBatch(false)
		if there {
			b.put(ours, s, delElem, 0, nft.Element{Key: key})
		}
		if d > 0 {
			b.put(ours, s, newElem, create, nft.Element{Key: key, Timeout: d})
		}
		if b.empty() {
			return nil
		}
		sent = k.c.transact(ctx, b.finish(true))
		if !there || !errors.Is(sent, unix.ENOENT) {
			break // else it has ended by itself meanwhile
		}
	}
	if sent != nil && !errors.Is(sent, errLost) {
		return sent
	}
	list, err := k.Quarantines(ctx)
	if err != nil {
		return errors.Join(nft.ErrUnknown, sent, err)
	}
	in := slices.ContainsFunc(list, func(q Quarantined) bool { return q.Addr == a.Unmap() })
	if in != (d > 0) {
		return errors.Join(nft.ErrUnknown, sent)
	}
	return nil
}

// Quarantines lists the endpoints that are cut off, by address.
func (k *Kernel) Quarantines(ctx context.Context) ([]Quarantined, error) {
	var out []Quarantined
	_, err := k.c.stable(ctx, func() error {
		out = nil
		for _, name := range []string{"w_quar4", "w_quar6"} {
			if err := k.c.elements(ctx, ours, name, func(e *elemInfo) {
				if a, ok := netip.AddrFromSlice(e.key); ok {
					out = append(out, Quarantined{a, e.left})
				}
			}); err != nil {
				return err
			}
		}
		return nil
	})
	slices.SortFunc(out, func(a, b Quarantined) int { return a.Addr.Compare(b.Addr) })
	return out, err
}

// Honeypot lets captured flows live for d more, in both families; 0 ends them.
// Without a refresh within d the kernel alone ends them.
//
//	flush set inet weir w_hp ; add element inet weir w_hp { ipv4 timeout D, ipv6 timeout D }
func (k *Kernel) Honeypot(ctx context.Context, d time.Duration) error {
	s := familyMap(nft.HoneypotSet)
	s.Data, s.HasTimeout = "", true
	b := newBatch(false)
	b.flushSet(ours, s.Name)
	if d > 0 {
		for _, f := range families {
			b.put(ours, s, newElem, create, nft.Element{Key: f.key, Timeout: d})
		}
	}
	if err := k.c.transact(ctx, b.finish(true)); err != nil {
		return fmt.Errorf("cannot set the honeypot's lease: %w", err)
	}
	n, err := k.c.count(ctx, ours, s.Name)
	if err != nil {
		return errors.Join(nft.ErrUnknown, err)
	}
	if (n > 0) != (d > 0) {
		return fmt.Errorf("cannot set the honeypot's lease: read back, %d elements: %w", n, nft.ErrUnknown)
	}
	return nil
}
