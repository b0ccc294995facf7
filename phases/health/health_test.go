package health

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/phases/policy"
)

var (
	t0     = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	frozen = t0.Add(-24 * time.Hour)
	links  = []netip.Prefix{netip.MustParsePrefix("10.0.1.0/24"), netip.MustParsePrefix("fd20:0:0:1::/64")}
)

func at(seconds int) time.Time { return t0.Add(time.Duration(seconds) * time.Second) }

// tries writes attempts as "+" answered, "-" failed, "?" silent, one each ten
// seconds; "|" is the moment of arming.
func tries(name, group, s string) Probe {
	p := Probe{Name: name, Group: group}
	i := -10 * strings.Index(s, "|")
	for _, c := range s {
		if c == '|' {
			continue
		}
		o := map[rune]Outcome{'+': Answered, '-': Failed, '?': Silent}[c]
		p.Results = append(p.Results, Result{Began: at(i), Outcome: o, Words: "timeout"})
		i += 10
	}
	return p
}

func TestProbes(t *testing.T) {
	for _, row := range []struct {
		probes []Probe
		want   string
	}{
		{nil, "good"},
		{[]Probe{tries("a", "", "+|+")}, "good"},
		{[]Probe{tries("a", "", "+|")}, "cannot tell: the probe a has not been tried since"},
		{[]Probe{tries("a", "", "|")}, "cannot tell: the probe a has not been tried since"},
		{[]Probe{tries("a", "", "+|-")}, "cannot tell: the probe a: timeout"},
		{[]Probe{tries("a", "", "+|--")}, "bad: the probe a failed 2 times: timeout"},
		{[]Probe{tries("a", "", "--|-")}, "cannot tell: the probe a: timeout"}, // what failed before does not count
		{[]Probe{tries("a", "", "+|--+")}, "good"},
		{[]Probe{tries("a", "", "+|-+-")}, "cannot tell: the probe a: timeout"},
		{[]Probe{tries("a", "", "+|???")}, "cannot tell: the probe a: timeout"},
		{[]Probe{tries("a", "", "+|+"), tries("b", "", "+|---"), tries("c", "", "+|?")}, "bad: the probe b failed 3 times: timeout"},
	} {
		j := Judge(Evidence{Armed: t0, Groups: []string{"desks", "srv"}, Probes: row.probes})
		if j.String() != row.want {
			t.Errorf("%v: %s, want %s", row.probes, j, row.want)
		}
	}
	j := Judge(Evidence{Armed: t0, Groups: []string{"desks", "srv"}, Probes: []Probe{tries("a", "srv", "+|--")}})
	if !slices.Equal(j.Groups, []string{"srv"}) {
		t.Errorf("a probe of srv is bad for %v", j.Groups)
	}
	j = Judge(Evidence{Armed: t0, Groups: []string{"desks", "srv"}, Probes: []Probe{tries("a", "", "+|--")}})
	if !slices.Equal(j.Groups, []string{"desks", "srv"}) {
		t.Errorf("a probe of nobody's is bad for %v", j.Groups)
	}
	for s, want := range map[string]bool{"|": false, "+|": false, "|+": true, "|+-": false, "|-+": true, "|?": false} {
		if ok, why := tries("a", "", s).Ready(t0); ok != want || ok == (why != "") {
			t.Errorf("%s is ready: %v, %q", s, ok, why)
		}
	}
}

// office is five machines that each talked to a mail server, and to a site that
// the policy does not allow.
func office() (rows []monitor.Row, pol policy.Policy) {
	smtp, web := flow.Single(flow.TCP, 25), flow.Single(flow.TCP, 443)
	for i := range 5 {
		mac := []string{fmt.Sprintf("02:00:5e:10:00:0%d", i)}
		for _, c := range []string{fmt.Sprintf("10.0.1.%d", i+1), fmt.Sprintf("fd20:0:0:1::%d", i+1)} {
			client := netip.MustParseAddr(c)
			server := netip.MustParseAddr("198.51.100.7")
			if client.Is6() {
				server = netip.MustParseAddr("2001:db8::7")
			}
			row := monitor.Row{Group: "desks", Client: client, Server: server, Service: smtp, First: frozen.Add(-time.Hour), Last: t0, Answered: true, Traced: true, MACs: mac}
			rows = append(rows, row)
			row.Service = web
			rows = append(rows, row)
		}
	}
	pol.Rules = []policy.Rule{{Group: "desks", Services: []flow.Service{smtp}}}
	return rows, pol
}

func denied(r monitor.Row, seconds int) monitor.Judged {
	return monitor.Judged{Flow: r.Flow(), Group: r.Group, Verdict: flow.Denied, First: at(seconds), Last: at(seconds), Count: 1}
}

func TestForecast(t *testing.T) {
	rows, pol := office()
	denies := func(g string) bool { return g == "desks" }
	if f := Foresee(pol, denies, rows, links); f != (Forecast{Endpoints: 5, Flows: 10}) {
		t.Errorf("forecast %+v, want 5 machines and 10 flows", f)
	}
	if f := Foresee(pol, func(string) bool { return false }, rows, links); f != (Forecast{}) {
		t.Errorf("nobody is denied, and the forecast is %+v", f)
	}
	for i := range rows {
		rows[i].Opening = "o1"
	}
	if f := Foresee(pol, denies, rows, links); f != (Forecast{}) {
		t.Errorf("what left through an opening is in the forecast: %+v", f)
	}
	if f := Foresee(pol, denies, rows, nil); f != (Forecast{}) {
		t.Errorf("forecast %+v", f)
	}
}

