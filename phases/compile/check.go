package compile

import (
	"fmt"
	"net/netip"
	"slices"

	"weir/phases/flow"
)

// check refuses values that would otherwise mean "any" or nothing: the zero
// prefix, the zero service, names that the kernel would cut.
func (in Input) check() error {
	sc := in.Scope
	if err := values("the scope", nil, sc.Inside, sc.Outside, in.Links); err != nil {
		return err
	}
	if err := ifaces("the scope", sc.InsideIfaces, sc.OutsideIfaces); err != nil {
		return err
	}
	for i, r := range sc.InboundAllow {
		if err := values(fmt.Sprintf("inbound rule %d", i+1), r.Services, r.From, r.To); err != nil {
			return err
		}
	}
	for _, g := range in.Groups {
		if err := values("group "+g.Name, nil, g.Members, g.Prefixes); err != nil {
			return err
		}
		if err := ifaces("group "+g.Name, g.Ifaces); err != nil {
			return err
		}
	}
	for _, r := range in.Policy.Rules {
		if err := values("a rule of group "+r.Group, r.Services, r.Endpoints, r.To); err != nil {
			return err
		}
	}
	for _, l := range in.Lifelines {
		if err := values("lifeline "+l.Name, l.Services, l.From, l.To); err != nil {
			return err
		}
	}
	for _, n := range in.Never {
		if err := values("never "+n.Name, n.Services, n.From, n.To); err != nil {
			return err
		}
	}
	return in.checkShadow()
}

func values(of string, services []flow.Service, lists ...[]netip.Prefix) error {
	for _, l := range lists {
		if slices.ContainsFunc(l, func(p netip.Prefix) bool { return !p.IsValid() }) {
			return fmt.Errorf("cannot compile %s: a prefix is empty; leave the list out to mean any", of)
		}
	}
	for _, s := range services {
		switch {
		case s.Proto == 0:
			return fmt.Errorf("cannot compile %s: a service is empty; leave the list out to mean any", of)
		case s.Lo > s.Hi || s.Hi > s.Proto.Max():
			return fmt.Errorf("cannot compile %s: service %s is a range that runs backwards or beyond %d", of, s, s.Proto.Max())
		}
	}
	return nil
}

func ifaces(of string, lists ...[]string) error {
	for _, l := range lists {
		for _, n := range l {
			if n == "" || len(n) > 15 {
				return fmt.Errorf("cannot compile %s: %q is no interface name: want 1 to 15 bytes", of, n)
			}
		}
	}
	return nil
}
