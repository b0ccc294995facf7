package host

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// links reads interfaces, neighbours and routes from the kernel, for the
// current thread's network namespace.
func (s *sight) links() error {
	all, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("cannot list the interfaces: %w", err)
	}
	names := map[int]string{}
	for _, i := range all {
		names[i.Index] = i.Name
		out := Interface{Name: i.Name, Index: i.Index, MAC: i.HardwareAddr.String(), MTU: i.MTU,
			Up: i.Flags&net.FlagUp != 0, Loopback: i.Flags&net.FlagLoopback != 0}
		addrs, err := i.Addrs()
		if err != nil {
			return fmt.Errorf("cannot list the addresses of %s: %w", i.Name, err)
		}
		for _, a := range addrs {
			if p, ok := a.(*net.IPNet); ok {
				addr, ok := netip.AddrFromSlice(p.IP)
				bits, _ := p.Mask.Size()
				if ok {
					out.Prefixes = append(out.Prefixes, netip.PrefixFrom(addr.Unmap(), bits))
				}
			}
		}
		s.m.Interfaces = append(s.m.Interfaces, out)
	}
	slices.SortFunc(s.m.Interfaces, func(a, b Interface) int { return cmp.Compare(a.Index, b.Index) })
	for _, t := range []struct {
		what string
		typ  int
		each func([]byte) error
	}{
		{"neighbours", unix.RTM_GETNEIGH, func(b []byte) error {
			n, index, ok, err := parseNeighbour(b)
			if ok && names[index] != "lo" {
				n.Iface = names[index]
				s.m.Neighbours = append(s.m.Neighbours, n)
			}
			return err
		}},
		{"routes", unix.RTM_GETROUTE, func(b []byte) error {
			r, ok, err := parseRoute(b, names)
			if ok {
				s.m.Routes = append(s.m.Routes, r)
			}
			return err
		}},
	} {
		if err := rib(t.typ, t.each); err != nil {
			return fmt.Errorf("cannot list the %s: %w", t.what, err)
		}
	}
	slices.SortFunc(s.m.Neighbours, func(a, b Neighbour) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Iface, b.Iface))
	})
	slices.SortStableFunc(s.m.Routes, func(a, b Route) int {
		return cmp.Or(a.Dst.Addr().Compare(b.Dst.Addr()), cmp.Compare(a.Dst.Bits(), b.Dst.Bits()))
	})
	s.joinIPv6()
	return nil
}

// joinIPv6 makes one route of the several that the kernel lists for an IPv6
// multipath route in its older form.
func (s *sight) joinIPv6() {
	var out []Route
	for _, r := range s.m.Routes {
		if n := len(out) - 1; n >= 0 && out[n].Dst == r.Dst && r.Dst.Addr().Is6() && r.Dst.Bits() == 0 {
			for _, h := range r.Hops {
				if !slices.Contains(out[n].Hops, h) {
					out[n].Hops = append(out[n].Hops, h)
				}
			}
			continue
		}
		out = append(out, r)
	}
	s.m.Routes = out
}

// rib asks the kernel for a table and gives each message's data to fn.
func rib(typ int, fn func([]byte) error) error {
	b, err := syscall.NetlinkRIB(typ, unix.AF_UNSPEC)
	if err != nil {
		return err
	}
	msgs, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		return err
	}
	for _, m := range msgs {
		switch m.Header.Type {
		case unix.RTM_NEWNEIGH, unix.RTM_NEWROUTE:
			if err := fn(m.Data); err != nil {
				return err
			}
		}
	}
	return nil
}

var errShort = errors.New("the message is too short")

// attributes calls fn for each route attribute.
func attributes(b []byte, fn func(typ uint16, data []byte)) error {
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			return errShort
		}
		fn(binary.NativeEndian.Uint16(b[2:])&0x3fff, b[4:n])
		b = b[min((n+3)&^3, len(b)):]
	}
	return nil
}

