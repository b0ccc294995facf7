package kernel

import (
	"fmt"

	"golang.org/x/sys/unix"

	"weir/nft"
)

// keyType is a type as nft numbers it: the number goes into the set's
// description and lets nft print the elements.
type keyType struct {
	id   uint32
	size int
	host bool // kept in host byte order
}

var keyTypes = map[nft.Type]keyType{
	nft.NFProto:     {2, 1, true},
	nft.IPv4Addr:    {7, 4, false},
	nft.IPv6Addr:    {8, 16, false},
	nft.EtherAddr:   {9, 6, false},
	nft.InetProto:   {12, 1, false},
	nft.InetService: {13, 2, false},
	nft.ICMPType:    {14, 1, false},
	nft.Mark:        {19, 4, true},
	nft.ICMPv6Type:  {29, 1, false},
	nft.IfName:      {41, 16, true},
	ifType:          {21, 2, true},
	ctDir:           {27, 1, true},
	fibType:         {38, 4, true},
	uidType:         {24, 4, true},
	tcpFlag:         {15, 1, false},
}

// Types of fields that no named set of weir has as a key.
const (
	ifType  nft.Type = "iface_type"
	ctDir   nft.Type = "ct_dir"
	fibType nft.Type = "fib_addrtype"
	uidType nft.Type = "uid"
	tcpFlag nft.Type = "tcp_flag"
)

// Numbers of nf_tables.h that the unix package does not have.
const (
	flagConcat      = 0x80 // NFT_SET_CONCAT
	attrKeyEnd      = 10   // NFTA_SET_ELEM_KEY_END
	attrDescConcat  = 2    // NFTA_SET_DESC_CONCAT
	attrFieldLen    = 1    // NFTA_SET_FIELD_LEN
	attrSetExpr     = 17   // NFTA_SET_EXPR
	attrSetCount    = 20   // NFTA_SET_COUNT, since Linux 6.17
	dataVerdict     = 0xffffff00
	elemIntervalEnd = 1
)

// layout is a key's shape: one concatenation of fields.
type layout struct {
	id     uint32
	size   int   // in bytes, fields padded when there are several
	fields []int // unpadded sizes
	host   bool
}

func keyLayout(types []nft.Type) (layout, error) {
	var l layout
	if len(types) == 0 || len(types) > 5 {
		return l, fmt.Errorf("cannot make a key of %d fields: want one to five", len(types))
	}
	for _, t := range types {
		k, ok := keyTypes[t]
		if !ok {
			return l, fmt.Errorf("cannot make a key of type %q", t)
		}
		l.id = l.id<<6 | k.id
		l.fields = append(l.fields, k.size)
		if len(types) == 1 {
			l.size, l.host = k.size, k.host
		} else {
			l.size += (k.size + 3) &^ 3
		}
	}
	return l, nil
}

// verdictCodes are the numbers of netfilter.h and nf_tables.h.
var verdictCodes = map[string]int32{
	"accept":   1,
	"drop":     0,
	"continue": unix.NFT_CONTINUE,
	"jump":     unix.NFT_JUMP,
	"goto":     unix.NFT_GOTO,
	"return":   unix.NFT_RETURN,
}

func verdictKind(code int32) string {
	for k, c := range verdictCodes {
		if c == code {
			return k
		}
	}
	return ""
}
