package plans

import (
	"fmt"
	"math"
	"slices"
	"time"
)

const (
	day       = 24 * time.Hour
	veryLong  = 5 * 366 * day
	oneSecond = time.Second
)

// window reads a cron with what stands around it.
func (d *decoder) window(n *node) Window {
	w := Window{Cron: str(n.get("cron")), DaysOfMonth: str(n.get("daysOfMonth")),
		Before: d.duration(n.get("before"), 0, 0, 366*day), After: d.duration(n.get("after"), 0, 0, 366*day)}
	if w.Cron == "" {
		return w
	}
	if _, f := parseCron(w.Cron, w.DaysOfMonth); f != nil {
		at := n.get("cron")
		if _, alone := parseCron(w.Cron, ""); alone == nil {
			at = n.get("daysOfMonth")
		}
		d.fail(at, f)
	}
	if w.Before == 0 && w.After == 0 && !d.atNode[n.get("before")] && !d.atNode[n.get("after")] {
		d.add(n.get("cron"), "an instant, not a span", "add before or after, as after: 6h")
	}
	return w
}

func (d *decoder) windows(n *node) []Window {
	var out []Window
	for _, v := range items(n, mapping) {
		out = append(out, d.window(v))
	}
	return out
}

func (d *decoder) calendar(n *node) {
	seen := map[string]*node{}
	for _, v := range items(n, mapping) {
		d.p.Calendar = append(d.p.Calendar, Event{Name: d.named(v, seen), Window: d.window(v), Pos: d.pos(v)})
	}
}

func (d *decoder) monitor(n *node) {
	m := &d.p.Monitor
	m.Minimum = d.duration(n.get("minimum"), 30*day, 0, veryLong)
	m.MinDays = intOr(n.get("minDays"), 1)
	m.Witnessed = float64(d.percent(n.get("witnessed"), 0)) / 100
	m.Unseen = float64(d.percent(n.get("unseen"), 0)) / 100
	var names []string
	for _, e := range d.p.Calendar {
		names = append(names, e.Name)
	}
	for _, v := range items(n.get("covers"), text) {
		if !slices.Contains(names, v.text) {
			d.add(v, fmt.Sprintf("the calendar has no event %q", clip(v.text)), didYouMean(v.text, names, "add it under calendar; it has "))
			continue
		}
		m.Covers = append(m.Covers, v.text)
	}
}

// defaults reads what groups and never rules inherit from enforce.
func (d *decoder) defaults(n *node) {
	e := &d.p.Enforce
	if e.RulesBy = d.rulesBy(n.get("rulesBy")); e.RulesBy == nil {
		e.RulesBy = []string{"group", "service"}
	}
	e.Deny = strOr(n.get("deny"), "reject")
	e.Established = strOr(n.get("established"), "drain")
}

func (d *decoder) enforce(n *node) {
	e := &d.p.Enforce
	a := n.get("alert")
	e.Alert.Minimum = d.duration(a.get("minimum"), 14*day, 0, veryLong)
	e.Alert.Maximum = d.duration(a.get("maximum"), 0, oneSecond, veryLong)
	e.Alert.Quiet = d.duration(a.get("quiet"), 3*day, 0, veryLong)
	if most := e.Alert.Maximum; most > 0 && !d.hurt(a) {
		if e.Alert.Minimum > most {
			d.add(orNode(a.get("minimum"), a.get("maximum")), fmt.Sprintf("the alert step is overdue before its minimum of %s is over", FormatDuration(e.Alert.Minimum)), "write a maximum above the minimum")
		}
		if e.Alert.Quiet > most {
			d.add(orNode(a.get("quiet"), a.get("maximum")), fmt.Sprintf("it can never be quiet for %s before the maximum is over", FormatDuration(e.Alert.Quiet)), "write a maximum above quiet")
		}
	}
	e.Brownouts = d.brownouts(n.get("brownouts"))
	e.KeepReason = str(n.get("keepReason"))
	e.DrainFor = d.duration(n.get("drainFor"), day, 0, 366*day)
	e.Soak = d.duration(n.get("soak"), day, 0, veryLong)
	e.Windows = d.windows(n.get("windows"))
	d.freezes(n.get("freezes"))
	d.waves(n)
	d.leaveOpen(n)
	d.established(n)
}

func orNode(a, b *node) *node {
	if a != nil {
		return a
	}
	return b
}

func (d *decoder) brownouts(n *node) []time.Duration {
	if n == nil {
		return nil
	}
	out := []time.Duration{}
	for _, v := range items(n, text) {
		out = append(out, d.duration(v, oneSecond, oneSecond, day))
	}
	return out
}

func (d *decoder) freezes(n *node) {
	seen := map[string]*node{}
	for _, v := range items(n, mapping) {
		f := Freeze{Name: d.named(v, seen), From: d.date(v.get("from")), To: d.date(v.get("to"))}
		if f.From.IsZero() || f.To.IsZero() {
			continue
		}
		if f.To.Before(f.From) {
			d.add(v.get("to"), "the freeze ends before it starts", fmt.Sprintf("write a day from %s on", f.From.Format(time.DateOnly)))
			continue
		}
		f.To = endOf(f.To)
		d.p.Enforce.Freezes = append(d.p.Enforce.Freezes, f)
	}
}

