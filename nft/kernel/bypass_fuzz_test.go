package kernel

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A flowtable as the kernel lists it: not every kernel has them.
func TestFlowtable(t *testing.T) {
	var w wire
	w.str(attrFlowtableTable, "fw")
	w.str(attrFlowtableName, "fast")
	hook := w.nest(attrFlowtableHook)
	devs := w.nest(attrFlowHookDevs)
	w.str(attrDeviceName, "wan0")
	w.str(attrDeviceName, "lan0")
	w.unnest(devs)
	w.unnest(hook)
	if b, ok := readFlowtable(1, w); !ok || b.String() != "flowtable fast of table inet fw on lan0, wan0" {
		t.Errorf("%v %t", b, ok)
	}
}

// FuzzBypass: whatever another program's rules hold, reading them ends.
func FuzzBypass(f *testing.F) {
	var w wire
	w.str(unix.NFTA_RULE_TABLE, "raw")
	w.str(unix.NFTA_RULE_CHAIN, "PREROUTING")
	list := w.nest(unix.NFTA_RULE_EXPRESSIONS)
	e := w.nest(unix.NFTA_LIST_ELEM)
	w.str(unix.NFTA_EXPR_NAME, "notrack")
	w.unnest(e)
	w.unnest(list)
	f.Add([]byte(w))
	var t wire
	t.str(attrFlowtableTable, "fw")
	t.str(attrFlowtableName, "fast")
	hook := t.nest(attrFlowtableHook)
	devs := t.nest(attrFlowHookDevs)
	t.str(attrDeviceName, "eth0")
	t.unnest(devs)
	t.unnest(hook)
	f.Add([]byte(t))
	f.Fuzz(func(t *testing.T, p []byte) {
		found := map[string]*Bypass{}
		readBypasses(found, 2, p)
		for _, b := range found {
			if b.Rules == 0 || b.String() == "" {
				t.Errorf("%+v", b)
			}
		}
		if b, ok := readFlowtable(1, p); ok && b.Name == "" {
			t.Error("a flowtable without a name")
		}
		readCommit(p)
	})
}
