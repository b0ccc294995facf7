package plans

import (
	"bytes"
	_ "embed"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"
	"unicode"
	"unicode/utf8"

	"weir/phases/flow"
)

// Machine is what Init fills a plan with: what was found on the machine that
// the plan is for. Each part may be empty.
type Machine struct {
	Interfaces   []Interface
	Neighbours   []Neighbour
	Leases       []Lease
	RulesSummary []string // a line per thing that other programs' rules do
	Timezone     string   // IANA name; empty: UTC
}

// Interface is one network interface.
type Interface struct {
	Name     string
	Prefixes []netip.Prefix // its networks, or its addresses with their length
	Default  bool           // a default route leaves by it: it is outside
}

// Neighbour is an endpoint that was seen on a link.
type Neighbour struct {
	Addr  netip.Addr
	MAC   string
	Iface string
}

// Lease is an address that this machine's DHCP server handed out.
type Lease struct {
	Addr netip.Addr
	MAC  string
	Name string // what the client calls itself; may be empty
}

// Profiles lists what Init knows.
func Profiles() []string { return []string{"host", "office", "gateway", "new"} }

//go:embed examples/init.yaml.tmpl
var initText string

var initTemplate = template.Must(template.New("plan").Parse(initText))

// Init writes a commented plan to start from. The profile is one of Profiles;
// look may be nil. The result has no mistakes, so that Parse reads it.
func Init(profile string, look *Machine) ([]byte, error) {
	if !slices.Contains(Profiles(), profile) {
		return nil, fmt.Errorf("cannot write a plan for the profile %q: want one of %s", profile, strings.Join(Profiles(), ", "))
	}
	if look == nil {
		look = &Machine{}
	}
	f := fill{Profile: profile, Timezone: "UTC"}
	if _, err := time.LoadLocation(look.Timezone); err == nil && look.Timezone != "" && look.Timezone != "Local" {
		f.Timezone = look.Timezone
	}
	for _, l := range look.RulesSummary {
		f.Rules = append(f.Rules, comment(l))
	}
	f.networks(*look)
	f.devices(*look)
	var b bytes.Buffer
	if err := initTemplate.Execute(&b, f); err != nil {
		return nil, fmt.Errorf("cannot write the plan: %w", err)
	}
	out := b.Bytes()
	if _, err := Parse("plan.yaml", out); err != nil {
		return nil, fmt.Errorf("cannot write a plan from what was found here; without --look it can: %w", err)
	}
	return out, nil
}

// fill is what the template reads; all texts are YAML already.
type fill struct {
	Profile, Timezone       string
	Inside, InsideIfaces    string
	OutsideIfaces           string
	FoundInside, FoundRoute bool
	Nets                    []network
	Rules, Devices          []string
}

type network struct{ Name, Members, Families, Iface string }

// Host says whether the plan is for one machine's own traffic.
func (f fill) Host() bool { return f.Profile == "host" }

// New says whether there is nothing to observe.
func (f fill) New() bool { return f.Profile == "new" }

// Groups lists the group names as YAML.
func (f fill) Groups() string {
	var out []string
	for _, n := range f.Nets {
		out = append(out, n.Name)
	}
	return strings.Join(out, ", ")
}

// interfaceForm is what the schema takes for an interface.
var interfaceForm = regexp.MustCompile(`^[^/:\s]{1,15}$`)

