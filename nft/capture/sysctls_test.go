package capture

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"weir/nft/netns"
)

// Prepare changes what is needed and nothing else; Restore puts it back, but
// not over what somebody else wrote meanwhile.
func TestSysctls(t *testing.T) {
	lab := newLab(t)
	nft(t, lab.Gateway, logRules)
	opt := Options{NetNS: lab.Gateway.FD()}
	get := func(name string) string {
		t.Helper()
		v, err := lab.Gateway.ReadSysctl("net.netfilter.nf_conntrack_" + name)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if err := lab.Gateway.Sysctl("net.netfilter.nf_conntrack_acct", "1"); err != nil {
		t.Fatal(err)
	}
	events, stamps := get("events"), get("timestamp")
	announced, err := ReadSysctls(opt)
	if err != nil {
		t.Fatal(err)
	}
	if get("timestamp") != stamps {
		t.Error("reading changed something")
	}
	done, err := Prepare(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	if len(done) != len(announced) || len(done) != 2 {
		t.Errorf("announced %v, did %v; acct was right already", announced, done)
	}
	if get("events") != "1" || get("timestamp") != "1" || get("acct") != "1" {
		t.Error("not everything was set")
	}
	if again, err := Prepare(context.Background(), opt); err != nil || len(again) != 0 {
		t.Errorf("the second time changes %v, %v", again, err)
	}
	if err := lab.Gateway.Sysctl("net.netfilter.nf_conntrack_timestamp", "0"); err != nil {
		t.Fatal(err)
	}
	changed, err := done.Restore(opt)
	if err != nil || len(changed) != 0 { // 0 is also the old value
		t.Errorf("changed %v, %v", changed, err)
	}
	if get("events") != events || get("timestamp") != stamps || get("acct") != "1" {
		t.Error("not everything is as it was")
	}
	foreign := Sysctls{{Name: "net.netfilter.nf_conntrack_events", Old: "9", New: "8"}}
	if changed, err := foreign.Restore(opt); err != nil || len(changed) != 1 || changed[0].New != events || get("events") != events {
		t.Errorf("a value that somebody else wrote: %v, %v", changed, err)
	}
}

func TestStory26HeadRoom(t *testing.T) {
	lab := newLab(t)
	nft(t, lab.Gateway, logRules)
	opt := prepare(t, lab.Gateway)
	spray(t, lab.Client, 1000, 50)
	waitTable(t, opt, 50)
	room, err := ReadHeadRoom(opt)
	if err != nil || room.Max == 0 || room.Count < 50 || room.Left() <= 0 || room.Left() >= 1 {
		t.Errorf("%+v, %v", room, err)
	}
	if (HeadRoom{Count: 9, Max: 0}).Left() != 1 || (HeadRoom{Count: 9, Max: 3}).Left() != 0 {
		t.Error("the share is wrong at its ends")
	}
	if _, err := ReadHeadRoom(Options{Root: t.TempDir()}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without connection tracking: %v", err)
	}
	if _, err := ReadSysctls(Options{Root: t.TempDir()}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without connection tracking: %v", err)
	}
}

// An outside interface counts at least the bytes of the flows that left by it.
func TestInterfaceBytes(t *testing.T) {
	lab := newLab(t)
	nft(t, lab.Gateway, logRules)
	opt := prepare(t, lab.Gateway)
	if err := lab.Outside.EchoTCP("198.51.100.7:443"); err != nil {
		t.Fatal(err)
	}
	before, err := InterfaceBytes(opt, netns.OutsideIf, "nothing0")
	if err != nil || len(before) != 1 {
		t.Fatalf("%v, %v", before, err)
	}
	if err := lab.Client.Try("tcp", "198.51.100.7:443", 2*time.Second); err != nil {
		t.Fatal(err)
	}
	_, h := startConnections(t, opt)
	r := h.wait(t, "the flow", is(netns.ClientIP4, netns.OutsideIP4, "tcp/443"))
	after, err := InterfaceBytes(opt)
	if err != nil || len(after) != 3 {
		t.Fatalf("%v, %v", after, err)
	}
	sent := after[netns.OutsideIf].TX - before[netns.OutsideIf].TX
	got := after[netns.OutsideIf].RX - before[netns.OutsideIf].RX
	if sent < r.BytesOut || got < r.BytesIn || r.BytesOut == 0 {
		t.Errorf("the interface sent %d and got %d, the flow %d and %d", sent, got, r.BytesOut, r.BytesIn)
	}
}
