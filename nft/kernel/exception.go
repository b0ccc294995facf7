package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"weir/nft"
	"weir/phases/flow"
)

// shape is how an exception's one set and one rule look: by family and by what
// its service names.
type shape struct {
	family flow.Family
	key    []nft.Type
	fields []nft.Field
	number bool // the last field is a port or an ICMP type
}

// shapes by the key's type number, so that what is read back says what it is.
var shapes = func() map[uint32]shape {
	m := map[uint32]shape{}
	for _, a := range []struct {
		f        flow.Family
		typ      nft.Type
		src, dst nft.Field
		icmpType nft.Type
		icmp     nft.Field
	}{
		{flow.IPv4, nft.IPv4Addr, nft.IPSaddr, nft.IPDaddr, nft.ICMPType, nft.ICMPTypeF},
		{flow.IPv6, nft.IPv6Addr, nft.IP6Saddr, nft.IP6Daddr, nft.ICMPv6Type, nft.ICMP6TypeF},
	} {
		key, fields := []nft.Type{a.typ, a.typ}, []nft.Field{a.src, a.dst}
		for _, s := range []shape{
			{a.f, key, fields, false},
			{a.f, append(slices.Clone(key), nft.InetProto), append(slices.Clone(fields), nft.L4Proto), false},
			{a.f, append(slices.Clone(key), nft.InetProto, nft.InetService), append(slices.Clone(fields), nft.L4Proto, nft.ThDport), true},
			{a.f, append(slices.Clone(key), nft.InetProto, a.icmpType), append(slices.Clone(fields), nft.L4Proto, a.icmp), true},
		} {
			l, _ := keyLayout(s.key)
			m[l.id] = s
		}
	}
	return m
}()

// shapeOf returns the shape of an exception: addresses alone for the zero
// service, with the protocol for all of its ports, with ports or types else.
func shapeOf(f flow.Family, s flow.Service) shape {
	last := nft.InetService
	if s.Proto.IsICMP() {
		last = map[flow.Family]nft.Type{flow.IPv4: nft.ICMPType, flow.IPv6: nft.ICMPv6Type}[f]
	}
	for _, sh := range shapes {
		if sh.family != f {
			continue
		}
		switch {
		case s.Proto == 0 && len(sh.key) == 2,
			s.Proto != 0 && s == flow.All(s.Proto) && len(sh.key) == 3,
			s.Proto != 0 && s != flow.All(s.Proto) && sh.number && sh.key[3] == last:
			return sh
		}
	}
	panic("kernel: an exception without a shape")
}

const exceptionSet = "w_u_" // and the exception's id

// spareNever is how long after an exception's end the connections that it let
// in are still not spared: longer than any socket keeps trying.
const spareNever = 24 * time.Hour

// AddException lets From reach To by Service for a time that the kernel ends
// by itself. Any number may overlap; one with the id of an earlier one replaces
// it. What it lets in is never spared afterwards.
//
//	add set inet weir w_u_ID { type … ; flags interval,timeout ; counter ; }
//	add element inet weir w_u_ID { FROM . TO . PROTO . PORTS timeout T }
//	add rule inet weir w_unblocks ip saddr . ip daddr . meta l4proto . th dport @w_u_ID accept comment "ID"
func (k *Kernel) AddException(ctx context.Context, e nft.Exception) error {
	if err := checkException(e); err != nil {
		return fmt.Errorf("cannot add exception %s: %w", e.ID, err)
	}
	if err := k.addException(ctx, e); err != nil {
		return fmt.Errorf("cannot add exception %s: %w", e.ID, err)
	}
	return nil
}

