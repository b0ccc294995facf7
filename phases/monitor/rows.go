package monitor

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"weir/phases/flow"
)

// Classifier says which group an endpoint is in. plans.Classifier is one.
type Classifier interface {
	// Group returns the group of a source address, by its link address, its
	// prefix or the interface it came in by; mac and iface may be "".
	Group(src netip.Addr, mac, iface string) string
	// GroupSelf returns the group of this machine's own traffic by the user
	// that sent it; nil where the user is not known.
	GroupSelf(uid *uint32) string
}

// Row is one flow of one group.
type Row struct {
	Group       string           `json:"group"`
	Client      netip.Addr       `json:"client"`
	Server      netip.Addr       `json:"server"`
	Service     flow.Service     `json:"service"`
	Asked       []netip.AddrPort `json:"asked,omitempty"` // what the client asked for, where it was translated
	First       time.Time        `json:"first"`
	Last        time.Time        `json:"last"`
	Days        Days             `json:"days"`
	Connections uint64           `json:"connections"`
	BytesOut    uint64           `json:"bytesOut"`
	BytesIn     uint64           `json:"bytesIn"`
	Answered    bool             `json:"answered"`
	OneWay      bool             `json:"oneWay,omitempty"`   // never answered, of a kind that needs no answer
	Guessed     bool             `json:"guessed,omitempty"`  // the direction may be reversed
	Traced      bool             `json:"traced"`             // connection tracking spoke of it
	Inbound     bool             `json:"inbound,omitempty"`  // opened from outside; Client is the outside host
	Opening     string           `json:"opening,omitempty"`  // evidence of this opening, not of normal traffic
	Excluded    string           `json:"excluded,omitempty"` // id of the excision that took it out
	MACs        []string         `json:"macs,omitempty"`
	Ifaces      []string         `json:"ifaces,omitempty"`
	Sources     []string         `json:"sources,omitempty"`
	UIDs        []uint32         `json:"uids,omitempty"`
	Units       []string         `json:"units,omitempty"`
}

// Flow returns the row's flow.
func (r Row) Flow() flow.Flow {
	return flow.Flow{Client: r.Client, Server: r.Server, Proto: r.Service.Proto, Port: r.Service.Lo}
}

// Normal says whether the row is evidence of normal outbound traffic: not of an
// opening, not taken out, not opened from outside.
func (r Row) Normal() bool { return !r.Inbound && r.Opening == "" && r.Excluded == "" }

// Active says whether the row is normal, was answered, and has a certain
// direction.
func (r Row) Active() bool { return r.Normal() && r.Answered && !r.Guessed }

// oneWayProto says whether a protocol can be of use without any answer.
func oneWayProto(p flow.Proto) bool {
	switch p {
	case flow.TCP, flow.SCTP, flow.DCCP, flow.ICMP, flow.ICMPv6:
		return false
	}
	return true
}

// GroupOf returns the groups of a record by the evidence's own knowledge of
// addresses: a dump knows no link address, an earlier record may.
func (e *Evidence) GroupOf(c Classifier, r flow.Record) string {
	v := viaOf(r)
	if r.Inbound {
		return e.groupsOf(c, r.Server, nil)[0]
	}
	if v.known() {
		return e.groupsOf(c, r.Client.Unmap(), []Via{v})[0]
	}
	return e.groupsOf(c, r.Client.Unmap(), nil)[0]
}

// groupsOf returns the groups of an inside address as it was seen; where the
// flow itself was seen by readers that know neither MAC nor interface, by the
// latest that is known of the address. Never empty.
func (e *Evidence) groupsOf(c Classifier, a netip.Addr, vias []Via) []string {
	placed := func(v Via) bool { return v.MAC != "" || v.Iface != "" || v.Self }
	if !slices.ContainsFunc(vias, placed) {
		latest := Via{UID: -1}
		for _, v := range e.hosts[a] {
			if v.Last.After(latest.Last) {
				latest = v
			}
		}
		if !placed(latest) {
			return []string{c.Group(a, "", "")}
		}
		vias = []Via{latest}
	}
	var out []string
	for _, v := range vias {
		if !placed(v) {
			continue
		}
		group := ""
		switch {
		case v.Self && v.UID >= 0:
			uid := uint32(v.UID)
			group = c.GroupSelf(&uid)
		case v.Self:
			group = c.GroupSelf(nil)
		default:
			group = c.Group(a, v.MAC, v.Iface)
		}
		out = addSorted(out, group, cmp.Compare)
	}
	return out
}

// Rows returns every flow of every group, sorted by group, client, server,
// service, direction and opening. A flow that was sent by users of two groups
// is a row in each.
func (e *Evidence) Rows(c Classifier) []Row {
	type rowKey struct {
		group string
		key
		excluded string
	}
	sums := make(map[rowKey]*entry, len(e.flows))
	own := map[rowKey]bool{} // sums that are no longer the evidence's own entry
	for k, v := range e.flows {
		inside, vias := k.Client, v.via
		if k.inbound {
			inside, vias = k.Server, nil
		}
		for _, g := range e.groupsOf(c, inside, vias) {
			rk := rowKey{g, k, e.excisionOf(k.Flow, v.first)}
			rk.opening = e.openingFor(k.opening, g)
			have := sums[rk]
			switch {
			case have == nil:
				sums[rk] = v
				continue
			case !own[rk]:
				copied := &entry{}
				copied.merge(have)
				sums[rk], own[rk] = copied, true
			}
			sums[rk].merge(v)
		}
	}
	out := make([]Row, 0, len(sums))
	for k, v := range sums {
		r := Row{Group: k.group, Client: k.Client, Server: k.Server, Service: k.Service(), Asked: slices.Clone(v.asked),
			First: v.first, Last: v.last, Days: v.days.Clone(), Connections: v.connections(), BytesOut: v.out, BytesIn: v.in,
			Answered: v.answered, Guessed: !v.sure, Traced: v.traced, Inbound: k.inbound,
			Opening: k.opening, Excluded: k.excluded, MACs: macsOf(v.via), Sources: slices.Clone(v.sources)}
		r.OneWay = !r.Answered && r.Traced && oneWayProto(k.Proto)
		for _, x := range v.via {
			if x.Iface != "" {
				r.Ifaces = addSorted(r.Ifaces, x.Iface, strings.Compare)
			}
			if x.UID >= 0 {
				r.UIDs = addSorted(r.UIDs, uint32(x.UID), cmp.Compare)
			}
			if x.Unit != "" {
				r.Units = addSorted(r.Units, x.Unit, strings.Compare)
			}
		}
		out = append(out, r)
	}
	slices.SortFunc(out, compareRows)
	return out
}

func compareRows(a, b Row) int {
	return cmp.Or(cmp.Compare(a.Group, b.Group), flow.Compare(a.Flow(), b.Flow()),
		compareBool(a.Inbound, b.Inbound), cmp.Compare(a.Opening, b.Opening), cmp.Compare(a.Excluded, b.Excluded))
}
