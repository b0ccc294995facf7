package capture

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"weir/nft/netns"
)

// What a machine sends itself is logged at its output with the user; the
// socket's unit is found through its inode.
func TestOutputHasUserAndUnit(t *testing.T) {
	lab := newLab(t)
	nft(t, lab.Gateway, logRules)
	opt := prepare(t, lab.Gateway)
	opt.Units = true
	log, h := startLog(t, opt, 100)
	_, ended := startConnections(t, opt)
	if err := lab.Outside.EchoTCP("198.51.100.7:443", "[2001:db8:1::7]:443"); err != nil {
		t.Fatal(err)
	}
	if err := lab.Outside.EchoUDP("198.51.100.7:53", "[2001:db8:1::7]:53"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ network, from, server, addr, service string }{
		{"tcp", netns.OutsideGW4, netns.OutsideIP4, "198.51.100.7:443", "tcp/443"},
		{"tcp", netns.OutsideGW6, netns.OutsideIP6, "[2001:db8:1::7]:443", "tcp/443"},
		{"udp", netns.OutsideGW4, netns.OutsideIP4, "198.51.100.7:53", "udp/53"},
		{"udp", netns.OutsideGW6, netns.OutsideIP6, "[2001:db8:1::7]:53", "udp/53"},
	} {
		conn := open(t, lab.Gateway, c.network, c.addr)
		r := h.wait(t, c.addr, is(c.from, c.server, c.service))
		if r.Hook != "output" || r.UID == nil || *r.UID != uint32(os.Getuid()) || r.Out != netns.OutsideIf || r.In != "" || r.MAC != "" {
			t.Errorf("the line is %s", show(r))
		}
		// The same socket as seen in a system where a service owns it.
		u := newUnits(Options{NetNS: opt.NetNS, Root: systemWith(t, conn, "system.slice/web.service")})
		if unit := u.of(r); unit != "web.service" {
			t.Errorf("the unit of %v is %q", r.Flow, unit)
		}
		r.SrcPort++
		if unit := u.of(r); unit != "" {
			t.Errorf("a socket that does not exist has the unit %q", unit)
		}
		if err := u.close(); err != nil {
			t.Error(err)
		}
	}
	deleteAll(t, opt)
	end := ended.wait(t, "the end", closed(is(netns.OutsideGW4, netns.OutsideIP4, "tcp/443")))
	if end.Hook != "output" {
		t.Errorf("the end is of hook %q", end.Hook)
	}
	if s := log.Stats(); s.Undecoded != 0 || s.Lost != 0 {
		t.Errorf("statistics are %+v", s)
	}
}

// systemWith makes a root in which one process of a unit holds the socket.
func systemWith(t *testing.T, conn net.Conn, cgroup string) string {
	t.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var st syscall.Stat_t
	if err := raw.Control(func(fd uintptr) { err = syscall.Fstat(int(fd), &st) }); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	dir := filepath.Join(root, "proc/77/fd")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(fmt.Sprintf("socket:[%d]", st.Ino), filepath.Join(dir, "5")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "proc/77/cgroup"), []byte("1:name=systemd:/"+cgroup+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return root
}

// With cgroup v2 the unit comes from the directory whose inode is the id.
func TestUnitByCgroup(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "sys/fs/cgroup/user.slice/user@1000.service/app.slice/browser.scope")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1e9, 0)
	u := newUnits(Options{Root: root, Now: func() time.Time { return now }})
	if unit := u.byGroup(st.Ino); unit != "browser.scope" {
		t.Errorf("the unit is %q", unit)
	}
	if err := os.Rename(dir, filepath.Join(filepath.Dir(dir), "mail.service")); err != nil {
		t.Fatal(err)
	}
	if unit := u.byGroup(st.Ino + 1<<40); unit != "" {
		t.Errorf("an unknown id has the unit %q", unit)
	}
}

func TestUnitOf(t *testing.T) {
	for path, want := range map[string]string{
		"/system.slice/nginx.service": "nginx.service", "/": "", "/user.slice": "",
		"/system.slice/docker-abc.scope":                   "docker-abc.scope",
		"/user.slice/user@0.service/app.slice/a@b.service": "a@b.service",
	} {
		if got := unitOf(path); got != want {
			t.Errorf("unitOf(%q) is %q, want %q", path, got, want)
		}
	}
}
