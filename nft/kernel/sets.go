package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"weir/nft"
)

// table is what every message of this package is about.
type table string

const (
	ours  table = nft.TableName
	probe table = "weir_probe"
)

// set is nft.Set as it is written: with its key's layout, and an id when it is
// anonymous.
type set struct {
	nft.Set
	layout
	anonymous bool
	id        uint32
}

func newSet(s nft.Set) (set, error) {
	l, err := keyLayout(s.Key)
	if err != nil {
		return set{}, fmt.Errorf("cannot write set %s: %w", s.Name, err)
	}
	switch s.Data {
	case "", nft.Mark, nft.VerdictType:
	default:
		return set{}, fmt.Errorf("cannot write map %s: no maps to %q", s.Name, s.Data)
	}
	return set{Set: s, layout: l}, nil
}

// concat says whether the kernel takes a range as key and key end.
func (s *set) concat() bool { return len(s.fields) > 1 }

func (s *set) flags() uint32 {
	var f uint32
	for _, x := range []struct {
		on  bool
		bit uint32
	}{
		{s.anonymous, unix.NFT_SET_ANONYMOUS | unix.NFT_SET_CONSTANT},
		{s.Interval, unix.NFT_SET_INTERVAL},
		{s.Data != "", unix.NFT_SET_MAP},
		{s.HasTimeout, unix.NFT_SET_TIMEOUT},
		{s.Dynamic, unix.NFT_SET_EVAL},
		{s.Interval && s.concat(), flagConcat},
	} {
		if x.on {
			f |= x.bit
		}
	}
	return f
}

// addSet writes: add set inet weir NAME { type … ; flags … ; size … }
func (b *batch) addSet(t table, s *set) {
	b.add(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, func(w *wire) {
		w.str(unix.NFTA_SET_TABLE, string(t))
		w.str(unix.NFTA_SET_NAME, s.Name)
		w.u32(unix.NFTA_SET_FLAGS, s.flags())
		w.u32(unix.NFTA_SET_KEY_TYPE, s.layout.id)
		w.u32(unix.NFTA_SET_KEY_LEN, uint32(s.size))
		w.u32(unix.NFTA_SET_ID, s.id)
		switch s.Data {
		case nft.VerdictType:
			w.u32(unix.NFTA_SET_DATA_TYPE, dataVerdict)
			w.u32(unix.NFTA_SET_DATA_LEN, 0)
		case nft.Mark:
			w.u32(unix.NFTA_SET_DATA_TYPE, keyTypes[nft.Mark].id)
			w.u32(unix.NFTA_SET_DATA_LEN, 4)
		}
		if s.DefaultTimeout > 0 {
			w.u64(unix.NFTA_SET_TIMEOUT, millis(s.DefaultTimeout))
		}
		size := s.Size
		if s.anonymous {
			size = uint32(len(s.Elements))
		}
		ranges := s.Interval && s.concat()
		if size > 0 || ranges {
			desc := w.nest(unix.NFTA_SET_DESC)
			if size > 0 {
				w.u32(unix.NFTA_SET_DESC_SIZE, size)
			}
			if ranges {
				list := w.nest(attrDescConcat)
				for _, n := range s.fields {
					f := w.nest(unix.NFTA_LIST_ELEM)
					w.u32(attrFieldLen, uint32(n))
					w.unnest(f)
				}
				w.unnest(list)
			}
			w.unnest(desc)
		}
		// For nft's printing only: 0 key byte order, 1 data byte order (1 host,
		// 2 network).
		order := uint32(2)
		if s.host {
			order = 1
		}
		udata := []byte{0, 4, byte(order), 0, 0, 0}
		if s.Data == nft.Mark {
			udata = append(udata, 1, 4, 1, 0, 0, 0)
		}
		w.bytes(unix.NFTA_SET_USERDATA, udata)
		if s.Counter {
			e := w.nest(attrSetExpr)
			w.str(unix.NFTA_EXPR_NAME, "counter")
			w.unnest(w.nest(unix.NFTA_EXPR_DATA))
			w.unnest(e)
		}
	})
}

func millis(d time.Duration) uint64 { return uint64(max(1, d.Milliseconds())) }

// deleteSet writes: delete set inet weir NAME
func (b *batch) deleteSet(t table, name string) {
	b.add(unix.NFT_MSG_DELSET, 0, func(w *wire) {
		w.str(unix.NFTA_SET_TABLE, string(t))
		w.str(unix.NFTA_SET_NAME, name)
	})
}

// flushSet writes: flush set inet weir NAME
func (b *batch) flushSet(t table, name string) {
	b.add(unix.NFT_MSG_DELSETELEM, 0, func(w *wire) {
		w.str(unix.NFTA_SET_ELEM_LIST_TABLE, string(t))
		w.str(unix.NFTA_SET_ELEM_LIST_SET, name)
	})
}

// listRoom keeps the list of elements in one message below the 16 bits of an
// attribute's length.
const listRoom = 60 << 10

// elems are elements as the kernel takes them: end marks the exclusive ends of
// a single field's ranges; nil where there are none.
type elems struct {
	list []nft.Element
	end  []bool
}

func (e elems) rest(n int) elems {
	e.list = e.list[n:]
	if e.end != nil {
		e.end = e.end[n:]
	}
	return e
}

