// Package lifeline says what this machine itself depends on, as narrowly as its
// own configuration allows, in the terms of a step. It only reads.
package lifeline

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/nft/host"
	"weir/phases/compile"
	"weir/phases/flow"
	"weir/plans"
)

// patience bounds how long names are asked for.
const patience = 5 * time.Second

// Of lists the machine's lifelines for a plan, with the addresses that names
// have now; the error is about names that have none, and the rest is complete.
// Where only forwarded traffic is judged there is nothing to keep.
func Of(p plans.Plan, machine host.Machine) ([]compile.Lifeline, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return of(p, machine, func(list []host.Lifeline) ([]host.Lifeline, error) {
		return host.Resolve(ctx, list, func(ctx context.Context, name string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		})
	})
}

// Fixed is Of without what is known by name only: nothing is asked.
func Fixed(p plans.Plan, machine host.Machine) []compile.Lifeline {
	out, _ := of(p, machine, func(list []host.Lifeline) ([]host.Lifeline, error) { return list, nil })
	return out
}

func of(p plans.Plan, machine host.Machine, resolve func([]host.Lifeline) ([]host.Lifeline, error)) ([]compile.Lifeline, error) {
	if !slices.Contains(p.Scope.Hooks, "output") {
		return nil, nil
	}
	lines, err := resolve(append(host.Lifelines(machine), alerts(p)...))
	if slices.Contains(p.Scope.Hooks, "forward") {
		// An empty source would open transit too.
		lines = host.Pin(machine, lines)
	}
	var out []compile.Lifeline
	for _, l := range lines {
		if len(l.To) > 0 {
			out = append(out, compile.Lifeline{Name: l.Name, From: l.From, To: l.To, Services: l.Services, Reply: l.Reply})
		}
	}
	return out, err
}

// alerts are the addresses that the daemon itself tells of what happens.
func alerts(p plans.Plan) []host.Lifeline {
	var out []host.Lifeline
	for _, w := range p.Notify.Webhooks {
		u, err := url.Parse(w.URL)
		if err != nil {
			continue // the plan's parser has read it
		}
		port := uint16(443)
		if u.Scheme == "http" {
			port = 80
		}
		if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
			port = uint16(n)
		}
		l := host.Lifeline{Name: "alerts-" + w.Name, Services: []flow.Service{flow.Single(flow.TCP, port)}, Why: "weir tells " + w.Name + " of what happens"}
		if a, err := netip.ParseAddr(u.Hostname()); err == nil {
			if !a.IsLoopback() {
				l.To = []netip.Prefix{netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())}
			}
		} else {
			l.Names = []string{u.Hostname()}
		}
		out = append(out, l)
	}
	return out
}

// Floor names each destination that the machine's configuration has as an
// address: "resolvers 198.51.100.53". Sessions come and go, and what a name
// stands for changes by itself: they are not among them.
func Floor(p plans.Plan, machine host.Machine) []string {
	out := []string{}
	for _, l := range Fixed(p, machine) {
		if l.Reply {
			continue
		}
		for _, to := range l.To {
			out = append(out, l.Name+" "+strings.TrimSuffix(strings.TrimSuffix(to.String(), "/32"), "/128"))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Lines says in words what the machine depends on, for a person.
func Lines(p *plans.Plan, machine host.Machine) []string {
	lines := host.Lifelines(machine)
	if p != nil {
		lines = append(lines, alerts(*p)...)
	}
	var out []string
	for _, l := range lines {
		var to []string
		for _, x := range l.To {
			to = append(to, strings.TrimSuffix(strings.TrimSuffix(x.String(), "/32"), "/128"))
		}
		to = append(to, l.Names...)
		var services []string
		for _, s := range l.Services {
			services = append(services, s.String())
		}
		way := "to"
		if l.Reply {
			way = "in answer to"
		}
		out = append(out, fmt.Sprintf("%s: %s %s %s: %s", l.Name, strings.Join(services, " "), way, strings.Join(to, " "), l.Why))
	}
	return out
}
