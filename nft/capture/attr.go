package capture

import (
	"encoding/binary"
	"errors"
)

// errShort is returned when a message ends before what it announces.
var errShort = errors.New("the message is too short")

// attrs walks netlink attributes without copying. After next returned false,
// err says whether the end was reached in order.
type attrs struct {
	rest []byte
	typ  uint16 // without the flags nested and network byte order
	raw  []byte // header and data, without padding
	data []byte
	err  error
}

func (a *attrs) next() bool {
	if len(a.rest) < 4 {
		// Up to three bytes of padding may follow the last attribute.
		return false
	}
	n := int(binary.NativeEndian.Uint16(a.rest))
	if n < 4 || n > len(a.rest) {
		a.err = errShort
		return false
	}
	a.typ = binary.NativeEndian.Uint16(a.rest[2:]) & 0x3fff
	a.raw, a.data = a.rest[:n], a.rest[4:n]
	a.rest = a.rest[min((n+3)&^3, len(a.rest)):]
	return true
}

func (a *attrs) u8() uint8 {
	if len(a.data) < 1 {
		a.err = errShort
		return 0
	}
	return a.data[0]
}

func (a *attrs) be16() uint16 {
	if len(a.data) < 2 {
		a.err = errShort
		return 0
	}
	return binary.BigEndian.Uint16(a.data)
}

func (a *attrs) be32() uint32 {
	if len(a.data) < 4 {
		a.err = errShort
		return 0
	}
	return binary.BigEndian.Uint32(a.data)
}

func (a *attrs) be64() uint64 {
	if len(a.data) < 8 {
		a.err = errShort
		return 0
	}
	return binary.BigEndian.Uint64(a.data)
}

// nested reads the attribute's data as attributes.
func (a *attrs) nested() attrs { return attrs{rest: a.data} }

// appendAttr appends an attribute and its padding.
func appendAttr(b []byte, typ uint16, data []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(data)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// nestedFlag marks an attribute that holds attributes.
const nestedFlag = 0x8000

// nfgen is the header of every netfilter message: family, version 0, and a
// resource number in network byte order.
func nfgen(family uint8, resource uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{family, 0}, resource)
}
