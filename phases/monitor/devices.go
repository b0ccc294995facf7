package monitor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weir/phases/finding"
	"weir/plans"
)

// How many addresses of one link address are usual. IPv6 hosts make themselves
// new ones each day. A link address with more than a router's number is taken
// for a router's, whose addresses are not followed one by one.
const (
	usualV4       = 4
	usualV6       = 32
	usualV4Named  = 1 // of a link address that the plan names: its group is at stake
	routerFromAny = 16
)

// Findings reports what the evidence says of devices, of outside hosts that
// spoke first, and of losses. The same evidence gives the same findings.
func Findings(p *plans.Plan, e *Evidence, c Classifier) []finding.Finding {
	var out []finding.Finding
	out = append(out, e.deviceFindings(p, c)...)
	out = append(out, inboundFindings(e.Rows(c))...)
	out = append(out, e.lossFindings()...)
	finding.Sort(out)
	return out
}

func (e *Evidence) deviceFindings(p *plans.Plan, c Classifier) []finding.Finding {
	named := map[string]string{}
	for _, g := range p.Groups {
		for _, m := range g.MACs {
			named[m] = g.Name
		}
	}
	addresses := map[string][]netip.Addr{}
	for _, a := range sortedKeys(e.hosts, netip.Addr.Compare) {
		for _, v := range e.hosts[a] {
			if v.MAC != "" && !slices.Contains(addresses[v.MAC], a) {
				addresses[v.MAC] = append(addresses[v.MAC], a)
			}
		}
	}
	router := func(mac string) bool { return len(addresses[mac]) > routerFromAny && named[mac] == "" }
	byPrint := map[string]finding.Finding{}
	add := func(f finding.Finding) {
		if have, known := byPrint[f.Fingerprint]; known {
			f = finding.Merge(have, f)
		}
		byPrint[f.Fingerprint] = f
	}
	for _, mac := range sortedKeys(addresses, strings.Compare) {
		as := addresses[mac]
		v4 := 0
		for _, a := range as {
			if a.Is4() {
				v4++
			}
		}
		limit := usualV4
		if named[mac] != "" {
			limit = usualV4Named
		}
		if v4 <= limit && len(as)-v4 <= usualV6 {
			continue
		}
		f := finding.Finding{Fingerprint: finding.Fingerprint("many-addresses", mac), Kind: finding.ManyAddrs,
			Severity: finding.Notice, Group: named[mac], Count: uint64(len(as)), State: finding.New,
			Words: fmt.Sprintf("the link address %s has %d IPv4 and %d IPv6 addresses, such as %s: a router, a bridge or somebody who takes addresses",
				mac, v4, len(as)-v4, as[0])}
		if named[mac] != "" {
			f.Severity = finding.Warning
		}
		for _, a := range as {
			for _, v := range e.hosts[a] {
				if v.MAC == mac {
					widen(&f.First, &f.Last, v.First, v.Last)
				}
			}
		}
		add(f)
	}
	for _, a := range sortedKeys(e.hosts, netip.Addr.Compare) {
		vias := slices.Clone(e.hosts[a])
		slices.SortFunc(vias, func(x, y Via) int {
			if n := x.First.Compare(y.First); n != 0 {
				return n
			}
			return compareVia(x, y)
		})
		for i := 1; i < len(vias); i++ {
			was, is := vias[i-1], vias[i]
			f := finding.Finding{Severity: finding.Warning, Group: c.Group(a, is.MAC, is.Iface), Count: 1,
				First: is.First, Last: is.Last, State: finding.New}
			switch {
			case was.MAC != "" && is.MAC != "" && was.MAC != is.MAC && router(was.MAC) && router(is.MAC):
				f.Kind, f.Severity = finding.MACChange, finding.Notice
				f.Fingerprint = finding.Fingerprint("mac-change", was.MAC, is.MAC)
				f.Words = fmt.Sprintf("addresses moved from the router %s to the router %s, such as %s", was.MAC, is.MAC, a)
			case was.MAC != "" && is.MAC != "" && was.MAC != is.MAC:
				f.Kind = finding.MACChange
				f.Fingerprint = finding.Fingerprint("mac-change", a.String())
				f.Words = fmt.Sprintf("%s changed its link address from %s to %s", a, was.MAC, is.MAC)
			case was.Iface != "" && is.Iface != "" && was.Iface != is.Iface:
				f.Kind = finding.IfaceChange
				f.Fingerprint = finding.Fingerprint("iface-change", a.String())
				f.Words = fmt.Sprintf("%s came in by %s and then by %s", a, was.Iface, is.Iface)
			default:
				continue
			}
			add(f)
		}
	}
	out := make([]finding.Finding, 0, len(byPrint))
	for _, k := range sortedKeys(byPrint, strings.Compare) {
		out = append(out, byPrint[k])
	}
	return out
}

// inboundFindings reports who inside answered outside hosts that spoke first,
// and how much was sent out that way: a way out that no rule judges.
func inboundFindings(rows []Row) []finding.Finding {
	type answerer struct {
		group, service string
		addr           netip.Addr
	}
	sums := map[answerer]finding.Finding{}
	bytes := map[answerer]uint64{}
	for _, r := range rows {
		if !r.Inbound || !r.Answered {
			continue
		}
		k := answerer{r.Group, r.Service.String(), r.Server}
		f, known := sums[k]
		if !known {
			f = finding.Finding{Fingerprint: finding.Fingerprint("inbound", k.addr.String(), k.service), Kind: finding.Inbound,
				Severity: finding.Notice, Group: k.group, Service: k.service, State: finding.New}
		}
		widen(&f.First, &f.Last, r.First, r.Last)
		f.Count += r.Connections
		bytes[k] += r.BytesIn
		sums[k] = f
	}
	var out []finding.Finding
	for k, f := range sums {
		f.Words = fmt.Sprintf("outside hosts opened %s to %s, which sent %d bytes out by it", k.service, k.addr, bytes[k])
		out = append(out, f)
	}
	finding.Sort(out)
	return out
}

func (e *Evidence) lossFindings() []finding.Finding {
	sums := map[string]finding.Finding{}
	for _, g := range e.gaps {
		f, known := sums[g.Cause]
		if !known {
			f = finding.Finding{Fingerprint: finding.Fingerprint("loss", g.Cause), Kind: finding.Loss, Severity: finding.Warning,
				State: finding.New}
		}
		widen(&f.First, &f.Last, g.From, g.To)
		f.Count += max(1, g.Lost)
		f.Words = fmt.Sprintf("the capture lost records: %s, last at %s", g.Cause, f.Last.UTC().Format("2006-01-02 15:04 MST"))
		sums[g.Cause] = f
	}
	var out []finding.Finding
	for _, cause := range sortedKeys(sums, strings.Compare) {
		out = append(out, sums[cause])
	}
	return out
}