// elementMessage writes as many of the elements as one message takes and
// returns the rest.
//
//	add element inet weir NAME { … }   or   delete element inet weir NAME { … }
func (b *batch) elementMessage(t table, s *set, msg, flags uint16, e elems) elems {
	b.add(msg, flags, func(w *wire) {
		w.str(unix.NFTA_SET_ELEM_LIST_TABLE, string(t))
		w.str(unix.NFTA_SET_ELEM_LIST_SET, s.Name)
		if s.anonymous {
			w.u32(unix.NFTA_SET_ELEM_LIST_SET_ID, s.id)
		}
		ranges := s.Interval && s.concat()
		list := w.nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
		n := 0
		for n < len(e.list) && len(*w)-list < listRoom {
			w.element(&e.list[n], e.end != nil && e.end[n], ranges)
			n++
		}
		e = e.rest(n)
		w.unnest(list)
	})
	return e
}

// put writes all of the elements, in as many messages as they need.
func (b *batch) put(t table, s *set, msg, flags uint16, list ...nft.Element) {
	for e := (elems{list: list}); len(e.list) > 0; {
		e = b.elementMessage(t, s, msg, flags, e)
	}
}

func (w *wire) element(e *nft.Element, end, ranges bool) {
	off := w.nest(unix.NFTA_LIST_ELEM)
	if end {
		w.u32(unix.NFTA_SET_ELEM_FLAGS, elemIntervalEnd)
	}
	w.value(unix.NFTA_SET_ELEM_KEY, e.Key)
	switch {
	case !ranges:
	case e.KeyEnd != nil:
		w.value(attrKeyEnd, e.KeyEnd)
	default:
		w.value(attrKeyEnd, e.Key)
	}
	switch {
	case end:
	case e.Verdict != nil:
		d := w.nest(unix.NFTA_SET_ELEM_DATA)
		w.verdict(e.Verdict)
		w.unnest(d)
	case e.Mark != 0:
		w.value(unix.NFTA_SET_ELEM_DATA, hostU32(e.Mark))
	}
	if e.Timeout > 0 {
		w.u64(unix.NFTA_SET_ELEM_TIMEOUT, millis(e.Timeout))
	}
	if e.Comment != "" {
		w.bytes(unix.NFTA_SET_ELEM_USERDATA, comment(e.Comment))
	}
	w.unnest(off)
}

// comment is a comment as user data: type 0, length, text with a zero byte.
func comment(s string) []byte {
	return append(append([]byte{0, byte(len(s) + 1)}, s...), 0)
}

// value writes a nested attribute with one plain value.
func (w *wire) value(typ uint16, v []byte) {
	w.head(typ|nested, 4+(len(v)+3)&^3)
	w.bytes(unix.NFTA_DATA_VALUE, v)
}

func (w *wire) verdict(v *nft.Verdict) {
	off := w.nest(unix.NFTA_DATA_VERDICT)
	w.u32(unix.NFTA_VERDICT_CODE, uint32(verdictCodes[v.Kind]))
	if v.Chain != "" {
		w.str(unix.NFTA_VERDICT_CHAIN, v.Chain)
	}
	w.unnest(off)
}

// elements checks a set's elements and turns them into the kernel's. Ranges of
// a single field become a start and an exclusive end each, sorted, with an end
// at zero in front as nft writes it; everything else stays as it is.
func (s *set) elements() (elems, error) {
	for i := range s.Elements {
		if err := s.check(&s.Elements[i]); err != nil {
			return elems{}, fmt.Errorf("cannot write an element of %s: %w", s.Name, err)
		}
	}
	if s.Interval && !s.concat() {
		return s.intervals(), nil
	}
	return elems{list: s.Elements}, nil
}

func (s *set) check(e *nft.Element) error {
	if len(e.Key) != s.size || e.KeyEnd != nil && len(e.KeyEnd) != s.size {
		return fmt.Errorf("its key has %d bytes instead of %d", len(e.Key), s.size)
	}
	if e.KeyEnd != nil && !s.Interval {
		return errors.New("it is a range in a set without intervals")
	}
	switch s.Data {
	case nft.VerdictType:
		if e.Verdict == nil {
			return errors.New("it has no verdict")
		}
		if _, ok := verdictCodes[e.Verdict.Kind]; !ok {
			return fmt.Errorf("there is no verdict %q", e.Verdict.Kind)
		}
	default:
		if e.Verdict != nil {
			return errors.New("it has a verdict")
		}
		if (e.Mark != 0) != (s.Data == nft.Mark) {
			return errors.New("it has a mark where none belongs, or none where one does")
		}
	}
	if len(e.Comment) > 127 {
		return errors.New("its comment is longer than 127 bytes")
	}
	return nil
}

func (s *set) intervals() elems {
	type point struct {
		nft.Element
		end bool
	}
	points := make([]point, 0, 2*len(s.Elements)+1)
	zero := true
	for _, e := range s.Elements {
		last := e.KeyEnd
		if last == nil {
			last = e.Key
		}
		points = append(points, point{Element: e})
		if next, ok := successor(last); ok {
			points = append(points, point{nft.Element{Key: next}, true})
		}
		zero = zero && !allZero(e.Key)
	}
	if zero && len(points) > 0 {
		points = append(points, point{nft.Element{Key: make([]byte, s.size)}, true})
	}
	slices.SortStableFunc(points, func(a, b point) int {
		if c := bytes.Compare(a.Key, b.Key); c != 0 || a.end == b.end {
			return c
		}
		if a.end {
			return -1
		}
		return 1
	})
	var out elems
	for _, p := range points {
		out.list, out.end = append(out.list, p.Element), append(out.end, p.end)
	}
	return out
}

// successor returns the key after k, and false after the last.
func successor(k []byte) ([]byte, bool) {
	n := slices.Clone(k)
	for i := len(n) - 1; i >= 0; i-- {
		n[i]++
		if n[i] != 0 {
			return n, true
		}
	}
	return nil, false
}

func allZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
