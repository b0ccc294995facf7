package plans

import (
	"fmt"
	"strings"
	"time"
)

// defaultApproval holds for a step that no entry of the plan matches.
var defaultApproval = ApprovalRule{Steps: "*", Quorum: 1, SelfApproval: true, ExpireAfter: day}

// approvals reads what each step needs.
func (d *decoder) approvals(n *node) {
	steps := d.stepNames()
	decided := map[string]bool{}
	for _, v := range items(n, mapping) {
		rule := ApprovalRule{Steps: str(v.get("steps")), Quorum: intOr(v.get("quorum"), 1),
			SelfApproval: truth(v.get("selfApproval")), ExpireAfter: d.duration(v.get("expireAfter"), day, time.Second, 366*day)}
		d.p.Approvals = append(d.p.Approvals, rule)
		if rule.Steps == "" {
			continue
		}
		matches, fresh := 0, 0
		for _, s := range steps {
			if Glob(rule.Steps, s) {
				matches++
				if !decided[s] {
					fresh++
				}
				decided[s] = true
			}
		}
		at := v.get("steps")
		switch {
		case matches == 0:
			var real []string
			for _, s := range steps {
				if !strings.HasSuffix(s, ":…") {
					real = append(real, s)
				}
			}
			d.add(at, fmt.Sprintf("no step is called %q", clip(rule.Steps)), didYouMean(rule.Steps, real, "the steps are "))
		case fresh == 0:
			d.add(at, fmt.Sprintf("the entries before decide for every step that %q matches", clip(rule.Steps)), "move it up, or remove it")
		}
	}
}

// stepNames lists the plan's steps, and one of each kind that has names of its
// own, so that a glob may be written before there is such a step.
func (d *decoder) stepNames() []string {
	out := []string{"off", "monitor", "enforce/alert"}
	for _, w := range d.p.Enforce.Waves {
		out = append(out, "enforce/block:"+w.Name)
	}
	for _, r := range d.p.Refactor {
		if r.Shadow > 0 {
			out = append(out, "refactor/shadow:"+r.Name)
		}
		out = append(out, "refactor/swap:"+r.Name)
	}
	return append(out, "watch", "enforce/block:…", "refactor/shadow:…", "refactor/swap:…")
}

// ApprovalFor returns what a step needs: the first rule whose Steps matches
// its name, else one yes, which may be the requester's own, within 24 hours.
func (p *Plan) ApprovalFor(step string) ApprovalRule {
	for _, r := range p.Approvals {
		if Glob(r.Steps, step) {
			return r
		}
	}
	return defaultApproval
}

// Glob says whether a pattern matches the whole of s; * stands for any
// characters, also none.
func Glob(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	rest, ok := strings.CutPrefix(s, parts[0])
	if !ok {
		return false
	}
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(rest, p)
		if i < 0 {
			return false
		}
		rest = rest[i+len(p):]
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}
