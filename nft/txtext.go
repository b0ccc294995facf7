package nft

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The texts of this file say in nft's words what nft/kernel sends as bytes.
// "nft -f" runs each as one transaction.

// order is the order in which the maps of hook letters are written.
var order = []string{HookForward, HookOutput, HookNAT}

// hooksOf sorts hook letters into the order of writing.
func hooksOf[V any](m map[string]V) []string {
	var out []string
	for _, h := range order {
		if _, ok := m[h]; ok {
			out = append(out, h)
		}
	}
	return out
}

type script struct{ strings.Builder }

func (s *script) line(format string, args ...any) {
	fmt.Fprintf(s, format, args...)
	s.WriteByte('\n')
}

func (s *script) flush(m string) { s.line("flush map inet %s %s", TableName, m) }

// both writes an element for each family.
func (s *script) both(m string, timeout time.Duration, verdict string) {
	t := ""
	if timeout > 0 {
		t = " timeout " + Time(timeout)
	}
	s.line("add element inet %s %s { ipv4%s : %s, ipv6%s : %s }", TableName, m, t, verdict, t, verdict)
}

func (s *script) tx(id string, k TxKind) {
	s.flush(TxMap)
	s.line("add element inet %s %s { %q : %d }", TableName, TxMap, id, k.Number())
}

// Text is what arming sends, as nft text. The kernel refuses it as a whole
// where an element of the trial exists with another verdict. While a revision
// is on trial, nat redirects nothing.
func (a Arm) Text() string {
	s := &script{}
	s.line("# weir: put %s on trial for %s", a.ID, Time(a.Lease))
	for _, h := range hooksOf(a.Entry) {
		verdict := "goto " + a.Entry[h]
		if h == HookNAT {
			verdict = "accept"
		}
		s.flush(TrialMap(h))
		s.both(TrialMap(h), a.Lease, verdict)
	}
	for _, g := range a.Spare {
		s.flush(SpareMap(g))
		s.both(SpareMap(g), a.Lease, "jump w_spare")
	}
	s.tx(a.Tx, TxArm)
	return s.String()
}

// Text is what confirming sends, as nft text. It deletes the elements of the
// trial, which must exist: after a lapse the kernel refuses the whole.
func (c Confirm) Text() string {
	s := &script{}
	s.line("# weir: confirm %s", c.ID)
	hooks := hooksOf(c.Entry)
	for _, h := range hooks {
		s.line("delete element inet %s %s { ipv4, ipv6 }", TableName, TrialMap(h))
	}
	for _, h := range hooks {
		s.flush(StableMap(h))
		s.both(StableMap(h), 0, "goto "+c.Entry[h])
	}
	for _, g := range c.Spare {
		s.flush(SpareMap(g))
		if c.SpareFor > 0 {
			s.both(SpareMap(g), c.SpareFor, "jump w_spare")
		}
	}
	for _, g := range c.NoBack {
		s.flush(BackMap(g))
	}
	s.tx(c.Tx, TxConfirm)
	return s.String()
}

// Text is the backout as a file that a person runs with "nft -f", without
// weir. It fits any state of the table, may run twice, and marks the table as
// held by hand, whatever Kind says: weir then arms nothing until it is resumed.
func (r Rollback) Text() string {
	s := &script{}
	if r.ID == "" {
		s.line("# weir backout: open everything. Run it with: nft -f THIS-FILE")
	} else {
		s.line("# weir backout: back to %s. Run it with: nft -f THIS-FILE", r.ID)
	}
	s.line("# It fits any state and may run twice. weir arms nothing afterwards until: weir resume")
	s.line("# If it fails, the next rung opens everything, and the last one removes weir's table:")
	hooks := slices.DeleteFunc(slices.Clone(order), func(h string) bool { return !slices.Contains(r.Hooks, h) })
	var open []string
	for _, h := range hooks {
		open = append(open, "flush map inet "+TableName+" "+TrialMap(h), "flush map inet "+TableName+" "+StableMap(h))
		if h == HookNAT {
			open = append(open, "flush set inet "+TableName+" "+HoneypotSet)
		}
	}
	s.line("#   nft '%s'", strings.Join(open, "; "))
	s.line("#   nft delete table inet %s", TableName)
	for _, h := range hooks {
		s.flush(TrialMap(h))
	}
	for _, h := range hooks {
		s.flush(StableMap(h))
		if chain := r.Entry[h]; chain != "" && r.ID != "" {
			s.both(StableMap(h), 0, "goto "+chain)
		}
		if h == HookNAT {
			s.line("flush set inet %s %s", TableName, HoneypotSet) // what was captured ends
		}
	}
	for _, g := range r.Alert {
		s.flush(BackMap(g))
		s.both(BackMap(g), 0, "goto "+AlertChain(g))
	}
	s.tx(r.Tx, TxHold)
	return s.String()
}