// TestStory33 has a failing member for each way in which losses stop a step, and
// one for each that must not.
func TestStory33Losses(t *testing.T) {
	rows, pol := office()
	var smtp, web []monitor.Judged // of every machine, both families
	for i, r := range rows {
		if r.Service.Lo == 25 {
			smtp = append(smtp, denied(r, 10+i))
		} else {
			web = append(web, denied(r, 10+i))
		}
	}
	fresh := slices.Clone(rows) // the site answered for the first time after the step was frozen
	for i := range fresh {
		if fresh[i].Service.Lo == 443 {
			fresh[i].First = frozen.Add(time.Hour)
		}
	}
	opened := slices.Clone(fresh)
	for i := range opened {
		opened[i].Opening = "o1"
	}
	silent := slices.Clone(fresh)
	for i := range silent {
		silent[i].Answered = false
	}
	elsewhere := slices.Clone(smtp)
	for i := range elsewhere {
		elsewhere[i].Group = "srv"
	}
	early := slices.Clone(smtp)
	for i := range early {
		early[i].Last = at(-1)
	}
	for _, row := range []struct {
		name   string
		rows   []monitor.Row
		judged []monitor.Judged
		lost   int
		want   Verdict
		counts [2]int
	}{
		{"nothing is denied", rows, nil, 0, Good, [2]int{0, 0}},
		{"what was approved is denied", rows, web, 0, Good, [2]int{0, 5}},
		{"what is allowed is denied", rows, smtp, 3, Bad, [2]int{5, 0}},
		{"as many as may", rows, smtp, 5, Good, [2]int{5, 0}},
		{"two families are one machine", rows, smtp[:2], 1, Good, [2]int{1, 0}},
		{"two families are one machine, and one is too many", rows, smtp[:2], 0, Bad, [2]int{1, 0}},
		{"nobody knew of it when it was frozen", fresh, web, 3, Bad, [2]int{5, 0}},
		{"it never answered", silent, web, 0, Good, [2]int{0, 0}},
		{"it answered in an opening", opened, web, 0, Good, [2]int{0, 0}},
		{"a group that the step does not narrow", rows, elsewhere, 0, Good, [2]int{0, 0}},
		{"before it was armed", rows, early, 0, Good, [2]int{0, 0}},
	} {
		j := Judge(Evidence{Armed: t0, Groups: []string{"desks"}, Lost: row.lost, Losses: NewKnown(row.rows, pol, frozen, t0, links).Losses(row.judged)})
		if j.Verdict != row.want || [2]int{j.Endpoints, j.Foreseen} != row.counts {
			t.Errorf("%s: %s, %d lost, %d foreseen; want %s %v", row.name, j, j.Endpoints, j.Foreseen, row.want, row.counts)
		}
		if j.Verdict == Bad && !slices.Equal(j.Groups, []string{"desks"}) {
			t.Errorf("%s: bad for %v", row.name, j.Groups)
		}
	}
	if j := Judge(Evidence{Armed: t0, Groups: []string{"desks"}, Blind: "log lines were lost"}); j.Verdict != CannotTell {
		t.Errorf("blind: %s", j)
	}
	if j := Judge(Evidence{Armed: t0, Groups: []string{"desks"}, Blind: "x", Lost: 1, Losses: NewKnown(rows, pol, frozen, t0, links).Losses(smtp)}); j.Verdict != Bad {
		t.Errorf("blind, and bad all the same: %s", j)
	}
}

// TestNobodyScansItOpen: whatever one machine sends, from however many addresses
// of its own, and whatever anybody sends to where nobody ever answered, is not
// bad for a step.
func TestNobodyScansItOpen(t *testing.T) {
	rows, pol := office()
	rapid.Check(t, func(t *rapid.T) {
		var judged []monitor.Judged
		evidence := slices.Clone(rows)
		mine := []string{"02:00:5e:10:00:00"}
		for i := range rapid.IntRange(0, 200).Draw(t, "packets") {
			var to [4]byte
			copy(to[:], rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "to"))
			f := flow.Flow{Client: netip.AddrFrom4([4]byte{10, 0, 1, rapid.Byte().Draw(t, "from")}), Server: netip.AddrFrom4(to), Proto: flow.TCP, Port: rapid.Uint16().Draw(t, "port")}
			if rapid.Bool().Draw(t, "mine") {
				// A server of the scanner's own answers it before the step is armed.
				f.Client = netip.AddrFrom4([4]byte{10, 0, 1, byte(i)})
				evidence = append(evidence, monitor.Row{Group: "desks", Client: f.Client, Server: f.Server, Service: f.Service(), First: frozen.Add(time.Hour), Last: t0, Answered: true, MACs: mine})
			} else if slices.ContainsFunc(evidence, func(r monitor.Row) bool { return r.Flow() == f }) {
				continue
			}
			judged = append(judged, monitor.Judged{Flow: f, Group: "desks", Verdict: flow.Denied, Last: at(1 + i), Count: 1e6})
		}
		j := Judge(Evidence{Armed: t0, Groups: []string{"desks"}, Lost: 1, Losses: NewKnown(evidence, pol, frozen, t0, links).Losses(judged)})
		if j.Verdict != Good {
			t.Fatalf("%s", j)
		}
	})
}
