package policy

import (
	"encoding/json"
	"testing"
)

// FuzzReadPolicy: whatever is read is written and read back as the same.
func FuzzReadPolicy(f *testing.F) {
	f.Add([]byte(`{"rules":[{"group":"desks","to":["198.51.100.0/24"],"services":["tcp/443","udp/1-9","esp"],"reason":"observed"}]}`))
	f.Add([]byte(`{"rules":[{"group":"desks","endpoints":["fd20::/64","::ffff:10.0.0.0/104"],"services":["icmpv6"],"families":["ipv6"],"reason":"declared","name":"n","owner":"o","expires":"2027-01-01T00:00:00Z"}]}`))
	f.Add([]byte(`{"rules":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var p, q Policy
		if json.Unmarshal(data, &p) != nil {
			return
		}
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatalf("read, but not written: %v", err)
		}
		if err := json.Unmarshal(b, &q); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if !Equal(p, q) {
			t.Fatalf("%s\nis not\n%s", b, data)
		}
		p.Normalise()
		NewIndex(p)
	})
}
