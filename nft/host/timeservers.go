package host

import (
	"strings"
)

// timeServers reads the configuration of the NTP clients that exist, whether
// they run or not: a lifeline too many harms less than one too few.
func (s *sight) timeServers() {
	add := func(file string, list []TimeServer) {
		for _, t := range list {
			t.File = file
			s.m.TimeServers = append(s.m.TimeServers, t)
		}
	}
	for _, f := range s.glob("/etc/chrony.conf", "/etc/chrony/chrony.conf", "/etc/chrony/conf.d/*.conf",
		"/etc/chrony.d/*.conf", "/etc/chrony/sources.d/*.sources", "/run/chrony-dhcp/*.sources",
		"/etc/ntp.conf", "/etc/ntpsec/ntp.conf", "/etc/ntpsec/ntp.d/*.conf", "/etc/ntpd.conf", "/etc/openntpd/ntpd.conf") {
		text, _ := s.read(f)
		add(f, parseNTP(text))
	}
	for _, f := range s.glob("/etc/systemd/timesyncd.conf", "/etc/systemd/timesyncd.conf.d/*.conf",
		"/run/systemd/timesyncd.conf.d/*.conf", "/usr/lib/systemd/timesyncd.conf.d/*.conf") {
		text, _ := s.read(f)
		for _, key := range []string{"NTP", "FallbackNTP"} {
			for _, v := range parseINI(text, "Time", key) {
				for _, name := range strings.Fields(v) {
					add(f, []TimeServer{timeServer(name)})
				}
			}
		}
	}
}

func timeServer(text string) TimeServer {
	if a, ok := addrOf(text); ok {
		return TimeServer{Addr: a}
	}
	return TimeServer{Name: text}
}

// parseNTP reads the lines "server", "pool", "peer" and "servers" that chrony,
// ntpd, ntpsec and OpenNTPD have in common.
func parseNTP(text string) []TimeServer {
	var out []TimeServer
	for line := range strings.Lines(text) {
		f := words(line)
		if len(f) < 2 || strings.HasPrefix(f[0], "!") {
			continue
		}
		switch f[0] {
		case "server", "servers", "pool", "peer":
		default:
			continue
		}
		rest := f[1:]
		if rest[0] == "-4" || rest[0] == "-6" {
			rest = rest[1:]
		}
		// 127.127.x.y is a clock on this machine, in ntpd's notation.
		if len(rest) == 0 || strings.HasPrefix(rest[0], "127.127.") {
			continue
		}
		t := timeServer(rest[0])
		for _, opt := range rest[1:] {
			t.NTS = t.NTS || opt == "nts"
		}
		out = append(out, t)
	}
	return out
}
