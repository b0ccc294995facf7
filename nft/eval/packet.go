package eval

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"weir/nft"
	"weir/phases/flow"
)

// State is a packet's connection tracking state as nft spells it.
type State string

// The states; the zero value counts as New.
const (
	New         State = "new"
	Established State = "established"
	Related     State = "related"
	Invalid     State = "invalid"
	Untracked   State = "untracked"
)

var stateBits = map[State]uint32{"": 8, New: 8, Established: 2, Related: 4, Invalid: 1, Untracked: 64}

// Packet is what rules can see of a packet. Zero is unknown: a rule that asks
// for an unknown MAC address, user or interface does not match.
type Packet struct {
	Hook     string // hook letter: "f", "o", "n"; "i" is input
	Src, Dst netip.Addr
	Proto    flow.Proto
	SrcPort  uint16
	Port     uint16 // destination port, or ICMP type
	TCPFlags byte   // of TCP; 0 is taken as SYN in state new and ACK else
	In, Out  string // interfaces
	MAC      []byte // sender's link address: six bytes, or nil
	UID      *uint32
	State    State
	Reply    bool   // in the reply direction of its connection
	Status   uint32 // connection tracking's status bits (1 expected, 32 dnat)
	ToSelf   bool   // the destination is an address of this machine
}

// NewPacket returns the first packet of a flow.
func NewPacket(hook string, f flow.Flow) Packet {
	return Packet{Hook: hook, Src: f.Client, Dst: f.Server, Proto: f.Proto, Port: f.Port, SrcPort: 40000, State: New}
}

func (p *Packet) v4() bool { return p.Src.Unmap().Is4() }

// errNoPorts is returned for a port field of a protocol without ports.
var errNoPorts = errors.New("it has no ports")

// field returns a field's bytes, false where the packet has no such field, and
// errNoPorts where the kernel would read random bytes.
func (p *Packet) field(b []byte, f nft.Field) ([]byte, bool, error) {
	v4 := p.v4()
	addr := func(a netip.Addr, want4 bool) ([]byte, bool, error) {
		if v4 != want4 {
			return b, false, nil
		}
		if v4 {
			x := a.Unmap().As4()
			return append(b, x[:]...), true, nil
		}
		x := a.As16()
		return append(b, x[:]...), true, nil
	}
	port := func(v uint16) ([]byte, bool, error) {
		if !p.Proto.HasPorts() {
			return append(b, 0, 0), true, fmt.Errorf("cannot read %s of protocol %s: %w", f, p.Proto, errNoPorts)
		}
		return binary.BigEndian.AppendUint16(b, v), true, nil
	}
	icmp := func(proto flow.Proto) ([]byte, bool, error) {
		if p.Proto != proto {
			return b, false, nil
		}
		return append(b, byte(p.Port)), true, nil
	}
	iface := func(name string) ([]byte, bool, error) {
		if name == "" {
			return b, false, nil
		}
		var x [16]byte
		copy(x[:], name)
		return append(b, x[:]...), true, nil
	}
	switch f {
	case nft.L4Proto:
		return append(b, byte(p.Proto)), true, nil
	case nft.NFProtoF:
		if v4 {
			return append(b, 2), true, nil
		}
		return append(b, 10), true, nil
	case nft.IPSaddr:
		return addr(p.Src, true)
	case nft.IPDaddr:
		return addr(p.Dst, true)
	case nft.IP6Saddr:
		return addr(p.Src, false)
	case nft.IP6Daddr:
		return addr(p.Dst, false)
	case nft.ThSport:
		return port(p.SrcPort)
	case nft.ThDport:
		return port(p.Port)
	case nft.ICMPTypeF:
		return icmp(flow.ICMP)
	case nft.ICMP6TypeF:
		return icmp(flow.ICMPv6)
	case nft.IIFName:
		return iface(p.In)
	case nft.OIFName:
		return iface(p.Out)
	case nft.IIFType:
		if len(p.MAC) != 6 {
			return b, false, nil
		}
		return binary.NativeEndian.AppendUint16(b, 1), true, nil
	case nft.EtherSaddr:
		return append(b, p.MAC...), len(p.MAC) == 6, nil
	case nft.TCPFlags:
		if p.Proto != flow.TCP {
			return b, false, nil
		}
		if p.TCPFlags != 0 {
			return append(b, p.TCPFlags), true, nil
		}
		if p.State == New || p.State == "" {
			return append(b, 0x02), true, nil
		}
		return append(b, 0x10), true, nil
	case nft.CTState:
		return binary.NativeEndian.AppendUint32(b, stateBits[p.State]), true, nil
	case nft.CTDirection:
		if p.State == Untracked || p.State == Invalid {
			return b, false, nil
		}
		if p.Reply {
			return append(b, 1), true, nil
		}
		return append(b, 0), true, nil
	case nft.CTStatus:
		return binary.NativeEndian.AppendUint32(b, p.Status), p.State != Untracked && p.State != Invalid, nil
	case nft.FibDaddr:
		v := uint32(1) // unicast
		if p.ToSelf {
			v = 2
		}
		return binary.NativeEndian.AppendUint32(b, v), true, nil
	case nft.FibOIFName:
		if p.ToSelf {
			return b, false, nil
		}
		return iface(p.Out)
	case nft.SkUID:
		if p.UID == nil {
			return b, false, nil
		}
		return binary.NativeEndian.AppendUint32(b, *p.UID), true, nil
	}
	return b, false, fmt.Errorf("cannot read field %q: unknown", f)
}
