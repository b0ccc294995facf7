package phases

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"weir/phases/compile"
	"weir/plans"
)

// The names of steps without a wave.
const (
	StepOff     = "off"
	StepMonitor = "monitor"
	StepAlert   = "enforce/alert"
	StepWatch   = "watch"
)

const (
	blockPrefix  = "enforce/block:"
	shadowPrefix = "refactor/shadow:"
	swapPrefix   = "refactor/swap:"
)

// Target is what a step makes of one group: complete, never a delta.
type Target struct {
	Group     string            `json:"group"`
	Treatment compile.Treatment `json:"treatment"`
	Share     int               `json:"share,omitempty"`    // percent that Treatment applies to; 0: all
	Prefixes  []netip.Prefix    `json:"prefixes,omitempty"` // Treatment applies to these members only; empty: all
}

// Equal says whether two targets are the same.
func (t Target) Equal(o Target) bool {
	return t.Group == o.Group && t.Treatment == o.Treatment && t.Share == o.Share && slices.Equal(t.Prefixes, o.Prefixes)
}

func (t Target) String() string {
	s := t.Group + " " + string(t.Treatment)
	if t.Share != 0 {
		s += fmt.Sprintf(" %d%%", t.Share)
	}
	if len(t.Prefixes) > 0 {
		s += fmt.Sprintf(" %v", t.Prefixes)
	}
	return s
}

// Step is one change of the rollout, named "phase/verb[:wave]".
type Step struct {
	Name        string             `json:"name"`
	Targets     []Target           `json:"targets"`             // every group, by name
	Swapped     []string           `json:"swapped,omitempty"`   // refactorings that are in force after it
	Shadow      string             `json:"shadow,omitempty"`    // the refactoring that is evaluated beside what is in force
	Narrows     []string           `json:"narrows,omitempty"`   // groups that may do less than before it
	Observes    bool               `json:"observes,omitempty"`  // denies nothing that passed before: may confirm itself
	Gates       []string           `json:"gates,omitempty"`     // names of its gates
	Approval    plans.ApprovalRule `json:"approval"`            // what it needs
	Brownouts   []time.Duration    `json:"brownouts,omitempty"` // before it
	Established string             `json:"established,omitempty"`
	DrainFor    time.Duration      `json:"drainFor,omitempty"`
	Lease       time.Duration      `json:"lease"`
}

// Phase is the part of the name before "/": off, monitor, enforce, refactor or
// watch.
func (s Step) Phase() string { return PhaseOf(s.Name) }

// PhaseOf returns the phase of a step's name.
func PhaseOf(name string) string {
	p, _, _ := strings.Cut(name, "/")
	return p
}

// Wave is the part of the name after ":", or "".
func (s Step) Wave() string {
	_, w, _ := strings.Cut(s.Name, ":")
	return w
}

// Blocks says whether the step is one that begins to deny something: it is
// armed inside change windows only.
func (s Step) Blocks() bool {
	return strings.HasPrefix(s.Name, blockPrefix) || strings.HasPrefix(s.Name, swapPrefix)
}

// Denies says whether any group is denied anything after the step.
func (s Step) Denies() bool {
	return slices.ContainsFunc(s.Targets, func(t Target) bool { return t.Treatment.Denies() })
}

// Target returns the target of a group.
func (s Step) Target(group string) (Target, bool) {
	i := slices.IndexFunc(s.Targets, func(t Target) bool { return t.Group == group })
	if i < 0 {
		return Target{}, false
	}
	return s.Targets[i], true
}

func equalTargets(a, b []Target) bool { return slices.EqualFunc(a, b, Target.Equal) }

// matchGlob reports whether name matches a pattern in which "*" stands for any
// characters, "/" and ":" included.
func matchGlob(pattern, name string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == name
	}
	if !strings.HasPrefix(name, head) {
		return false
	}
	name = name[len(head):]
	for i := 0; i <= len(name); i++ {
		if matchGlob(rest, name[i:]) {
			return true
		}
	}
	return false
}

// approvalFor returns the first rule that matches; without one, a step needs
// one yes, which may be the requester's own.
func approvalFor(plan plans.Plan, step string) plans.ApprovalRule {
	for _, r := range plan.Approvals {
		if matchGlob(r.Steps, step) {
			return r
		}
	}
	return plans.ApprovalRule{Steps: "*", Quorum: 1, SelfApproval: true, ExpireAfter: 24 * time.Hour}
}