// networks finds inside and outside: the default route is outside, everything
// else with an address inside.
func (f *fill) networks(m Machine) {
	var out, in []string
	var all []netip.Prefix
	type found struct {
		iface string
		nets  []netip.Prefix
	}
	var nets []found
	seen := map[string]bool{}
	for _, i := range m.Interfaces {
		switch {
		case i.Name == "lo" || !interfaceForm.MatchString(i.Name) || !utf8.ValidString(i.Name) || seen[i.Name]:
		case i.Default:
			out = append(out, scalar(i.Name))
		default:
			n := found{iface: i.Name}
			for _, p := range i.Prefixes {
				p = p.Masked()
				if p.Addr().Is4In6() || p.Addr().IsLinkLocalUnicast() || p.Addr().IsLoopback() || p.Bits() == 0 || !p.IsValid() || slices.Contains(all, p) {
					continue
				}
				n.nets = append(n.nets, p)
				all = append(all, p)
			}
			if len(n.nets) > 0 {
				nets = append(nets, n)
				in = append(in, scalar(i.Name))
			}
		}
		seen[i.Name] = true
	}
	f.FoundInside, f.FoundRoute = len(in) > 0, len(out) > 0
	if len(out) == 0 {
		out = []string{"wan0"}
	}
	if len(in) == 0 {
		in = []string{"lan0"}
		all = []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16"), netip.MustParsePrefix("fd20::/48")}
		nets = []found{{"lan0", all}}
	}
	f.OutsideIfaces, f.InsideIfaces, f.Inside = strings.Join(out, ", "), strings.Join(in, ", "), prefixes(widest(all))
	if f.Profile == "office" {
		f.Nets = []network{{Name: "office", Iface: f.InsideIfaces}}
		return
	}
	scope := familiesOf(all)
	taken := map[string]bool{}
	for i, n := range nets {
		g := network{Name: groupName(n.iface, i, taken), Members: prefixes(n.nets), Iface: n.iface}
		if have := familiesOf(n.nets); len(have) < len(scope) {
			g.Families = join(have)
		}
		f.Nets = append(f.Nets, g)
	}
}

func groupName(iface string, i int, taken map[string]bool) string {
	s := "net-" + strings.Trim(notName.ReplaceAllString(strings.ToLower(iface), "-"), "-")
	if !nameForm.MatchString(s) || taken[s] {
		s = fmt.Sprintf("net-%d", i+1)
	}
	for taken[s] {
		s += "x"
	}
	taken[s] = true
	return s
}

// widest leaves out prefixes that are part of others.
func widest(ps []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for i, p := range ps {
		others := slices.Concat(ps[:i], ps[i+1:])
		if !within(p, slices.DeleteFunc(others, func(o netip.Prefix) bool { return o == p })) {
			out = append(out, p)
		}
	}
	return out
}

func prefixes(ps []netip.Prefix) string {
	ps = slices.Clone(ps)
	sortPrefixes(ps)
	var out []string
	for _, p := range ps {
		if flow.FamilyOf(p.Addr()) == flow.IPv6 {
			out = append(out, fmt.Sprintf("%q", p))
		} else {
			out = append(out, p.String())
		}
	}
	return strings.Join(out, ", ")
}

// devices lists who was seen, as comments: a person decides who is what.
func (f *fill) devices(m Machine) {
	const most = 200
	type device struct{ mac, addr, name string }
	byMAC := map[string]*device{}
	var order []string
	see := func(mac string, a netip.Addr, name string) {
		mac, bad := parseMAC(mac)
		if bad != nil {
			return
		}
		d := byMAC[mac]
		if d == nil {
			d = &device{mac: mac}
			byMAC[mac] = d
			order = append(order, mac)
		}
		if a.IsValid() && (d.addr == "" || a.Is4()) {
			d.addr = a.String()
		}
		if d.name == "" {
			d.name = name
		}
	}
	for _, l := range m.Leases {
		see(l.MAC, l.Addr, l.Name)
	}
	for _, n := range m.Neighbours {
		if i := slices.IndexFunc(m.Interfaces, func(i Interface) bool { return i.Name == n.Iface }); i >= 0 && m.Interfaces[i].Default {
			continue
		}
		see(n.MAC, n.Addr, "")
	}
	for i, mac := range order {
		if i == most {
			f.Devices = append(f.Devices, fmt.Sprintf("and %d more: weir devices lists them", len(order)-most))
			break
		}
		d := byMAC[mac]
		f.Devices = append(f.Devices, strings.TrimSpace(comment(fmt.Sprintf("%q  %s  %s", d.mac, d.addr, d.name))))
	}
}

var plainText = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]*$`)

// scalar writes a text so that YAML reads it back as text.
func scalar(s string) string {
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
	default:
		if plainText.MatchString(s) {
			return s
		}
	}
	return strconv.Quote(strings.ToValidUTF8(s, "\ufffd"))
}

// comment makes a text safe behind a #.
func comment(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Me) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
