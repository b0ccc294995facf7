package nft

import "time"

// Ruleset is a part of one table: what one transaction series creates. The
// order of Sets and Chains is the order of creation; a chain may refer to sets
// and chains of the same Ruleset and to those that the kernel already has.
type Ruleset struct {
	Family   string // "inet"
	Table    string // "weir"
	Counters []string
	Sets     []Set
	Chains   []Chain
}

// Type names a key or data type as nft spells it.
type Type string

// The types that weir's sets and maps are made of, with their width in bytes.
const (
	IPv4Addr    Type = "ipv4_addr"    // 4
	IPv6Addr    Type = "ipv6_addr"    // 16
	EtherAddr   Type = "ether_addr"   // 6
	InetProto   Type = "inet_proto"   // 1
	InetService Type = "inet_service" // 2
	NFProto     Type = "nf_proto"     // 1
	IfName      Type = "ifname"       // 16, padded with zero bytes
	Mark        Type = "mark"         // 4, host byte order
	ICMPType    Type = "icmp_type"    // 1
	ICMPv6Type  Type = "icmpv6_type"  // 1
	VerdictType Type = "verdict"
)

// Set is a named set, or a map when Data is not "".
type Set struct {
	Name           string
	Key            []Type // more than one: a concatenation
	Data           Type   // "", Mark or VerdictType
	Interval       bool
	HasTimeout     bool // "flags timeout"
	Dynamic        bool
	Counter        bool // each element counts
	Size           uint32
	DefaultTimeout time.Duration
	Elements       []Element
}

// Element is one element of a set or map. Key is the concatenation of its
// fields in network byte order (Mark: host order), each padded with zero bytes
// to a multiple of 4 when the set has more than one field. KeyEnd, where not
// nil, is the inclusive end of each field's range.
type Element struct {
	Key     []byte
	KeyEnd  []byte
	Verdict *Verdict // in a verdict map
	Mark    uint32   // in a map of marks
	Timeout time.Duration
	Comment string
}

// Chain is a chain; a base chain when Hook is not "".
type Chain struct {
	Name     string
	Type     string // "filter" or "nat"
	Hook     string // "forward", "output", "input", "prerouting"
	Priority int32  // a number always: nft 1.0.6 refuses names in some chains. Policy is always accept.
	Rules    []Rule
}

// Rule is a list of statements, evaluated from left to right.
type Rule struct {
	Stmts   []Stmt
	Comment string // at most 127 bytes
}
