package enforce

import (
	"net/netip"
	"slices"

	"weir/phases/finding"
	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/plans"
)

const firstHighPort = 1024

// manyPorts finds the peers that use more different high ports than people
// name: each is one question about the range, not one rule for each port.
func manyPorts(p *plans.Plan, rows []*monitor.Row) map[peer]flow.Service {
	ports := map[peer]map[uint16]bool{}
	add := func(k peer, port uint16) {
		if ports[k] == nil {
			ports[k] = map[uint16]bool{}
		}
		ports[k][port] = true
	}
	for _, r := range rows {
		if !r.Service.Proto.HasPorts() || r.Service.Lo < firstHighPort || !r.Answered && !r.OneWay {
			continue
		}
		add(peer{r.Group, r.Client, r.Server, r.Service.Proto}, r.Service.Lo)
		if g := p.Group(r.Group); g != nil && !slices.Contains(rulesBy(p, g), "destination") {
			add(peer{r.Group, r.Client, netip.Addr{}, r.Service.Proto}, r.Service.Lo)
		}
	}
	out := map[peer]flow.Service{}
	for k, set := range ports {
		limit := MaxPortsPerPeer
		if !k.server.IsValid() {
			limit = MaxPortsPerClient
		}
		if len(set) <= limit {
			continue
		}
		s := flow.Service{Proto: k.proto, Lo: 65535}
		for port := range set {
			s.Lo, s.Hi = min(s.Lo, port), max(s.Hi, port)
		}
		out[k] = s
	}
	return out
}

// holdMany holds a row back that is one of too many ports.
func (b *builder) holdMany(r *monitor.Row) bool {
	if !r.Service.Proto.HasPorts() || r.Service.Lo < firstHighPort {
		return false
	}
	if s, found := b.many[peer{r.Group, r.Client, r.Server, r.Service.Proto}]; found {
		b.lines.add(lineKey{finding.HighPorts, r.Group, s, netip.PrefixFrom(r.Server, r.Server.BitLen())}, sightingOf(r))
		return true
	}
	if s, found := b.many[peer{r.Group, r.Client, netip.Addr{}, r.Service.Proto}]; found {
		b.lines.add(lineKey{finding.HighPorts, r.Group, s, netip.Prefix{}}, sightingOf(r))
		return true
	}
	return false
}
