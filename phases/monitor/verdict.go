package monitor

import (
	"cmp"
	"time"

	"weir/phases/flow"
)

type verdictKey struct {
	flow.Flow
	verdict flow.Verdict
	group   string
	step    string
}

func compareVerdicts(a, b verdictKey) int {
	return cmp.Or(flow.Compare(a.Flow, b.Flow), cmp.Compare(a.verdict, b.verdict), cmp.Compare(a.group, b.group),
		cmp.Compare(a.step, b.step))
}

func (e *Evidence) addVerdict(r flow.Record) {
	inc := entry{first: r.First, last: r.Last, conns: 1}
	inc.days.Add(DayOf(r.Last, e.zone))
	if v := viaOf(r); v.known() {
		inc.via = []Via{v}
		e.addHost(r.Flow, r.Inbound, v)
	}
	e.mergeVerdict(verdictKey{r.Flow, r.Verdict, r.Group, r.Step}, &inc)
}

func (e *Evidence) mergeVerdict(k verdictKey, inc *entry) {
	mergeInto(e.verdicts, k, inc)
	if e.delta != nil {
		mergeInto(e.delta.verdicts, k, inc)
	}
}

// Judged is a flow that a step's rules did not allow, as the kernel logged it.
// Count is the number of log entries: the kernel logs each flow once an hour at
// most, so it is a least number.
type Judged struct {
	flow.Flow
	Verdict flow.Verdict
	Group   string // as the log named it
	Step    string // revision that judged
	First   time.Time
	Last    time.Time
	Days    int
	Count   uint64
	MACs    []string
}

// Judged returns every flow that was logged as would-be-denied, denied or
// captured, sorted.
func (e *Evidence) Judged() []Judged {
	out := make([]Judged, 0, len(e.verdicts))
	for _, k := range sortedKeys(e.verdicts, compareVerdicts) {
		v := e.verdicts[k]
		out = append(out, Judged{Flow: k.Flow, Verdict: k.verdict, Group: k.group, Step: k.step,
			First: v.first, Last: v.last, Days: v.days.Len(), Count: v.conns, MACs: macsOf(v.via)})
	}
	return out
}

func macsOf(vias []Via) []string {
	var out []string
	for _, v := range vias {
		if v.MAC != "" {
			out = addSorted(out, v.MAC, cmp.Compare)
		}
	}
	return out
}
