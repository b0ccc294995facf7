package nft

// Stmt is one of Match, Vmap, Count, Log, Limit, Verdict, Reject, Redirect and
// SetOp.
type Stmt interface{ stmt() }

// Field is a packet or connection property as nft spells it.
type Field string

// The fields that weir matches on. "th dport" is written only behind a match
// of the protocols that have ports (flow.Proto.HasPorts).
const (
	L4Proto     Field = "meta l4proto"
	NFProtoF    Field = "meta nfproto"
	IIFName     Field = "iifname"
	OIFName     Field = "oifname"
	IIFType     Field = "meta iiftype" // value: 2 bytes host order, 1 = ether
	IPSaddr     Field = "ip saddr"
	IPDaddr     Field = "ip daddr"
	IP6Saddr    Field = "ip6 saddr"
	IP6Daddr    Field = "ip6 daddr"
	EtherSaddr  Field = "ether saddr"
	ThSport     Field = "th sport"
	ThDport     Field = "th dport"
	TCPFlags    Field = "tcp flags" // with Mask
	ICMPTypeF   Field = "icmp type"
	ICMP6TypeF  Field = "icmpv6 type"
	CTState     Field = "ct state"     // a bit mask: matched with &
	CTDirection Field = "ct direction" // 0 original, 1 reply
	CTStatus    Field = "ct status"    // a bit mask
	FibDaddr    Field = "fib daddr type"
	FibOIFName  Field = "fib daddr oifname" // where the packet would go, asked before it is routed
	SkUID       Field = "meta skuid"
)

// Match compares a field, or a concatenation of fields, with a value, a list of
// values (an anonymous set), a prefix or range, or a named set. Exactly one of
// Values and Set is given.
//
// For CTState, CTStatus and (with Mask) TCPFlags, Values holds one bit mask in
// host order; CTState and CTStatus match when one of the bits is set.
type Match struct {
	Fields []Field
	Not    bool
	Mask   []byte // TCPFlags only: tcp flags & Mask
	Values []Value
	Set    string // a named set, without @
}

// Value is one value of a field in network byte order, or an inclusive range.
type Value struct {
	Lo, Hi []byte // Hi nil: a single value
}

// Jhash matches a stable share of addresses: jhash <field> mod <Mod> seed
// <Seed> < Below.
type Jhash struct {
	Field Field // IPSaddr, IP6Saddr or EtherSaddr
	Mod   uint32
	Seed  uint32
	Below uint32
}

// Vmap looks fields up in a named verdict map.
type Vmap struct {
	Fields []Field
	Map    string
}

// Count increments a named counter, or the rule's own when Name is "".
type Count struct{ Name string }

// Log sends the packet's head to a netlink log group.
type Log struct {
	Prefix    string // at most 127 bytes
	Group     uint16
	Snaplen   uint32
	Threshold uint16 // queue-threshold; 0: the kernel's default
}

// Limit lets at most Rate packets per Unit pass, after a burst of Burst
// packets (0: the kernel's default of 5). With Over it matches the packets
// beyond that instead: "limit rate over".
type Limit struct {
	Over  bool
	Rate  uint64
	Unit  string // "second", "minute", "hour"
	Burst uint32
}

// SetOp adds or updates an element of a dynamic set from the packet. With
// Limit the statement matches only while the element's own limit allows it.
type SetOp struct {
	Op     string // "add" or "update"
	Set    string
	Fields []Field
	Limit  *Limit
	// Counter makes the element count: "{ … counter }".
	Counter bool
}

// Verdict ends a rule. The zero value is invalid.
type Verdict struct {
	Kind  string // "accept", "drop", "return", "continue", "jump", "goto"
	Chain string // of jump and goto
}

// Reject answers the packet: "tcp reset", "icmpx admin-prohibited" or "icmpx
// port-unreachable".
type Reject struct{ With string }

// Redirect sends the connection to a port of this machine (nat chains only).
type Redirect struct{ Port uint16 }

func (Match) stmt()    {}
func (Jhash) stmt()    {}
func (Vmap) stmt()     {}
func (Count) stmt()    {}
func (Log) stmt()      {}
func (Limit) stmt()    {}
func (SetOp) stmt()    {}
func (Verdict) stmt()  {}
func (Reject) stmt()   {}
func (Redirect) stmt() {}
