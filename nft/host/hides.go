package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Hiding is what in this machine's network, outside nftables, takes traffic past
// weir or shows it changed. Lists are sorted.
type Hiding struct {
	Bridges  []Bridge `json:"bridges,omitempty"`
	VRFs     []string `json:"vrfs,omitempty"`
	Policies int      `json:"policies,omitempty"` // of IPsec, that apply to what leaves or is passed on
	// Filtered says that bridges hand their packets to the chains of IP
	// (br_netfilter): each is then seen a second time, or for the first.
	Filtered bool `json:"filtered,omitempty"`
}

// Bridge is one with two ports or more: what goes from one to the other is
// switched and never passes the forward hook of IP.
type Bridge struct {
	Name  string   `json:"name"`
	Ports []string `json:"ports"`
}

// Hiding looks at the network namespace of Options.
func (o Options) Hiding() (Hiding, error) {
	var h Hiding
	err := o.within(func() (err error) {
		h, err = hiding()
		return err
	})
	if err != nil {
		return Hiding{}, fmt.Errorf("cannot look for what hides traffic: %w", err)
	}
	s := &sight{opt: o}
	_ = o.within(func() error {
		h.Filtered = s.flag("/proc/sys/net/bridge/bridge-nf-call-iptables") || s.flag("/proc/sys/net/bridge/bridge-nf-call-ip6tables")
		return nil
	})
	return h, nil
}

func hiding() (Hiding, error) {
	links := map[int]linkInfo{}
	b, err := syscall.NetlinkRIB(unix.RTM_GETLINK, unix.AF_UNSPEC)
	if err != nil {
		return Hiding{}, err
	}
	msgs, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		return Hiding{}, err
	}
	for _, m := range msgs {
		if m.Header.Type != unix.RTM_NEWLINK {
			continue
		}
		l, err := parseLink(m.Data)
		if err != nil {
			return Hiding{}, err
		}
		links[l.index] = l
	}
	h := hidingOf(links)
	h.Policies, err = policies()
	return h, err
}

// linkInfo is a network interface as rtnetlink lists it.
type linkInfo struct {
	index, master int
	name, kind    string
}

func hidingOf(links map[int]linkInfo) Hiding {
	var h Hiding
	for _, l := range links {
		switch l.kind {
		case "vrf":
			h.VRFs = append(h.VRFs, l.name)
		case "bridge":
			var ports []string
			for _, p := range links {
				if p.master == l.index {
					ports = append(ports, p.name)
				}
			}
			if len(ports) > 1 {
				slices.Sort(ports)
				h.Bridges = append(h.Bridges, Bridge{l.name, ports})
			}
		}
	}
	slices.Sort(h.VRFs)
	slices.SortFunc(h.Bridges, func(a, b Bridge) int { return strings.Compare(a.Name, b.Name) })
	return h
}

// parseLink reads struct ifinfomsg of linux/rtnetlink.h: family, padding, type,
// index, flags, change; then attributes.
func parseLink(b []byte) (l linkInfo, err error) {
	if len(b) < 16 {
		return l, errShort
	}
	l.index = int(int32(binary.NativeEndian.Uint32(b[4:])))
	err = attributes(b[16:], func(t uint16, data []byte) {
		switch t {
		case unix.IFLA_IFNAME:
			l.name = strings.TrimRight(string(data), "\x00")
		case unix.IFLA_MASTER:
			if len(data) >= 4 {
				l.master = int(int32(binary.NativeEndian.Uint32(data)))
			}
		case unix.IFLA_LINKINFO:
			// What a driver put there may be cut; then it has no kind.
			_ = attributes(data, func(t uint16, data []byte) {
				if t == unix.IFLA_INFO_KIND {
					l.kind = strings.TrimRight(string(data), "\x00")
				}
			})
		}
	})
	return l, err
}

// Numbers of linux/xfrm.h.
const (
	xfrmGetPolicy  = 0x15 // XFRM_MSG_GETPOLICY
	xfrmNewPolicy  = 0x13 // XFRM_MSG_NEWPOLICY
	xfrmPolicySize = 168  // sizeof(struct xfrm_userpolicy_info)
	xfrmPolicyDir  = 160  // offset of its dir: after selector, two lifetimes, priority and index
	xfrmIn         = 0
)

// policies counts the IPsec policies that apply to what leaves or is passed on.
func policies() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_XFRM)
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return 0, nil // this kernel has no IPsec
	}
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	req := make([]byte, 16+64) // header, struct xfrm_userpolicy_id
	binary.NativeEndian.PutUint32(req, uint32(len(req)))
	binary.NativeEndian.PutUint16(req[4:], xfrmGetPolicy)
	binary.NativeEndian.PutUint16(req[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	binary.NativeEndian.PutUint32(req[8:], 1)
	if err := unix.Sendto(fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, err
	}
	n := 0
	buf := make([]byte, 64<<10)
	for {
		size, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			return 0, err
		}
		msgs, err := syscall.ParseNetlinkMessage(buf[:size])
		if err != nil {
			return 0, err
		}
		for _, m := range msgs {
			switch m.Header.Type {
			case unix.NLMSG_DONE:
				return n, nil
			case unix.NLMSG_ERROR:
				if len(m.Data) >= 4 {
					if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
						return 0, unix.Errno(-code)
					}
				}
				return n, nil
			case xfrmNewPolicy:
				leaves, err := parsePolicy(m.Data)
				if err != nil {
					return 0, err
				}
				if leaves {
					n++
				}
			}
		}
	}
}

// parsePolicy says whether a policy applies to what leaves or is passed on.
// Directions above "forward" are those of single sockets, which no packet of
// somebody else's passes.
func parsePolicy(b []byte) (leaves bool, err error) {
	if len(b) < xfrmPolicySize {
		return false, errShort
	}
	dir := b[xfrmPolicyDir]
	return dir != xfrmIn && dir <= 2, nil
}
