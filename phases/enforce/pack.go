package enforce

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/phases/policy"
)

type packed struct {
	rule  policy.Rule
	flows []flow.Flow
}

// pack joins cells into rules that allow exactly the cells: the services of one
// pair of endpoint and destination, then the destinations with equal services,
// then the endpoints with equal destinations and services.
func pack(cells map[cell][]*monitor.Row) []packed {
	type pair struct {
		group          string
		reason         policy.Reason
		endpoint, dest netip.Addr
	}
	pairs := map[pair][]flow.Service{}
	flows := map[pair][]flow.Flow{}
	for c, rows := range cells {
		k := pair{c.group, c.reason, c.endpoint, c.dest}
		pairs[k] = append(pairs[k], c.service)
		for _, r := range rows {
			flows[k] = append(flows[k], r.Flow())
		}
	}
	type byEndpoint struct {
		group    string
		reason   policy.Reason
		endpoint netip.Addr
		services string
	}
	type block struct {
		dests    []netip.Addr
		services []flow.Service
		flows    []flow.Flow
	}
	blocks := map[byEndpoint]*block{}
	for k, ss := range pairs {
		ss = flow.MergeServices(ss)
		be := byEndpoint{k.group, k.reason, k.endpoint, servicesText(ss)}
		if blocks[be] == nil {
			blocks[be] = &block{services: ss}
		}
		if k.dest.IsValid() {
			blocks[be].dests = append(blocks[be].dests, k.dest)
		}
		blocks[be].flows = append(blocks[be].flows, flows[k]...)
	}
	rules := map[string]*packed{}
	for k, bl := range blocks {
		slices.SortFunc(bl.dests, netip.Addr.Compare)
		text := fmt.Sprint(k.group, k.reason, k.endpoint.IsValid(), bl.dests, k.services)
		if rules[text] == nil {
			rules[text] = &packed{rule: policy.Rule{Group: k.group, Reason: k.reason, Services: bl.services, To: singles(bl.dests)}}
		}
		if k.endpoint.IsValid() {
			r := &rules[text].rule
			r.Endpoints = append(r.Endpoints, netip.PrefixFrom(k.endpoint, k.endpoint.BitLen()))
		}
		rules[text].flows = append(rules[text].flows, bl.flows...)
	}
	out := make([]packed, 0, len(rules))
	for _, p := range rules {
		slices.SortFunc(p.rule.Endpoints, comparePrefixes)
		slices.SortFunc(p.flows, flow.Compare)
		out = append(out, *p)
	}
	return out
}

func servicesText(ss []flow.Service) string {
	texts := make([]string, len(ss))
	for i, s := range ss {
		texts[i] = s.String()
	}
	return strings.Join(texts, " ")
}

func singles(as []netip.Addr) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range as {
		out = append(out, netip.PrefixFrom(a, a.BitLen()))
	}
	return out
}

// ruleList collects rules with their origins.
type ruleList struct {
	rules   []policy.Rule
	origins []Origin
}

func (l *ruleList) add(r policy.Rule, o Origin) {
	l.rules = append(l.rules, r)
	l.origins = append(l.origins, o)
}

// sorted returns the rules in an order that depends on nothing but them.
func (l *ruleList) sorted() (policy.Policy, []Origin) {
	order := make([]int, len(l.rules))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return compareRules(l.rules[a], l.rules[b]) })
	p := policy.Policy{Rules: make([]policy.Rule, 0, len(order))}
	origins := make([]Origin, 0, len(order))
	for _, i := range order {
		p.Rules = append(p.Rules, l.rules[i])
		origins = append(origins, l.origins[i])
	}
	return p, origins
}

func compareRules(a, b policy.Rule) int {
	return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Name, b.Name),
		slices.CompareFunc(a.To, b.To, comparePrefixes), slices.CompareFunc(a.Endpoints, b.Endpoints, comparePrefixes),
		slices.CompareFunc(a.Services, b.Services, flow.CompareServices), a.Expires.Compare(b.Expires))
}
