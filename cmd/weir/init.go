package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/exit"
	"weir/nft/host"
	"weir/plans"
)

var _ = register(func(e *env) *cobra.Command {
	var profile string
	var look bool
	c := &cobra.Command{
		Use:   "init",
		Short: "write a commented plan to start from",
		Long: `Prints a plan that has no mistakes, with a comment at each part.

  weir init --profile office > plan.yaml
  weir init --profile gateway --look > plan.yaml     filled from this machine:
                                                     interfaces, neighbours, DHCP
                                                     leases, other programs' rules`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			var m *plans.Machine
			if look {
				found, err := host.Look("/")
				if err != nil {
					return err
				}
				for _, p := range found.Problems {
					fmt.Fprintln(e.err, "weir: "+safe(p))
				}
				m = planMachine(found)
			}
			text, err := plans.Init(profile, m)
			if err != nil {
				return exit.Errorf(exit.Usage, "%w", err)
			}
			_, err = e.out.Write(text)
			return err
		},
	}
	c.Flags().StringVar(&profile, "profile", "office", "one of "+strings.Join(plans.Profiles(), ", "))
	c.Flags().BoolVar(&look, "look", false, "fill it from this machine; reads only")
	return c
})

// planMachine is what of a machine goes into a plan.
func planMachine(m host.Machine) *plans.Machine {
	out := &plans.Machine{}
	outside := map[string]bool{}
	for _, r := range m.DefaultRoutes() {
		for _, h := range r.Hops {
			outside[h.Iface] = true
		}
	}
	for _, i := range m.Interfaces {
		if i.Loopback || !i.Up {
			continue
		}
		x := plans.Interface{Name: i.Name, Default: outside[i.Name]}
		for _, p := range i.Prefixes {
			if !p.Addr().IsLinkLocalUnicast() {
				x.Prefixes = append(x.Prefixes, p)
			}
		}
		out.Interfaces = append(out.Interfaces, x)
	}
	for _, n := range m.Neighbours {
		if !n.Router && !outside[n.Iface] && !n.Addr.IsLinkLocalUnicast() {
			out.Neighbours = append(out.Neighbours, plans.Neighbour{Addr: n.Addr, MAC: n.MAC, Iface: n.Iface})
		}
	}
	for _, l := range m.Leases {
		if !l.Own {
			out.Leases = append(out.Leases, plans.Lease{Addr: l.Addr, MAC: l.MAC, Name: l.Name})
		}
	}
	for _, c := range m.Chains {
		if c.Table == "weir" {
			continue
		}
		line := fmt.Sprintf("%s %s %s: %s %s, priority %d", c.Family, c.Table, c.Name, c.Type, c.Hook, c.Priority)
		if c.Drops {
			line += ", policy drop"
		}
		out.RulesSummary = append(out.RulesSummary, line)
	}
	if tz, err := os.ReadFile("/etc/timezone"); err == nil {
		out.Timezone = strings.TrimSpace(string(tz))
	}
	return out
}
