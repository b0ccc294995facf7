package probe

import (
	"context"
	"encoding/binary"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/phases/health"
	"weir/plans"
)

// resolver answers each question with a response code, or not at all.
func resolver(t *testing.T, network string, rcode int) string {
	c, err := net.ListenPacket(network, map[string]string{"udp4": "127.0.0.1:0", "udp6": "[::1]:0"}[network])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if rcode < 0 {
				continue
			}
			end := 12
			for end < n && buf[end] != 0 {
				end += int(buf[end]) + 1
			}
			end += 5
			if end > n {
				continue
			}
			out := append([]byte{}, buf[:end]...) // header and question, without what was added
			binary.BigEndian.PutUint16(out[2:], 0x8180|uint16(rcode))
			binary.BigEndian.PutUint16(out[6:], 0)
			binary.BigEndian.PutUint16(out[10:], 0)
			if binary.BigEndian.Uint16(out[end-4:]) == 1 && rcode == 0 { // A
				binary.BigEndian.PutUint16(out[6:], 1)
				out = append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 1)
			}
			c.WriteTo(out, from)
		}
	}()
	return c.LocalAddr().String()
}

func TestOutcomes(t *testing.T) {
	var conns, largest atomic.Int64
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		largest.Store(max(largest.Load(), int64(len(r.Header.Get(padHeader)))))
		switch r.URL.Path {
		case "/slow":
			<-r.Context().Done()
		case "/500":
			w.WriteHeader(500)
		case "/404":
			w.WriteHeader(404)
		case "/moved":
			http.Redirect(w, r, "/500", http.StatusFound)
		}
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	six, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer six.Close()
	host := strings.TrimPrefix(srv.URL, "http://")
	for _, row := range []struct {
		p     plans.Probe
		want  health.Outcome
		words string
	}{
		{plans.Probe{Kind: "tcp", To: host}, health.Answered, ""},
		{plans.Probe{Kind: "tcp", To: host, From: netip.MustParseAddr("127.0.0.9")}, health.Answered, ""},
		{plans.Probe{Kind: "tcp", To: host, From: netip.MustParseAddr("203.0.113.9")}, health.Failed, "cannot assign"},
		{plans.Probe{Kind: "tcp", To: six.Addr().String()}, health.Answered, ""},
		{plans.Probe{Kind: "tcp", To: closed.Addr().String()}, health.Failed, "refused"},
		{plans.Probe{Kind: "https", To: srv.URL}, health.Answered, ""},
		{plans.Probe{Kind: "https", To: srv.URL + "/404", Size: 5000}, health.Answered, ""},
		{plans.Probe{Kind: "https", To: srv.URL + "/moved"}, health.Answered, ""},
		{plans.Probe{Kind: "https", To: srv.URL + "/500"}, health.Failed, "it answered 500"},
		{plans.Probe{Kind: "https", To: srv.URL + "/slow?token=secret"}, health.Failed, "no answer within 1s"},
		{plans.Probe{Kind: "https", To: "http://" + closed.Addr().String() + "/token"}, health.Failed, "refused"},
		{plans.Probe{Kind: "webhook", To: srv.URL}, health.Answered, ""},
		{plans.Probe{Kind: "webhook", To: srv.URL + "/404"}, health.Failed, "it says that things are bad: 404"},
		{plans.Probe{Kind: "webhook", To: srv.URL + "/moved"}, health.Failed, "302"},
		{plans.Probe{Kind: "webhook", To: srv.URL + "/slow"}, health.Silent, "no answer"},
		{plans.Probe{Kind: "webhook", To: "http://" + closed.Addr().String()}, health.Silent, "refused"},
		{plans.Probe{Kind: "dns", To: resolver(t, "udp4", 0), Ask: "example.net"}, health.Answered, ""},
		{plans.Probe{Kind: "dns", To: resolver(t, "udp6", 3), Ask: "no.example.net."}, health.Answered, ""},
		{plans.Probe{Kind: "dns", To: resolver(t, "udp4", 2), Ask: "example.net"}, health.Failed, ""},
		{plans.Probe{Kind: "dns", To: resolver(t, "udp6", -1), Ask: "example.net"}, health.Failed, "no answer"},
		{plans.Probe{Kind: "ping"}, health.Silent, "does not know"},
	} {
		got, words := try(context.Background(), row.p, time.Second)
		if got != row.want || !strings.Contains(words, row.words) || strings.Contains(words, "token") || (got == health.Answered) != (words == "") {
			t.Errorf("%+v: %s, %q; want %s, %q", row.p, got, words, row.want, row.words)
		}
	}
	if largest.Load() != 5000 {
		t.Errorf("the largest padding was %d bytes", largest.Load())
	}
	before := conns.Load()
	for range 3 {
		try(context.Background(), plans.Probe{Kind: "https", To: srv.URL}, time.Second)
	}
	if n := conns.Load() - before; n != 3 {
		t.Errorf("%d new connections for 3 attempts", n)
	}
}

func TestProber(t *testing.T) {
	var hits atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer srv.Close()
	p := New(time.Now)
	defer p.Close()
	h := plans.Health{Every: time.Hour, Within: time.Second, Probes: []plans.Probe{{Name: "a", Kind: "https", To: srv.URL, Group: "desks"}}}
	p.Set(h)
	until := func(n int) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			if got := p.Latest(); len(got) == 1 && len(got[0].Results) == n {
				if got[0].Name != "a" || got[0].Group != "desks" || got[0].Results[n-1].Outcome != health.Answered {
					t.Fatalf("latest %+v", got)
				}
				return
			}
			if time.Now().After(end) {
				t.Fatalf("not %d attempts but %+v", n, p.Latest())
			}
		}
	}
	until(1)
	h.Probes[0].Pos.Line = 9
	p.Set(h) // nothing changed but its place
	p.Kick()
	until(2)
	for n := 3; n <= kept; n++ {
		p.Kick()
		until(n)
	}
	h.Within = 2 * time.Second
	p.Set(h)
	until(1)
	p.Set(plans.Health{Every: time.Second})
	if got := p.Latest(); len(got) != 0 {
		t.Errorf("still %+v", got)
	}
	if hits.Load() != kept+1 {
		t.Errorf("%d requests, want %d", hits.Load(), kept+1)
	}
}
