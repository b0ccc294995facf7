package host

import (
	"encoding/csv"
	"io"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// leases reads the lease files of the usual clients and servers.
func (s *sight) leases() {
	for _, kind := range []struct {
		parse    func(string) []Lease
		patterns []string
	}{
		{parseNetworkd, []string{"/run/systemd/netif/leases/*", "/run/NetworkManager/devices/*.lease", "/var/lib/NetworkManager/internal-*.lease"}},
		{parseDhclient, []string{"/var/lib/dhcp/dhclient*.lease*", "/var/lib/dhclient/*.lease*", "/var/lib/NetworkManager/dhclient*.lease"}},
		{parseDhcpd, []string{"/var/lib/dhcp/dhcpd*.leases", "/var/lib/dhcpd/dhcpd*.leases"}},
		{parseDnsmasqLeases, []string{"/var/lib/misc/dnsmasq.leases", "/var/lib/dnsmasq/dnsmasq.leases", "/var/lib/dnsmasq/*.leases", "/tmp/dhcp.leases"}},
		{parseKea, []string{"/var/lib/kea/kea-leases4.csv*", "/var/lib/kea/kea-leases6.csv*", "/var/lib/kea/dhcp4.leases", "/var/lib/kea/dhcp6.leases"}},
	} {
		for _, f := range s.glob(kind.patterns...) {
			text, ok := s.read(f)
			if !ok {
				continue
			}
			for _, l := range kind.parse(text) {
				l.File = f
				if l.Own && l.Iface == "" {
					l.Iface = s.ifaceOf(filepath.Base(f))
				}
				s.m.Leases = append(s.m.Leases, l)
			}
		}
	}
	// What DHCP named is asked as well, whatever the configuration says.
	for _, f := range s.glob("/run/systemd/netif/leases/*") {
		text, _ := s.read(f)
		for _, a := range addrList(assignments(text)["NTP"]) {
			s.m.TimeServers = append(s.m.TimeServers, TimeServer{Addr: a, File: f})
		}
	}
}

// ifaceOf finds the interface that a lease file is named after.
func (s *sight) ifaceOf(file string) string {
	index, _ := strconv.Atoi(file)
	for _, i := range s.m.Interfaces {
		if i.Index == index || strings.Contains(file, "-"+i.Name+".") || strings.HasSuffix(file, "."+i.Name+".leases") {
			return i.Name
		}
	}
	return ""
}

// assignments reads KEY=value lines; comments begin with #.
func assignments(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if k, v, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(k, "#") {
			out[k] = v
		}
	}
	return out
}

func addrList(text string) []netip.Addr {
	var out []netip.Addr
	for _, w := range strings.Fields(text) {
		if a, ok := addrOf(w); ok {
			out = append(out, a)
		}
	}
	return out
}

// parseNetworkd reads the state file that systemd-networkd and NetworkManager
// keep for each lease of their own.
func parseNetworkd(text string) []Lease {
	kv := assignments(text)
	a, ok := addrOf(kv["ADDRESS"])
	if !ok {
		return nil
	}
	l := Lease{Own: true, Addr: a}
	l.Server, _ = addrOf(kv["SERVER_ADDRESS"])
	return []Lease{l}
}

// parseDhclient reads dhclient.leases(5); the last block of an address counts.
func parseDhclient(text string) []Lease {
	return blocks(text, func(head []string) (Lease, bool) {
		return Lease{Own: true}, head[0] == "lease" || head[0] == "lease6"
	}, func(l *Lease, f []string) {
		switch {
		case f[0] == "interface" && len(f) > 1:
			l.Iface = strings.Trim(f[1], `"`)
		case (f[0] == "fixed-address" || f[0] == "iaaddr") && len(f) > 1:
			l.Addr, _ = addrOf(f[1])
		case len(f) > 2 && f[0] == "option" && f[1] == "dhcp-server-identifier":
			l.Server, _ = addrOf(f[2])
		case f[0] == "expire":
			l.Expires = iscTime(f[1:])
		}
	})
}

// parseDhcpd reads dhcpd.leases(5).
func parseDhcpd(text string) []Lease {
	return blocks(text, func(head []string) (Lease, bool) {
		if head[0] != "lease" || len(head) < 2 {
			return Lease{}, false
		}
		a, ok := addrOf(head[1])
		return Lease{Addr: a}, ok
	}, func(l *Lease, f []string) {
		switch {
		case len(f) > 2 && f[0] == "hardware":
			l.MAC = strings.ToLower(f[2])
		case len(f) > 1 && f[0] == "client-hostname":
			l.Name = strings.Trim(f[1], `"`)
		case f[0] == "ends":
			l.Expires = iscTime(f[1:])
		}
	})
}

