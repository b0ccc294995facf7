package capture

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// lookAgain is how old a list of interfaces or addresses may become.
const lookAgain = 10 * time.Second

// names is a cache of interface names by index. An index that it does not know
// is looked up, at most once a second, so that a vanished interface costs
// nothing.
type names struct {
	opt  Options
	at   time.Time
	list map[uint32]string
}

func newNames(opt Options) *names { return &names{opt: opt} }

func (n *names) of(index uint32) string {
	if index == 0 {
		return ""
	}
	name, ok := n.list[index]
	age := n.opt.now().Sub(n.at)
	if age > lookAgain || !ok && age > time.Second {
		n.look()
		name = n.list[index]
	}
	return name
}

func (n *names) look() {
	n.at = n.opt.now()
	list := map[uint32]string{}
	err := n.opt.within(func() error {
		all, err := net.Interfaces()
		for _, i := range all {
			list[uint32(i.Index)] = i.Name
		}
		return err
	})
	if err == nil {
		n.list = list
	}
}

// own is a cache of the namespace's own addresses, to tell what this machine
// sends itself from what it passes on.
type own struct {
	opt  Options
	mu   sync.Mutex // guards at and list
	at   time.Time
	list map[netip.Addr]bool
}

func (o *own) hook(client, server netip.Addr) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now := o.opt.now(); o.list == nil || now.Sub(o.at) > lookAgain {
		o.at = now
		list := map[netip.Addr]bool{}
		err := o.opt.within(func() error {
			all, err := net.InterfaceAddrs()
			for _, a := range all {
				if p, ok := a.(*net.IPNet); ok {
					if ip, ok := netip.AddrFromSlice(p.IP); ok {
						list[ip.Unmap()] = true
					}
				}
			}
			return err
		})
		if err == nil || o.list == nil {
			o.list = list
		}
	}
	local := func(a netip.Addr) bool { return o.list[a] || a.IsLoopback() }
	switch {
	case local(client):
		return "output"
	case local(server):
		return "input"
	}
	return "forward"
}

// Bytes is what an interface carried since it was made, link headers included,
// and in how many packets. It starts again at 0 with the interface.
type Bytes struct{ RX, TX, RXPackets, TXPackets uint64 }

// InterfaceBytes returns the counters of the named interfaces; those that do
// not exist are missing. No name: all.
func InterfaceBytes(opt Options, want ...string) (map[string]Bytes, error) {
	out := map[string]Bytes{}
	err := opt.within(func() error {
		f, err := os.Open(opt.path("/proc/thread-self/net/dev"))
		if err != nil {
			return err
		}
		defer f.Close()
		all, err := parseDev(f)
		for name, b := range all {
			if len(want) == 0 {
				out[name] = b
			}
		}
		for _, name := range want {
			if b, ok := all[name]; ok {
				out[name] = b
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the interfaces' counters: %w", err)
	}
	return out, nil
}

// parseDev reads /proc/net/dev: two lines of titles, then "name: rx bytes, 7
// more, tx bytes, 7 more".
func parseDev(in io.Reader) (map[string]Bytes, error) {
	out := map[string]Bytes{}
	s := bufio.NewScanner(in)
	for line := 0; s.Scan(); line++ {
		if line < 2 {
			continue
		}
		text := s.Text()
		// An alias like "eth0:1" has a colon in its name.
		colon := strings.LastIndexByte(text, ':')
		if colon < 0 {
			return nil, fmt.Errorf("cannot read line %q", text)
		}
		f := strings.Fields(text[colon+1:])
		if len(f) < 10 {
			return nil, fmt.Errorf("cannot read line %q", text)
		}
		var n [4]uint64
		for i, column := range []int{0, 8, 1, 9} {
			var err error
			if n[i], err = strconv.ParseUint(f[column], 10, 64); err != nil {
				return nil, fmt.Errorf("cannot read line %q", text)
			}
		}
		out[strings.TrimSpace(text[:colon])] = Bytes{RX: n[0], TX: n[1], RXPackets: n[2], TXPackets: n[3]}
	}
	return out, s.Err()
}
