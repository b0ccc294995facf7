// Package oracle decides a packet by reading a compile.Input from top to bottom,
// as the documents say it in words. Compiled rulesets are compared with it, in
// the interpreter and in the kernel. It shares no code with the compiler: no
// sets, no chains, no flattening, a linear search each time.
package oracle

import (
	"net/netip"
	"slices"
	"strings"

	"weir/nft/eval"
	"weir/phases/compile"
	"weir/phases/flow"
	"weir/phases/policy"
)

// World is what changes outside revisions.
type World struct {
	Quarantined []netip.Addr
	Back        []string           // groups put back to alert
	Spared      []string           // groups whose open connections are spared
	NoSpare     []compile.Lifeline // pairs that an exception let in: never spared
	Unblocked   []compile.Lifeline // exceptions
	Shares      map[string]string  // Decision.Share → "in" or "out", once known
}

// Decision is what becomes of a packet and which counter says so.
type Decision struct {
	Verdict string // as eval.Trace says it
	Counter string // the last named counter, "" where none
	Share   string // the group and client where only a share decides that is not yet in World.Shares
	Pot     bool   // nat sends it to the honeypot while the lease holds
	Differs string // the counter that says that a shadow's candidate disagrees, "" where it does not
}

func inAny(a netip.Addr, list []netip.Prefix) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func serves(list []flow.Service, proto flow.Proto, port uint16) bool {
	if len(list) == 0 {
		return true
	}
	for _, s := range list {
		if s.Proto == proto && port >= s.Lo && port <= s.Hi {
			return true
		}
	}
	return false
}

func either(list []netip.Prefix, a netip.Addr) bool { return len(list) == 0 || inAny(a, list) }

func isLocal(a netip.Addr) bool {
	return a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() || a == netip.MustParseAddr("255.255.255.255")
}

