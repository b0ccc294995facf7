package host

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"weir/nft/netns"
)

// Bridges, VRFs and IPsec policies, read from a real kernel.
func TestHiding(t *testing.T) {
	n, err := netns.New("hides")
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	run := func(args ...string) {
		t.Helper()
		if out, err := n.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	look := func() Hiding {
		t.Helper()
		h, err := Options{NetNS: n.FD()}.Hiding()
		if err != nil {
			t.Fatal(err)
		}
		h.Filtered = false // the machine's module decides
		return h
	}
	if d := cmp.Diff(Hiding{}, look()); d != "" {
		t.Errorf("an empty namespace:\n%s", d)
	}
	run("ip", "link", "add", "br0", "type", "bridge")
	run("ip", "link", "add", "pa", "type", "veth", "peer", "name", "pb")
	run("ip", "link", "set", "pa", "master", "br0")
	if d := cmp.Diff(Hiding{}, look()); d != "" {
		t.Errorf("a bridge with one port switches nothing:\n%s", d)
	}
	run("ip", "link", "set", "pb", "master", "br0")
	for _, dir := range []string{"out", "fwd", "in"} {
		run("ip", "xfrm", "policy", "add", "src", "10.1.0.0/16", "dst", "10.2.0.0/16", "dir", dir,
			"tmpl", "src", "192.0.2.1", "dst", "192.0.2.2", "proto", "esp", "mode", "tunnel")
	}
	want := Hiding{Bridges: []Bridge{{"br0", []string{"pa", "pb"}}}, Policies: 2}
	if d := cmp.Diff(want, look()); d != "" {
		t.Error(d)
	}
}

func TestPolicies(t *testing.T) {
	for dir, want := range map[byte]bool{0: false, 1: true, 2: true, 3: false, 4: false} {
		b := make([]byte, xfrmPolicySize)
		b[xfrmPolicyDir] = dir
		if got, err := parsePolicy(b); err != nil || got != want {
			t.Errorf("direction %d: %t, %v", dir, got, err)
		}
	}
	if _, err := parsePolicy(make([]byte, xfrmPolicySize-1)); err == nil {
		t.Error("a short message is read")
	}
}

// Links as the kernel lists them, of kinds that not every kernel has.
func TestHidingOf(t *testing.T) {
	link := func(index, master uint32, name, kind string) []byte {
		b := make([]byte, 16)
		binary.NativeEndian.PutUint32(b[4:], index)
		put := func(to []byte, typ uint16, v []byte) []byte {
			to = binary.NativeEndian.AppendUint16(to, uint16(4+len(v)))
			to = append(binary.NativeEndian.AppendUint16(to, typ), v...)
			for len(to)%4 != 0 {
				to = append(to, 0)
			}
			return to
		}
		b = put(b, unix.IFLA_IFNAME, append([]byte(name), 0))
		if master != 0 {
			b = put(b, unix.IFLA_MASTER, binary.NativeEndian.AppendUint32(nil, master))
		}
		return put(b, unix.IFLA_LINKINFO, put(nil, unix.IFLA_INFO_KIND, append([]byte(kind), 0)))
	}
	links := map[int]linkInfo{}
	for _, b := range [][]byte{link(2, 4, "lan0", "veth"), link(3, 5, "wan0", "veth"), link(4, 0, "blue", "vrf"), link(5, 0, "br0", "bridge"), link(6, 5, "wan1", "veth")} {
		l, err := parseLink(b)
		if err != nil {
			t.Fatal(err)
		}
		links[l.index] = l
	}
	want := Hiding{Bridges: []Bridge{{"br0", []string{"wan0", "wan1"}}}, VRFs: []string{"blue"}}
	if d := cmp.Diff(want, hidingOf(links)); d != "" {
		t.Error(d)
	}
}

func FuzzLink(f *testing.F) {
	b := make([]byte, 16)
	binary.NativeEndian.PutUint32(b[4:], 7)
	f.Add(append(slices.Clone(b), 8, 0, 3, 0, 'b', 'r', '0', 0, 16, 0, 18, 0, 11, 0, 1, 0, 'b', 'r', 'i', 'd', 'g', 'e', 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := parseLink(b)
		if err == nil && len(b) < 16 {
			t.Errorf("read %+v of %d bytes", l, len(b))
		}
		hidingOf(map[int]linkInfo{l.index: l, l.index + 1: {index: l.index + 1, master: l.index}})
		_, _ = parsePolicy(b)
	})
}
