package plans

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// show is the value as a person wrote it, shortened.
func (n *node) show() string {
	switch n.kind {
	case text, number:
		return n.text
	case boolean:
		return fmt.Sprint(n.truth)
	case nothing:
		return "nothing"
	}
	return string(n.kind)
}

var address = regexp.MustCompile(`^[0-9A-Fa-f]{0,4}(:[0-9A-Fa-f]{0,4}){1,8}`)

func looksLikeAddress(s string) bool { return address.MatchString(s) }

// flowAddress says whether a map looks like an IPv6 address that lost its
// quotes, as in [10.0.0.0/8, fd20::].
func (n *node) flowAddress() bool {
	if len(n.keys) == 0 {
		return false
	}
	k := n.keys[0].text
	return looksLikeAddress(k) || regexp.MustCompile(`^[0-9A-Fa-f]{1,4}$`).MatchString(k)
}

// didYouMean hints at the nearest of the known words, or else lists them.
func didYouMean(got string, known []string, otherwise string) string {
	if best := nearest(got, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	if len(known) == 0 {
		return "remove it"
	}
	k := slices.Sorted(slices.Values(known))
	if len(k) > 12 {
		k = append(k[:12], "…")
	}
	return otherwise + strings.Join(k, ", ")
}

// nearest returns the word at the smallest edit distance, or "" when none is
// near.
func nearest(got string, known []string) string {
	if len(got) > 64 {
		return ""
	}
	best, dist := "", 1+len(got)/3
	if len(got) < 3 {
		return ""
	}
	for _, k := range slices.Sorted(slices.Values(known)) {
		if d := distance(strings.ToLower(got), strings.ToLower(k)); d < dist || d == dist && best == "" {
			best, dist = k, d
		}
	}
	return best
}

func distance(a, b string) int {
	prev := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range len(a) {
		cur := make([]int, len(b)+1)
		cur[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			cur[j+1] = min(prev[j]+cost, prev[j+1]+1, cur[j]+1)
		}
		prev = cur
	}
	return prev[len(b)]
}

type schemaNode struct {
	Ref        string                `json:"$ref"`
	Type       string                `json:"type"`
	Properties map[string]schemaNode `json:"properties"`
	Items      *schemaNode           `json:"items"`
	More       json.RawMessage       `json:"additionalProperties"`
	Defs       map[string]schemaNode `json:"definitions"`
}

var schemaTree = sync.OnceValue(func() schemaNode {
	var s schemaNode
	if err := json.Unmarshal(schemaText, &s); err != nil {
		panic("the embedded schema cannot be walked: " + err.Error())
	}
	return s
})

func (s schemaNode) resolve() schemaNode {
	if name, ok := strings.CutPrefix(s.Ref, "#/definitions/"); ok {
		return schemaTree().Defs[name]
	}
	return s
}

// more is the schema of the entries of a map with free keys.
func (s schemaNode) more() (schemaNode, bool) {
	if len(s.More) == 0 || s.More[0] != '{' {
		return schemaNode{}, false
	}
	var m schemaNode
	err := json.Unmarshal(s.More, &m)
	return m.resolve(), err == nil
}

// knownFields lists what the schema knows at an instance location.
func knownFields(path []string) []string {
	s := schemaTree()
	for _, p := range path {
		if next, ok := s.Properties[p]; ok {
			s = next.resolve()
		} else if s.Items != nil {
			s = s.Items.resolve()
		} else if m, ok := s.more(); ok {
			s = m
		} else {
			return nil
		}
	}
	var out []string
	for k := range s.Properties {
		out = append(out, k)
	}
	return out
}

var reserved = []string{"any", "inside", "outside", "self", Unassigned}

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)

var notName = regexp.MustCompile(`[^a-z0-9]+`)

// nameHint proposes a name.
func nameHint(got string) string {
	s := strings.Trim(notName.ReplaceAllString(strings.ToLower(got), "-"), "-")
	if len(s) > 31 {
		s = strings.Trim(s[:31], "-")
	}
	hint := "a letter, then at most 30 letters, digits and dashes, all lower case"
	if nameForm.MatchString(s) && s != got {
		return fmt.Sprintf("write %q: %s", s, hint)
	}
	return "write " + hint
}
