package suggest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weir/phases/flow"
	"weir/plans"
)

// Named is a typical refactoring that was recognised: something that a group
// should not do, though some of it does.
type Named struct {
	Kind      string         `json:"kind"` // "mail-from-relays", "web-through-proxy", "needs-nothing"
	Words     string         `json:"words"`
	Groups    []string       `json:"groups"`    // who is narrowed
	Services  []flow.Service `json:"services"`  // none: all
	Never     bool           `json:"never"`     // it is a never entry; else the step's rules leave it out
	Endpoints int            `json:"endpoints"` // that did it all the same
	Examples  []netip.Addr   `json:"examples,omitempty"`
}

var mail = []flow.Service{flow.Single(flow.TCP, 25), flow.Single(flow.TCP, 465), flow.Single(flow.TCP, 587)}
var web = []flow.Service{flow.Single(flow.TCP, 80), flow.Single(flow.TCP, 443), flow.Single(flow.UDP, 443)}

// Limits of what is recognised.
const (
	mostly = 0.8  // of a group that is there for something
	few    = 0.05 // of everybody else
	some5  = 5    // examples
)

// recognise finds typical refactorings, before rules are written: what they
// forbid is in no rule.
func (a *author) recognise() {
	a.mailFromRelays()
	a.webThroughProxy()
	a.needNothing()
}

// users counts the endpoints of each group that use one of the services.
func (a *author) users(services []flow.Service) (by map[string]int, who map[string][]netip.Addr) {
	by, who = map[string]int{}, map[string][]netip.Addr{}
	for e, ep := range a.endpoints {
		used := false
		a.uses(e, func(u use) { used = used || slices.Contains(services, a.services[u.service]) })
		if used {
			by[ep.Group]++
			who[ep.Group] = append(who[ep.Group], ep.Addr)
		}
	}
	return by, who
}

func (a *author) sizes() map[string]int {
	out := map[string]int{}
	for _, ep := range a.endpoints {
		out[ep.Group]++
	}
	return out
}

// mailFromRelays: where one of the plan's groups is there for mail, few others
// that send mail are a mistake, or a spammer.
func (a *author) mailFromRelays() {
	size := a.sizes()
	by, who := a.users(mail[:1])
	var relays []string
	for g, n := range by {
		if float64(n) >= mostly*float64(size[g]) && g != plans.Unassigned {
			relays = append(relays, g)
		}
	}
	if len(relays) == 0 {
		return
	}
	slices.Sort(relays)
	services := mail[:1]
	if all, _ := a.users(mail[1:]); a.fewOthers(all, size, relays) {
		services = mail
		by, who = a.users(mail)
	}
	x := Named{Kind: "mail-from-relays", Services: services, Never: true, Groups: a.others(relays, services)}
	for _, g := range x.Groups {
		x.Endpoints += by[g]
		x.Examples = append(x.Examples, who[g]...)
	}
	if len(x.Groups) == 0 || !a.fewOthers(by, size, relays) {
		return
	}
	x.Words = fmt.Sprintf("mail ports only from %s", strings.Join(relays, ", "))
	a.propose(x)
}

// fewOthers says whether hardly anybody else does it.
func (a *author) fewOthers(by, size map[string]int, those []string) bool {
	users, all := 0, 0
	for g, n := range size {
		if !slices.Contains(those, g) {
			users, all = users+by[g], all+n
		}
	}
	return float64(users) <= max(few*float64(all), 2)
}

// others lists the groups that are blocked at some time and that nothing else
// in the plan lets use the services.
func (a *author) others(than []string, services []flow.Service) (out []string) {
	for _, g := range a.plan.Groups {
		if ok, _ := a.stepped(g.Name); !ok || slices.Contains(than, g.Name) || a.heirOf(g.Name, than) || a.declares(g.Name, services) {
			continue
		}
		out = append(out, g.Name)
	}
	return out
}

// heirOf says whether what is said of the group holds for one of those, too.
func (a *author) heirOf(group string, those []string) bool {
	return slices.ContainsFunc(a.plan.Heirs(group), func(h string) bool { return h != group && slices.Contains(those, h) })
}

// declares says whether the plan declares a flow of the group by one of the
// services; none: by any.
func (a *author) declares(group string, services []flow.Service) bool {
	return slices.ContainsFunc(a.plan.Declared, func(d plans.Declared) bool {
		meets := len(services) == 0 || slices.ContainsFunc(d.Services, func(s flow.Service) bool { return slices.ContainsFunc(services, s.Overlaps) })
		return meets && slices.ContainsFunc(a.plan.Clients(d.From), func(c plans.Clients) bool {
			return c.Group == group || slices.Contains(a.plan.Heirs(group), c.Group)
		})
	})
}