func checkException(e nft.Exception) error {
	if len(e.ID) < 2 || len(e.ID) > 13 || e.ID[0] != 'e' || strings.Trim(e.ID[1:], "0123456789abcdef") != "" {
		return errors.New(`its id is not "e" and up to 12 hex digits`)
	}
	if !e.From.IsValid() || !e.To.IsValid() || e.From.Addr().Is4() != e.To.Addr().Is4() {
		return errors.New("it needs two prefixes of one family")
	}
	if e.For < time.Millisecond {
		return fmt.Errorf("it cannot last %v", e.For)
	}
	if e.Service.Proto != 0 && !e.Service.Proto.Fits(flow.FamilyOf(e.From.Addr())) {
		return fmt.Errorf("there is no %s in %s", e.Service.Proto, flow.FamilyOf(e.From.Addr()))
	}
	return nil
}

func (k *Kernel) addException(ctx context.Context, e nft.Exception) error {
	family := flow.FamilyOf(e.From.Addr())
	sh := shapeOf(family, e.Service)
	s, err := newSet(nft.Set{Name: exceptionSet + e.ID, Key: sh.key, Interval: true, HasTimeout: true, Counter: true})
	if err != nil {
		return err
	}
	lo, hi := bounds(e, sh)
	for range maxTries {
		b := newBatch(false)
		if err := k.sweep(ctx, b, e.ID); err != nil {
			return err
		}
		b.addSet(ours, &s)
		b.put(ours, &s, newElem, create, nft.Element{Key: lo, KeyEnd: hi, Timeout: e.For})
		rule := nft.Rule{Comment: e.ID, Stmts: []nft.Stmt{nft.Match{Fields: sh.fields, Set: s.Name}, nft.Verdict{Kind: "accept"}}}
		if err := b.addRule(ours, nft.UnblockChain, rule); err != nil {
			return err
		}
		if err := k.neverSpare(ctx, b, family, e); err != nil {
			return err
		}
		err = k.c.transact(ctx, b.finish(true))
		if errors.Is(err, errLost) {
			break
		}
		if err == nil {
			break
		}
		// What was to be cleaned may have lapsed meanwhile.
		if !errors.Is(err, unix.ENOENT) || !k.has(ctx, nft.UnblockChain) {
			return err
		}
	}
	found, lerr := k.Exceptions(ctx)
	if lerr != nil {
		return errors.Join(nft.ErrUnknown, err, lerr)
	}
	if !slices.ContainsFunc(found, func(x nft.Exception) bool { return x.ID == e.ID }) {
		return errors.Join(fmt.Errorf("read back, it is not in force"), err)
	}
	return nil
}

// has says whether a chain of ours exists; an unreadable table has none.
func (k *Kernel) has(ctx context.Context, chain string) bool {
	c, err := k.c.chains(ctx, ours)
	return err == nil && c[chain]
}

// bounds are the first and last key of an exception.
func bounds(e nft.Exception, sh shape) (lo, hi []byte) {
	pair := func(a, b []byte) {
		lo, hi = append(lo, padded(a)...), append(hi, padded(b)...)
	}
	pair(nft.Range(e.From))
	pair(nft.Range(e.To))
	if len(sh.key) > 2 {
		pair([]byte{byte(e.Service.Proto)}, []byte{byte(e.Service.Proto)})
	}
	if sh.number {
		if e.Service.Proto.IsICMP() {
			pair([]byte{byte(e.Service.Lo)}, []byte{byte(e.Service.Hi)})
		} else {
			pair(nft.Port(e.Service.Lo), nft.Port(e.Service.Hi))
		}
	}
	return lo, hi
}

