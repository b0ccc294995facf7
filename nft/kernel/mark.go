package kernel

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"

	"weir/nft"
)

// The marker map's keys are interface names: at most 15 bytes.

func ifname(s string) []byte {
	b := make([]byte, 16)
	copy(b, s)
	return b
}

func hashed(prefix, name string) string {
	h := sha256.Sum256([]byte(name))
	return prefix + hex.EncodeToString(h[:6])
}

// setMark is the key under which the marker lists a loaded set: its name, or
// "s" and twelve hex digits of the name's SHA-256 where it is too long.
func setMark(name string) string {
	if len(name) <= 15 {
		return name
	}
	return hashed("s", name)
}

// chainMark is the key of a skeleton chain's checksum.
func chainMark(name string) string { return hashed("k", name) }

// markSet is the shape of the marker map and of the transaction map.
func markSet(name string) *set {
	l, _ := keyLayout([]nft.Type{nft.IfName})
	return &set{Set: nft.Set{Name: name, Key: []nft.Type{nft.IfName}, Data: nft.Mark}, layout: l}
}

func markElement(key string, v uint32) nft.Element {
	return nft.Element{Key: ifname(key), Mark: v}
}

// setTx makes id the last transaction.
//
//	flush map inet weir w_tx ; add element inet weir w_tx { ID : KIND }
func (b *batch) setTx(id string, kind nft.TxKind) {
	b.flushSet(ours, nft.TxMap)
	b.put(ours, markSet(nft.TxMap), newElem, create, markElement(id, kind.Number()))
}

// bootKey is the marker's entry that says in which boot the table was made: a
// distribution that saves the ruleset at shutdown and loads it at boot brings
// back a table that this boot did not make.
const bootKey = "boot"

// bootMark is what stands under bootKey: the CRC-32 of the boot id, zero never.
func bootMark(id string) uint32 { return max(1, crc32.ChecksumIEEE([]byte(id))) }

// stale says whether the marker was written in another boot. A table without
// that entry is taken for one of this boot.
func stale(marks map[string]uint32, boot string) bool {
	v, ok := marks[bootKey]
	return ok && v != bootMark(boot)
}

func checkTx(id string) error {
	if id == "" || len(id) > 15 {
		return fmt.Errorf("cannot use %q as a transaction id: want 1 to 15 bytes", id)
	}
	return nil
}

// checksum of a skeleton chain: CRC-32 of its messages, zero never.
func checksum(c nft.Chain) (uint32, error) {
	b := &batch{}
	if err := b.addChain(ours, c); err != nil {
		return 0, err
	}
	for _, r := range c.Rules {
		if err := b.addRule(ours, c.Name, r); err != nil {
			return 0, err
		}
	}
	return max(1, crc32.ChecksumIEEE(b.wire)), nil
}
