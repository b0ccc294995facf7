package monitor

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"weir/phases/flow"
)

// Discovered is how far the discovery of a group's destinations and services
// has come. It can say that too little was seen, never that all was: a quarter
// end is not in any statistics before it comes.
type Discovered struct {
	Group  string   `json:"group"`
	Pairs  int      `json:"pairs"`  // different destinations with a service
	Days   int      `json:"days"`   // on which anything was seen
	Once   int      `json:"once"`   // pairs seen on one day only
	Twice  int      `json:"twice"`  // on two
	Unseen float64  `json:"unseen"` // estimate of the pairs that exist and were not seen: a lower bound
	Curve  []NewOne `json:"curve"`  // how many pairs were first seen on each day that had any
}

// NewOne is a day of the discovery curve.
type NewOne struct {
	Day   string `json:"day"`
	Pairs int    `json:"pairs"`
}

// Discovery estimates per group, from the days on which each pair was seen, how
// much was not seen: Chao2, bias-corrected (A. Chao, "Estimating the population
// size for capture-recapture data with unequal catchability", Biometrics 43,
// 1987).
func Discovery(rows []Row) []Discovered {
	type pair struct {
		server  netip.Addr
		service flow.Service
	}
	groups := map[string]map[pair]*Days{}
	for _, r := range rows {
		if !r.Normal() || !r.Answered && !r.OneWay {
			continue
		}
		if groups[r.Group] == nil {
			groups[r.Group] = map[pair]*Days{}
		}
		k := pair{r.Server, r.Service}
		if groups[r.Group][k] == nil {
			groups[r.Group][k] = &Days{}
		}
		groups[r.Group][k].Union(r.Days)
	}
	var out []Discovered
	for _, g := range sortedKeys(groups, cmp.Compare[string]) {
		d := Discovered{Group: g, Pairs: len(groups[g])}
		var all Days
		fresh := map[int32]int{}
		for _, days := range groups[g] {
			all.Union(*days)
			switch days.Len() {
			case 1:
				d.Once++
			case 2:
				d.Twice++
			}
			fresh[days.List()[0]]++
		}
		d.Days = all.Len()
		t, q1, q2 := float64(d.Days), float64(d.Once), float64(d.Twice)
		d.Unseen = (t - 1) / t * q1 * (q1 - 1) / (2 * (q2 + 1))
		for _, day := range slices.Sorted(maps.Keys(fresh)) {
			d.Curve = append(d.Curve, NewOne{dayText(day), fresh[day]})
		}
		out = append(out, d)
	}
	return out
}
