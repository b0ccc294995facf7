package host

import (
	"encoding/hex"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// socket is a line of /proc/net/tcp and its like.
type socket struct {
	local, remote netip.AddrPort
	state         int
	inode         uint64
}

// States of linux/net/tcp_states.h; a UDP socket without a peer is "closed".
const (
	established = 1
	closed      = 7
	listening   = 10
)

// watched are the programs whose running says something about the network.
var watched = []string{
	"keepalived", "conntrackd", "bird", "bird6", "zebra", "bgpd", "ospfd", "ospf6d", "gobgpd", "ripd", "ripngd",
	"squid", "haproxy", "nginx", "envoy", "traefik", "dockerd", "containerd", "podman", "libvirtd",
	"dnsmasq", "unbound", "named", "systemd-resolved", "dhcpd", "kea-dhcp4", "kea-dhcp6", "radvd",
	"chronyd", "ntpd", "systemd-timesyncd", "sshd", "dropbear", "tailscaled", "wireguard", "charon", "openvpn",
	"firewalld", "ufw", "fail2ban-server", "ulogd", "systemd-networkd", "NetworkManager", "dhclient", "dhcpcd",
}

// processes finds which program owns which socket, and which of the watched
// programs run. Of other users' processes it sees the sockets only as root.
func (s *sight) processes() {
	s.owner = map[uint64]string{}
	root := filepath.Clean(s.opt.Root + "/")
	dirs, err := filepath.Glob(filepath.Join(root, "proc/[0-9]*"))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		comm, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil {
			continue // it ended meanwhile
		}
		name := strings.TrimSpace(string(comm))
		for _, w := range watched {
			// The kernel keeps 15 characters of a name.
			if name == w || len(w) > 15 && name == w[:15] {
				s.m.Daemons = append(s.m.Daemons, w)
			}
		}
		fds, err := os.ReadDir(filepath.Join(dir, "fd"))
		if err != nil {
			continue
		}
		for _, fd := range fds {
			to, err := os.Readlink(filepath.Join(dir, "fd", fd.Name()))
			if err != nil {
				continue
			}
			if inode, ok := socketInode(to); ok && s.owner[inode] == "" {
				s.owner[inode] = name
			}
		}
	}
}

func socketInode(link string) (uint64, bool) {
	in, ok := strings.CutPrefix(link, "socket:[")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(in, "]"), 10, 64)
	return n, err == nil
}

// sockets reads who listens and who is connected.
func (s *sight) sockets() {
	for _, file := range []string{"tcp", "tcp6", "udp", "udp6"} {
		text, ok := s.read(s.procNet(file))
		if !ok {
			continue
		}
		proto := strings.TrimSuffix(file, "6")
		for _, sk := range parseSockets(text) {
			program := s.owner[sk.inode]
			switch {
			case proto == "tcp" && sk.state == listening, proto == "udp" && sk.state == closed:
				s.m.Listeners = append(s.m.Listeners, Listener{Proto: proto, Addr: sk.local, Program: program})
			case proto == "tcp" && sk.state == established:
				s.tcp = append(s.tcp, sk)
				if sk.local.Port() == 179 || sk.remote.Port() == 179 {
					s.m.Peers = append(s.m.Peers, Peer{Addr: sk.remote.Addr(), Program: program})
				}
			}
		}
	}
}

// sessions finds the connections by which this machine is managed: the one in
// SSH_CONNECTION, and those of an SSH server.
func (s *sight) sessions() {
	env := s.opt.Env
	if env == nil {
		env = os.Getenv
	}
	operator, ok := parseSSHConnection(env("SSH_CONNECTION"))
	if ok {
		s.m.Sessions = append(s.m.Sessions, operator)
	}
	var ports []uint16
	for _, l := range s.m.Listeners {
		if l.Proto == "tcp" && manages(l.Program) {
			ports = append(ports, l.Addr.Port())
		}
	}
	for _, sk := range s.tcp {
		program := s.owner[sk.inode]
		if !manages(program) && !slices.Contains(ports, sk.local.Port()) {
			continue
		}
		if manages(program) && slices.Contains([]uint16{22, 2222}, sk.remote.Port()) && !slices.Contains(ports, sk.local.Port()) {
			continue // a jump host's way on
		}
		if ok && sk.local == operator.Local && sk.remote == operator.Remote {
			continue
		}
		s.m.Sessions = append(s.m.Sessions, Session{Local: sk.local, Remote: sk.remote, Program: program})
	}
}

// manages says whether a program's connections are management sessions:
// "sshd", "sshd-session", "sshd-auth", "dropbear".
func manages(program string) bool {
	return program == "dropbear" || program == "sshd" || strings.HasPrefix(program, "sshd-")
}

// parseSSHConnection reads "client port server port".
func parseSSHConnection(text string) (Session, bool) {
	f := strings.Fields(text)
	if len(f) != 4 {
		return Session{}, false
	}
	remote, ok1 := joined(f[0], f[1])
	local, ok2 := joined(f[2], f[3])
	return Session{Local: local, Remote: remote, Operator: true}, ok1 && ok2
}

func joined(addr, port string) (netip.AddrPort, bool) {
	a, ok := addrOf(addr)
	p, err := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(a.WithZone(""), uint16(p)), ok && err == nil
}

// parseSockets reads /proc/net/tcp, tcp6, udp and udp6. Addresses are words of
// 32 bits in host order (little endian on every machine that this is built
// for) in hexadecimal; IPv4 in IPv6 becomes IPv4.
func parseSockets(text string) []socket {
	var out []socket
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 10 {
			continue
		}
		local, ok1 := hexAddr(f[1])
		remote, ok2 := hexAddr(f[2])
		state, err1 := strconv.ParseUint(f[3], 16, 8)
		inode, err2 := strconv.ParseUint(f[9], 10, 64)
		if !ok1 || !ok2 || err1 != nil || err2 != nil {
			continue // the line of titles
		}
		out = append(out, socket{local, remote, int(state), inode})
	}
	return out
}

func hexAddr(text string) (netip.AddrPort, bool) {
	addr, port, _ := strings.Cut(text, ":")
	p, err := strconv.ParseUint(port, 16, 16)
	b, err2 := hex.DecodeString(addr)
	if err != nil || err2 != nil || len(b) != 4 && len(b) != 16 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		slices.Reverse(b[i : i+4])
	}
	a, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), ok
}
