package host

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"weir/nft/netns"
)

// rooted writes files below a new directory.
func rooted(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if to, ok := strings.CutPrefix(text, "-> "); ok {
			if err := os.Symlink(to, path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func look(t *testing.T, opt Options) Machine {
	t.Helper()
	m, err := opt.Look()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func addrs(m Machine) []string {
	var out []string
	for _, r := range m.Resolvers {
		text := r.Addr.String()
		if r.TLS {
			text += " tls"
		}
		out = append(out, text)
	}
	return out
}

func TestResolvers(t *testing.T) {
	for _, c := range []struct {
		name    string
		files   map[string]string
		want    []string
		problem bool
	}{
		{"plain", map[string]string{
			"etc/resolv.conf": "search example.net\nnameserver 10.0.0.53 # old\nnameserver fd00::53\nnameserver fe80::1%eth0\n;nameserver 10.9.9.9\n",
		}, []string{"10.0.0.53", "fd00::53", "fe80::1%eth0"}, false},
		{"systemd-resolved's stub is followed", map[string]string{
			"etc/resolv.conf":                    "nameserver 127.0.0.53\noptions edns0\n",
			"run/systemd/resolve/resolv.conf":    "nameserver 192.0.2.53\n",
			"etc/systemd/resolved.conf":          "[Resolve]\n#DNSOverTLS=no\n",
			"etc/systemd/resolved.conf.d/x.conf": "[Resolve]\nDNSOverTLS=opportunistic\n",
		}, []string{"192.0.2.53 tls"}, false},
		{"dnsmasq is followed", map[string]string{
			"etc/resolv.conf":     "nameserver 127.0.0.1\n",
			"etc/dnsmasq.conf":    "# server=9.9.9.9\nresolv-file=/etc/up.conf\nserver=/lan/10.0.0.1#5353\nserver=127.0.0.1#5335\n",
			"etc/up.conf":         "nameserver 192.0.2.1\n",
			"etc/dnsmasq.d/a.cfg": "server=2001:db8::53@eth0\n",
		}, []string{"10.0.0.1", "192.0.2.1", "2001:db8::53"}, false},
		{"unbound is followed", map[string]string{
			"etc/resolv.conf":          "nameserver ::1\n",
			"etc/unbound/unbound.conf": "forward-zone:\n  name: \".\"\n  forward-addr: 9.9.9.9@853#dns.quad9.net\n  forward-addr: 192.0.2.9\n",
		}, []string{"9.9.9.9 tls", "192.0.2.9"}, false},
		{"a stub that nobody explains is a problem", map[string]string{
			"etc/resolv.conf": "nameserver 127.0.0.1\n",
		}, nil, true},
		{"no file", nil, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := look(t, Options{Root: rooted(t, c.files)})
			if got := addrs(m); !slices.Equal(got, c.want) {
				t.Errorf("resolvers are %q, want %q", got, c.want)
			}
			if (len(m.Problems) > 0) != c.problem {
				t.Errorf("problems: %q", m.Problems)
			}
		})
	}
}

func TestTimeServers(t *testing.T) {
	m := look(t, Options{Root: rooted(t, map[string]string{
		"etc/systemd/timesyncd.conf":         "[Time]\nNTP=192.0.2.123 time.example.net\n#FallbackNTP=x\n[Other]\nNTP=no.example.net\n",
		"etc/chrony/chrony.conf":             "pool 2.debian.pool.ntp.org iburst\nserver 2001:db8::7b nts\n! server off.example.net\n",
		"etc/chrony/sources.d/local.sources": "peer 10.0.0.9\n",
		"etc/ntp.conf":                       "server 127.127.1.0\nserver -4 v4.example.net\nrestrict default\n",
		"run/systemd/netif/leases/7":         "ADDRESS=10.0.0.8\nSERVER_ADDRESS=10.0.0.1\nNTP=10.0.0.1 10.0.0.2\n",
	})})
	var got []string
	for _, s := range m.TimeServers {
		text := s.Name
		if s.Addr.IsValid() {
			text = s.Addr.String()
		}
		if s.NTS {
			text += " nts"
		}
		got = append(got, text)
	}
	want := []string{"10.0.0.1", "10.0.0.2", "10.0.0.9", "192.0.2.123", "2001:db8::7b nts", "2.debian.pool.ntp.org", "time.example.net", "v4.example.net"}
	if !slices.Equal(got, want) {
		t.Errorf("time servers are %q, want %q", got, want)
	}
}

func TestLeases(t *testing.T) {
	m := look(t, Options{Root: rooted(t, map[string]string{
		"run/systemd/netif/leases/1": "# This is private data.\nADDRESS=10.0.0.8\nSERVER_ADDRESS=10.0.0.1\n",
		"var/lib/dhcp/dhclient.eth9.leases": `lease {
  interface "eth9";
  fixed-address 192.0.2.8;
  option dhcp-server-identifier 192.0.2.1;
  expire 4 2026/11/19 08:00:00;
}
lease {
  interface "eth9";
  fixed-address 192.0.2.8;
  option dhcp-server-identifier 192.0.2.2;
  expire 5 2026/11/20 08:00:00;
}
lease6 {
  interface "eth9";
  ia-na 11:22:33:44 {
    starts 1700000000;
    iaaddr 2001:db8::8 {
      max-life 7200;
    }
  }
}
`,
		"var/lib/dhcp/dhcpd.leases":     "lease 10.20.40.7 {\n  ends 5 2026/11/20 09:00:00;\n  hardware ethernet 02:00:5E:10:00:07;\n  client-hostname \"bell\";\n}\n",
		"var/lib/misc/dnsmasq.leases":   "1763600000 02:00:5e:10:00:08 10.20.40.8 cam *\n0 02:00:5e:10:00:09 10.20.40.9 * *\nduid 00:01\n1763600000 123 fd20::8 cam 00:01\n",
		"var/lib/kea/kea-leases4.csv":   "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state\n10.20.1.5,02:00:5e:00:00:05,,4000,1763600000,1,0,0,srv.,0\n10.20.1.6,02:00:5e:00:00:06,,4000,1763600000,1,0,0,,0\n10.20.1.6,02:00:5e:00:00:06,,0,1763600000,1,0,0,,2\n",
		"var/lib/kea/kea-leases6.csv.2": "address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,fqdn_rev,hostname,hwaddr,state\nfd20::5,01:02,4000,1763600000,1,3000,0,1,128,0,0,srv6,02:00:5e:00:00:05,0\n",
	})})
	var got []string
	for _, l := range m.Leases {
		text := l.Addr.String() + " " + l.MAC + " " + l.Name + " " + l.Iface
		if l.Own {
			text = "own " + l.Addr.String() + " " + l.Iface
			if l.Server.IsValid() {
				text += " from " + l.Server.String()
			}
		}
		if !l.Expires.IsZero() {
			text += " " + l.Expires.UTC().Format(time.DateTime)
		}
		got = append(got, text)
	}
	want := []string{
		"own 10.0.0.8 lo from 10.0.0.1",
		"10.20.1.5 02:00:5e:00:00:05 srv  2025-11-20 00:53:20",
		"10.20.40.7 02:00:5e:10:00:07 bell  2026-11-20 09:00:00",
		"10.20.40.8 02:00:5e:10:00:08 cam  2025-11-20 00:53:20",
		"10.20.40.9 02:00:5e:10:00:09  ",
		"own 192.0.2.8 eth9 from 192.0.2.2 2026-11-20 08:00:00",
		"own 2001:db8::8 eth9",
		"fd20::5 02:00:5e:00:00:05 srv6  2025-11-20 00:53:20",
		"fd20::8  cam  2025-11-20 00:53:20",
	}
	if !slices.Equal(got, want) {
		t.Errorf("leases are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

const tcpHead = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

// One session in SSH_CONNECTION, one of sshd that the environment does not
// name, one over IPv6, and what is none: a way on from a jump host, a web
// client.
func TestSessions(t *testing.T) {
	line := func(local, remote, state, inode string) string {
		return "   0: " + local + " " + remote + " " + state + " 00000000:00000000 00:00000000 00000000     0        0 " + inode + " 1 0\n"
	}
	m := look(t, Options{
		Env: func(name string) string {
			if name == "SSH_CONNECTION" {
				return "192.0.2.10 50000 10.0.0.1 22"
			}
			return ""
		},
		Root: rooted(t, map[string]string{
			"proc/net/tcp": tcpHead +
				line("00000000:0016", "00000000:0000", "0A", "11") + // *:22 listens
				line("0100000A:0016", "0A0200C0:C350", "01", "12") + // 10.0.0.1:22 - 192.0.2.10:50000
				line("0100000A:0016", "0B0200C0:C351", "01", "13") + // 192.0.2.11:50001
				line("0100000A:C352", "0C0200C0:0016", "01", "15") + // on to 192.0.2.12:22
				line("0100000A:01BB", "0D0200C0:C353", "01", "16"), // web
			"proc/net/tcp6": tcpHead +
				line("B80D0120000000000000000001000000:0016", "B80D0120000000000000000009000000:C354", "01", "14"),
			"proc/net/udp": tcpHead + line("00000000:0043", "00000000:0000", "07", "17"),
			"proc/7/comm":  "sshd\n", "proc/7/fd/3": "-> socket:[11]", "proc/7/fd/4": "-> /dev/null",
			"proc/8/comm": "sshd-session\n", "proc/8/fd/3": "-> socket:[13]", "proc/8/fd/4": "-> socket:[14]", "proc/8/fd/5": "-> socket:[15]",
			"proc/9/comm": "systemd-timesyn\n", "proc/9/fd/1": "-> socket:[17]",
		}),
	})
	var got []string
	for _, s := range m.Sessions {
		text := s.Remote.String() + " " + s.Local.String()
		if s.Operator {
			text += " operator"
		}
		got = append(got, text)
	}
	want := []string{"192.0.2.10:50000 10.0.0.1:22 operator", "192.0.2.11:50001 10.0.0.1:22", "[2001:db8::9]:50004 [2001:db8::1]:22"}
	if !slices.Equal(got, want) {
		t.Errorf("sessions are %q, want %q", got, want)
	}
	if want := []string{"sshd", "systemd-timesyncd"}; !slices.Equal(m.Daemons, want) {
		t.Errorf("daemons are %q, want %q", m.Daemons, want)
	}
	if len(m.Listeners) != 2 || m.Listeners[0].Program != "sshd" || m.Listeners[1].Addr.Port() != 67 {
		t.Errorf("listeners are %+v", m.Listeners)
	}
}

// A gateway's links, routes and rules, as the kernel has them.
func TestKernel(t *testing.T) {
	lab, err := netns.NewLab()
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	gw := lab.Gateway
	if err := lab.Outside.Addr(netns.OutsideHost, "198.51.100.8/24", "2001:db8:1::8/64"); err != nil {
		t.Fatal(err)
	}
	run := func(name string, stdin string, args ...string) {
		t.Helper()
		err := gw.Apart(func() error {
			cmd := exec.Command(name, args...)
			cmd.Stdin = strings.NewReader(stdin)
			out, err := cmd.CombinedOutput()
			t.Logf("%s", out)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	run("nft", "table ip a { chain f { type filter hook forward priority 5; policy drop; accept; }\n}", "-f", "-")
	if err := gw.Route("default4", "198.51.100.7"); err != nil {
		t.Fatal(err)
	}
	if err := gw.Route("default6", "2001:db8:1::7"); err != nil {
		t.Fatal(err)
	}
	// Neighbours appear with traffic.
	if err := lab.Outside.EchoTCP("198.51.100.7:7", "[2001:db8:1::7]:7"); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"198.51.100.7:7", "[2001:db8:1::7]:7"} {
		if err := lab.Client.Try("tcp", to, 2*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	l, err := gw.Listen("10.20.16.1:3128")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m := look(t, Options{NetNS: gw.FD()})
	mac, err := lab.Client.MAC(netns.ClientIf)
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{netns.ClientIP4, netns.ClientIP6} {
		want := Neighbour{Addr: netip.MustParseAddr(addr), MAC: mac.String(), Iface: netns.InsideIf}
		if !slices.Contains(m.Neighbours, want) {
			t.Errorf("%+v is not among the neighbours %+v", want, m.Neighbours)
		}
	}
	i := slices.IndexFunc(m.Interfaces, func(i Interface) bool { return i.Name == netns.InsideIf })
	if i < 0 || !slices.Contains(m.Interfaces[i].Prefixes, netip.MustParsePrefix("10.20.16.1/24")) ||
		!slices.Contains(m.Interfaces[i].Prefixes, netip.MustParsePrefix("fd20:0:0:16::1/64")) || !m.Interfaces[i].Up {
		t.Errorf("interfaces are %+v", m.Interfaces)
	}
	d := m.DefaultRoutes()
	if len(d) != 2 || d[0].Hops[0] != (Hop{netip.MustParseAddr("198.51.100.7"), "wan0"}) ||
		d[1].Hops[0] != (Hop{netip.MustParseAddr("2001:db8:1::7"), "wan0"}) {
		t.Errorf("default routes are %+v", d)
	}
	if want := []Chain{{Family: "ip", Table: "a", Name: "f", Type: "filter", Hook: "forward", Priority: 5, Drops: true}}; !slices.Equal(m.Chains, want) {
		t.Errorf("chains are %+v", m.Chains)
	}
	if !slices.ContainsFunc(m.Listeners, func(l Listener) bool {
		return l.Proto == "tcp" && l.Addr == netip.MustParseAddrPort("10.20.16.1:3128") && l.Program != ""
	}) {
		t.Errorf("listeners are %+v", m.Listeners)
	}
	if !m.Forwards4 || !m.Forwards6 || m.Shares() != nil || len(m.Problems) > 0 {
		t.Errorf("forwards %v %v, shares %q, problems %q", m.Forwards4, m.Forwards6, m.Shares(), m.Problems)
	}
	before, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(before, func(i net.Interface) bool { return i.Name == netns.InsideIf }) {
		t.Error("this thread is in the gateway's namespace")
	}
}

// Several ways out are one default route with several hops, in both families.
func TestMultipath(t *testing.T) {
	ns, err := netns.New("multipath")
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	other, err := netns.New("other")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for i, name := range []string{"wan0", "wan1"} {
		if err := netns.Link(ns, name, other, name); err != nil {
			t.Fatal(err)
		}
		n := string(rune('1' + i))
		if err := ns.Addr(name, "198.51.10"+n+".2/24", "2001:db8:"+n+"::2/64"); err != nil {
			t.Fatal(err)
		}
	}
	err = ns.Do(func() error {
		for _, via := range [][2]string{{"198.51.101.1", "198.51.102.1"}, {"2001:db8:1::1", "2001:db8:2::1"}} {
			dst := "0.0.0.0/0"
			if strings.Contains(via[0], ":") {
				dst = "::/0"
			}
			_, all, err := net.ParseCIDR(dst)
			if err != nil {
				return err
			}
			err = netlink.RouteAdd(&netlink.Route{Dst: all, MultiPath: []*netlink.NexthopInfo{
				{Gw: net.ParseIP(via[0])}, {Gw: net.ParseIP(via[1])},
			}})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	m := look(t, Options{NetNS: ns.FD()})
	d := m.DefaultRoutes()
	if len(d) != 2 || len(d[0].Hops) != 2 || len(d[1].Hops) != 2 {
		t.Fatalf("default routes are %+v", d)
	}
	if d[0].Hops[1] != (Hop{netip.MustParseAddr("198.51.102.1"), "wan1"}) || d[1].Hops[0] != (Hop{netip.MustParseAddr("2001:db8:1::1"), "wan0"}) {
		t.Errorf("the ways are %+v", d)
	}
	if len(m.Shares()) != 2 {
		t.Errorf("shares: %q", m.Shares())
	}
}
