package daemon

import (
	"net/netip"
	"slices"
	"time"

	"weir/nft/host"
	"weir/phases/compile"
	"weir/phases/flow"
)

// sessionsFor is how long a look at the management sessions is good enough.
const sessionsFor = 10 * time.Second

// sessions are the management connections into this machine.
type sessions struct {
	at    time.Time
	lines []compile.Lifeline
}

// answering says whether a record is of a connection by which this machine is
// managed, and which tracking met in its middle: the machine's answers then
// look as if it had opened the connection. A lifeline lets them pass, so there
// is nothing to ask a person.
func (d *Daemon) answering(r flow.Record) bool {
	if !r.Guessed || r.Proto != flow.TCP || r.Hook != "output" {
		return false
	}
	if now := time.Now(); now.Sub(d.sessions.at) > sessionsFor {
		d.sessions = sessions{at: now}
		machine, err := host.Look("/")
		if err == nil {
			d.sessions.lines, err = d.lifelines(d.machine.Plan(), machine)
		}
		if err != nil {
			d.log.Error("cannot look for management sessions", "error", err)
		}
	}
	holds := func(list []netip.Prefix, a netip.Addr) bool {
		return len(list) == 0 || slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	return slices.ContainsFunc(d.sessions.lines, func(l compile.Lifeline) bool {
		return l.Reply && holds(l.From, r.Client) && holds(l.To, r.Server) &&
			slices.ContainsFunc(l.Services, func(s flow.Service) bool { return s.Proto == r.Proto && s.Lo <= r.SrcPort && r.SrcPort <= s.Hi })
	})
}
