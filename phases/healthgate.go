package phases

import (
	"time"

	"weir/phases/health"
)

// gateHealth asks that every probe of the plan was answered a moment ago: one that
// fails already cannot show what a step does.
func gateHealth(a asking) GateResult {
	after := a.now.Add(-2*a.plan.Health.Every - a.plan.Health.Within)
	for _, p := range a.plan.Health.Probes {
		now := health.Probe{Name: p.Name}
		for _, have := range a.Probes {
			if have.Name == p.Name {
				now = have
			}
		}
		if ok, why := now.Ready(after); !ok {
			return cannotTell("%s", why)
		}
	}
	return pass("%d probes are answered", len(a.plan.Health.Probes))
}

// watched says whether a step's health is judged: where it narrows somebody.
func watched(s Step) bool { return s.Denies() && len(s.Narrows) > 0 }

// Watched is a step whose health is judged now.
type Watched struct {
	Digest string
	Head   Head
	Since  time.Time // it was armed, or where only its confirm is known confirmed
	Trial  bool
}

// Watched returns the step on trial, else the newest confirmed one until its soak
// is over; false where nothing is judged.
func (m *Machine) Watched(now time.Time) (Watched, bool) {
	s := m.state
	if t := s.Trial; t != nil {
		h := s.Heads[t.Digest]
		return Watched{t.Digest, h, t.At, true}, watched(h.Step)
	}
	n := len(s.Confirms)
	if n == 0 || s.Stable == "" || s.Confirms[n-1].Digest != s.Stable || s.Gone {
		return Watched{}, false
	}
	c := s.Confirms[n-1]
	p, err := m.PlanInForce()
	h := s.Heads[c.Digest]
	if err != nil || !watched(h.Step) || now.Sub(c.At) > p.Enforce.Soak {
		return Watched{}, false
	}
	return Watched{c.Digest, h, c.At, false}, true
}
