package suggest

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"github.com/gaissmai/bart"

	"weir/phases/flow"
)

// Names says whose addresses are: an autonomous system, a provider, a site.
// ReadNames makes one.
type Names struct {
	table    *bart.Table[string]
	prefixes map[string][]netip.Prefix
}

// ReadNames reads lines of a prefix and a name, with a comma, a tab or a space
// between them; "#" begins a comment. Of prefixes that hold each other the
// longest decides.
func ReadNames(r io.Reader) (*Names, error) {
	n := &Names{table: &bart.Table[string]{}, prefixes: map[string][]netip.Prefix{}}
	lines := bufio.NewScanner(r)
	for i := 1; lines.Scan(); i++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		at := strings.IndexAny(text, ", \t")
		if at < 0 {
			return nil, fmt.Errorf("line %d: want a prefix and a name", i)
		}
		p, err := netip.ParsePrefix(text[:at])
		name := strings.Trim(text[at:], ", \t\"")
		switch {
		case err != nil:
			return nil, fmt.Errorf("line %d: %q is not a prefix", i, text[:at])
		case name == "":
			return nil, fmt.Errorf("line %d: the prefix has no name", i)
		case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
			return nil, fmt.Errorf("line %d: the name has characters that cannot be printed", i)
		case p.Bits() == 0:
			return nil, fmt.Errorf("line %d: %s is everything", i, p)
		}
		n.table.Insert(p.Masked(), name)
		n.prefixes[name] = append(n.prefixes[name], p.Masked())
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("cannot read names: %w", err)
	}
	return n, nil
}

// outside leaves out prefixes that are inside: what belongs to the same owner,
// but is no destination.
func (n *Names) outside(in []netip.Prefix) *Names {
	if n == nil {
		return nil
	}
	out := &Names{table: n.table, prefixes: map[string][]netip.Prefix{}}
	for name, list := range n.prefixes {
		for _, p := range list {
			if !inside(p, in) {
				out.prefixes[name] = append(out.prefixes[name], p)
			}
		}
	}
	return out
}

// Limits of joining destinations.
const (
	enoughServers = 4  // of one service in one network: they are taken for a service's prefix
	network4      = 24 // networks are no wider than this
	network6      = 64
)

// place is where a service is reached: one address, a prefix in which several
// servers of the service were seen, or all prefixes of one name.
type place struct {
	service  uint32
	name     string
	prefixes []netip.Prefix // never empty
	servers  uint32         // how many were seen
}

// places joins the servers of each service and gives the place of each
// observation, in the order of facts.seen. Places are sorted by service and
// first server.
func (f *facts) places(names *Names) (list []place, of []uint32) {
	of = make([]uint32, len(f.seen))
	named := map[string]uint32{} // of this service
	service := ^uint32(0)
	for i := 0; i < len(f.seen); {
		s, d, _ := unpack(f.seen[i])
		if s != service {
			service = s
			clear(named)
		}
		// the servers of this service in one network, and the observations of each
		type run struct {
			d        uint32
			from, to int
		}
		var runs []run
		net := network(f.servers[d])
		j := i
		for j < len(f.seen) {
			s2, d2, _ := unpack(f.seen[j])
			if s2 != s || !net.Contains(f.servers[d2]) {
				break
			}
			if len(runs) == 0 || runs[len(runs)-1].d != d2 {
				runs = append(runs, run{d: d2, from: j})
			}
			j++
			runs[len(runs)-1].to = j
		}
		var rest []run
		for _, r := range runs {
			name, ok := "", false
			if names != nil {
				name, ok = names.table.Lookup(f.servers[r.d])
			}
			if !ok {
				rest = append(rest, r)
				continue
			}
			p, have := named[name]
			if !have {
				p = uint32(len(list))
				named[name] = p
				list = append(list, place{service: s, name: name, prefixes: names.prefixes[name]})
			}
			list[p].servers++
			fill(of[r.from:r.to], p)
		}
		switch {
		case len(rest) >= enoughServers:
			p := uint32(len(list))
			list = append(list, place{service: s, servers: uint32(len(rest)),
				prefixes: []netip.Prefix{covering(f.servers[rest[0].d], f.servers[rest[len(rest)-1].d])}})
			for _, r := range rest {
				fill(of[r.from:r.to], p)
			}
		default:
			for _, r := range rest {
				a := f.servers[r.d]
				fill(of[r.from:r.to], uint32(len(list)))
				list = append(list, place{service: s, servers: 1, prefixes: []netip.Prefix{netip.PrefixFrom(a, a.BitLen())}})
			}
		}
		i = j
	}
	return list, of
}

func fill(s []uint32, v uint32) {
	for i := range s {
		s[i] = v
	}
}

func network(a netip.Addr) netip.Prefix {
	bits := network4
	if flow.FamilyOf(a) == flow.IPv6 {
		bits = network6
	}
	p, _ := a.Prefix(bits)
	return p
}

// covering is the longest prefix that holds both addresses.
func covering(a, b netip.Addr) netip.Prefix {
	for bits := a.BitLen(); ; bits-- {
		if p, _ := a.Prefix(bits); p.Contains(b) {
			return p
		}
	}
}

// String is the place as a plan's "to" writes it, or its name.
func (p place) words() []string {
	var out []string
	for _, x := range p.prefixes {
		out = append(out, prefixWord(x))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func prefixWord(p netip.Prefix) string {
	t := p.String()
	if p.IsSingleIP() {
		t = p.Addr().String()
	}
	if p.Addr().Is6() {
		return `"` + t + `"`
	}
	return t
}