// blocks reads "head { statement; statement; }" as the ISC programs write it,
// one statement on a line. Nested blocks belong to the outer one.
func blocks(text string, begin func(head []string) (Lease, bool), statement func(*Lease, []string)) []Lease {
	var out []Lease
	var cur *Lease
	depth := 0
	for line := range strings.Lines(text) {
		f := words(line)
		if len(f) == 0 {
			continue
		}
		switch {
		case f[len(f)-1] == "{":
			if depth == 0 {
				if l, ok := begin(f); ok {
					cur = &l
				}
			} else if cur != nil && len(f) > 1 {
				statement(cur, f[:len(f)-1])
			}
			depth++
		case f[0] == "}":
			if depth = max(depth-1, 0); depth == 0 && cur != nil {
				if cur.Addr.IsValid() {
					out = append(out, *cur)
				}
				cur = nil
			}
		case cur != nil:
			f[len(f)-1] = strings.TrimSuffix(f[len(f)-1], ";")
			if f[0] != "" {
				statement(cur, f)
			}
		}
	}
	// A file grows at its end: the last block of an address is the newest.
	last := map[netip.Addr]int{}
	for i, l := range out {
		last[l.Addr] = i
	}
	kept := out[:0]
	for i, l := range out {
		if last[l.Addr] == i {
			kept = append(kept, l)
		}
	}
	return kept
}

// iscTime reads "4 2026/11/20 23:00:00" (UTC) or "epoch 1732143600"; "never"
// is zero.
func iscTime(f []string) time.Time {
	if len(f) >= 2 && f[0] == "epoch" {
		if n, err := strconv.ParseInt(f[1], 10, 64); err == nil {
			return time.Unix(n, 0).UTC()
		}
	}
	if len(f) >= 3 {
		if t, err := time.Parse("2006/01/02 15:04:05", f[1]+" "+f[2]); err == nil {
			return t
		}
	}
	return time.Time{}
}

// parseDnsmasqLeases reads "expiry mac address name client-id"; an expiry of 0
// never ends. IPv6 leases have a number instead of a MAC.
func parseDnsmasqLeases(text string) []Lease {
	var out []Lease
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		at, err := strconv.ParseInt(f[0], 10, 64)
		a, ok := addrOf(f[2])
		if err != nil || !ok {
			continue
		}
		l := Lease{Addr: a}
		if strings.Contains(f[1], ":") {
			// Another link type than Ethernet stands before the address.
			mac := f[1]
			if i := strings.IndexByte(mac, '-'); i >= 0 {
				mac = mac[i+1:]
			}
			l.MAC = strings.ToLower(mac)
		}
		if f[3] != "*" {
			l.Name = f[3]
		}
		if at > 0 {
			l.Expires = time.Unix(at, 0).UTC()
		}
		out = append(out, l)
	}
	return out
}

// parseKea reads the CSV files of Kea's memfile; columns are found by their
// titles, the last line of an address counts, and state 0 is a valid lease.
func parseKea(text string) []Lease {
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord, r.LazyQuotes, r.ReuseRecord = -1, true, true
	head, err := r.Read()
	if err != nil {
		return nil
	}
	col := map[string]int{}
	for i, name := range head {
		col[strings.TrimSpace(name)] = i
	}
	newest := map[netip.Addr]Lease{}
	var order []netip.Addr
	for {
		row, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			continue
		}
		get := func(name string) string {
			if i, ok := col[name]; ok && i < len(row) {
				return row[i]
			}
			return ""
		}
		a, ok := addrOf(get("address"))
		if !ok {
			continue
		}
		if _, known := newest[a]; !known {
			order = append(order, a)
		}
		l := Lease{Addr: a, MAC: strings.ToLower(strings.Clone(get("hwaddr"))), Name: strings.TrimSuffix(strings.Clone(get("hostname")), ".")}
		if n, err := strconv.ParseInt(get("expire"), 10, 64); err == nil && n > 0 {
			l.Expires = time.Unix(n, 0).UTC()
		}
		if state := get("state"); (state != "" && state != "0") || get("valid_lifetime") == "0" {
			l = Lease{}
		}
		newest[a] = l
	}
	var out []Lease
	for _, a := range order {
		if l := newest[a]; l.Addr.IsValid() {
			out = append(out, l)
		}
	}
	return out
}
