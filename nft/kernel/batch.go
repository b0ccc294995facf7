package kernel

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// batch is one transaction as bytes. Its messages are numbered from 1; the
// connection renumbers them when it sends.
type batch struct {
	wire
	seq    uint32
	last   int // offset of the last message
	gen    int // offset of the generation id's value, 0: not checked
	setIDs uint32
}

// newBatch begins a transaction; checked reserves room for the generation.
func newBatch(checked bool) *batch {
	b := &batch{}
	off := b.begin(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	if checked {
		b.u32(unix.NFNL_BATCH_GENID, 0)
		b.gen = len(b.wire) - 4
	}
	b.close(off)
	return b
}

func (b *batch) close(off int) {
	b.end(off)
	b.seq++
	binary.NativeEndian.PutUint32(b.wire[off+8:], b.seq)
	b.last = off
}

// add writes one message of the nftables subsystem.
func (b *batch) add(msg, flags uint16, body func(w *wire)) {
	off := b.begin(subsys|msg, flags, familyInet, 0)
	body(&b.wire)
	b.close(off)
}

func (b *batch) empty() bool { return b.seq == 1 }

// finish asks for an acknowledgement of the last message only and ends the
// transaction. Without the end the kernel checks everything and keeps nothing.
func (b *batch) finish(commit bool) []byte {
	flags := binary.NativeEndian.Uint16(b.wire[b.last+6:])
	binary.NativeEndian.PutUint16(b.wire[b.last+6:], flags|unix.NLM_F_ACK)
	if commit {
		off := b.begin(unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
		b.end(off)
		b.seq++
		binary.NativeEndian.PutUint32(b.wire[off+8:], b.seq)
	}
	return b.wire
}

func (b *batch) setGen(gen uint32) {
	binary.BigEndian.PutUint32(b.wire[b.gen:], gen)
}

// describe names what one message of the nftables subsystem does, for errors.
func describe(h header, payload []byte) string {
	if len(payload) < 4 {
		return "a message"
	}
	p := payload[4:]
	name := text(attr(p, 2))
	switch h.typ &^ subsys {
	case unix.NFT_MSG_NEWTABLE:
		return "add table"
	case unix.NFT_MSG_DELTABLE:
		return "delete table"
	case unix.NFT_MSG_NEWCHAIN:
		return "add chain " + text(attr(p, unix.NFTA_CHAIN_NAME))
	case unix.NFT_MSG_DELCHAIN:
		return "delete chain " + text(attr(p, unix.NFTA_CHAIN_NAME))
	case unix.NFT_MSG_NEWRULE:
		return "add a rule to chain " + name
	case unix.NFT_MSG_DELRULE:
		return "delete rules of chain " + name
	case unix.NFT_MSG_NEWSET:
		return "add set " + name
	case unix.NFT_MSG_DELSET:
		return "delete set " + name
	case unix.NFT_MSG_NEWSETELEM:
		return "add elements to " + name
	case unix.NFT_MSG_DELSETELEM:
		return deletesFrom(name)
	case unix.NFT_MSG_NEWOBJ:
		return "add counter " + name
	case unix.NFT_MSG_DELOBJ:
		return "delete counter " + name
	}
	return fmt.Sprintf("send message %#x", h.typ)
}

func deletesFrom(set string) string { return "delete elements of " + set }

// reset empties an unchecked batch and keeps its memory.
func (b *batch) reset() {
	*b = batch{wire: b.wire[:0]}
	off := b.begin(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	b.close(off)
}
