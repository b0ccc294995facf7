package rehearse

import (
	"fmt"
	"strings"
	"time"

	"weir/nft/eval"
	"weir/phases/compile"
	"weir/phases/compile/oracle"
	"weir/phases/flow"
	"weir/phases/policy"
)

// Leak is what became of a way out.
type Leak struct {
	Group  string      `json:"group"`
	Family flow.Family `json:"family"`
	Way    string      `json:"way"`
	Packet string      `json:"packet"`
	Open   bool        `json:"open"`
	Was    bool        `json:"was"`          // open under the step before
	By     string      `json:"by,omitempty"` // whose decision it is that it is open; Nobody's: a hole
	Hole   bool        `json:"hole,omitempty"`
}

// Hole is whose decision a way is that should be closed and is open.
const Hole = "NOBODY'S DECISION: a hole"

// Established is what a step does with connections that are open when it is
// confirmed.
type Established struct {
	Spared []string      // groups
	For    time.Duration // 0: not at all
	Words  string        // "drain", "keep", "cut"
}

// By says whose decision it is that a way is open under a step: a lifeline's, a
// rule's, its group's, a line of the plan's. ok is false where nothing says so.
func (j *Judge) By(w Way, e Established) (string, bool) {
	p := w.Packet
	switch w.How {
	case Answer:
		if j.in.Scope.Inbound != "refuse" {
			return "the plan's scope.inbound: " + j.in.Scope.Inbound + " lets an outside host speak first", true
		}
	case Switch:
		if d := j.Decide(p); d.Verdict != "accept" {
			for _, g := range e.Spared {
				if g == j.groupOf(d) && e.For > 0 {
					return fmt.Sprintf("the plan's established: %s, for %s", e.Words, span(e.For)), true
				}
			}
		}
	}
	d := j.Decide(p)
	if d.Verdict != "accept" {
		return Hole, false
	}
	group := j.groupOf(d)
	switch d.Counter {
	case "w_local", "w_inside", "w_outside":
		return "the plan's scope: it does not go from inside to outside", true
	case "w_invalid":
		return "packets that belong to nothing are not judged, counted as w_invalid", true
	case "w_untracked":
		return "packets that are not tracked are not judged, counted as w_untracked", true
	case "w_pickup":
		return "TCP in mid-connection is not judged, counted as w_pickup", true
	case "w_related", "w_reply":
		return "it belongs to a connection that was allowed", true
	case "":
		for _, l := range j.in.Lifelines {
			alone := j.in
			alone.Lifelines, alone.Policy, alone.Groups = []compile.Lifeline{l}, policy.Policy{}, denyAll(j.in.Groups)
			if oracle.Judge(alone, &oracle.World{}, p).Verdict == "accept" {
				return "lifeline " + l.Name, true
			}
		}
		return "errors and neighbour discovery are lifelines of every step", true
	}
	if group == "" {
		return d.Counter, true
	}
	t := treatment(j.in, group)
	whose := "group " + group
	if group != w.Group {
		whose += ", whose address is believed,"
	}
	switch {
	case strings.HasSuffix(d.Counter, "_would") && t.Denies():
		return whose + " is not yet wholly in the wave", true
	case strings.HasSuffix(d.Counter, "_would"):
		return whose + " is in alert", true
	case t == compile.Open:
		return whose + " is open", true
	}
	f := flow.Flow{Client: p.Src, Server: p.Dst, Proto: p.Proto, Port: p.Port}
	if r, ok := policy.Allows(j.in.Policy, group, f); ok {
		name := "rule of " + whose
		if why := strings.TrimSpace(string(r.Reason) + " " + r.Name); why != "" {
			name = strings.TrimSuffix(name, ",") + ": " + why
		}
		return name, true
	}
	return whose, true
}

// groupOf reads the group out of the counter that a packet meets.
func (j *Judge) groupOf(d oracle.Decision) string {
	for _, suffix := range []string{"_allowed", "_would", "_denied"} {
		if g, ok := strings.CutSuffix(strings.TrimPrefix(d.Counter, "w_c_"), suffix); ok && strings.HasPrefix(d.Counter, "w_c_") {
			return g
		}
	}
	return ""
}

func denyAll(groups []compile.Group) []compile.Group {
	var out []compile.Group
	for _, g := range groups {
		g.Treatment, g.Share, g.Prefixes = compile.Drop, 0, nil
		out = append(out, g)
	}
	return out
}

func treatment(in compile.Input, group string) compile.Treatment {
	for _, g := range in.Groups {
		if g.Name == group {
			return g.Treatment
		}
	}
	return compile.Alert
}

func span(d time.Duration) string {
	return strings.TrimSuffix(strings.TrimSuffix(d.String(), "0s"), "0m")
}

// Back is a packet of the other side of the way's connection.
func (w Way) Back() eval.Packet {
	p := w.Packet
	p.Src, p.Dst = p.Dst, p.Src
	p.SrcPort, p.Port = p.Port, p.SrcPort
	p.In, p.Out, p.MAC, p.UID = p.Out, p.In, nil, nil
	return p
}
