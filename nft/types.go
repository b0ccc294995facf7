package nft

// The types of fields that are never keys of a named set.
const (
	ifaceType   Type = "iface_type"   // 2, host byte order
	ctState     Type = "ct_state"     // 4, host byte order, a bit mask
	ctStatus    Type = "ct_status"    // 4, host byte order, a bit mask
	ctDirection Type = "ct_dir"       // 1
	tcpFlag     Type = "tcp_flag"     // 1, a bit mask
	fibType     Type = "fib_addrtype" // 4, host byte order
	uidType     Type = "uid"          // 4, host byte order
)

// Width returns the bytes of one value, 0 for a type that has none or is
// unknown.
func (t Type) Width() int {
	switch t {
	case InetProto, NFProto, ICMPType, ICMPv6Type, ctDirection, tcpFlag:
		return 1
	case InetService, ifaceType:
		return 2
	case IPv4Addr, Mark, ctState, ctStatus, fibType, uidType:
		return 4
	case EtherAddr:
		return 6
	case IPv6Addr, IfName:
		return 16
	}
	return 0
}

// Type returns the type of the field's values, "" for an unknown field. A
// value of "fib daddr type" and of "meta skuid" is 4 bytes in host order.
func (f Field) Type() Type {
	switch f {
	case L4Proto:
		return InetProto
	case NFProtoF:
		return NFProto
	case IIFName, OIFName, FibOIFName:
		return IfName
	case IIFType:
		return ifaceType
	case IPSaddr, IPDaddr:
		return IPv4Addr
	case IP6Saddr, IP6Daddr:
		return IPv6Addr
	case EtherSaddr:
		return EtherAddr
	case ThSport, ThDport:
		return InetService
	case TCPFlags:
		return tcpFlag
	case ICMPTypeF:
		return ICMPType
	case ICMP6TypeF:
		return ICMPv6Type
	case CTState:
		return ctState
	case CTDirection:
		return ctDirection
	case CTStatus:
		return ctStatus
	case FibDaddr:
		return fibType
	case SkUID:
		return uidType
	}
	return ""
}

// isKey says whether a named set may have keys of the type.
func (t Type) isKey() bool {
	switch t {
	case IPv4Addr, IPv6Addr, EtherAddr, InetProto, InetService, NFProto, IfName, Mark, ICMPType, ICMPv6Type:
		return true
	}
	return false
}

// hostOrder says whether values of the type are numbers in host byte order.
func (t Type) hostOrder() bool {
	switch t {
	case Mark, ifaceType, ctState, ctStatus, fibType, uidType:
		return true
	}
	return false
}

// bitMask says whether the type's values are masks.
func (t Type) bitMask() bool { return t == ctState || t == ctStatus || t == tcpFlag }

// padded returns the room of a field in a concatenation.
func padded(width int) int { return (width + 3) &^ 3 }

// typesOf returns the fields' types.
func typesOf(fields []Field) []Type {
	out := make([]Type, len(fields))
	for i, f := range fields {
		out[i] = f.Type()
	}
	return out
}

// KeyLen returns the length of a key of the given types: the width of one, or
// the sum of the padded widths of several.
func KeyLen(types []Type) int {
	if len(types) == 1 {
		return types[0].Width()
	}
	n := 0
	for _, t := range types {
		n += padded(t.Width())
	}
	return n
}
