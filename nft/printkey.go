package nft

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math/bits"
	"net/netip"
	"strconv"
	"time"
)

// appendKey prints a key, or a key's range, of one or more types. A key of a
// wrong length prints as a word that neither nft nor Parse accepts.
func appendKey(b []byte, types []Type, lo, hi []byte) []byte {
	if want := KeyLen(types); len(lo) != want || want == 0 || (hi != nil && len(hi) != want) {
		return hex.AppendEncode(append(b, "!bad-key-"...), lo)
	}
	if len(types) == 1 {
		return appendField(b, types[0], lo, hi)
	}
	at := 0
	for i, t := range types {
		if i > 0 {
			b = append(b, " . "...)
		}
		w := t.Width()
		var h []byte
		if hi != nil {
			h = hi[at : at+w]
		}
		b = appendField(b, t, lo[at:at+w], h)
		at += padded(w)
	}
	return b
}

func appendField(b []byte, t Type, lo, hi []byte) []byte {
	if hi == nil || bytes.Equal(lo, hi) {
		return appendValue(b, t, lo, true)
	}
	if n, ok := prefixLen(lo, hi); ok && (t == IPv4Addr || t == IPv6Addr) {
		return strconv.AppendInt(append(appendValue(b, t, lo, true), '/'), int64(n), 10)
	}
	return appendValue(append(appendValue(b, t, lo, false), '-'), t, hi, false)
}

// appendValue prints one value; numbers where words are not wanted (in ranges).
func appendValue(b []byte, t Type, v []byte, words bool) []byte {
	switch t {
	case IPv4Addr:
		return netip.AddrFrom4([4]byte(v)).AppendTo(b)
	case IPv6Addr:
		return netip.AddrFrom16([16]byte(v)).AppendTo(b)
	case EtherAddr:
		for i, x := range v {
			if i > 0 {
				b = append(b, ':')
			}
			b = hex.AppendEncode(b, []byte{x})
		}
		return b
	case IfName:
		return appendQuoted(b, string(bytes.TrimRight(v, "\x00")))
	}
	n := number(t, v)
	if t == Mark {
		var be [4]byte
		binary.BigEndian.PutUint32(be[:], n)
		return hex.AppendEncode(append(b, "0x"...), be[:])
	}
	if bs := t.bits(); bs != nil {
		return appendMask(b, bs, n, ",")
	}
	if words {
		if w, ok := t.words().word[n]; ok {
			return append(b, w...)
		}
	}
	return strconv.AppendUint(b, uint64(n), 10)
}

// appendMask prints a mask's words, or the number where a bit has none.
func appendMask(b []byte, bs bitWords, n uint32, sep string) []byte {
	start, rest := len(b), n
	for _, x := range bs {
		if n&x.bit != 0 {
			if len(b) > start {
				b = append(b, sep...)
			}
			b, rest = append(b, x.word...), rest&^x.bit
		}
	}
	if rest != 0 || n == 0 {
		return strconv.AppendUint(append(b[:start], "0x"...), uint64(n), 16)
	}
	return b
}

// number reads a value of up to four bytes.
func number(t Type, v []byte) uint32 {
	switch {
	case len(v) == 1:
		return uint32(v[0])
	case len(v) == 2 && t.hostOrder():
		return uint32(binary.NativeEndian.Uint16(v))
	case len(v) == 2:
		return uint32(binary.BigEndian.Uint16(v))
	case t.hostOrder():
		return binary.NativeEndian.Uint32(v)
	}
	return binary.BigEndian.Uint32(v)
}

// prefixLen says whether an inclusive range is a prefix, and of what length.
func prefixLen(lo, hi []byte) (int, bool) {
	n, i := 0, 0
	for i < len(lo) && lo[i] == hi[i] {
		n, i = n+8, i+1
	}
	if i == len(lo) {
		return n, true
	}
	k := bits.LeadingZeros8(lo[i] ^ hi[i])
	host := byte(0xff) >> k
	if lo[i]&host != 0 || hi[i]&host != host {
		return 0, false
	}
	for i++; i < len(lo); i++ {
		if lo[i] != 0 || hi[i] != 0xff {
			return 0, false
		}
	}
	return n + k, true
}

func appendQuoted(b []byte, s string) []byte {
	return append(append(append(b, '"'), s...), '"')
}

// appendTime prints a duration as nft does: "1h30m", "2s", "500ms". nft knows
// nothing below a millisecond; Check refuses such a time.
func appendTime(b []byte, d time.Duration) []byte {
	if d < 0 || d%time.Millisecond != 0 {
		return append(append(b, "!bad-time-"...), d.String()...)
	}
	if d == 0 {
		return append(b, "0s"...)
	}
	for _, u := range timeUnits {
		if n := d / u.d; n > 0 {
			b = append(strconv.AppendInt(b, int64(n), 10), u.word...)
			d -= n * u.d
		}
	}
	return b
}

var timeUnits = []struct {
	d    time.Duration
	word string
}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}}