// Judge decides a packet.
func Judge(in compile.Input, w *World, p eval.Packet) Decision {
	tracked := p.State != eval.Untracked && p.State != eval.Invalid
	v4 := p.Src.Is4()
	// an ICMP of the other family has no service that could be named
	fits := !(p.Proto == flow.ICMP && !v4) && !(p.Proto == flow.ICMPv6 && v4)
	pickup := p.Proto == flow.TCP && p.State == eval.New && p.TCPFlags&0x17 != 0x02
	switch {
	case slices.Contains(w.Quarantined, p.Src) && (tracked && p.Reply || p.State == eval.Related || !tracked || pickup && p.Status&1 == 0):
		// an endpoint that is cut off answers nobody
	case tracked && p.Reply:
		return Decision{Verdict: "accept", Counter: "w_reply"}
	case p.State == eval.Related:
		return Decision{Verdict: "accept", Counter: "w_related"}
	case tracked && p.Status&1 != 0:
		return Decision{Verdict: "accept", Counter: ""}
	case p.State == eval.Untracked:
		return Decision{Verdict: "accept", Counter: "w_untracked"}
	case p.State == eval.Invalid:
		return Decision{Verdict: "accept", Counter: "w_invalid"}
	case pickup:
		return Decision{Verdict: "accept", Counter: "w_pickup"}
	}

	// scope
	sc := in.Scope
	anyDenies := false
	for _, g := range in.Groups {
		if g.Treatment == compile.Drop || g.Treatment == compile.Reject || g.Treatment == compile.Honeypot {
			anyDenies = !in.Off
		}
	}
	fromInside := p.Hook == "o" || inAny(p.Src, sc.Inside) || slices.Contains(sc.InsideIfaces, p.In)
	toInside := inAny(p.Dst, sc.Inside) || slices.Contains(sc.InsideIfaces, p.Out)
	switch {
	case p.Out == "lo" || isLocal(p.Dst):
		return Decision{Verdict: "accept", Counter: "w_local"}
	case toInside && fromInside:
		return Decision{Verdict: "accept", Counter: "w_inside"}
	case toInside:
		if sc.Inbound == "refuse" && anyDenies && p.State == eval.New {
			for _, r := range sc.InboundAllow {
				if either(r.From, p.Src) && either(r.To, p.Dst) && serves(r.Services, p.Proto, p.Port) && (fits || len(r.Services) == 0) {
					return Decision{Verdict: "accept", Counter: "w_inbound"}
				}
			}
			return Decision{Verdict: "drop", Counter: "w_refused"}
		}
		return Decision{Verdict: "accept", Counter: "w_inbound"}
	case !fromInside:
		return Decision{Verdict: "accept", Counter: "w_outside"}
	case len(sc.Outside)+len(sc.OutsideIfaces) > 0 && !inAny(p.Dst, sc.Outside) && !slices.Contains(sc.OutsideIfaces, p.Out):
		return Decision{Verdict: "accept", Counter: "w_outside"}
	}
	// lifelines
	if v4 && p.Proto == flow.ICMP && slices.Contains([]uint16{3, 11, 12}, p.Port) ||
		!v4 && p.Proto == flow.ICMPv6 && slices.Contains([]uint16{1, 2, 3, 4, 130, 131, 132, 133, 134, 135, 136, 143}, p.Port) {
		return Decision{Verdict: "accept", Counter: ""}
	}
	for _, l := range in.Lifelines {
		if lifeline(l, p, fits) {
			return Decision{Verdict: "accept", Counter: ""}
		}
	}
	if slices.Contains(w.Quarantined, p.Src) {
		return Decision{Verdict: "drop", Counter: "w_quarantined"}
	}
	if in.Off {
		return Decision{Verdict: "accept", Counter: ""}
	}

	// the group
	g := compile.Group{Name: "unassigned", Treatment: compile.Alert}
	for _, x := range in.Groups {
		if x.Name == "unassigned" {
			g = x
		}
	}
	if best, ok := groupOf(in, p); ok {
		g = best
	}
	if g.Treatment == compile.Open {
		return Decision{Verdict: "accept", Counter: "w_c_" + g.Name + "_allowed"}
	}
	for _, n := range in.Never {
		if (n.Group == "" || n.Group == g.Name) && either(n.From, p.Src) && either(n.To, p.Dst) &&
			serves(n.Services, p.Proto, p.Port) && (fits || len(n.Services) == 0) {
			// of several, drop comes first, then honeypot
			has := map[compile.Treatment]bool{}
			for _, m := range in.Never {
				if (m.Group == "" || m.Group == g.Name) && either(m.From, p.Src) && either(m.To, p.Dst) &&
					serves(m.Services, p.Proto, p.Port) && (fits || len(m.Services) == 0) {
					if m.Deny == "" {
						has[g.Treatment] = true
					}
					has[m.Deny] = true
				}
			}
			deny := compile.Reject
			if has[compile.Honeypot] {
				deny = compile.Honeypot
			}
			if has[compile.Drop] {
				deny = compile.Drop
			}
			return denied(w, g, deny, p)
		}
	}
	d := Decision{Verdict: "accept", Counter: "w_c_" + g.Name + "_allowed"}
	allowed := fits && allows(in.Policy, g.Name, p)
	if !allowed {
		d = denied(w, g, g.Treatment, p)
	}
	if s := in.Shadow; s != nil && slices.Contains(s.Groups, g.Name) {
		candidate := fits && allows(s.Policy, g.Name, p)
		for _, n := range s.Never {
			if (n.Group == "" || n.Group == g.Name) && either(n.From, p.Src) && either(n.To, p.Dst) &&
				serves(n.Services, p.Proto, p.Port) && (fits || len(n.Services) == 0) {
				candidate = false
			}
		}
		switch {
		case candidate && !allowed:
			d.Differs = compile.WidensCounter(g.Name)
		case allowed && !candidate:
			d.Differs = compile.NarrowsCounter(g.Name)
		}
	}
	return d
}

// allows says whether a policy has a rule for a packet of a group.
func allows(pol policy.Policy, group string, p eval.Packet) bool {
	for _, r := range pol.Rules {
		family := len(r.Families) == 0
		for _, f := range r.Families {
			family = family || (f == flow.IPv4) == p.Src.Is4()
		}
		if r.Group == group && family && either(r.Endpoints, p.Src) && either(r.To, p.Dst) && serves(r.Services, p.Proto, p.Port) {
			return true
		}
	}
	return false
}

