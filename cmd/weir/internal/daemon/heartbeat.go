package daemon

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"weir/nft"
	"weir/nft/eval"
	"weir/phases"
	"weir/phases/flow"
	"weir/phases/policy"
	"weir/plans"
)

// listen keeps the proof that silence means something. Two things are needed:
// a log line came through lately (the kernel's log, the socket, this program),
// and a made-up packet of each group and family that no rule allows ends in a
// log rule of the ruleset that is loaded and was verified. Without both, an
// empty list of would-be-denied flows says nothing, and the gate cannot tell.
func (d *Daemon) listen(now time.Time) error {
	if d.readers == nil {
		return nil
	}
	n := d.readers.log.Stats().Messages
	if n == d.lines0 {
		return nil
	}
	d.lines0 = n
	f, pol, ok := d.judging()
	if !ok {
		d.heard = now
		return nil
	}
	if d.judgeCache.digest != f.Digest() {
		p := d.machine.Plan()
		d.judgeCache = judgeCache{digest: f.Digest(), mute: mute(p, f, pol)}
		for _, m := range d.judgeCache.mute {
			d.log.Error("a packet that no rule allows would not be logged: silence proves nothing", "group", m)
		}
	}
	if len(d.judgeCache.mute) == 0 {
		d.heard = now
	}
	return nil
}

// judgeCache keeps what was found out about the step that judges now.
type judgeCache struct {
	digest string
	mute   []string // groups and families of which a packet would not be logged
}

// mute lists the groups and families whose would-be-denied packets a frozen
// step does not log.
func mute(p plans.Plan, f phases.Frozen, pol policy.Policy) []string {
	m := eval.NewMachine(f.Rules.Skeleton, f.Rules.Ruleset)
	if err := m.Stable(f.Rules); err != nil {
		return []string{err.Error()}
	}
	index := policy.NewIndex(pol)
	var out []string
	for _, g := range p.Groups {
		t, ok := f.Step.Target(g.Name)
		if !ok || !t.Treatment.Denies() && t.Treatment != "alert" {
			continue
		}
		for _, member := range g.Members {
			q, ok := unheardOf(index, g.Name, member)
			if !ok {
				continue
			}
			hook := nft.HookForward
			if !slices.Contains(p.Scope.Hooks, "forward") {
				hook = nft.HookOutput
			}
			trace, err := m.Eval(packetOf(f, hook, q, g.Name))
			if err != nil || !slices.ContainsFunc(trace.Logs, func(l nft.Log) bool {
				return strings.HasPrefix(l.Prefix, "weir a ") || strings.HasPrefix(l.Prefix, "weir d ")
			}) {
				out = append(out, g.Name+" "+string(q.Family()))
			}
		}
	}
	return out
}

// unheardOf makes up a flow of a member that no rule allows: an address set
// aside for documentation, and a port that is not allowed there.
func unheardOf(index *policy.Index, group string, member netip.Prefix) (flow.Flow, bool) {
	to := netip.MustParseAddr("203.0.113.253")
	if member.Addr().Is6() {
		to = netip.MustParseAddr("2001:db8:ffff::fd")
	}
	for port := uint16(9); port < 2000; port += 7 {
		q := flow.Flow{Client: member.Addr(), Server: to, Proto: flow.UDP, Port: port}
		if _, ok := index.Allows(group, q); !ok {
			return q, true
		}
	}
	return flow.Flow{}, false
}
