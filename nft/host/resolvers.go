package host

import (
	"net/netip"
	"strings"
)

// resolvers reads whom this machine asks for names. A stub on the loopback
// (systemd-resolved, dnsmasq, NetworkManager, unbound) is followed to where it
// asks itself.
func (s *sight) resolvers() {
	tls := s.dnsOverTLS()
	add := func(file string) (stub bool) {
		text, ok := s.read(file)
		if !ok {
			return false
		}
		for _, a := range parseResolvConf(text) {
			if a.IsLoopback() {
				stub = true
				continue
			}
			s.m.Resolvers = append(s.m.Resolvers, Resolver{Addr: a, TLS: tls, File: file})
		}
		return stub
	}
	if !add("/etc/resolv.conf") {
		return
	}
	before := len(s.m.Resolvers)
	files := []string{"/run/systemd/resolve/resolv.conf", "/run/NetworkManager/no-stub-resolv.conf", "/run/dnsmasq/resolv.conf"}
	for _, f := range s.glob("/etc/dnsmasq.conf", "/etc/dnsmasq.d/*", "/etc/NetworkManager/dnsmasq.d/*") {
		text, _ := s.read(f)
		servers, more := parseDnsmasq(text)
		files = append(files, more...)
		for _, a := range servers {
			if !a.IsLoopback() {
				s.m.Resolvers = append(s.m.Resolvers, Resolver{Addr: a, File: f})
			}
		}
	}
	for _, f := range s.glob("/etc/unbound/unbound.conf", "/etc/unbound/unbound.conf.d/*.conf") {
		text, _ := s.read(f)
		for _, r := range parseUnbound(text) {
			if !r.Addr.IsLoopback() {
				r.File = f
				s.m.Resolvers = append(s.m.Resolvers, r)
			}
		}
	}
	for _, f := range files {
		add(f)
	}
	if len(s.m.Resolvers) == before {
		s.problem("the resolver is on this machine itself, and whom it asks was not found: name its servers as lifelines in the plan")
	}
}

// parseResolvConf reads the nameserver lines of resolv.conf(5).
func parseResolvConf(text string) []netip.Addr {
	var out []netip.Addr
	for line := range strings.Lines(text) {
		if f := words(line); len(f) >= 2 && f[0] == "nameserver" {
			if a, ok := addrOf(f[1]); ok {
				out = append(out, a)
			}
		}
	}
	return out
}

// dnsOverTLS says whether systemd-resolved speaks TLS.
func (s *sight) dnsOverTLS() bool {
	on := false
	for _, f := range s.glob("/etc/systemd/resolved.conf", "/etc/systemd/resolved.conf.d/*.conf", "/run/systemd/resolved.conf.d/*.conf") {
		text, _ := s.read(f)
		for _, v := range parseINI(text, "Resolve", "DNSOverTLS") {
			on = v != "" && v != "no" && v != "false" && v != "0" && v != "off"
		}
	}
	return on
}

// parseINI returns the values of one key in one section of a systemd file, in
// order.
func parseINI(text, section, key string) []string {
	var out []string
	in := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[':
			in = line == "["+section+"]"
		case in:
			if k, v, ok := strings.Cut(line, "="); ok && strings.TrimSpace(k) == key {
				out = append(out, strings.TrimSpace(v))
			}
		}
	}
	return out
}

// parseDnsmasq reads "server=" and "resolv-file=" of dnsmasq(8). A server may
// be for one domain ("/lan/10.0.0.1") and have a port and an interface
// ("10.0.0.1#5353@eth0").
func parseDnsmasq(text string) (servers []netip.Addr, files []string) {
	for line := range strings.Lines(text) {
		k, v, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.HasPrefix(k, "#") {
			continue
		}
		switch strings.TrimSpace(k) {
		case "server":
			if i := strings.LastIndexByte(v, '/'); i >= 0 {
				v = v[i+1:]
			}
			v, _, _ = strings.Cut(v, "@")
			if a, ok := addrOf(strings.TrimSpace(v)); ok {
				servers = append(servers, a)
			}
		case "resolv-file":
			files = append(files, strings.TrimSpace(v))
		}
	}
	return servers, files
}

// parseUnbound reads "forward-addr:" of unbound.conf(5): "9.9.9.9@853#name".
func parseUnbound(text string) []Resolver {
	var out []Resolver
	for line := range strings.Lines(text) {
		f := words(line)
		if len(f) < 2 || f[0] != "forward-addr:" {
			continue
		}
		addr, port, _ := strings.Cut(strings.Trim(f[1], `"`), "@")
		port, _, _ = strings.Cut(port, "#")
		if a, ok := addrOf(addr); ok {
			out = append(out, Resolver{Addr: a, TLS: port == "853"})
		}
	}
	return out
}
