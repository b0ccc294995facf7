package faults

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/cmd/weir/internal/api"
	"weir/phases"
	"weir/phases/monitor"
)

// TestClockStepsOfTheMachine: the clock jumps by a day, back and forth, between
// every two words. Leases are the kernel's; what differs is only that an
// approval can be too old, and that a gate that counts time waits until the
// clock has caught up.
func TestClockStepsOfTheMachine(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	words := strings.Fields("apply drill req ok arm yes req ok arm yes req ok arm yes group:desks resume back resume req ok arm yes back:off")
	l := newGround(t, true, nil).(*lab)
	run := func(jump func(i int) time.Duration) []view {
		w := newWorld(t, l, 20*time.Second)
		defer w.stop()
		var out []view
		latest := w.now
		for i, word := range words {
			w.now = w.now.Add(jump(i))
			err := w.do(word)
			if errors.Is(err, phases.ErrExpired) { // and asked again it is good
				w.run("req ok")
				err = w.do(word)
			}
			if errors.Is(err, phases.ErrGate) && w.now.Before(latest) {
				w.now = latest
				err = w.do(word)
			}
			must(t, err)
			if w.now.After(latest) {
				latest = w.now
			}
			w.run("look")
			v := w.view()
			out = append(out, v)
		}
		w.holds()
		return out
	}
	want := run(func(int) time.Duration { return 0 })
	for name, jump := range map[string]func(int) time.Duration{
		"forward":        func(int) time.Duration { return day + time.Hour },
		"back":           func(int) time.Duration { return -day },
		"back and forth": func(i int) time.Duration { return []time.Duration{day, -day}[i%2] },
	} {
		got := run(jump)
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: after %s\nis   %+v\nwant %+v", name, words[:i+1], got[i], want[i])
				break
			}
		}
	}
}

// TestClockStepsOfTheDaemon: the real daemon's clock jumps during a trial and
// during an unblock. The trial ends, and the unblock ends, when the kernel says.
func TestClockStepsOfTheDaemon(t *testing.T) {
	t.Parallel()
	h := newHost(t, 4*time.Second)
	clock := filepath.Join(h.dir, "clock")
	set := func(off string) { must(t, os.WriteFile(clock, []byte(off), 0o600)) }
	self, err := os.Executable()
	must(t, err)
	set("0s")
	h.env = append(h.env, clockFile+"="+clock)
	must(t, h.launchAs(h.lab.net.Gateway.Command(self)))
	h.reach("enforce/alert")
	const block = "desks4:9999 desks6:9999"
	for _, off := range []string{"24h", "-24h"} {
		set("0s")
		h.until("arms", func() error {
			h.newFlow()
			h.answer() // while rollout time stands still, what was seen now stays new
			return errors.Join(h.verb("req"), h.verb("ok"), h.verb("arm"))
		})
		set(off)
		time.Sleep(600 * time.Millisecond) // the daemon looks twice a second
		s := h.status()
		if s.Trial == nil || s.Trial.Left > h.lease {
			t.Fatalf("the clock jumped to %s, and the trial is %+v", off, s.Trial)
		}
		if got := h.g.passes(h.world); got != block {
			t.Errorf("the clock jumped to %s, and denied is %q", off, got)
		}
		must(t, h.lapse())
		if late := time.Since(h.armed) - h.lease; late > time.Second {
			t.Errorf("the clock jumped to %s, and the trial ended %v after its deadline", off, late)
		}
		h.until("lapsed", func() error {
			if s := h.status(); s.Trial != nil || !s.Lapsed {
				return errors.New("the trial goes on")
			}
			return nil
		})
		h.settled()
	}
	// What is seen while the clock is back is dated after what was recorded, and
	// never passes for something that was there before the step.
	set("0s")
	h.until("confirms", func() error {
		h.newFlow()
		h.answer()
		return errors.Join(h.verb("req"), h.verb("ok"), h.verb("arm"), h.verb("yes"))
	})
	h.must("", "unblock", "--from", sources["desks4"], "--to", target("4"), "--service", "tcp/9999", "--for", "3s", "--reason", "test")
	began := time.Now()
	set("-24h")
	if got := h.g.passes(h.world); got != "desks6:9999" {
		t.Errorf("unblocked, and denied is %q", got)
	}
	records := h.records()
	newest := records[len(records)-1].At
	h.newFlow()
	h.until("the new flow is in the evidence", func() error {
		var seen []monitor.FlowLine
		must(t, h.call("flows", api.FlowsArgs{By: "flow", All: true}, &seen))
		for _, f := range seen {
			if f.Service.Lo != uint16(20000+h.flows) {
				continue
			}
			if f.First.Before(newest) {
				t.Fatalf("seen after the record of %v, and dated %v", newest, f.First)
			}
			return nil
		}
		return errors.New("it is not")
	})
	h.until("the unblock ends", func() error {
		if got := h.g.passes(h.world); got != block {
			return errors.New(got)
		}
		return nil
	})
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("an unblock of 3 s ended after %v", took)
	}
	set("24h")
	time.Sleep(600 * time.Millisecond)
	if got := h.g.passes(h.world); got != block {
		t.Errorf("a day later denied is %q", got)
	}
	h.settled()
}
