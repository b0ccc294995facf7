package plans

import "strconv"

// node is a YAML value with its place. Aliases, anchors, tags and merge keys
// never become one.
type node struct {
	kind      form
	line, col int
	text      string  // text: the value; number: as written
	plain     bool    // text without quotes
	num       int64   // number
	truth     bool    // boolean
	keys      []*node // mapping: the keys, as text nodes
	vals      []*node // mapping: the values; list: the items
	index     map[string]int
}

// form is what a node is; its text stands in messages.
type form string

const (
	nothing form = "nothing"
	text    form = "text"
	number  form = "a number"
	boolean form = "true or false"
	list    form = "a list"
	mapping form = "a map"
)

// get returns the value of a key, or nil.
func (n *node) get(key string) *node {
	if n == nil || n.kind != mapping {
		return nil
	}
	if i, ok := n.index[key]; ok {
		return n.vals[i]
	}
	return nil
}

// key returns the key's own node, for a mistake about the whole entry.
func (n *node) key(key string) *node {
	if n == nil || n.kind != mapping {
		return n
	}
	if i, ok := n.index[key]; ok {
		return n.keys[i]
	}
	return n
}

// at walks a JSON instance location.
func (n *node) at(path []string) *node {
	for _, p := range path {
		var next *node
		switch n.kind {
		case mapping:
			next = n.get(p)
		case list:
			if i, err := strconv.Atoi(p); err == nil && i >= 0 && i < len(n.vals) {
				next = n.vals[i]
			}
		}
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// value is the node as the schema check wants it.
func (n *node) value() any {
	switch n.kind {
	case text:
		return n.text
	case number:
		return n.num
	case boolean:
		return n.truth
	case list:
		out := make([]any, len(n.vals))
		for i, v := range n.vals {
			out[i] = v.value()
		}
		return out
	case mapping:
		out := make(map[string]any, len(n.vals))
		for k, i := range n.index {
			out[k] = n.vals[i].value()
		}
		return out
	}
	return nil
}
