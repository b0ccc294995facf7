package plans

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// The kinds of probes.
const (
	ProbeTCP     = "tcp"     // a connection is made
	ProbeDNS     = "dns"     // a resolver answers a question
	ProbeHTTPS   = "https"   // a web server answers, and does not say that it failed
	ProbeWebhook = "webhook" // somebody's monitoring says how things are
)

// What is done when a step does harm after it was confirmed.
const (
	BadPage = "page" // people are told
	BadBack = "back" // and the group is put back to alert
)

// Health says how harm is noticed, from arming to the end of the soak.
type Health struct {
	Every  time.Duration // each probe is tried this often
	Within time.Duration // and answers in this time
	Lost   int           // so many endpoints may lose what answered them before and nobody foresaw
	OnBad  string        // in the soak: BadPage or BadBack
	Probes []Probe
}

// Probe is a new connection from this machine, made again and again.
type Probe struct {
	Name  string
	Kind  string
	To    string     // host:port; of https and webhook a URL
	Ask   string     // dns: the name that is asked for
	From  netip.Addr // this machine's address that it comes from; the zero Addr: any
	Size  int        // https: the request is at least this large, in bytes; 0: as it comes
	Group string     // "" every group that the step narrows
	Pos   Pos
}

func (d *decoder) health(n *node) {
	h := &d.p.Health
	h.Every = d.duration(n.get("every"), 10*time.Second, oneSecond, 10*time.Minute)
	h.Within = d.duration(n.get("within"), 3*time.Second, oneSecond, time.Minute)
	h.Lost = intOr(n.get("lost"), 3)
	h.OnBad = strOr(n.get("onBad"), BadPage)
	seen := map[string]*node{}
	for _, v := range items(n.get("probes"), mapping) {
		h.Probes = append(h.Probes, d.probe(v, seen))
	}
}

func (d *decoder) probe(n *node, seen map[string]*node) Probe {
	p := Probe{Name: d.named(n, seen), Kind: str(n.get("kind")), Ask: str(n.get("ask")), Size: intOr(n.get("size"), 0), Pos: d.pos(n)}
	to := n.get("to")
	switch p.Kind {
	case ProbeHTTPS, ProbeWebhook:
		if u := d.address(to); u != nil {
			p.To = u.String()
		}
	case ProbeTCP, ProbeDNS:
		p.To = d.hostPort(to)
	}
	if p.Kind == ProbeDNS && p.Ask == "" && !d.atNode[n] {
		d.add(n, "a dns probe asks for a name", "add ask: example.net")
	}
	for field, kind := range map[string]string{"ask": ProbeDNS, "size": ProbeHTTPS} {
		if n.get(field) != nil && p.Kind != "" && p.Kind != kind && !d.atNode[n.get("kind")] {
			d.add(n.key(field), fmt.Sprintf("a %s probe has no %s", p.Kind, field), "remove it, or write kind: "+kind)
		}
	}
	if from := n.get("from"); str(from) != "" {
		var err error
		if p.From, err = netip.ParseAddr(from.text); err != nil || p.From.Zone() != "" {
			d.add(from, fmt.Sprintf("%q is not an address", clip(from.text)), "write an address of this machine, as 10.20.16.1; quote IPv6 addresses")
			p.From = netip.Addr{}
		}
	}
	if g := n.get("group"); str(g) != "" && d.knownGroup(g) {
		p.Group = g.text
	}
	return p
}

// hostPort reads host:port; the host may be an address or a name.
func (d *decoder) hostPort(n *node) string {
	s := str(n)
	if s == "" {
		return ""
	}
	host, port, err := net.SplitHostPort(s)
	v, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" || perr != nil || v == 0 {
		d.add(n, fmt.Sprintf("%q is not a host and a port", clip(s)), `write it as 10.20.0.53:53, name.example.net:443 or "[2001:db8::1]:443"`)
		return ""
	}
	return s
}