func lifeline(l compile.Lifeline, p eval.Packet, fits bool) bool {
	port := p.Port
	if l.Reply && p.Proto.HasPorts() {
		port = p.SrcPort
	}
	return either(l.From, p.Src) && either(l.To, p.Dst) && serves(l.Services, p.Proto, port) && (fits || len(l.Services) == 0)
}

// groupOf finds a packet's group: this machine's own, MAC, longest prefix,
// interface.
func groupOf(in compile.Input, p eval.Packet) (compile.Group, bool) {
	if p.Hook == "o" {
		for _, g := range in.Groups {
			if g.Self && p.UID != nil && slices.Contains(g.UIDs, *p.UID) {
				return g, true
			}
		}
		for _, g := range in.Groups {
			if g.Self && len(g.UIDs) == 0 {
				return g, true
			}
		}
	}
	if p.Hook == "f" && len(p.MAC) == 6 && (len(in.Links) == 0 || inAny(p.Src, in.Links)) {
		for _, g := range in.Groups {
			for _, m := range g.MACs {
				if strings.EqualFold(m, macText(p.MAC)) {
					return g, true
				}
			}
		}
	}
	best, bits := compile.Group{}, -1
	for _, g := range in.Groups {
		for _, m := range g.Members {
			if m.Contains(p.Src) && m.Bits() > bits {
				best, bits = g, m.Bits()
			}
		}
	}
	if bits >= 0 {
		return best, true
	}
	for _, g := range in.Groups {
		if p.Hook == "f" && slices.Contains(g.Ifaces, p.In) {
			return g, true
		}
	}
	return compile.Group{}, false
}

func macText(b []byte) string {
	const hex = "0123456789abcdef"
	var out []string
	for _, x := range b {
		out = append(out, string([]byte{hex[x>>4], hex[x&15]}))
	}
	return strings.Join(out, ":")
}

func denied(w *World, g compile.Group, t compile.Treatment, p eval.Packet) Decision {
	would := Decision{Verdict: "accept", Counter: "w_c_" + g.Name + "_would"}
	if g.Treatment == compile.Alert {
		return would
	}
	if len(g.Prefixes) > 0 && !inAny(p.Src, g.Prefixes) {
		return would
	}
	if g.Share > 0 && g.Share < 100 {
		if g.ShareBy == "ipv4" && !p.Src.Is4() || g.ShareBy == "mac" && len(p.MAC) != 6 {
			return would
		}
		client := g.Name + " " + p.Src.String()
		if g.ShareBy == "mac" {
			client = g.Name + " " + macText(p.MAC)
		}
		switch w.Shares[client] {
		case "out":
			return would
		case "":
			d := deniedAll(w, g, t, p)
			d.Share = client
			return d
		}
	}
	return deniedAll(w, g, t, p)
}

func deniedAll(w *World, g compile.Group, t compile.Treatment, p eval.Packet) Decision {
	for _, e := range w.Unblocked {
		if either(e.From, p.Src) && either(e.To, p.Dst) && serves(e.Services, p.Proto, p.Port) {
			return Decision{Verdict: "accept", Counter: ""}
		}
	}
	if slices.Contains(w.Back, g.Name) {
		return Decision{Verdict: "accept", Counter: "w_c_" + g.Name + "_would"}
	}
	if p.State == eval.Established && slices.Contains(w.Spared, g.Name) && !slices.ContainsFunc(w.NoSpare, func(l compile.Lifeline) bool { return either(l.From, p.Src) && either(l.To, p.Dst) }) {
		return Decision{Verdict: "accept", Counter: "w_spared"}
	}
	d := Decision{Verdict: "reject with icmpx admin-prohibited", Counter: "w_c_" + g.Name + "_denied"}
	switch {
	case t == compile.Drop || p.State == eval.Established:
		d.Verdict = "drop"
	case p.Proto == flow.TCP:
		d.Verdict = "reject with tcp reset"
		d.Pot = t == compile.Honeypot && p.Hook == "f" && p.State == eval.New
	}
	return d
}
