package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/exit"
	"weir/phases/flow"
	"weir/phases/policy/infer"
	"weir/phases/policy/rules"
)

func (e *env) policyQuery() *cobra.Command {
	var from rulesFrom
	var src, dst, inside []string
	var service, in, out, state string
	c := &cobra.Command{
		Use:   "query FILE",
		Short: "who may reach what, and by which rule",
		Long: `Asks what a file lets pass. What is not named may be anything; new connections
unless --state says otherwise. Says yes, no or in part, with the rules that
decide; what the header does not decide is listed with its condition.
Exit 2: not all of it is allowed.

  weir policy query fw.save --service tcp/25 --to outside      which sources?
  weir policy query fw.save --from 10.20.1.5 --to 198.51.100.7 --service tcp/5432`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := e.load(c.Context(), from, args[0])
			if err != nil {
				return err
			}
			var own ranges
			if s.plan != nil && !c.Flags().Changed("inside") {
				own = rangesOf(s.plan.Scope.Inside...)
			} else if own, err = sideRanges("--inside", inside, nil); err != nil {
				return err
			}
			q := rules.Match{States: rules.New}
			if q.Src, err = side("--from", src, own); err != nil {
				return err
			}
			if q.Dst, err = side("--to", dst, own); err != nil {
				return err
			}
			if service != "" {
				v, err := flow.ParseService(service)
				if err != nil {
					return exit.Errorf(exit.Usage, "--service: %w", err)
				}
				q.Services = []rules.Services{{Ranges: serviceRanges([]flow.Service{v})}}
			}
			if in != "" {
				q.In = []rules.Interfaces{{Names: []string{in}}}
			}
			if out != "" {
				q.Out = []rules.Interfaces{{Names: []string{out}}}
			}
			switch i := slices.Index(rules.StateNames, state); {
			case state == "any":
				q.States = 0
			case i < 0:
				return exit.Errorf(exit.Usage, "--state %s: want any or one of %s", state, strings.Join(rules.StateNames, ", "))
			default:
				q.States = 1 << i
			}
			ans, err := infer.Query(s.rules, s.chain, q)
			if err != nil {
				return exit.Errorf(exit.Failed, "%w", err)
			}
			if err := e.answer(ans, len(src) == 0, len(dst) == 0); err != nil || ans.All {
				return err
			}
			return &difference{}
		},
	}
	from.flags(c)
	f := c.Flags()
	f.StringSliceVar(&src, "from", nil, "sources: addresses, prefixes, inside, outside")
	f.StringSliceVar(&dst, "to", nil, "destinations: addresses, prefixes, inside, outside")
	f.StringVar(&service, "service", "", "a service, as tcp/25, udp/53, icmp/8, esp")
	f.StringVar(&in, "in", "", "the interface that packets come in by")
	f.StringVar(&out, "out", "", "the interface that they leave by")
	f.StringVar(&state, "state", "new", "new, established, related, invalid, untracked or any")
	f.StringSliceVar(&inside, "inside", []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"}, "the prefixes of your own network; of a plan, its own")
	e.outputFlag(c)
	return c
}

// side reads --from or --to; nothing is anything.
func side(flag string, words []string, inside ranges) ([]rules.Addrs, error) {
	if len(words) == 0 {
		return nil, nil
	}
	r, err := sideRanges(flag, words, inside)
	return []rules.Addrs{{Ranges: r}}, err
}

func sideRanges(flag string, words []string, inside ranges) (out ranges, err error) {
	for _, w := range words {
		if p, err := netip.ParsePrefix(w); err == nil {
			out = out.plus(rangesOf(p.Masked()))
		} else if a, err := netip.ParseAddr(w); err == nil && a.Zone() == "" {
			out = out.plus(rangesOf(netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())))
		} else if w == "inside" && inside != nil {
			out = out.plus(inside)
		} else if w == "outside" && inside != nil {
			out = out.plus(allAddrs.minus(inside).minus(special))
		} else {
			return nil, exit.Errorf(exit.Usage, "%s %s: want an address, a prefix, inside or outside", flag, w)
		}
	}
	return out, nil
}

func (e *env) answer(a infer.Answer, anySource, anyDest bool) error {
	words := func(list []rules.AddrRange) []string {
		out := []string{}
		for _, r := range list {
			out = append(out, infer.RangeText(r))
		}
		return out
	}
	if e.output == "json" {
		word := map[bool]string{true: "all", false: "part"}[a.All]
		if a.None {
			word = "none"
		}
		o := map[string]any{"allowed": word, "parts": partsJSON(a.Parts), "sources": words(a.Sources), "destinations": words(a.Destinations), "deniedBy": places(a.DeniedBy)}
		if a.Denied != nil {
			o["denied"] = a.Denied.String()
		}
		return e.json("Answer", o)
	}
	if anySource && len(a.Sources) > 0 {
		fmt.Fprintf(e.out, "sources that may: %s\n", strings.Join(words(a.Sources), ", "))
	}
	if anyDest && len(a.Destinations) > 0 {
		fmt.Fprintf(e.out, "destinations that may be reached: %s\n", strings.Join(words(a.Destinations), ", "))
	}
	return e.plainly(a.Text)
}

func (e *env) policyMatrix() *cobra.Command {
	var from rulesFrom
	var service string
	c := &cobra.Command{
		Use:   "matrix FILE --service tcp/22",
		Short: "classes of hosts that behave alike for one service, and who reaches whom",
		Long: `Cuts all addresses into classes that the rules do not tell apart for one
service, both as sources and as destinations, and says which class reaches
which: new connections, by any interface and from any source port. What the
header does not decide counts as reached.

  weir policy matrix fw.save --service tcp/22`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			v, err := flow.ParseService(service)
			if err != nil {
				return exit.Errorf(exit.Usage, "--service: %w", err)
			}
			s, err := e.load(c.Context(), from, args[0])
			if err != nil {
				return err
			}
			var list []map[string]any
			for _, fam := range []flow.Family{flow.IPv4, flow.IPv6} {
				if !s.rules.Judges(fam) || !v.Proto.Fits(fam) {
					continue
				}
				m, err := infer.MatrixOf(judged(s), s.chain, v, fam)
				if err != nil {
					return exit.Errorf(exit.Failed, "%w", err)
				}
				if e.output == "json" {
					classes := [][]string{}
					for _, k := range m.Classes {
						var c []string
						for _, r := range k {
							c = append(c, infer.RangeText(r))
						}
						classes = append(classes, c)
					}
					list = append(list, map[string]any{"service": v, "family": fam, "classes": classes, "edges": m.Edges})
				} else if err := e.plainly(m.Text); err != nil {
					return err
				}
			}
			if e.output == "json" {
				return e.json("Matrix", list)
			}
			return nil
		},
	}
	from.flags(c)
	c.Flags().StringVar(&service, "service", "", "the service, as tcp/22")
	e.outputFlag(c)
	return c
}
