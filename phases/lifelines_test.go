package phases

import (
	"errors"
	"strings"
	"testing"
)

// What the machine's configuration lost between freezing and arming voids the
// frozen step, by name; what it gained does not, nor does not knowing.
func TestFloor(t *testing.T) {
	for _, c := range []struct {
		frozen, now []string
		gone        string
	}{
		{[]string{"resolvers 198.51.100.53"}, []string{"resolvers 198.51.100.53"}, ""},
		{[]string{"resolvers 198.51.100.53"}, []string{"resolvers 198.51.100.53", "resolvers 203.0.113.9"}, ""},
		{[]string{"resolvers 198.51.100.53"}, nil, ""},
		{nil, []string{"resolvers 203.0.113.9"}, ""},
		{[]string{"dhcp 10.0.0.1", "resolvers 198.51.100.53"}, []string{"dhcp 10.0.0.1"}, "resolvers 198.51.100.53"},
		{[]string{"resolvers 198.51.100.53"}, []string{}, "resolvers 198.51.100.53"},
	} {
		s := newScript(t)
		s.run("apply:p drill")
		mat := material(s.w)
		mat.Facts, mat.Floor = s.f(s.w), c.frozen
		if _, _, err := s.m.Request(ctx, s.w.now, anna, "", mat); err != nil {
			t.Fatal(err)
		}
		s.run("ok:anna")
		facts := s.f(s.w)
		facts.Floor = c.now
		writes := s.w.writes
		_, err := s.m.Advance(ctx, s.w.now, anna, s.m.state.Request.Digest, 0, facts)
		if c.gone == "" && err != nil || c.gone != "" && (!errors.Is(err, ErrFloor) || !strings.HasSuffix(err.Error(), ": "+c.gone)) {
			t.Errorf("frozen with %v, armed with %v: %v", c.frozen, c.now, err)
		}
		if c.gone != "" && s.w.writes != writes {
			t.Error("a step that is void wrote to the kernel")
		}
	}
}
