// Package audit is the arithmetic of a tamper-evident log: the Merkle tree of
// RFC 6962 over leaves that are lines of text, checkpoints of it that a machine
// signs, and the comparison that names the first line which is not what it was.
//
// It reads and writes nothing; package store keeps the lines. Whoever holds a
// signed checkpoint, or a signed approval, which names the log's size and root
// too, can tell later that no line before it was changed, dropped or moved.
package audit