// established checks that keep has a reason and that nothing is said that no
// wave uses.
func (d *decoder) established(n *node) {
	if n == nil || n.kind != mapping {
		return
	}
	e := d.p.Enforce
	used := map[string]*node{e.Established: orNode(n.get("established"), n)}
	for _, v := range items(n.get("waves"), mapping) {
		if at := v.get("established"); str(at) != "" {
			used[at.text] = at
		}
	}
	if at, keep := used["keep"]; keep && e.KeepReason == "" {
		d.add(at, "established: keep needs a reason", "add keepReason under enforce, or write drain")
	} else if !keep && n.get("keepReason") != nil {
		d.add(n.key("keepReason"), "keepReason without established: keep", "remove it")
	}
	if used["drain"] == nil && n.get("drainFor") != nil {
		d.add(n.key("drainFor"), "drainFor without established: drain", "remove it")
	}
}

// refactor reads the third phase.
func (d *decoder) refactor(n *node) {
	seen := map[string]*node{}
	by := map[string]string{}
	all := budget(n.get("budget"), Budget{})
	for _, v := range items(n.get("steps"), mapping) {
		r := Refactor{Name: d.named(v, seen), Pos: d.pos(v), Shadow: d.duration(v.get("shadow"), 14*day, 0, veryLong), Budget: budget(v.get("budget"), all)}
		for _, g := range items(v.get("groups"), text) {
			if !d.knownGroup(g) {
				continue
			}
			if other, ok := by[g.text]; ok {
				d.add(g, fmt.Sprintf("the step %s refactors the group %s already", other, g.text), "keep it in one step")
			}
			if d.openEntirely(g.text) {
				d.add(g, fmt.Sprintf("the group %s is left open: there is nothing to refactor", g.text), "put it in a wave, or remove it here")
			}
			by[g.text] = r.Name
			r.Groups = append(r.Groups, g.text)
		}
		for _, a := range items(v.get("allow"), mapping) {
			rule := AllowRule{To: d.targetOr(a.get("to"), Target{Outside: true}), Services: d.serviceList(a.get("services"))}
			d.outward(a.get("to"), rule.To)
			r.Allow = append(r.Allow, rule)
		}
		d.p.Refactor = append(d.p.Refactor, r)
	}
}

// budget reads what of a budget is said; the rest is as otherwise.
func budget(n *node, otherwise Budget) Budget {
	for name, field := range map[string]**uint64{"addresses": &otherwise.Addresses, "services": &otherwise.Services} {
		if at := n.get(name); at != nil {
			v := uint64(intOr(at, 0)) // the schema lets no negative one pass
			*field = &v
		}
	}
	return otherwise
}

func (d *decoder) openEntirely(group string) bool {
	for _, w := range d.p.Enforce.Waves {
		if slices.Contains(w.Groups, group) {
			return false
		}
	}
	return slices.Contains(d.p.Enforce.LeaveOpen, group)
}

// rest reads watch, unblock, approvals, confirmWithin, onBoot and capture.
func (d *decoder) rest(root *node) {
	p := d.p
	if c := root.get("watch").get("report"); str(c) != "" {
		if _, f := parseCron(c.text, ""); f != nil {
			d.fail(c, f)
		}
		p.Watch.Report = c.text
	}
	u := root.get("unblock")
	p.Unblock = Unblock{Longest: d.duration(u.get("longest"), day, oneSecond, 30*day), Widest4: intOr(u.get("widest4"), 24),
		Widest6: intOr(u.get("widest6"), 64), From4: intOr(u.get("from4"), 0), From6: intOr(u.get("from6"), 0), Contact: str(u.get("contact"))}
	p.ConfirmWithin = d.duration(root.get("confirmWithin"), 10*time.Minute, oneSecond, time.Hour)
	p.OnBoot = strOr(root.get("onBoot"), OnBootRestore)
	d.approvals(root.get("approvals"))
	p.Drift = strOr(root.get("drift"), DriftAlert)
	c := root.get("capture")
	p.Capture = Capture{LogGroup: port(c.get("logGroup"), 100), VerdictGroup: port(c.get("verdictGroup"), 101), HoneypotPort: port(c.get("honeypotPort"), 2323)}
	if p.Capture.LogGroup == p.Capture.VerdictGroup {
		d.add(orNode(c.get("verdictGroup"), c.get("logGroup")), "logGroup and verdictGroup are the same", "write two numbers")
	}
}

func port(n *node, otherwise uint16) uint16 {
	if v := intOr(n, int(otherwise)); v > 0 && v <= math.MaxUint16 {
		return uint16(v)
	}
	return otherwise
}

// knownGroup notes a name that is no group.
func (d *decoder) knownGroup(n *node) bool {
	if n.text == Unassigned || d.groups[n.text] != nil {
		return true
	}
	d.add(n, fmt.Sprintf("the plan has no group %q", clip(n.text)), didYouMean(n.text, d.groupList(), "write one of "))
	return false
}
