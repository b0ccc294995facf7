package infer

import (
	"cmp"
	"slices"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

// group is services as a person writes them: protocols, each with all of the
// ports. No ports are all of them.
type group struct {
	protos []flow.Proto
	ports  []rules.PortRange // of ICMP: type·256 + code
}

func (g group) items() int { return len(g.protos) + len(g.ports) }

// groups writes services as few groups: by the set of protocols that share a
// port, or by protocol, whichever is fewer.
func groups(list []rules.ServiceRange) []group {
	ports := map[flow.Proto][]rules.PortRange{}
	var whole []flow.Proto
	for _, r := range list {
		for p := r.Lo.Proto(); ; p++ {
			lo, hi := max(r.Lo, rules.ServiceOf(p, 0)), min(r.Hi, rules.ServiceOf(p, 0xffff))
			if lo.Port() == 0 && hi.Port() == 0xffff || !p.HasPorts() && !p.IsICMP() {
				whole = append(whole, p)
			} else {
				ports[p] = append(ports[p], rules.PortRange{Lo: lo.Port(), Hi: hi.Port()})
			}
			if p == r.Hi.Proto() {
				break
			}
		}
	}
	var out []group
	slices.Sort(whole)
	if whole = slices.Compact(whole); len(whole) > 0 {
		out = append(out, group{protos: whole})
	}
	var withPorts []flow.Proto
	for p := range ports {
		ports[p] = tidyPorts(ports[p])
		if p.HasPorts() {
			withPorts = append(withPorts, p)
		} else {
			out = append(out, group{[]flow.Proto{p}, ports[p]})
		}
	}
	slices.Sort(withPorts)
	var single []group
	for _, p := range withPorts {
		single = append(single, group{[]flow.Proto{p}, ports[p]})
	}
	if shared := byProtocols(withPorts, ports); cost(shared) <= cost(single) {
		single = shared
	}
	out = append(out, single...)
	slices.SortStableFunc(out, func(a, b group) int { return cmp.Compare(a.protos[0], b.protos[0]) })
	return out
}

func cost(gs []group) (n int) {
	for _, g := range gs {
		n += g.items() + 1
	}
	return n
}

// byProtocols gives each set of protocols the ports that exactly those have.
func byProtocols(protos []flow.Proto, ports map[flow.Proto][]rules.PortRange) []group {
	var cuts []int
	for _, list := range ports {
		for _, r := range list {
			cuts = append(cuts, int(r.Lo), int(r.Hi)+1)
		}
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	var out []group
	at := map[string]int{}
	for i := 0; i+1 < len(cuts); i++ {
		var who []flow.Proto
		for _, p := range protos {
			if slices.ContainsFunc(ports[p], func(r rules.PortRange) bool { return int(r.Lo) <= cuts[i] && cuts[i] <= int(r.Hi) }) {
				who = append(who, p)
			}
		}
		if len(who) == 0 {
			continue
		}
		k := ""
		for _, p := range who {
			k += string(rune(p))
		}
		j, ok := at[k]
		if !ok {
			j = len(out)
			at[k] = j
			out = append(out, group{protos: who})
		}
		out[j].ports = append(out[j].ports, rules.PortRange{Lo: uint16(cuts[i]), Hi: uint16(cuts[i+1] - 1)})
	}
	for i := range out {
		out[i].ports = tidyPorts(out[i].ports)
	}
	return out
}

func tidyPorts(list []rules.PortRange) []rules.PortRange {
	slices.SortFunc(list, func(a, b rules.PortRange) int { return cmp.Compare(a.Lo, b.Lo) })
	var out []rules.PortRange
	for _, r := range list {
		if n := len(out); n > 0 && int(r.Lo) <= int(out[n-1].Hi)+1 {
			out[n-1].Hi = max(out[n-1].Hi, r.Hi)
			continue
		}
		out = append(out, r)
	}
	return out
}

// serviceItems is how many items a list of services is.
func serviceItems(list []rules.ServiceRange) (n int) {
	for _, g := range groups(list) {
		n += g.items()
	}
	return n
}

// tidyServices sorts and joins ranges that touch within a protocol.
func tidyServices(list []rules.ServiceRange) []rules.ServiceRange {
	slices.SortFunc(list, func(a, b rules.ServiceRange) int { return cmp.Compare(a.Lo, b.Lo) })
	var out []rules.ServiceRange
	for _, r := range list {
		if n := len(out); n > 0 && r.Lo <= out[n-1].Hi+1 {
			out[n-1].Hi = max(out[n-1].Hi, r.Hi)
			continue
		}
		out = append(out, r)
	}
	return out
}
