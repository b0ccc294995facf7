package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/google/nftables/expr"

	"weir/nft"
)

func hostU32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// match compares fields with values, a range or a set.
func (r *ruleWriter) match(m nft.Match) error {
	if (m.Set == "") == (len(m.Values) == 0) || len(m.Fields) == 0 {
		return errors.New("a match needs fields and either values or a set")
	}
	types, err := r.load(m.Fields)
	if err != nil {
		return err
	}
	eq, neq := expr.CmpOpEq, expr.CmpOpNeq
	if m.Not {
		eq, neq = neq, eq
	}
	if m.Set != "" {
		r.put(&expr.Lookup{SourceRegister: 1, SetName: m.Set, Invert: m.Not})
		return nil
	}
	v := m.Values[0]
	if len(m.Fields) == 1 {
		switch {
		case types[0] == ctBits:
			// ct state established,related: state & bits != 0
			if len(m.Values) != 1 || len(v.Lo) != 4 {
				return fmt.Errorf("%s takes one mask of 4 bytes", m.Fields[0])
			}
			r.put(&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: v.Lo, Xor: make([]byte, 4)},
				&expr.Cmp{Op: neq, Register: 1, Data: make([]byte, 4)})
			return nil
		case m.Mask != nil:
			if len(m.Values) != 1 || len(m.Mask) != len(v.Lo) {
				return fmt.Errorf("%s with a mask takes one value as wide as the mask", m.Fields[0])
			}
			r.put(&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: uint32(len(m.Mask)), Mask: m.Mask, Xor: make([]byte, len(m.Mask))},
				&expr.Cmp{Op: eq, Register: 1, Data: v.Lo})
			return nil
		case len(m.Values) == 1:
			if !m.Not {
				r.known[m.Fields[0]] = true
			}
			return r.compare(m.Fields[0], types[0], v, m.Not)
		}
	}
	return r.anonymous(types, m.Values, m.Not)
}

// compare matches one field with one value, prefix or range.
func (r *ruleWriter) compare(f nft.Field, t nft.Type, v nft.Value, not bool) error {
	k := keyTypes[t]
	if len(v.Lo) != k.size || v.Hi != nil && len(v.Hi) != k.size {
		return fmt.Errorf("%s takes a value of %d bytes", f, k.size)
	}
	op := expr.CmpOpEq
	if not {
		op = expr.CmpOpNeq
	}
	if v.Hi == nil || bytes.Equal(v.Lo, v.Hi) {
		r.put(&expr.Cmp{Op: op, Register: 1, Data: v.Lo})
		return nil
	}
	if k.host && k.size > 1 {
		return fmt.Errorf("%s takes no ranges", f)
	}
	if mask, ok := prefixMask(v.Lo, v.Hi); ok && k.size >= 4 {
		r.put(&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: uint32(k.size), Mask: mask, Xor: make([]byte, k.size)},
			&expr.Cmp{Op: op, Register: 1, Data: v.Lo})
		return nil
	}
	if not {
		r.put(&expr.Range{Op: expr.CmpOpNeq, Register: 1, FromData: v.Lo, ToData: v.Hi})
		return nil
	}
	r.put(&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: v.Lo}, &expr.Cmp{Op: expr.CmpOpLte, Register: 1, Data: v.Hi})
	return nil
}

// prefixMask returns the mask of a range that is a prefix.
func prefixMask(lo, hi []byte) ([]byte, bool) {
	mask := make([]byte, len(lo))
	host := false
	for i := range lo {
		x := lo[i] ^ hi[i]
		if lo[i]&x != 0 || host && x != 0xff {
			return nil, false
		}
		n := bits.Len8(x)
		if x != byte(1<<n-1) {
			return nil, false
		}
		mask[i] = ^x
		host = host || x != 0
	}
	return mask, true
}

// anonymous matches the key in the registers with a list of values:
// FIELD { a, b, c-d }
func (r *ruleWriter) anonymous(types []nft.Type, values []nft.Value, not bool) error {
	s := nft.Set{Name: "__set%d", Key: types}
	for _, v := range values {
		e := nft.Element{Key: v.Lo}
		if v.Hi != nil && !bytes.Equal(v.Lo, v.Hi) {
			e.KeyEnd, s.Interval = v.Hi, true
		}
		s.Elements = append(s.Elements, e)
	}
	w, err := newSet(s)
	if err != nil {
		return err
	}
	r.b.setIDs++
	w.anonymous, w.id = true, r.b.setIDs
	elems, err := w.elements()
	if err != nil {
		return err
	}
	r.sets = append(r.sets, w)
	r.b.addSet(r.t, &w)
	for len(elems.list) > 0 {
		elems = r.b.elementMessage(r.t, &w, newElem, create, elems)
	}
	r.put(&expr.Lookup{SourceRegister: 1, SetName: w.Name, SetID: w.id, Invert: not})
	return nil
}
