package flow

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"
)

// Flow is who talks to whom about what, as the rules match it: the client is
// the source of connection tracking's original tuple, the server and its port
// are the source of the reply tuple (before SNAT, after DNAT). Port is the
// server's port, the ICMP type of the request, or 0 for a bare protocol.
// A Flow is comparable and is the key of the evidence. The zero value is
// invalid.
type Flow struct {
	Client netip.Addr
	Server netip.Addr
	Proto  Proto
	Port   uint16
}

// Service returns the flow's service.
func (f Flow) Service() Service { return Single(f.Proto, f.Port) }

// Family returns the flow's address family.
func (f Flow) Family() Family { return FamilyOf(f.Client) }

func (f Flow) String() string {
	return fmt.Sprintf("%s -> %s %s", f.Client, f.Server, f.Service())
}

// Compare orders flows by client, server and service.
func Compare(a, b Flow) int {
	return cmp.Or(a.Client.Compare(b.Client), a.Server.Compare(b.Server),
		cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Port, b.Port))
}

// Verdict is what the kernel said of a packet when it was logged.
type Verdict string

// What a record can be of. Seen is the capture's first sight; it says nothing
// about what happened to the packet afterwards.
const (
	Seen      Verdict = "seen"
	WouldDeny Verdict = "would-deny"
	Denied    Verdict = "denied"
	Captured  Verdict = "captured"
	Widens    Verdict = "widens"  // a refactoring in its shadow allows it, the rules in force do not
	Narrows   Verdict = "narrows" // the rules in force allow it, a refactoring in its shadow does not
)

// Judged says whether rules said something of the packet: what it says is no
// evidence that the flow is used.
func (v Verdict) Judged() bool {
	switch v {
	case WouldDeny, Denied, Captured:
		return true
	}
	return v.Disagrees()
}

// Disagrees says whether it is of a shadow, which changes nothing.
func (v Verdict) Disagrees() bool { return v == Widens || v == Narrows }

// Record is one observation of a flow by a reader (packet log, connection
// table, import). Unknown is zero: no bytes, no MAC, no interface.
type Record struct {
	Flow
	Asked      netip.AddrPort // what the client asked for, where DNAT changed it; else zero
	First      time.Time      // rollout time
	Last       time.Time
	BytesOut   uint64 // client to server
	BytesIn    uint64 // server to client
	PacketsOut uint64
	PacketsIn  uint64
	New        bool   // counts as a new connection (a dump of one that goes on does not)
	Answered   bool   // the kernel saw a reply (SEEN_REPLY; for TCP ASSURED)
	Guessed    bool   // connection tracking did not see the first packet: the direction may be reversed
	Closed     bool   // the connection ended
	Inbound    bool   // opened from outside; Client is the outside host
	ID         uint32 // connection tracking's id, where known, else 0
	SrcPort    uint16 // client's port, where known
	In, Out    string // interfaces
	MAC        string // client's link address, "02:00:5e:10:00:07"
	Hook       string // "forward" or "output"
	Source     string // "kernel", "netflow", "import"
	Verdict    Verdict
	Group      string // group named by the log prefix (would-deny, denied, captured)
	Step       string // revision named by the log prefix
	Zone       uint16
	UID        *uint32 // on hosts: the socket's owner
	Unit       string  // on hosts: the systemd unit
}
