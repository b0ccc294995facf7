package health

import (
	"net/netip"
	"slices"
	"time"

	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/phases/policy"
)

// Endpoint names the machine behind an address: by its link address where that is
// known and the address is on a link of this machine (behind a router all have
// the router's), else by the address.
func Endpoint(a netip.Addr, macs []string, links []netip.Prefix) string {
	if len(macs) > 0 && slices.ContainsFunc(links, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return slices.Min(macs)
	}
	return a.String()
}

// Forecast is what those who approve a step are told: how many endpoints will
// lose something that answered them before.
type Forecast struct {
	Endpoints int `json:"endpoints"`
	Flows     int `json:"flows"`
}

// Foresee counts what a policy denies, of the groups that a step denies
// something, of what was seen and answered.
func Foresee(pol policy.Policy, denies func(group string) bool, rows []monitor.Row, links []netip.Prefix) Forecast {
	index := policy.NewIndex(pol)
	ends := map[string]bool{}
	var f Forecast
	for _, r := range rows {
		if !r.Active() || !denies(r.Group) {
			continue
		}
		if _, ok := index.Allows(r.Group, r.Flow()); ok {
			continue
		}
		f.Flows++
		ends[Endpoint(r.Client, r.MACs, links)] = true
	}
	f.Endpoints = len(ends)
	return f
}

// Known is what endpoints had an answer from before a step was armed, as normal
// traffic.
type Known struct {
	flows         map[flow.Flow]known
	index         *policy.Index
	frozen, armed time.Time
	links         []netip.Prefix
}

type known struct {
	first time.Time
	macs  []string
}

// NewKnown reads the evidence for a step with a policy that was frozen, and later
// armed, at these moments.
func NewKnown(rows []monitor.Row, pol policy.Policy, frozen, armed time.Time, links []netip.Prefix) *Known {
	k := &Known{flows: map[flow.Flow]known{}, index: policy.NewIndex(pol), frozen: frozen, armed: armed, links: links}
	for _, r := range rows {
		if r.Active() && r.First.Before(armed) {
			k.flows[r.Flow()] = known{r.First, r.MACs}
		}
	}
	return k
}

// Losses lists what was denied since the step was armed and is known. What had
// answered before the step was frozen was foreseen where its policy does not
// allow it: who approved the step was told.
func (k *Known) Losses(judged []monitor.Judged) []Loss {
	var out []Loss
	for _, j := range judged {
		if j.Verdict != flow.Denied && j.Verdict != flow.Captured || j.Last.Before(k.armed) {
			continue
		}
		was, ok := k.flows[j.Flow]
		if !ok {
			continue
		}
		_, allowed := k.index.Allows(j.Group, j.Flow)
		out = append(out, Loss{Endpoint: Endpoint(j.Client, was.macs, k.links), Group: j.Group, Flow: j.Flow, At: j.Last, Foreseen: !allowed && was.first.Before(k.frozen)})
	}
	return out
}
