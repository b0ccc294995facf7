package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// bbolt has no checksum over what it keeps. A flipped bit in evidence would be
// a flow that never was, and might become a rule: each value carries the
// CRC-32C of its key and text before the text.

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(key, text []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, text)
}

// seal returns a value for a key.
func seal(key, text []byte) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(text)), sum(key, text)), text...)
}

// unseal returns a value's text, which lies in the value, or ErrDamaged.
func unseal(key, value []byte) ([]byte, error) {
	if len(value) < 4 || binary.BigEndian.Uint32(value) != sum(key, value[4:]) {
		return nil, fmt.Errorf("%w: what is kept under %x is not what was written", ErrDamaged, key)
	}
	return value[4:], nil
}
