package demo

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"weir/phases"
)

// A claim that does not hold is an error and is not printed: in an office
// without weir nothing is denied, and what nobody serves does not pass.
func TestClaimsCanFail(t *testing.T) {
	var out bytes.Buffer
	s := &story{teller: teller{out: &out, width: 80}, ctx: t.Context()}
	defer s.net.close()
	if err := s.net.build(); err != nil {
		t.Fatal(err)
	}
	if err := s.denied(browsing); err == nil || !strings.Contains(err.Error(), "should be denied, and passes") {
		t.Errorf("denied: %v", err)
	}
	closed := talk{"desk1", "tcp/9", web}
	if err := s.passes(closed); err == nil || !strings.Contains(err.Error(), "should pass") {
		t.Errorf("passes: %v", err)
	}
	if out.Len() > 0 {
		t.Errorf("it was printed all the same: %s", &out)
	}
	if err := s.passes(browsing, pinging, quic); err != nil {
		t.Error(err)
	}
	if err := s.denied(closed); err != nil {
		t.Error(err)
	}
	if got := strings.Count(out.String(), "✓"); got != 4 {
		t.Errorf("%d lines, want 4:\n%s", got, &out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.ctx = ctx
	if err := s.passes(browsing); !errors.Is(err, context.Canceled) {
		t.Errorf("after its end: %v", err)
	}
}

func TestProbesThatAreNone(t *testing.T) {
	var n network
	defer n.close()
	if err := n.build(); err != nil {
		t.Fatal(err)
	}
	for _, a := range []Asked{
		{"printer", "tcp/80", webV4}, {"desk1", "tcp/70000", webV4}, {"desk1", "tcp", webV4}, {"desk1", "esp", webV4},
		{"desk1", "", webV4}, {"desk1", "tcp/80", "example.net"}, {"desk1", "ping", ""},
	} {
		if err := n.try(a.From, a.Service, a.To); !errors.Is(err, errProbe) {
			t.Errorf("%v: %v", a, err)
		}
	}
	if err := n.try("desk1", "tcp/9", webV4); err == nil || errors.Is(err, errProbe) {
		t.Errorf("a closed port: %v", err)
	}
}

func TestDeeds(t *testing.T) {
	head := func(name string) *phases.Head { return &phases.Head{Step: phases.Step{Name: name}} }
	got := Deeds([]phases.Record{
		{Kind: phases.Requested, Digest: "d1", Head: head("monitor")},
		{Kind: phases.Intent, Op: phases.OpArm, Digest: "d1", Words: "arming monitor"},
		{Kind: phases.Seen},
		{Kind: phases.Intent, Op: phases.OpArm, Digest: "d1"},
		{Kind: phases.Seen, Done: true},
		{Kind: phases.Adopted, Digest: "d1"},
		{Kind: phases.Adopted},
		{Kind: phases.Paused, At: time.Now()},
	})
	want := "request monitor; not done: arming monitor; arm monitor; rollback to monitor; rollback to off; paused"
	if strings.Join(got, "; ") != want {
		t.Errorf("got %q, want %s", got, want)
	}
}
