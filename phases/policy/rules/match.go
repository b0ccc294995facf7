package rules

import (
	"fmt"
	"net/netip"
	"strings"

	"weir/phases/flow"
)

// Match is what a rule asks of a packet. Every list is a conjunction; the zero
// value matches every packet.
type Match struct {
	Family   flow.Family // "" is both
	Src, Dst []Addrs
	Services []Services // protocol with destination port, or with ICMP type and code
	SrcPorts []Ports    // of protocols that have ports
	In, Out  []Interfaces
	States   States // of connection tracking; 0 is any
	Tests    []Test // what the header does not decide
}

// And returns the conjunction of two matches. Different families give a match
// of nothing.
func (m Match) And(o Match) Match {
	m.Src, m.Dst = join(m.Src, o.Src), join(m.Dst, o.Dst)
	m.Services, m.SrcPorts = join(m.Services, o.Services), join(m.SrcPorts, o.SrcPorts)
	m.In, m.Out, m.Tests = join(m.In, o.In), join(m.Out, o.Out), join(m.Tests, o.Tests)
	switch {
	case m.Family == "":
		m.Family = o.Family
	case o.Family != "" && o.Family != m.Family:
		m.Src = append(m.Src, Addrs{})
	}
	switch {
	case m.States == 0:
		m.States = o.States
	case o.States != 0:
		if m.States &= o.States; m.States == 0 {
			m.Src = append(m.Src, Addrs{})
		}
	}
	return m
}

func join[T any](a, b []T) []T { return append(a[:len(a):len(a)], b...) }

// AddrRange is the addresses of one family from Lo to Hi, both included.
type AddrRange struct{ Lo, Hi netip.Addr }

// PrefixRange returns the addresses of a prefix. Bits beyond its length are
// ignored.
func PrefixRange(p netip.Prefix) AddrRange {
	p = p.Masked()
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	hi, _ := netip.AddrFromSlice(b)
	return AddrRange{p.Addr(), hi}
}

// Contains says whether an address is in the range.
func (r AddrRange) Contains(a netip.Addr) bool {
	return a.Is4() == r.Lo.Is4() && r.Lo.Compare(a) <= 0 && a.Compare(r.Hi) <= 0
}

// Addrs is a set of addresses, or the addresses of the rule's family outside
// it. The zero value matches no address.
type Addrs struct {
	Ranges []AddrRange
	Not    bool
	Set    string // the name of the set that they were written as, or ""
}

// Service is a protocol number with a destination port, or with an ICMP type
// and code (type·256 + code), or with 0, in one number: proto<<16 | port.
// All protocols thus lie on one line.
type Service uint32

// MaxService is the last Service.
const MaxService Service = 255<<16 | 0xffff

// ServiceOf returns the service of a protocol and port.
func ServiceOf(p flow.Proto, port uint16) Service { return Service(p)<<16 | Service(port) }

// Proto returns the protocol.
func (s Service) Proto() flow.Proto { return flow.Proto(s >> 16) }

// Port returns the port, or type·256 + code, or 0.
func (s Service) Port() uint16 { return uint16(s) }

func (s Service) String() string {
	switch p := s.Proto(); {
	case p.HasPorts():
		return fmt.Sprintf("%s/%d", p, s.Port())
	case p.IsICMP():
		return fmt.Sprintf("%s/%d:%d", p, s.Port()>>8, s.Port()&255)
	case p == 0:
		return "ip/0"
	default:
		return p.String()
	}
}

// ServiceRange is the services from Lo to Hi, both included.
type ServiceRange struct{ Lo, Hi Service }

// Protocol returns every service of a protocol.
func Protocol(p flow.Proto) ServiceRange {
	return ServiceRange{ServiceOf(p, 0), ServiceOf(p, 0xffff)}
}

// PortsOf returns a protocol's ports from lo to hi.
func PortsOf(p flow.Proto, lo, hi uint16) ServiceRange {
	return ServiceRange{ServiceOf(p, lo), ServiceOf(p, hi)}
}

// ICMPType returns every code of one type.
func ICMPType(p flow.Proto, typ uint8) ServiceRange {
	return ServiceRange{ServiceOf(p, uint16(typ)<<8), ServiceOf(p, uint16(typ)<<8|255)}
}

// Services is a set of services, or what is outside it. "! --dport 80" of tcp
// is two elements of a conjunction: tcp, and not tcp/80.
type Services struct {
	Ranges []ServiceRange
	Not    bool
}

// PortRange is ports from Lo to Hi, both included.
type PortRange struct{ Lo, Hi uint16 }

// Ports is a set of ports, or what is outside it.
type Ports struct {
	Ranges []PortRange
	Not    bool
}

// Interfaces is a set of names, or what is outside it. A name that ends in "+"
// stands for all that begin so; "+" alone for all.
type Interfaces struct {
	Names []string
	Not   bool
}

// Has says whether an interface's name is in the set.
func (i Interfaces) Has(name string) bool {
	for _, n := range i.Names {
		if p, wild := strings.CutSuffix(n, "+"); wild && strings.HasPrefix(name, p) || n == name {
			return !i.Not
		}
	}
	return i.Not
}

// States is a set of states of connection tracking.
type States uint8

// The states, each a bit.
const (
	New States = 1 << iota
	Established
	Related
	Invalid
	Untracked
	AnyState = New | Established | Related | Invalid | Untracked
)

// StateNames are the states' names in the order of their bits.
var StateNames = []string{"new", "established", "related", "invalid", "untracked"}

func (s States) String() string {
	var out []string
	for i, n := range StateNames {
		if s&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	return strings.Join(out, ",")
}

// Test is a question that the header does not answer: the sender's uid, its
// MAC, a mark, a rate. Tests of the same text have the same answer, except
// where Own is set: then each rule's line has its own (rates, recent lists).
type Test struct {
	Text string // as written, without the negation
	Not  bool
	Own  bool
	Line int // of the rule, where Own is set
	File string
}

// Key names the question.
func (t Test) Key() string {
	if t.Own {
		return fmt.Sprintf("%s (%s:%d)", t.Text, t.File, t.Line)
	}
	return t.Text
}
