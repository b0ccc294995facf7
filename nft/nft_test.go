package nft_test

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"weir/nft"
	"weir/nft/netns"
)

// machine is a namespace with the real nft in it.
type machine struct {
	*netns.NS
	t testing.TB
}

func newMachine(t testing.TB) machine {
	t.Helper()
	if _, err := exec.LookPath("nft"); err != nil {
		t.Fatal("these tests need nft in PATH; install it with: apt-get install nftables")
	}
	n, err := netns.New("nft")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return machine{n, t}
}

func (m machine) nft(in string, args ...string) (string, error) {
	c := m.Command("nft", args...)
	c.Stdin = strings.NewReader(in)
	out, err := c.CombinedOutput()
	return string(out), err
}

func (m machine) load(text string) {
	m.t.Helper()
	if out, err := m.nft(text, "-f", "-"); err != nil {
		m.t.Fatalf("nft -f: %v\n%s\ntext:\n%s", err, out, numbered(text))
	}
}

func (m machine) refuses(text string) {
	m.t.Helper()
	if out, err := m.nft(text, "-f", "-"); err == nil {
		m.t.Fatalf("nft took it: %s\ntext:\n%s", out, text)
	}
}

func (m machine) list(args ...string) string {
	m.t.Helper()
	out, err := m.nft("", append([]string{"-s", "list"}, args...)...)
	if err != nil {
		m.t.Fatalf("nft list %v: %v\n%s", args, err, out)
	}
	return out
}

// What nft lists after it loaded the text was compared by eye with the text,
// once; it differs in the order of values and in spelling.
func TestNftLoadsTheText(t *testing.T) {
	m := newMachine(t)
	m.load(sample().String())
	golden(t, "testdata/sample.listed", m.list("ruleset"))
	m.load(sample().String()) // again: nothing is created twice but rules
}

func TestSampleIsClean(t *testing.T) {
	if err := sample().Check(); err != nil {
		t.Error(err)
	}
}

// switches is a table as the transactions find it.
func switches() nft.Ruleset {
	open := []nft.Rule{nft.R(nft.Accept())}
	r := nft.Ruleset{Family: "inet", Table: "weir"}
	timed := func(name string) nft.Set {
		return nft.Set{Name: name, Key: []nft.Type{nft.NFProto}, Data: nft.VerdictType, HasTimeout: true}
	}
	r.Sets = []nft.Set{{Name: nft.TxMap, Key: []nft.Type{nft.IfName}, Data: nft.Mark}, timed(nft.BackMap("ws")), timed(nft.SpareMap("ws"))}
	r.Chains = []nft.Chain{{Name: "w_spare", Rules: open}, {Name: "w_a_ws", Rules: open}}
	for _, h := range []string{"f", "o"} {
		r.Sets = append(r.Sets, timed(nft.TrialMap(h)), nft.Set{Name: nft.StableMap(h), Key: []nft.Type{nft.NFProto}, Data: nft.VerdictType})
		r.Chains = append(r.Chains, nft.Chain{Name: "r1_" + h, Rules: open}, nft.Chain{Name: "r2_" + h, Rules: open},
			nft.Chain{Name: "w_main_" + h, Rules: []nft.Rule{nft.R(nft.Lookup(nft.TrialMap(h), nft.NFProtoF)), nft.R(nft.Lookup(nft.StableMap(h), nft.NFProtoF))}})
	}
	return r
}

func entry(id string) map[string]string { return map[string]string{"o": id + "_o", "f": id + "_f"} }

// state lists the elements of every map, without times left.
func (m machine) state() string {
	m.t.Helper()
	r := m.list("table", "inet", "weir")
	var b strings.Builder
	name := ""
	for line := range strings.SplitSeq(r, "\n") {
		line = strings.TrimSpace(line)
		if f := strings.Fields(line); len(f) > 2 && f[0] == "map" {
			name = f[1]
		}
		if e, ok := strings.CutPrefix(line, "elements = { "); ok {
			b.WriteString(name + ": " + strings.TrimSuffix(e, " }") + "\n")
		}
	}
	return b.String()
}

