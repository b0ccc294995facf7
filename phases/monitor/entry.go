package monitor

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"weir/phases/flow"
)

// key is what a sum of records is kept by.
type key struct {
	flow.Flow
	inbound bool
	opening string // ids of the openings that let it in, sorted, joined by ","; "": none
}

func compareKeys(a, b key) int {
	return cmp.Or(flow.Compare(a.Flow, b.Flow), compareBool(a.inbound, b.inbound), cmp.Compare(a.opening, b.opening))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// Via is a way in which a flow's client was seen: its link address, the
// interface it came in by, and where the client is this machine itself (Self)
// the user and the unit. UID is -1 where it is not known.
type Via struct {
	MAC   string    `json:"mac,omitempty"`
	Iface string    `json:"iface,omitempty"`
	Self  bool      `json:"self,omitempty"`
	UID   int64     `json:"uid"`
	Unit  string    `json:"unit,omitempty"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

func (v Via) known() bool { return v.MAC != "" || v.Iface != "" || v.Self || v.Unit != "" }

func compareVia(a, b Via) int {
	return cmp.Or(cmp.Compare(a.MAC, b.MAC), cmp.Compare(a.Iface, b.Iface), compareBool(a.Self, b.Self), cmp.Compare(a.UID, b.UID),
		cmp.Compare(a.Unit, b.Unit))
}

func addVia(list []Via, v Via) []Via {
	i, found := slices.BinarySearchFunc(list, v, compareVia)
	if !found {
		return slices.Insert(list, i, v)
	}
	widen(&list[i].First, &list[i].Last, v.First, v.Last)
	return list
}

// widen makes the span first to last contain f to l.
func widen(first, last *time.Time, f, l time.Time) {
	if first.IsZero() || !f.IsZero() && f.Before(*first) {
		*first = f
	}
	if l.After(*last) {
		*last = l
	}
}

// entry is the sum of the records of one key.
type entry struct {
	first, last time.Time
	days        Days
	conns       uint64 // told apart by connection tracking's id
	sights      uint64 // first sights by the packet log
	imported    uint64 // new connections of readers without ids
	out, in     uint64 // bytes
	pout, pin   uint64 // packets
	answered    bool
	sure        bool // at least one record whose direction is certain
	traced      bool // connection tracking or an import spoke of it, so "not answered" means something
	via         []Via
	sources     []string
	asked       []netip.AddrPort
}

// merge adds o to e. It is commutative and associative.
func (e *entry) merge(o *entry) {
	widen(&e.first, &e.last, o.first, o.last)
	e.days.Union(o.days)
	e.conns += o.conns
	e.sights += o.sights
	e.imported += o.imported
	e.out += o.out
	e.in += o.in
	e.pout += o.pout
	e.pin += o.pin
	e.answered = e.answered || o.answered
	e.sure = e.sure || o.sure
	e.traced = e.traced || o.traced
	for _, v := range o.via {
		e.via = addVia(e.via, v)
	}
	for _, s := range o.sources {
		e.sources = addSorted(e.sources, s, cmp.Compare)
	}
	for _, a := range o.asked {
		e.asked = addSorted(e.asked, a, netip.AddrPort.Compare)
	}
}

func addSorted[T any](list []T, v T, compare func(a, b T) int) []T {
	i, found := slices.BinarySearchFunc(list, v, compare)
	if found {
		return list
	}
	return slices.Insert(list, i, v)
}

// connections is how many connections the entry stands for: those with an id
// and those that the packet log alone saw are the same ones seen by two
// readers, so the larger number counts.
func (e *entry) connections() uint64 { return max(e.conns, e.sights) + e.imported }

// connKey tells one connection from another.
type connKey struct {
	flow.Flow
	id      uint32
	srcPort uint16
	zone    uint16
}

func compareConns(a, b connKey) int {
	return cmp.Or(flow.Compare(a.Flow, b.Flow), cmp.Compare(a.id, b.id), cmp.Compare(a.srcPort, b.srcPort),
		cmp.Compare(a.zone, b.zone))
}

// conn is what is known of one connection that may go on. Bytes and packets are
// the kernel's totals.
type conn struct {
	key         key // that it counts under
	first, last time.Time
	out, in     uint64
	pout, pin   uint64
	closed      bool
}
