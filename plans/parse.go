package plans

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // plans mean the same on a machine without time zones

	"weir/phases/flow"
)

// Parse reads a plan. The error is of type Mistakes and holds everything that
// is wrong with the file; file is only used in messages. Parse never panics.
func Parse(file string, data []byte) (p *Plan, err error) {
	r := newReader(file, data)
	defer func() {
		if x := recover(); x != nil {
			r.addAt(0, 0, "the plan cannot be read", "please report the file: weir check must never end like this")
			p, err = nil, r.err()
		}
	}()
	root := r.read()
	if root == nil {
		return nil, r.err()
	}
	if root.kind != mapping {
		r.add(root, fmt.Sprintf("a plan is a map of fields, not %s", root.kind), "weir init writes one to start from")
		return nil, r.err()
	}
	if k := root.get("kind"); k != nil && k.kind == text && k.text != "RolloutPlan" {
		r.add(k, fmt.Sprintf("kind is %q", clip(k.text)), "write kind: RolloutPlan")
		return nil, r.err()
	}
	shapes := r.checkSchema(root)
	sum := sha256.Sum256(data)
	d := &decoder{reader: r, p: &Plan{Hash: "sha256:" + hex.EncodeToString(sum[:])}}
	d.plan(root)
	r.shape(root, shapes)
	if err := r.err(); err != nil {
		return nil, err
	}
	return d.p, nil
}

// decoder fills a Plan. Where a value has the wrong type the schema check has
// said so, and the decoder passes over it.
type decoder struct {
	*reader
	p      *Plan
	groups map[string]*groupNode
}

func (d *decoder) plan(root *node) {
	p := d.p
	meta := root.get("metadata")
	p.Name = d.name(meta.get("name"))
	p.Owner = str(meta.get("owner"))
	p.Ticket = str(meta.get("ticket"))
	p.Timezone = d.timezone(root.get("timezone"))
	p.Environment = strOr(root.get("environment"), "operational")
	d.scope(root.get("scope"))
	d.services(root.get("services"))
	d.groupNames(root.get("groups"))
	d.defaults(root.get("enforce"))
	d.readGroups()
	d.lifelines(root.get("lifelines"))
	d.declared(root.get("declared"))
	d.never(root.get("never"))
	d.calendar(root.get("calendar"))
	d.monitor(root.get("monitor"))
	d.enforce(root.get("enforce"))
	d.refactor(root.get("refactor"))
	d.tests(root.get("tests"))
	d.rest(root)
	d.notify(root.get("notify"))
	d.health(root.get("health"))
	d.contradictions(root)
}

func (d *decoder) pos(n *node) Pos {
	if n == nil {
		return Pos{File: d.file}
	}
	return Pos{File: d.file, Line: n.line, Col: n.col}
}

func (d *decoder) fail(n *node, f *fault) { d.add(n, f.text, f.hint) }

func str(n *node) string {
	if n == nil || n.kind != text {
		return ""
	}
	return n.text
}

func strOr(n *node, otherwise string) string {
	if s := str(n); s != "" {
		return s
	}
	return otherwise
}

func truth(n *node) bool { return n != nil && n.kind == boolean && n.truth }

func intOr(n *node, otherwise int) int {
	if n == nil || n.kind != number {
		return otherwise
	}
	return int(n.num)
}

// items lists the entries of a list that are of the given form.
func items(n *node, of form) []*node {
	if n == nil || n.kind != list {
		return nil
	}
	var out []*node
	for _, v := range n.vals {
		if v.kind == of {
			out = append(out, v)
		}
	}
	return out
}

func texts(n *node) []string {
	var out []string
	for _, v := range items(n, text) {
		out = append(out, v.text)
	}
	return out
}

// name reads a name and refuses reserved ones.
func (d *decoder) name(n *node) string {
	s := str(n)
	if s == "" {
		return ""
	}
	if !nameForm.MatchString(s) {
		d.add(n, fmt.Sprintf("%q is not a name", clip(s)), nameHint(s))
		return ""
	}
	if slices.Contains(reserved, s) {
		d.add(n, fmt.Sprintf("the name %q is reserved", s), "choose another: any, inside, outside, self and unassigned have a meaning of their own")
		return ""
	}
	return s
}

// named reads the name of an entry of a list, where each name is there once.
func (d *decoder) named(n *node, seen map[string]*node) string {
	at := n.get("name")
	s := d.name(at)
	if s == "" {
		return ""
	}
	if before, ok := seen[s]; ok {
		d.add(at, fmt.Sprintf("the name %q is taken, in line %d", s, before.line), "choose another name")
	}
	seen[s] = at
	return s
}

// duration reads a duration of at least and at most so much.
func (d *decoder) duration(n *node, otherwise, least, most time.Duration) time.Duration {
	if n == nil || n.kind != text {
		return otherwise
	}
	v, f := parseDuration(n.text)
	if f != nil {
		d.fail(n, f)
		return otherwise
	}
	if v < least || v > most {
		d.add(n, fmt.Sprintf("%s is out of range", n.text), fmt.Sprintf("write %s to %s", FormatDuration(least), FormatDuration(most)))
		return otherwise
	}
	return v
}

func (d *decoder) timezone(n *node) *time.Location {
	s := str(n)
	if s == "" {
		return time.UTC
	}
	if s != "Local" {
		if loc, err := time.LoadLocation(s); err == nil {
			return loc
		}
	}
	d.add(n, fmt.Sprintf("%q is not a time zone", clip(s)), "write its IANA name, as Europe/Berlin or UTC")
	return time.UTC
}

// date reads a day; the time is its midnight in the plan's time zone.
func (d *decoder) date(n *node) time.Time {
	s := str(n)
	if s == "" {
		return time.Time{}
	}
	t, err := time.ParseInLocation(time.DateOnly, s, d.p.Timezone)
	if err != nil || t.Year() < 1970 {
		d.add(n, fmt.Sprintf("%q is not a day", clip(s)), "write year-month-day, as 2027-12-31")
		return time.Time{}
	}
	return t
}

// endOf is the midnight after a day.
func endOf(day time.Time) time.Time {
	y, m, dd := day.Date()
	return time.Date(y, m, dd+1, 0, 0, 0, 0, day.Location())
}

// percent reads "5%".
func (d *decoder) percent(n *node, otherwise int) int {
	s, ok := strings.CutSuffix(str(n), "%")
	if !ok {
		if str(n) != "" {
			d.add(n, fmt.Sprintf("%q is not a share", clip(n.text)), "write 1% to 100%")
		}
		return otherwise
	}
	var v int
	if _, err := fmt.Sscanf(s, "%d", &v); err != nil || fmt.Sprint(v) != s || v < 1 || v > 100 {
		d.add(n, fmt.Sprintf("%q is not a share", clip(n.text)), "write 1% to 100%")
		return otherwise
	}
	return v
}

// families reads a list of families; nil where there is none.
func families(n *node) []flow.Family {
	var out []flow.Family
	for _, s := range texts(n) {
		if f := flow.Family(s); f == flow.IPv4 || f == flow.IPv6 {
			out = append(out, f)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
