package kernel

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"weir/nft"
)

// fieldInfo says how a field gets into a register.
type fieldInfo struct {
	typ  nft.Type
	load func(reg uint32) expr.Any
	deps []dep // what must be known of the packet before the field is read
}

// dep is a property that nft checks without being told: the network protocol
// before an address, the transport protocol before a flag, the link type
// before a link address.
type dep struct {
	field nft.Field
	value []byte
}

var (
	is4    = dep{nft.NFProtoF, []byte{unix.NFPROTO_IPV4}}
	is6    = dep{nft.NFProtoF, []byte{unix.NFPROTO_IPV6}}
	isTCP  = dep{nft.L4Proto, []byte{6}}
	isICMP = dep{nft.L4Proto, []byte{1}}
	isICM6 = dep{nft.L4Proto, []byte{58}}
	isLink = dep{nft.IIFType, binary.NativeEndian.AppendUint16(nil, 1)}
)

func meta(key expr.MetaKey) func(uint32) expr.Any {
	return func(reg uint32) expr.Any { return &expr.Meta{Key: key, Register: reg} }
}

func payload(base expr.PayloadBase, off, n uint32) func(uint32) expr.Any {
	return func(reg uint32) expr.Any {
		return &expr.Payload{DestRegister: reg, Base: base, Offset: off, Len: n}
	}
}

func ct(key expr.CtKey) func(uint32) expr.Any {
	return func(reg uint32) expr.Any { return &expr.Ct{Key: key, Register: reg} }
}

const (
	link      = expr.PayloadBaseLLHeader
	network   = expr.PayloadBaseNetworkHeader
	transport = expr.PayloadBaseTransportHeader
)

// ctBits is the type of the connection's bit masks, which are in no set.
const ctBits nft.Type = "ct_bits"

var fields = map[nft.Field]fieldInfo{
	nft.L4Proto:     {nft.InetProto, meta(expr.MetaKeyL4PROTO), nil},
	nft.NFProtoF:    {nft.NFProto, meta(expr.MetaKeyNFPROTO), nil},
	nft.IIFName:     {nft.IfName, meta(expr.MetaKeyIIFNAME), nil},
	nft.OIFName:     {nft.IfName, meta(expr.MetaKeyOIFNAME), nil},
	nft.IIFType:     {ifType, meta(expr.MetaKeyIIFTYPE), nil},
	nft.SkUID:       {uidType, meta(expr.MetaKeySKUID), nil},
	nft.IPSaddr:     {nft.IPv4Addr, payload(network, 12, 4), []dep{is4}},
	nft.IPDaddr:     {nft.IPv4Addr, payload(network, 16, 4), []dep{is4}},
	nft.IP6Saddr:    {nft.IPv6Addr, payload(network, 8, 16), []dep{is6}},
	nft.IP6Daddr:    {nft.IPv6Addr, payload(network, 24, 16), []dep{is6}},
	nft.EtherSaddr:  {nft.EtherAddr, payload(link, 6, 6), []dep{isLink}},
	nft.ThSport:     {nft.InetService, payload(transport, 0, 2), nil},
	nft.ThDport:     {nft.InetService, payload(transport, 2, 2), nil},
	nft.TCPFlags:    {tcpFlag, payload(transport, 13, 1), []dep{isTCP}},
	nft.ICMPTypeF:   {nft.ICMPType, payload(transport, 0, 1), []dep{isICMP}},
	nft.ICMP6TypeF:  {nft.ICMPv6Type, payload(transport, 0, 1), []dep{isICM6}},
	nft.CTState:     {ctBits, ct(expr.CtKeySTATE), nil},
	nft.CTStatus:    {ctBits, ct(expr.CtKeySTATUS), nil},
	nft.CTDirection: {ctDir, ct(expr.CtKeyDIRECTION), nil},
	nft.FibDaddr: {fibType, func(reg uint32) expr.Any {
		return &expr.Fib{Register: reg, ResultADDRTYPE: true, FlagDADDR: true}
	}, nil},
	nft.FibOIFName: {nft.IfName, func(reg uint32) expr.Any {
		return &expr.Fib{Register: reg, ResultOIFNAME: true, FlagDADDR: true}
	}, nil},
}

// ruleWriter turns one rule's statements into expressions. Anonymous sets that
// it needs go into the batch before the rule.
type ruleWriter struct {
	b     *batch
	t     table
	exprs []expr.Any
	sets  []set              // the anonymous sets that it made
	known map[nft.Field]bool // fields that the rule has compared already
}

func (r *ruleWriter) put(e ...expr.Any) { r.exprs = append(r.exprs, e...) }

// need adds the comparisons that nft would add before these fields.
func (r *ruleWriter) need(fs []nft.Field) error {
	for _, f := range fs {
		info, ok := fields[f]
		if !ok {
			return fmt.Errorf("no field %q", f)
		}
		for _, d := range info.deps {
			if r.known[d.field] || slices.Contains(fs, d.field) {
				continue
			}
			r.known[d.field] = true
			r.put(fields[d.field].load(1), &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: d.value})
		}
	}
	return nil
}

