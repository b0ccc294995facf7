package kernel

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"slices"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"weir/nft"
)

// A rule is compared by its expressions in one form, whether this program wrote
// them or the kernel lists them. The kernel adds attributes that it fills with
// their defaults, leaves out those that only loading needs, and counts; all of
// that is left out here.

// digest is the first half of a SHA-256, as 16 hex digits in text.
type digest [8]byte

func (d digest) String() string { return fmt.Sprintf("%x", d[:]) }

func digestOf(h hash.Hash) digest { return digest(h.Sum(nil)[:8]) }

// texts are the attributes that hold a name or a text, by expression.
var texts = map[string][]uint16{
	"lookup": {unix.NFTA_LOOKUP_SET}, "dynset": {unix.NFTA_DYNSET_SET_NAME}, "objref": {unix.NFTA_OBJREF_IMM_NAME},
	"log": {unix.NFTA_LOG_PREFIX},
}

// datas are the attributes that hold a value or a verdict, by expression.
var datas = map[string][]uint16{
	"immediate": {unix.NFTA_IMMEDIATE_DATA}, "cmp": {unix.NFTA_CMP_DATA},
	"bitwise": {unix.NFTA_BITWISE_MASK, unix.NFTA_BITWISE_XOR}, "range": {unix.NFTA_RANGE_FROM_DATA, unix.NFTA_RANGE_TO_DATA},
}

// onlyLoading are attributes that the kernel does not list again.
var onlyLoading = map[string][]uint16{"lookup": {unix.NFTA_LOOKUP_SET_ID}, "dynset": {unix.NFTA_DYNSET_SET_ID}}

// canonical writes a list of expressions. anonymous gives the digest of the
// anonymous set that a lookup's data name, nil for a named one.
func canonical(h hash.Hash, list []byte, anonymous func(lookup []byte) []byte) {
	for _, e := range attrs(list) {
		kind, data := text(attr(e, unix.NFTA_EXPR_NAME)), attr(e, unix.NFTA_EXPR_DATA)
		field(h, []byte(kind))
		if kind == "counter" {
			continue
		}
		type one struct {
			typ   uint16
			value []byte
		}
		var all []one
		var inner [][]byte // of a dynset
		for typ, v := range attrs(data) {
			switch {
			case slices.Contains(onlyLoading[kind], typ):
				continue
			case kind == "lookup" && typ == unix.NFTA_LOOKUP_SET:
				if sum := anonymous(data); sum != nil {
					v = sum
				} else {
					v = []byte(text(v))
				}
			case slices.Contains(texts[kind], typ):
				v = []byte(text(v))
			case slices.Contains(datas[kind], typ):
				v = dataOf(v)
			case kind == "dynset" && typ == unix.NFTA_DYNSET_EXPR:
				inner = append(inner, v)
				continue
			case kind == "dynset" && typ == attrDynsetExprs:
				for _, x := range attrs(v) {
					inner = append(inner, x)
				}
				continue
			case len(v) <= 8 && allZero(v):
				continue // the default
			}
			all = append(all, one{typ, v})
		}
		if kind == "redir" && attr(data, unix.NFTA_REDIR_REG_PROTO_MAX) == nil && attr(data, unix.NFTA_REDIR_REG_PROTO_MIN) != nil {
			all = append(all, one{unix.NFTA_REDIR_REG_PROTO_MAX, attr(data, unix.NFTA_REDIR_REG_PROTO_MIN)})
		}
		slices.SortStableFunc(all, func(a, b one) int { return int(a.typ) - int(b.typ) })
		for _, a := range all {
			h.Write(binary.BigEndian.AppendUint16(nil, a.typ))
			field(h, a.value)
		}
		for _, x := range inner {
			var w wire
			w.bytes(unix.NFTA_LIST_ELEM|nested, x)
			canonical(h, w, anonymous)
		}
		h.Write([]byte{0xff, 0xff})
	}
}

const attrDynsetExprs = 10 // NFTA_DYNSET_EXPRESSIONS

// dataOf is a value, or a verdict with its chain.
func dataOf(v []byte) []byte {
	if d := attr(v, unix.NFTA_DATA_VERDICT); d != nil {
		return append(slices.Clone(attr(d, unix.NFTA_VERDICT_CODE)), text(attr(d, unix.NFTA_VERDICT_CHAIN))...)
	}
	return attr(v, unix.NFTA_DATA_VALUE)
}

// ruleDigest is of a rule as it would be written.
func ruleDigest(r nft.Rule) (digest, error) {
	w := &ruleWriter{b: newBatch(false), t: ours, known: map[nft.Field]bool{}}
	for _, s := range r.Stmts {
		if err := w.stmt(s); err != nil {
			return digest{}, err
		}
	}
	var list wire
	for _, e := range w.exprs {
		data, err := expr.Marshal(familyInet, e)
		if err != nil {
			return digest{}, err
		}
		list.bytes(unix.NFTA_LIST_ELEM|nested, data)
	}
	sums := make([][]byte, len(w.sets))
	for i := range w.sets {
		sum, _, err := wantedSum(&w.sets[i])
		if err != nil {
			return digest{}, err
		}
		sums[i] = sum
	}
	h := sha256.New()
	canonical(h, list, func(lookup []byte) []byte {
		if id := be32(attr(lookup, unix.NFTA_LOOKUP_SET_ID)); id > 0 && int(id) <= len(sums) {
			return sums[id-1]
		}
		return nil
	})
	return digestOf(h), nil
}

