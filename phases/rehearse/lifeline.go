package rehearse

import (
	"net/netip"
	"slices"

	"weir/nft"
	"weir/nft/eval"
	"weir/phases/compile"
	"weir/phases/flow"
)

// LifelinePackets returns the packets of a lifeline, one of each service to each
// destination by each hook: what has to pass.
func LifelinePackets(in compile.Input, l compile.Lifeline) []eval.Packet {
	b := &builder{in: in}
	services := l.Services
	if len(services) == 0 {
		services = []flow.Service{flow.Single(flow.TCP, 7), flow.Single(flow.UDP, 7)}
	}
	var out []eval.Packet
	for _, hook := range hooks(in) {
		for _, to := range orAny(l.To, "203.0.113.253/32", "2001:db8:ffff::fd/128") {
			for _, from := range orAny(l.From, sources(in, hook)...) {
				if from.Addr().Is4() != to.Addr().Is4() {
					continue
				}
				for _, s := range services {
					p := eval.Packet{Hook: hook, Src: somebody(from), Dst: somebody(to), Proto: s.Proto, Port: s.Lo, Out: b.way(somebody(to))}
					if p.Src == p.Dst || !s.Proto.Fits(flow.FamilyOf(p.Dst)) {
						continue
					}
					if l.Reply && s.Proto.HasPorts() {
						p.SrcPort, p.Port = s.Lo, 51234
						p.TCPFlags = 0x10
					}
					if hook == nft.HookOutput {
						nobody := Nobody
						p.UID = &nobody
					} else {
						p.In = b.inside("")
					}
					out = append(out, p)
				}
			}
		}
	}
	return out
}

func hooks(in compile.Input) []string {
	var out []string
	if slices.Contains(in.Scope.Hooks, "forward") {
		out = append(out, nft.HookForward)
	}
	if slices.Contains(in.Scope.Hooks, "output") {
		out = append(out, nft.HookOutput)
	}
	return out
}

func orAny(list []netip.Prefix, otherwise ...string) []netip.Prefix {
	if len(list) > 0 {
		return list
	}
	var out []netip.Prefix
	for _, p := range otherwise {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// sources are addresses from which a lifeline for everybody is tried.
func sources(in compile.Input, hook string) []string {
	if hook == nft.HookOutput {
		return []string{"192.0.2.1/32", "2001:db8::1/128"}
	}
	var out []string
	for _, p := range in.Scope.Inside {
		out = append(out, p.String())
	}
	return out
}

// somebody is an address in a prefix.
func somebody(p netip.Prefix) netip.Addr {
	if p.IsSingleIP() {
		return p.Addr()
	}
	if a := p.Masked().Addr().Next().Next(); p.Contains(a) {
		return a
	}
	return p.Masked().Addr()
}