// load reads the fields into registers from the first one on and returns the
// types of the key that stands there.
func (r *ruleWriter) load(fs []nft.Field) ([]nft.Type, error) {
	if err := r.need(fs); err != nil {
		return nil, err
	}
	var types []nft.Type
	at := uint32(0)
	for _, f := range fs {
		info := fields[f]
		reg := uint32(unix.NFT_REG_1)
		if len(fs) > 1 {
			reg = unix.NFT_REG32_00 + at
		}
		if at%4 == 0 {
			reg = unix.NFT_REG_1 + at/4
		}
		r.put(info.load(reg))
		types = append(types, info.typ)
		at += uint32(keyTypes[info.typ].size+3) / 4
	}
	return types, nil
}

func (r *ruleWriter) stmt(s nft.Stmt) error {
	switch s := s.(type) {
	case nft.Match:
		return r.match(s)
	case nft.Jhash:
		return r.jhash(s)
	case nft.Vmap:
		if _, err := r.load(s.Fields); err != nil {
			return err
		}
		r.put(&expr.Lookup{SourceRegister: 1, SetName: s.Map, IsDestRegSet: true})
	case nft.Count:
		if s.Name == "" {
			r.put(&expr.Counter{})
		} else {
			r.put(&expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: s.Name})
		}
	case nft.Log:
		return r.log(s)
	case nft.Limit:
		l, err := limit(s)
		if err != nil {
			return err
		}
		r.put(l)
	case nft.SetOp:
		return r.setOp(s)
	case nft.Verdict:
		code, ok := verdictCodes[s.Kind]
		if !ok {
			return fmt.Errorf("no verdict %q", s.Kind)
		}
		r.put(&expr.Verdict{Kind: expr.VerdictKind(code), Chain: s.Chain})
	case nft.Reject:
		e, err := reject(s)
		if err != nil {
			return err
		}
		r.put(e)
	case nft.Redirect:
		r.put(&expr.Immediate{Register: 1, Data: binary.BigEndian.AppendUint16(nil, s.Port)},
			&expr.Redir{RegisterProtoMin: 1, Flags: unix.NF_NAT_RANGE_PROTO_SPECIFIED})
	default:
		return fmt.Errorf("no statement %T", s)
	}
	return nil
}

// jhash FIELD mod N seed S < BELOW
func (r *ruleWriter) jhash(s nft.Jhash) error {
	types, err := r.load([]nft.Field{s.Field})
	if err != nil {
		return err
	}
	r.put(&expr.Hash{SourceRegister: 1, DestRegister: 1, Length: uint32(keyTypes[types[0]].size),
		Modulus: s.Mod, Seed: s.Seed, Type: expr.HashTypeJenkins},
		&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: binary.BigEndian.AppendUint32(nil, s.Below)})
	return nil
}

func (r *ruleWriter) log(s nft.Log) error {
	if len(s.Prefix) > 127 {
		return fmt.Errorf("the log prefix %q is longer than 127 bytes", s.Prefix)
	}
	l := &expr.Log{Group: s.Group, Snaplen: s.Snaplen, QThreshold: s.Threshold, Data: []byte(s.Prefix),
		Key: 1 << unix.NFTA_LOG_GROUP}
	if s.Prefix != "" {
		l.Key |= 1 << unix.NFTA_LOG_PREFIX
	}
	if s.Snaplen != 0 {
		l.Key |= 1 << unix.NFTA_LOG_SNAPLEN
	}
	if s.Threshold != 0 {
		l.Key |= 1 << unix.NFTA_LOG_QTHRESHOLD
	}
	r.put(l)
	return nil
}

func (r *ruleWriter) setOp(s nft.SetOp) error {
	if _, err := r.load(s.Fields); err != nil {
		return err
	}
	d := &expr.Dynset{SrcRegKey: 1, SetName: s.Set}
	switch s.Op {
	case "add":
		d.Operation = unix.NFT_DYNSET_OP_ADD
	case "update":
		d.Operation = unix.NFT_DYNSET_OP_UPDATE
	default:
		return fmt.Errorf("no set operation %q", s.Op)
	}
	if s.Limit != nil {
		l, err := limit(*s.Limit)
		if err != nil {
			return err
		}
		d.Exprs = []expr.Any{l}
	}
	r.put(d)
	return nil
}

func limit(s nft.Limit) (*expr.Limit, error) {
	units := map[string]expr.LimitTime{"second": 1, "minute": 60, "hour": 3600, "day": 86400}
	u, ok := units[s.Unit]
	if !ok || s.Rate == 0 {
		return nil, fmt.Errorf("no limit %d/%s", s.Rate, s.Unit)
	}
	burst := s.Burst
	if burst == 0 {
		burst = 5
	}
	return &expr.Limit{Type: expr.LimitTypePkts, Rate: s.Rate, Unit: u, Burst: burst, Over: s.Over}, nil
}

func reject(s nft.Reject) (expr.Any, error) {
	switch s.With {
	case "tcp reset":
		return &expr.Reject{Type: unix.NFT_REJECT_TCP_RST}, nil
	case "icmpx admin-prohibited":
		return &expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED}, nil
	case "icmpx port-unreachable":
		return &expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH}, nil
	}
	return nil, fmt.Errorf("no reject with %q", s.With)
}