// elementSum adds up digests of elements, so that their order does not matter.
type elementSum struct {
	h      hash.Hash
	hi, lo uint64
	n      int
}

func newElementSum() *elementSum { return &elementSum{h: sha256.New()} }

func (s *elementSum) add(key, keyEnd []byte, end bool, v nft.Verdict, mark uint32) {
	s.h.Reset()
	field(s.h, key)
	field(s.h, keyEnd)
	field(s.h, []byte(v.Kind))
	field(s.h, []byte(v.Chain))
	s.h.Write(binary.BigEndian.AppendUint32(nil, mark))
	if end {
		s.h.Write([]byte{1})
	}
	var sum [sha256.Size]byte
	s.h.Sum(sum[:0])
	s.hi += binary.BigEndian.Uint64(sum[0:])
	s.lo += binary.BigEndian.Uint64(sum[8:])
	s.n++
}

// of is the digest of a set with these elements.
func (s *elementSum) of(flags, key uint32) []byte {
	h := sha256.New()
	for _, v := range []uint32{flags, key} {
		h.Write(binary.BigEndian.AppendUint32(nil, v))
	}
	h.Write(binary.BigEndian.AppendUint64(nil, s.hi))
	h.Write(binary.BigEndian.AppendUint64(nil, s.lo))
	return h.Sum(nil)[:8]
}

// wantedSum is the digest of a set as it would be written, and how many
// elements the kernel then lists.
func wantedSum(s *set) ([]byte, int, error) {
	list, err := s.elements()
	if err != nil {
		return nil, 0, err
	}
	sum := newElementSum()
	for i := range list.list {
		e := &list.list[i]
		end := list.end != nil && list.end[i]
		keyEnd := e.KeyEnd
		if s.Interval && s.concat() {
			if keyEnd == nil {
				keyEnd = e.Key
			}
		} else {
			keyEnd = nil
		}
		var v nft.Verdict
		var mark uint32
		if !end {
			mark = e.Mark
			if e.Verdict != nil {
				v = *e.Verdict
			}
		}
		sum.add(e.Key, keyEnd, end, v, mark)
	}
	return sum.of(s.flags(), s.layout.id), sum.n, nil
}

// describeRule tells a rule that this program did not write, in the words of
// "nft --debug netlink".
func describeRule(list []byte, anonymous func(lookup []byte) []byte) string {
	var out []string
	for _, e := range attrs(list) {
		kind, d := text(attr(e, unix.NFTA_EXPR_NAME)), attr(e, unix.NFTA_EXPR_DATA)
		words := kind
		switch kind {
		case "immediate":
			if v := attr(attr(d, unix.NFTA_IMMEDIATE_DATA), unix.NFTA_DATA_VERDICT); v != nil {
				words = verdictKind(int32(be32(attr(v, unix.NFTA_VERDICT_CODE))))
				if c := text(attr(v, unix.NFTA_VERDICT_CHAIN)); c != "" {
					words += " " + c
				}
			} else {
				words = fmt.Sprintf("immediate 0x%x", attr(attr(d, unix.NFTA_IMMEDIATE_DATA), unix.NFTA_DATA_VALUE))
			}
		case "cmp":
			op := map[uint32]string{0: "==", 1: "!=", 2: "<", 3: "<=", 4: ">", 5: ">="}[be32(attr(d, unix.NFTA_CMP_OP))]
			words = fmt.Sprintf("%s 0x%x", op, attr(attr(d, unix.NFTA_CMP_DATA), unix.NFTA_DATA_VALUE))
		case "bitwise":
			words = fmt.Sprintf("& 0x%x", attr(attr(d, unix.NFTA_BITWISE_MASK), unix.NFTA_DATA_VALUE))
		case "payload":
			base := map[uint32]string{0: "link", 1: "network", 2: "transport"}[be32(attr(d, unix.NFTA_PAYLOAD_BASE))]
			words = fmt.Sprintf("%s header %d+%d", base, be32(attr(d, unix.NFTA_PAYLOAD_OFFSET)), be32(attr(d, unix.NFTA_PAYLOAD_LEN)))
		case "meta":
			words = metaWord(be32(attr(d, unix.NFTA_META_KEY)))
		case "ct":
			words = fmt.Sprintf("ct key %d", be32(attr(d, unix.NFTA_CT_KEY)))
		case "lookup":
			words = "@" + text(attr(d, unix.NFTA_LOOKUP_SET))
			if anonymous(d) != nil {
				words = "in a list"
			}
		case "objref":
			words = "counter name " + text(attr(d, unix.NFTA_OBJREF_IMM_NAME))
		case "log":
			words = fmt.Sprintf("log prefix %q", text(attr(d, unix.NFTA_LOG_PREFIX)))
		case "dynset":
			words = "add @" + text(attr(d, unix.NFTA_DYNSET_SET_NAME))
		}
		out = append(out, words)
	}
	return strings.Join(out, " ")
}

// metaWord names the keys that matter to a reader.
func metaWord(key uint32) string {
	names := map[uint32]string{unix.NFT_META_L4PROTO: "l4proto", unix.NFT_META_NFPROTO: "nfproto", unix.NFT_META_IIFNAME: "iifname",
		unix.NFT_META_OIFNAME: "oifname", unix.NFT_META_MARK: "mark", unix.NFT_META_SKUID: "skuid", unix.NFT_META_IIFTYPE: "iiftype"}
	if n, ok := names[key]; ok {
		return "meta " + n
	}
	return fmt.Sprintf("meta key %d", key)
}
