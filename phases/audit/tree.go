package audit

import (
	"encoding/hex"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Tree is the Merkle tree over a log's leaves (RFC 6962, section 2.1): a leaf's
// hash is SHA-256 over a byte 0 and the leaf, a node's over a byte 1 and its two
// children. The zero value is the tree of an empty log. It takes 64 bytes of
// memory for each leaf. It is not safe for concurrent use.
type Tree struct {
	size   int64
	hashes []tlog.Hash // in tlog's storage order
}

// Append adds a leaf.
func (t *Tree) Append(leaf []byte) {
	more, err := tlog.StoredHashes(t.size, leaf, t)
	if err != nil {
		panic("audit: " + err.Error()) // ReadHashes below does not fail for what is stored
	}
	t.hashes = append(t.hashes, more...)
	t.size++
}

// Size is the number of leaves.
func (t *Tree) Size() uint64 { return uint64(t.size) }

// Root is the tree's root: "sha256:" and 64 hex digits.
func (t *Tree) Root() string {
	root, err := t.RootAt(t.Size())
	if err != nil {
		panic("audit: " + err.Error())
	}
	return root
}

// RootAt is the root that the log had when it had that many leaves.
func (t *Tree) RootAt(size uint64) (string, error) {
	if size > t.Size() {
		return "", fmt.Errorf("the log has %d records, not %d", t.size, size)
	}
	h, err := tlog.TreeHash(int64(size), t)
	return text(h), err
}

// ReadHashes implements tlog.HashReader.
func (t *Tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, n := range indexes {
		if n < 0 || n >= int64(len(t.hashes)) {
			return nil, fmt.Errorf("no hash %d", n)
		}
		out[i] = t.hashes[n]
	}
	return out, nil
}

// Leaf is the hash of one leaf, as text.
func Leaf(leaf []byte) string { return text(tlog.RecordHash(leaf)) }

func text(h tlog.Hash) string { return "sha256:" + hex.EncodeToString(h[:]) }