// webThroughProxy: where a small class fetches from very many web servers and
// others of its kind hardly do, the others have a proxy.
func (a *author) webThroughProxy() {
	roamers := func(c *class) (most uint32) {
		for s, x := range c.stats.services {
			if slices.Contains(web, a.services[s]) {
				most = max(most, x.roamers)
			}
		}
		return most
	}
	var proxies []string
	for _, g := range a.plan.Groups {
		if !strings.Contains(g.Name, "proxy") && !strings.Contains(g.Name, "proxies") {
			continue
		}
		for _, c := range a.classes {
			if a.groups[c.group].name == g.Name && c.first && float64(roamers(c)) >= mostly*float64(c.n) {
				proxies = append(proxies, g.Name)
			}
		}
	}
	if len(proxies) == 0 {
		return
	}
	x := Named{Kind: "web-through-proxy", Services: web}
	for _, c := range a.classes {
		name := a.groups[c.group].name
		if slices.Contains(proxies, name) || 2*roamers(c) >= c.n || roamers(c) == 0 {
			continue // a class that browses as a whole is not what a proxy was made for
		}
		if ok, _ := a.stepped(name); !ok || c.barred != nil {
			continue
		}
		for _, y := range []*class{c, c.twin} {
			if y != nil {
				y.barred = web
			}
		}
		a.grant(c, levels[a.Level-1])
		if c.twin != nil {
			a.grant(c.twin, levels[a.Level-1])
		}
		for e := range a.endpoints {
			if a.classes[a.of[a.habits.of[e]]] != c {
				continue
			}
			roams := false
			a.uses(e, func(u use) { roams = roams || u.roams && slices.Contains(web, a.services[u.service]) })
			if roams {
				x.Endpoints++
				x.Examples = append(x.Examples, a.endpoints[e].Addr)
			}
		}
		if !slices.Contains(x.Groups, name) {
			x.Groups = append(x.Groups, name)
		}
	}
	if len(x.Groups) == 0 {
		return
	}
	x.Words = fmt.Sprintf("no web to anywhere but through %s; single destinations stay", strings.Join(proxies, ", "))
	a.propose(x)
}

// needNothing: a group of which nothing was seen needs nothing, if it was alive.
func (a *author) needNothing() {
	size := a.sizes()
	for _, g := range a.plan.Groups {
		if ok, _ := a.stepped(g.Name); !ok || size[g.Name] > 0 || a.declares(g.Name, nil) || len(a.plan.Heirs(g.Name)) > 1 || g.Name == plans.Unassigned {
			continue
		}
		if slices.ContainsFunc(a.plan.Never, func(n plans.Never) bool { return len(n.Services) == 0 && slices.Contains(n.From.Groups, g.Name) }) {
			continue
		}
		x := Named{Kind: "needs-nothing", Groups: []string{g.Name}, Never: true, Words: "nothing that " + g.Name + " does was seen to be answered from outside"}
		if d := a.options.Days[g.Name]; d != "" {
			x.Words += " (" + d + ")"
		}
		a.propose(x)
	}
}

func (a *author) propose(x Named) {
	slices.Sort(x.Groups)
	slices.SortFunc(x.Examples, netip.Addr.Compare)
	x.Examples = x.Examples[:min(len(x.Examples), some5)]
	a.Named = append(a.Named, x)
	a.narrow(x)
}

// narrow takes from the classes what a recognised refactoring forbids.
func (a *author) narrow(x Named) {
	if !x.Never {
		return
	}
	for _, c := range a.classes {
		if !slices.Contains(x.Groups, a.groups[c.group].name) {
			continue
		}
		for s := range c.anywhere {
			if slices.Contains(x.Services, a.services[s]) {
				delete(c.anywhere, s)
			}
		}
		for p := range c.places {
			if slices.Contains(x.Services, a.services[a.list[p].service]) {
				delete(c.places, p)
			}
		}
	}
}

// forbidden says whether a named refactoring takes a place from a class.
func (a *author) forbidden(c Class, place uint32) bool {
	s := a.services[a.list[place].service]
	return slices.ContainsFunc(a.Named, func(n Named) bool {
		return slices.Contains(n.Groups, c.Of) && slices.Contains(n.Services, s) && n.Never
	})
}
