package kerneltest

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	"weir/nft/eval"
	"weir/phases/compile"
	"weir/phases/flow"
)

// TestOneEndpointCannotHideAnother: a scanner uses up its own share of the log
// and no more; what is not logged is counted, in all and per source, and is not
// remembered as if it had been.
func TestOneEndpointCannotHideAnother(t *testing.T) {
	for _, c := range []struct {
		treatment     compile.Treatment
		memory4, set6 string
	}{{compile.Alert, "w_a4_desks", "w_a6_desks"}, {compile.Drop, "w_d4_desks", "w_d6_desks"}} {
		g := newGateway(t)
		g.step(t, desks(c.treatment))
		id := uint32(1000)
		send := func(src, dst string, port uint16) {
			id++
			g.inject(eval.Packet{Hook: "f", In: "lan0", MAC: []byte{2, 0, 0, 0, 0, 1}, Src: addr(src), Dst: addr(dst), Proto: flow.UDP, SrcPort: 4000, Port: port}, id)
		}
		const scanned = 2000
		for port := range uint16(scanned) {
			send("10.20.1.66", "198.51.100.9", 1024+port)
			send("fd20:0:0:1::66", "2001:db8:1::9", 1024+port)
		}
		send("10.20.1.77", "198.51.100.9", 53)
		send("fd20:0:0:1::77", "2001:db8:1::9", 53)
		send("10.20.1.77", "198.51.100.9", 53)
		g.settle(id+1, func() bool { return true })

		list := func(set string) string {
			var out []byte
			must(t, g.ns.Do(func() error {
				var err error
				out, err = exec.Command("nft", "list", "set", "inet", "weir", set).CombinedOutput()
				return err
			}))
			return string(out)
		}
		for set, want := range map[string][2]string{c.memory4: {"10.20.1.66 .", "10.20.1.77 . 198.51.100.9 . udp . 53"},
			c.set6: {"fd20:0:0:1::66 .", "fd20:0:0:1::77 . 2001:db8:1::9 . udp . 53"}} {
			text := list(set)
			if !strings.Contains(text, want[1]) {
				t.Errorf("%s: %s is not remembered: the scanner hid it", c.treatment, want[1])
			}
			// the burst of 50 and what a slow machine lets through at 10 a second
			if n := strings.Count(text, want[0]); n < 50 || n > 200 {
				t.Errorf("%s: %d lines of the scanner were logged, want about 50", c.treatment, n)
			}
		}
		counters, err := g.k.Counters(context.Background())
		must(t, err)
		logged := strings.Count(list(c.memory4), "10.20.1.66 .") + strings.Count(list(c.set6), "fd20:0:0:1::66 .")
		if got := counters["w_suppressed"].Packets; got != uint64(2*scanned-logged) {
			t.Errorf("%s: %d suppressed, want %d", c.treatment, got, 2*scanned-logged)
		}
		for set, scanner := range map[string]string{"w_sup4": "10.20.1.66 ", "w_sup6": "fd20:0:0:1::66 "} {
			if text := list(set); !strings.Contains(text, scanner) || strings.Contains(text, "1.77") || strings.Contains(text, "::77") || !strings.Contains(text, "counter packets 1") {
				t.Errorf("%s: suppressed lines per source: %s", c.treatment, text)
			}
		}
		if text := list("w_seen4"); strings.Count(text, "10.20.1.66 .") != scanned {
			t.Errorf("%s: capture remembers %d tuples, want %d", c.treatment, strings.Count(text, "10.20.1.66 ."), scanned)
		}
		if n := counters["w_misses"].Packets; n != 0 {
			t.Errorf("%s: %d misses", c.treatment, n)
		}
	}
}
