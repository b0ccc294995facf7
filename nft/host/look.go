package host

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Options say where to look. The zero value is this machine.
type Options struct {
	Root  string              // directory that files are read below; "": /
	NetNS int                 // open file of a network namespace; 0: the process's own
	Env   func(string) string // nil: os.Getenv; for SSH_CONNECTION
}

// Look looks at the machine whose files are below root. The kernel's tables are
// those of the process's own network namespace.
func Look(root string) (Machine, error) { return Options{Root: root}.Look() }

// Look reads everything. What could not be read is in Machine.Problems; an
// error means that the kernel could not be asked at all.
func (o Options) Look() (Machine, error) {
	if filepath.Clean(o.Root) == "/" {
		o.Root = ""
	}
	s := &sight{opt: o}
	err := o.within(func() error {
		if err := s.links(); err != nil {
			return err
		}
		s.processes()
		s.sockets()
		s.chains()
		return nil
	})
	if err != nil {
		return Machine{}, err
	}
	s.resolvers()
	s.timeServers()
	s.leases()
	s.sessions()
	m := &s.m
	m.Forwards4 = s.flag("/proc/sys/net/ipv4/ip_forward")
	m.Forwards6 = s.flag("/proc/sys/net/ipv6/conf/all/forwarding")
	m.Resolvers = unique(m.Resolvers, func(a, b Resolver) int { return a.Addr.Compare(b.Addr) })
	m.TimeServers = unique(m.TimeServers, func(a, b TimeServer) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), a.Addr.Compare(b.Addr))
	})
	m.Leases = unique(m.Leases, func(a, b Lease) int { return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.File, b.File)) })
	m.Listeners = unique(m.Listeners, func(a, b Listener) int {
		return cmp.Or(cmp.Compare(a.Proto, b.Proto), a.Addr.Compare(b.Addr), cmp.Compare(a.Program, b.Program))
	})
	m.Sessions = unique(m.Sessions, func(a, b Session) int {
		return cmp.Or(a.Local.Compare(b.Local), a.Remote.Compare(b.Remote))
	})
	m.Peers = unique(m.Peers, func(a, b Peer) int { return a.Addr.Compare(b.Addr) })
	slices.Sort(m.Daemons)
	m.Daemons = slices.Compact(m.Daemons)
	return *m, nil
}

// within runs fn on a thread of its own in the namespace; the thread ends with
// it.
func (o Options) within(fn func() error) error {
	if o.NetNS == 0 {
		return fn()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(o.NetNS, unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("cannot enter the network namespace: %w", err)
			return
		}
		done <- fn()
	}()
	return <-done
}

// sight is a Look in progress.
type sight struct {
	opt   Options
	m     Machine
	owner map[uint64]string // socket inode → program
	tcp   []socket
}

func (s *sight) problem(format string, args ...any) {
	s.m.Problems = append(s.m.Problems, fmt.Sprintf(format, args...))
}

// read returns a file below the root; a missing one is no problem.
func (s *sight) read(path string) (string, bool) {
	b, err := os.ReadFile(filepath.Join(s.opt.Root+"/", path))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
			s.problem("cannot read %s: %v", path, err)
		}
		return "", false
	}
	return string(b), true
}

// glob returns the files below the root that match, as paths within it.
func (s *sight) glob(patterns ...string) []string {
	var out []string
	root := filepath.Clean(s.opt.Root + "/")
	for _, p := range patterns {
		found, err := filepath.Glob(filepath.Join(root, p))
		if err != nil {
			s.problem("cannot list %s: %v", p, err)
		}
		for _, f := range found {
			out = append(out, "/"+strings.TrimPrefix(strings.TrimPrefix(f, root), "/"))
		}
	}
	slices.Sort(out)
	return out
}

// procNet is the directory of the current thread's network namespace.
func (s *sight) procNet(file string) string {
	if s.opt.Root == "" {
		return "/proc/thread-self/net/" + file
	}
	return "/proc/net/" + file
}

func (s *sight) flag(path string) (on bool) {
	_ = s.opt.within(func() error {
		text, ok := s.read(path)
		on = ok && strings.TrimSpace(text) != "0"
		return nil
	})
	return on
}

// unique sorts and keeps the first of equals.
func unique[T any](list []T, compare func(a, b T) int) []T {
	slices.SortStableFunc(list, compare)
	return slices.CompactFunc(list, func(a, b T) bool { return compare(a, b) == 0 })
}

// words splits a line of a configuration file at white space, without what
// follows a # or ; that begins a word.
func words(line string) []string {
	f := strings.Fields(line)
	for i, w := range f {
		if w[0] == '#' || w[0] == ';' {
			return f[:i]
		}
	}
	return f
}

// addrOf reads an address in the forms of configuration files: with a zone, in
// brackets, with a port after a colon, with a name after a hash.
func addrOf(text string) (netip.Addr, bool) {
	text, _, _ = strings.Cut(text, "#")
	if a, err := netip.ParseAddr(text); err == nil {
		return a.Unmap(), true
	}
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().Unmap(), true
	}
	if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return a.Unmap(), true
	}
	return netip.Addr{}, false
}
