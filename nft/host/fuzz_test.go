package host

import (
	"net/netip"
	"testing"
)

// No configuration file makes the readers panic or gives them something that
// is not an address.
func FuzzFiles(f *testing.F) {
	for _, text := range []string{
		"nameserver 127.0.0.53\nnameserver [::1]:53\n",
		"server=/lan/10.0.0.1#5353@eth0\nresolv-file=\n",
		"forward-addr: \"9.9.9.9@853#x\"\n",
		"server -4\npool x nts\nserver\n",
		"lease {\n  interface \"e\";\n fixed-address 10.0.0.1;\n}\n}\n",
		"lease 10.0.0.1 {\n ends never;\n ends epoch 9;\n hardware;\n;\n}\n",
		"0 02:00:00:00:00:01 10.0.0.1 * *\n",
		"address,state\n10.0.0.1,0\n\"\n",
		"ADDRESS=10.0.0.1\nSERVER_ADDRESS=x\n",
		"0: 0100007F:0016 00000000:0000 0A 0 0 0 0 0 12 1\n",
		"[Resolve]\nDNSOverTLS=yes\n",
		"192.0.2.1 1 192.0.2.2 2",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		valid := func(a netip.Addr) {
			if !a.IsValid() || a.Is4In6() {
				t.Errorf("%q gave the address %v", text, a)
			}
		}
		for _, a := range parseResolvConf(text) {
			valid(a)
		}
		servers, _ := parseDnsmasq(text)
		for _, a := range servers {
			valid(a)
		}
		for _, r := range parseUnbound(text) {
			valid(r.Addr)
		}
		for _, s := range parseNTP(text) {
			if s.Name == "" {
				valid(s.Addr)
			}
		}
		for _, parse := range []func(string) []Lease{parseNetworkd, parseDhclient, parseDhcpd, parseDnsmasqLeases, parseKea} {
			for _, l := range parse(text) {
				valid(l.Addr)
			}
		}
		for _, s := range parseSockets(text) {
			valid(s.local.Addr())
			valid(s.remote.Addr())
		}
		if s, ok := parseSSHConnection(text); ok {
			valid(s.Local.Addr())
			valid(s.Remote.Addr())
		}
		parseINI(text, "Resolve", "DNSOverTLS")
	})
}

// No answer of the kernel makes the readers panic.
func FuzzRoutes(f *testing.F) {
	names := map[int]string{1: "lo", 2: "eth0"}
	if err := rib(26, func(b []byte) error { f.Add(b); return nil }); err != nil { // RTM_GETROUTE
		f.Fatal(err)
	}
	// A default route with two ways: rtmsg, then RTA_MULTIPATH with two hops.
	f.Add([]byte{2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0, 36, 0, 9, 0,
		16, 0, 0, 0, 2, 0, 0, 0, 8, 0, 5, 0, 10, 0, 0, 1, 16, 0, 0, 0, 2, 0, 0, 0, 8, 0, 5, 0, 10, 0, 0, 2})
	f.Add([]byte{10, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 1, 10, 0, 2, 0, 2, 0, 94, 16, 0, 7})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok, err := parseRoute(b, names)
		if ok && (err != nil || !r.Dst.IsValid()) {
			t.Errorf("route %+v with %v", r, err)
		}
		if n, _, ok, err := parseNeighbour(b); ok && (err != nil || !n.Addr.IsValid()) {
			t.Errorf("neighbour %+v with %v", n, err)
		}
	})
}
