package eval

import (
	"bytes"
	"slices"
	"sort"

	"weir/nft"
)

// table is a set or map, ready for lookups.
type table struct {
	set    nft.Set
	exact  map[string]int // element index by key
	sorted []int          // plain intervals, by first key
	ranges []int          // elements of concatenated ranges
	widths []int          // of the fields, padded
}

func newTable(s nft.Set) *table {
	t := &table{set: s, exact: map[string]int{}}
	for _, k := range s.Key {
		t.widths = append(t.widths, nft.KeyLen([]nft.Type{k}))
	}
	if len(s.Key) > 1 {
		for i, w := range t.widths {
			t.widths[i] = (w + 3) &^ 3
		}
	}
	for i, e := range s.Elements {
		t.index(i, e)
	}
	slices.SortFunc(t.sorted, func(a, b int) int { return bytes.Compare(s.Elements[a].Key, s.Elements[b].Key) })
	return t
}

func (t *table) index(i int, e nft.Element) {
	switch {
	case e.KeyEnd == nil || bytes.Equal(e.Key, e.KeyEnd):
		t.exact[string(e.Key)] = i
	case len(t.widths) == 1:
		t.sorted = append(t.sorted, i)
	default:
		t.ranges = append(t.ranges, i)
	}
}

// find returns the element that a key is in.
func (t *table) find(key []byte) (*nft.Element, bool) {
	if i, ok := t.exact[string(key)]; ok {
		return &t.set.Elements[i], true
	}
	n := sort.Search(len(t.sorted), func(i int) bool {
		return bytes.Compare(t.set.Elements[t.sorted[i]].Key, key) > 0
	})
	if n > 0 {
		e := &t.set.Elements[t.sorted[n-1]]
		if bytes.Compare(key, e.KeyEnd) <= 0 {
			return e, true
		}
	}
	for _, i := range t.ranges {
		if e := &t.set.Elements[i]; t.within(key, e) {
			return e, true
		}
	}
	return nil, false
}

// within compares field by field: a range of a concatenation is a box.
func (t *table) within(key []byte, e *nft.Element) bool {
	at := 0
	for _, w := range t.widths {
		k := key[at : at+w]
		if bytes.Compare(k, e.Key[at:at+w]) < 0 || bytes.Compare(k, e.KeyEnd[at:at+w]) > 0 {
			return false
		}
		at += w
	}
	return true
}