// parseNeighbour reads struct ndmsg of linux/neighbour.h: family, padding,
// interface index, state, flags, type. ok is false for what has no link address
// or is no host.
func parseNeighbour(b []byte) (n Neighbour, index int, ok bool, err error) {
	if len(b) < 12 {
		return n, 0, false, errShort
	}
	index = int(int32(binary.NativeEndian.Uint32(b[4:])))
	state, flags, typ := binary.NativeEndian.Uint16(b[8:]), b[10], b[11]
	err = attributes(b[12:], func(t uint16, data []byte) {
		switch t {
		case unix.NDA_DST:
			a, _ := netip.AddrFromSlice(data)
			n.Addr = a.Unmap()
		case unix.NDA_LLADDR:
			if len(data) == 6 {
				n.MAC = net.HardwareAddr(data).String()
			}
		}
	})
	n.Router = flags&unix.NTF_ROUTER != 0
	usable := state&(unix.NUD_REACHABLE|unix.NUD_STALE|unix.NUD_DELAY|unix.NUD_PROBE|unix.NUD_PERMANENT) != 0
	return n, index, err == nil && usable && typ == unix.RTN_UNICAST && n.Addr.IsValid() && n.MAC != "", err
}

// parseRoute reads struct rtmsg of linux/rtnetlink.h: family, lengths of
// destination and source, tos, table, protocol, scope, type, flags.
func parseRoute(b []byte, names map[int]string) (r Route, ok bool, err error) {
	if len(b) < 12 {
		return r, false, errShort
	}
	family, bits, table, typ := b[0], int(b[1]), uint32(b[4]), b[7]
	dst := netip.IPv4Unspecified()
	if family == unix.AF_INET6 {
		dst = netip.IPv6Unspecified()
	}
	var hop Hop
	err = attributes(b[12:], func(t uint16, data []byte) {
		switch t {
		case unix.RTA_DST:
			if a, fine := netip.AddrFromSlice(data); fine {
				dst = a
			}
		case unix.RTA_GATEWAY:
			hop.Via, _ = netip.AddrFromSlice(data)
		case unix.RTA_VIA: // family, address
			if len(data) > 2 {
				hop.Via, _ = netip.AddrFromSlice(data[2:])
			}
		case unix.RTA_OIF:
			if len(data) >= 4 {
				hop.Iface = names[int(binary.NativeEndian.Uint32(data))]
			}
		case unix.RTA_TABLE:
			if len(data) >= 4 {
				table = binary.NativeEndian.Uint32(data)
			}
		case unix.RTA_MULTIPATH:
			r.Hops = append(r.Hops, parseHops(data, names)...)
		}
	})
	if r.Hops == nil && (hop.Iface != "" || hop.Via.IsValid()) {
		r.Hops = []Hop{hop}
	}
	r.Dst = netip.PrefixFrom(dst, bits)
	ok = err == nil && table == unix.RT_TABLE_MAIN && typ == unix.RTN_UNICAST &&
		(family == unix.AF_INET || family == unix.AF_INET6) && r.Dst.IsValid()
	return r, ok, err
}

// parseHops reads struct rtnexthop: length, flags, weight, interface index,
// attributes.
func parseHops(b []byte, names map[int]string) []Hop {
	var out []Hop
	for len(b) >= 8 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 8 || n > len(b) {
			return out
		}
		h := Hop{Iface: names[int(binary.NativeEndian.Uint32(b[4:]))]}
		if err := attributes(b[8:n], func(t uint16, data []byte) {
			switch {
			case t == unix.RTA_GATEWAY:
				h.Via, _ = netip.AddrFromSlice(data)
			case t == unix.RTA_VIA && len(data) > 2:
				h.Via, _ = netip.AddrFromSlice(data[2:])
			}
		}); err != nil {
			return out
		}
		out = append(out, h)
		b = b[min((n+3)&^3, len(b)):]
	}
	return out
}
