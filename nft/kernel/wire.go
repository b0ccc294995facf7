package kernel

import (
	"encoding/binary"
	"iter"
	"strings"

	"golang.org/x/sys/unix"
)

// wire is a buffer of netlink messages. It encodes directly, without a value
// per attribute: a million elements are a million appends.
type wire []byte

const (
	familyInet = 1 // NFPROTO_INET
	msgHdrLen  = unix.SizeofNlMsghdr
	nested     = unix.NLA_F_NESTED
	subsys     = unix.NFNL_SUBSYS_NFTABLES << 8
)

// begin starts a message of a netfilter subsystem and returns its offset.
func (w *wire) begin(typ, flags uint16, family byte, resID uint16) int {
	off := len(*w)
	*w = append(*w, make([]byte, msgHdrLen+4)...)
	b := (*w)[off:]
	binary.NativeEndian.PutUint16(b[4:], typ)
	binary.NativeEndian.PutUint16(b[6:], flags|unix.NLM_F_REQUEST)
	b[16] = family
	binary.BigEndian.PutUint16(b[18:], resID)
	return off
}

// end closes the message that begins at off.
func (w *wire) end(off int) {
	binary.NativeEndian.PutUint32((*w)[off:], uint32(len(*w)-off))
}

func (w *wire) head(typ uint16, n int) {
	var h [4]byte
	binary.NativeEndian.PutUint16(h[0:], uint16(4+n))
	binary.NativeEndian.PutUint16(h[2:], typ)
	*w = append(*w, h[:]...)
}

func (w *wire) pad(n int) {
	for ; n%4 != 0; n++ {
		*w = append(*w, 0)
	}
}

func (w *wire) bytes(typ uint16, v []byte) {
	w.head(typ, len(v))
	*w = append(*w, v...)
	w.pad(len(v))
}

// str writes a string with its terminating zero.
func (w *wire) str(typ uint16, s string) {
	w.head(typ, len(s)+1)
	*w = append(append(*w, s...), 0)
	w.pad(len(s) + 1)
}

func (w *wire) u32(typ uint16, v uint32) {
	w.head(typ, 4)
	*w = binary.BigEndian.AppendUint32(*w, v)
}

func (w *wire) u64(typ uint16, v uint64) {
	w.head(typ, 8)
	*w = binary.BigEndian.AppendUint64(*w, v)
}

// nest opens a nested attribute, unnest closes it; what is inside must stay
// below 64 KiB.
func (w *wire) nest(typ uint16) int {
	off := len(*w)
	w.head(typ|nested, 0)
	return off
}

func (w *wire) unnest(off int) {
	binary.NativeEndian.PutUint16((*w)[off:], uint16(len(*w)-off))
}

// messages walks over the messages of a buffer: header and payload behind the
// netlink header.
func messages(b []byte) iter.Seq2[header, []byte] {
	return func(yield func(header, []byte) bool) {
		for len(b) >= msgHdrLen {
			h := header{
				len:   binary.NativeEndian.Uint32(b),
				typ:   binary.NativeEndian.Uint16(b[4:]),
				flags: binary.NativeEndian.Uint16(b[6:]),
				seq:   binary.NativeEndian.Uint32(b[8:]),
				port:  binary.NativeEndian.Uint32(b[12:]),
			}
			if h.len < msgHdrLen || int(h.len) > len(b) {
				return
			}
			if !yield(h, b[msgHdrLen:h.len]) {
				return
			}
			b = b[min(len(b), (int(h.len)+3)&^3):]
		}
	}
}

type header struct {
	len   uint32
	typ   uint16
	flags uint16
	seq   uint32
	port  uint32 // netlink address of who caused it
}

// attrs walks over attributes: type without flags, value.
func attrs(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= 4 {
			n := int(binary.NativeEndian.Uint16(b))
			typ := binary.NativeEndian.Uint16(b[2:]) & 0x3fff
			if n < 4 || n > len(b) {
				return
			}
			if !yield(typ, b[4:n]) {
				return
			}
			b = b[min(len(b), (n+3)&^3):]
		}
	}
}

// attr returns the value of the first attribute of a type, nil where none.
func attr(b []byte, typ uint16) []byte {
	for t, v := range attrs(b) {
		if t == typ {
			return v
		}
	}
	return nil
}

func text(b []byte) string { return strings.TrimRight(string(b), "\x00") }

func be32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func be64(b []byte) uint64 {
	if len(b) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}
