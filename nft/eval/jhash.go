package eval

import (
	"encoding/binary"
	"math/bits"
)

// jhash is the kernel's include/linux/jhash.h (Bob Jenkins, lookup3), on the
// machine's byte order.
func jhash(k []byte, seed uint32) uint32 {
	a := 0xdeadbeef + uint32(len(k)) + seed
	b, c := a, a
	word := func(i int) uint32 { return binary.NativeEndian.Uint32(k[i:]) }
	rol := bits.RotateLeft32
	for len(k) > 12 {
		a += word(0)
		b += word(4)
		c += word(8)
		a -= c
		a ^= rol(c, 4)
		c += b
		b -= a
		b ^= rol(a, 6)
		a += c
		c -= b
		c ^= rol(b, 8)
		b += a
		a -= c
		a ^= rol(c, 16)
		c += b
		b -= a
		b ^= rol(a, 19)
		a += c
		c -= b
		c ^= rol(b, 4)
		b += a
		k = k[12:]
	}
	if len(k) == 0 {
		return c
	}
	var tail [12]byte
	copy(tail[:], k)
	at := func(i int) uint32 { return binary.LittleEndian.Uint32(tail[i:]) }
	a += at(0)
	b += at(4)
	c += at(8)
	c ^= b
	c -= rol(b, 14)
	a ^= c
	a -= rol(c, 11)
	b ^= a
	b -= rol(a, 25)
	c ^= b
	c -= rol(b, 16)
	a ^= c
	a -= rol(c, 4)
	b ^= a
	b -= rol(a, 14)
	c ^= b
	c -= rol(b, 24)
	return c
}

// scaled maps a hash to 0 … mod−1 as the kernel's reciprocal_scale does.
func scaled(h, mod uint32) uint32 { return uint32(uint64(h) * uint64(mod) >> 32) }
