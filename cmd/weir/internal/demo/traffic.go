package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// site is a server of the Internet in both families.
type site struct{ v4, v6 string }

// all lists the site's addresses; a site may be of one family.
func (s site) all() []string {
	return slices.DeleteFunc([]string{s.v4, s.v6}, func(a string) bool { return a == "" })
}

var (
	web    = site{webV4, webV6}
	mailer = site{mailV4, mailV6}
	update = site{updateV4, updateV6}
	vendor = site{vendorV4, vendorV6}
)

// talk is one kind of traffic: a host, a service ("tcp/443", "udp/53", "ping")
// and a server, always in both families.
type talk struct {
	from    string
	service string
	to      site
}

// habits is what the office does all day. The camera's second one is nobody's
// wish.
var habits = []talk{
	{"desk1", "tcp/443", web}, {"desk1", "tcp/80", web}, {"desk1", "udp/53", web}, {"desk1", "udp/123", web}, {"desk1", "ping", web},
	{"desk2", "tcp/443", update}, {"desk2", "udp/53", web}, {"desk2", "udp/123", update},
	{"server", "tcp/443", update}, {"server", "udp/53", web}, {"server", "udp/123", web},
	{"mail", "tcp/25", mailer}, {"mail", "udp/53", web},
	{"camera", "tcp/443", update}, {"camera", "tcp/8883", vendor},
	{"doorbell", "tcp/443", update},
}

// patience is how long a packet may wait for its answer; what is rejected is
// answered at once.
const patience = 2 * time.Second

// try makes one exchange from a host; nil when the answer came back.
func (n *network) try(from, service, to string) error {
	h := n.hosts[from]
	if h == nil {
		return fmt.Errorf("%w: the office has no host %q, only %s", errProbe, from, strings.Join(slices.Sorted(maps.Keys(n.hosts)), ", "))
	}
	if _, err := netip.ParseAddr(to); err != nil {
		return fmt.Errorf("%w: %w", errProbe, err)
	}
	proto, port, _ := strings.Cut(service, "/")
	switch {
	case service == "ping":
		return h.ns.Ping(to, patience)
	case proto == "tcp" || proto == "udp":
		if _, err := strconv.ParseUint(port, 10, 16); err == nil {
			return h.ns.Try(proto, net.JoinHostPort(to, port), patience)
		}
	}
	return fmt.Errorf("%w: cannot send %q; tcp/443, udp/53 or ping", errProbe, service)
}

// errProbe is what a packet that cannot be sent at all returns.
var errProbe = errors.New("no packet was sent")

// each tries a talk with every address of its site at once.
func (n *network) each(t talk) map[string]error {
	to := t.to.all()
	errs := make([]error, len(to))
	var wait sync.WaitGroup
	for i, a := range to {
		wait.Go(func() { errs[i] = n.try(t.from, t.service, a) })
	}
	wait.Wait()
	out := map[string]error{}
	for i, a := range to {
		out[a] = errs[i]
	}
	return out
}

// all tries every talk once and returns the first that has no answer.
func (n *network) all(ts []talk) error {
	errs := make([]error, len(ts))
	var wait sync.WaitGroup
	for i, t := range ts {
		wait.Go(func() {
			for to, err := range n.each(t) {
				if err != nil {
					errs[i] = fmt.Errorf("%s to %s %s: %w", t.from, to, t.service, err)
				}
			}
		})
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// live makes the office's traffic until ctx is done: its habits, and a web
// server that nobody visited before. What is denied is tried again, as programs
// do.
func (n *network) live(ctx context.Context, every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	for i := 0; ; i++ {
		today := append(slices.Clone(habits), talk{"desk1", "tcp/443", shop(2 * i)}, talk{"desk2", "tcp/443", shop(2*i + 1)})
		n.all(today) //nolint:errcheck // some of it is meant to be denied
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
