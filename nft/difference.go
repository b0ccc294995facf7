package nft

// What is wrong with one object of the table.
const (
	Missing    = "missing"
	Unexpected = "unexpected"
	Changed    = "changed"
	Dormant    = "dormant"
)

// Difference is one object of the table that is not what it was made as.
type Difference struct {
	Object string `json:"object"`           // "chain NAME", "set NAME", "map NAME", "counter NAME" or "table"
	What   string `json:"what"`             // Missing, Unexpected, Changed or Dormant
	Before string `json:"before,omitempty"` // digest of what it should be, 16 hex digits; "" where it should not be
	After  string `json:"after,omitempty"`  // digest of what it is; "" where it is not, or was not read
	// Lines say what differs, each beginning with "-" (should be, is not) or
	// "+" (is, should not be).
	Lines []string `json:"lines,omitempty"`
}

// String is the object with what is wrong, without the lines.
func (d Difference) String() string {
	switch d.What {
	case Dormant:
		return "the table is dormant: nothing in it filters"
	case Unexpected:
		return d.Object + " was added"
	case Missing:
		return d.Object + " is gone"
	}
	return d.Object + " was changed"
}

// ElementText returns one element of a set as nft text, without its timeout.
func ElementText(s Set, e Element) string {
	e.Timeout, e.Comment = 0, ""
	return string(appendElement(nil, &s, &e))
}