func TestTransactionTexts(t *testing.T) {
	arm := nft.Arm{ID: "r2", Entry: entry("r2"), Tx: "t-arm", Lease: 10 * time.Minute, Spare: []string{"ws"}}
	confirm := nft.Confirm{ID: "r2", Entry: entry("r2"), Tx: "t-confirm", Spare: []string{"ws"}, SpareFor: 24 * time.Hour}
	back := nft.Rollback{ID: "r1", Entry: entry("r1"), Hooks: []string{"f", "o"}, Tx: "t-back", Kind: nft.TxRollback}
	alert := nft.Rollback{ID: "r2", Entry: entry("r2"), Hooks: []string{"f", "o"}, Tx: "t-alert", Alert: []string{"ws"}}
	off := nft.Rollback{Hooks: []string{"f", "o"}, Tx: "t-off"}
	short := arm
	short.Lease, short.Spare = 50*time.Millisecond, nil

	const stable1 = "w_stable_f: ipv4 : goto r1_f, ipv6 : goto r1_f\nw_stable_o: ipv4 : goto r1_o, ipv6 : goto r1_o\n"
	const stable2 = "w_stable_f: ipv4 : goto r2_f, ipv6 : goto r2_f\nw_stable_o: ipv4 : goto r2_o, ipv6 : goto r2_o\n"
	// What was spared stays spared until its time is over.
	const backed = "w_tx: \"t-back\" : 0x00000009\n" + stable1
	const trial = `w_tx: "t-arm" : 0x00000001
w_s_ws: ipv4 timeout 10m : jump w_spare, ipv6 timeout 10m : jump w_spare
w_trial_f: ipv4 timeout 10m : goto r2_f, ipv6 timeout 10m : goto r2_f
w_stable_f: ipv4 : goto r1_f, ipv6 : goto r1_f
w_trial_o: ipv4 timeout 10m : goto r2_o, ipv6 timeout 10m : goto r2_o
w_stable_o: ipv4 : goto r1_o, ipv6 : goto r1_o
`
	m := newMachine(t)
	m.load(switches().String())
	for i, step := range []struct {
		text string
		want string // "": refused, nothing changes
	}{
		{off.Text(), "w_tx: \"t-off\" : 0x00000009\n"},
		{confirm.Text(), ""},
		{back.Text(), backed},
		{back.Text(), backed},
		{arm.Text(), trial},
		{back.Text(), strings.Replace(backed, "w_stable_f", "w_s_ws: ipv4 timeout 10m : jump w_spare, ipv6 timeout 10m : jump w_spare\nw_stable_f", 1)},
		{arm.Text(), trial},
		{confirm.Text(), "w_tx: \"t-confirm\" : 0x00000002\nw_s_ws: ipv4 timeout 1d : jump w_spare, ipv6 timeout 1d : jump w_spare\n" + stable2},
		{confirm.Text(), ""},
		{alert.Text(), "w_tx: \"t-alert\" : 0x00000009\nw_g_ws: ipv4 : goto w_a_ws, ipv6 : goto w_a_ws\nw_s_ws: ipv4 timeout 1d : jump w_spare, ipv6 timeout 1d : jump w_spare\n" + stable2},
		{nft.Confirm{Entry: map[string]string{}, Spare: []string{"ws"}, NoBack: []string{"ws"}, Tx: "t-x"}.Text(), "w_tx: \"t-x\" : 0x00000002\n" + stable2},
		{back.Text(), backed},
		{short.Text(), "lapses"},
		{confirm.Text(), ""},
		{off.Text(), "w_tx: \"t-off\" : 0x00000009\n"},
	} {
		before := m.state()
		switch step.want {
		case "":
			m.refuses(step.text)
			if after := m.state(); after != before {
				t.Fatalf("step %d: refused, but changed\n%sto\n%s", i, before, after)
			}
		case "lapses":
			m.load(step.text)
			end := time.Now().Add(5 * time.Second)
			for strings.Contains(m.state(), "w_trial_") {
				if time.Now().After(end) {
					t.Fatal("the trial does not lapse")
				}
			}
		default:
			m.load(step.text)
			if got := m.state(); got != step.want {
				t.Fatalf("step %d:\n%s\ngave\n%s\nwant\n%s", i, step.text, got, step.want)
			}
		}
	}
}

func TestBackoutText(t *testing.T) {
	golden(t, "testdata/backout.nft.txt", nft.Rollback{ID: "r1a2b3c4d5e6f", Entry: map[string]string{"f": "r1a2b3c4d5e6f_f", "n": "r1a2b3c4d5e6f_n"},
		Hooks: []string{"n", "f"}, Tx: "0123456789abcde", Kind: nft.TxRollback, Alert: []string{"desks"}}.Text())
}

func TestKindsHaveNumbers(t *testing.T) {
	for _, k := range []nft.TxKind{nft.TxArm, nft.TxConfirm, nft.TxRollback, nft.TxGroup, nft.TxException, nft.TxLoad, nft.TxBoot, nft.TxHold} {
		if n := k.Number(); n == 0 || nft.TxKindOf(n) != k {
			t.Errorf("%s is %d, which is %q", k, n, nft.TxKindOf(n))
		}
	}
	if nft.TxKindOf(8) != "" || nft.TxKind("x").Number() != 0 {
		t.Error("unknown kinds have numbers")
	}
}