func padded(b []byte) []byte {
	b = slices.Clone(b)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// EndException ends one exception now; the others go on. Ending one that has
// ended is no error.
func (k *Kernel) EndException(ctx context.Context, id string) error {
	b := newBatch(false)
	if err := k.sweep(ctx, b, id); err != nil {
		return fmt.Errorf("cannot end exception %s: %w", id, err)
	}
	var err error
	if !b.empty() {
		err = k.c.transact(ctx, b.finish(true))
	}
	found, lerr := k.Exceptions(ctx)
	if lerr != nil {
		return errors.Join(nft.ErrUnknown, err, lerr)
	}
	if slices.ContainsFunc(found, func(x nft.Exception) bool { return x.ID == id }) {
		return fmt.Errorf("cannot end exception %s: read back, it is still in force: %w", id, errors.Join(err, nft.ErrUnknown))
	}
	return nil
}

// sweep writes the removal of one exception and of all that have ended: first
// the rule, then its set.
func (k *Kernel) sweep(ctx context.Context, b *batch, id string) error {
	live, rules, sets, err := k.exceptions(ctx)
	if err != nil {
		return err
	}
	for name, handle := range rules {
		if _, ok := live[name]; !ok || name == id {
			b.deleteRule(ours, nft.UnblockChain, handle)
		}
	}
	for name := range sets {
		if _, ok := live[name]; !ok || name == id {
			b.deleteSet(ours, exceptionSet+name)
		}
	}
	return nil
}

// Exceptions lists those in force, by id, with the time that the kernel leaves
// them and what they let through.
func (k *Kernel) Exceptions(ctx context.Context) ([]nft.Exception, error) {
	live, rules, _, err := k.exceptions(ctx)
	if err != nil {
		return nil, err
	}
	var out []nft.Exception
	for id, e := range live {
		if _, ok := rules[id]; ok {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b nft.Exception) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

// exceptions reads which sets hold an element, which rules there are, by
// handle, and which sets.
func (k *Kernel) exceptions(ctx context.Context) (live map[string]nft.Exception, rules map[string]uint64, sets map[string]bool, err error) {
	_, err = k.c.stable(ctx, func() error {
		live, rules, sets = map[string]nft.Exception{}, map[string]uint64{}, map[string]bool{}
		if err := k.c.rules(ctx, ours, nft.UnblockChain, func(r ruleInfo) {
			if r.comment != "" {
				rules[r.comment] = r.handle
			}
		}); err != nil {
			return err
		}
		all, err := k.c.sets(ctx, ours)
		if err != nil {
			return err
		}
		for name, info := range all {
			id, ok := strings.CutPrefix(name, exceptionSet)
			if !ok {
				continue
			}
			sets[id] = true
			if err := k.c.elements(ctx, ours, name, func(e *elemInfo) {
				if x, ok := readException(id, info, e); ok {
					live[id] = x
				}
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("cannot read the exceptions: %w", err)
	}
	return live, rules, sets, err
}

func readException(id string, info setInfo, e *elemInfo) (nft.Exception, bool) {
	sh, ok := shapes[info.key]
	if !ok || len(e.keyEnd) != len(e.key) {
		return nft.Exception{}, false
	}
	x := nft.Exception{ID: id, For: e.left, Packets: e.packets, Bytes: e.bytes}
	n := 4
	if sh.family == flow.IPv6 {
		n = 16
	}
	if len(e.key) < 2*n+4*(len(sh.key)-2) {
		return nft.Exception{}, false
	}
	x.From = prefixOf(e.key[:n], e.keyEnd[:n])
	x.To = prefixOf(e.key[n:2*n], e.keyEnd[n:2*n])
	if len(sh.key) > 2 {
		x.Service = flow.All(flow.Proto(e.key[2*n]))
	}
	if sh.number {
		lo, hi := e.key[2*n+4:], e.keyEnd[2*n+4:]
		if x.Service.Proto.IsICMP() {
			x.Service.Lo, x.Service.Hi = uint16(lo[0]), uint16(hi[0])
		} else {
			x.Service.Lo, x.Service.Hi = uint16(lo[0])<<8|uint16(lo[1]), uint16(hi[0])<<8|uint16(hi[1])
		}
	}
	return x, true
}

// prefixOf is the shortest prefix that holds both addresses.
func prefixOf(lo, hi []byte) netip.Prefix {
	a, _ := netip.AddrFromSlice(lo)
	z, _ := netip.AddrFromSlice(hi)
	for n := a.BitLen(); n >= 0; n-- {
		if p, err := a.Prefix(n); err == nil && p.Contains(z) {
			return p
		}
	}
	return netip.Prefix{}
}
