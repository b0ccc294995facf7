package nft

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strconv"
	"strings"
	"time"
)

// String returns the ruleset as text that nft 1.0.6 loads ("nft -f") and that
// Parse reads back to an equal value. The zero Ruleset is "". For values that
// Check refuses the text holds words that neither nft nor Parse accepts.
func (r Ruleset) String() string {
	var s strings.Builder
	r.WriteTo(&s) // a strings.Builder cannot fail
	return s.String()
}

// Digest returns the SHA-256 of the ruleset's text in hexadecimal digits.
func Digest(r Ruleset) string {
	h := sha256.New()
	r.WriteTo(h) // a hash cannot fail
	return hex.EncodeToString(h.Sum(nil))
}

// MarshalText makes a Ruleset a string of text in JSON.
func (r Ruleset) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (r *Ruleset) UnmarshalText(b []byte) error {
	v, err := Parse(string(b))
	if err == nil {
		*r = v
	}
	return err
}

// flushAt is how much text is gathered before it is written.
const flushAt = 64 << 10

// printer gathers text and writes it in large pieces; the first error sticks.
type printer struct {
	w   io.Writer
	b   []byte
	n   int64
	err error
}

func (p *printer) flush() {
	if p.err == nil && len(p.b) > 0 {
		var k int
		k, p.err = p.w.Write(p.b)
		p.n += int64(k)
	}
	p.b = p.b[:0]
}

func (p *printer) add(parts ...string) {
	for _, s := range parts {
		p.b = append(p.b, s...)
	}
}

// WriteTo writes the text of String.
func (r Ruleset) WriteTo(w io.Writer) (int64, error) {
	p := &printer{w: w, b: make([]byte, 0, 2*flushAt)}
	if r.Family == "" && r.Table == "" && len(r.Counters)+len(r.Sets)+len(r.Chains) == 0 {
		return 0, nil
	}
	p.add("table ", r.Family, " ", r.Table, " {\n")
	for _, c := range r.Counters {
		p.add("\tcounter ", c, " {\n\t}\n")
	}
	for i := range r.Sets {
		p.set(&r.Sets[i])
	}
	for i := range r.Chains {
		p.chain(&r.Chains[i])
	}
	p.add("}\n")
	p.flush()
	return p.n, p.err
}

func (p *printer) set(s *Set) {
	kind := "set"
	if s.Data != "" {
		kind = "map"
	}
	p.add("\t", kind, " ", s.Name, " {\n\t\ttype ")
	for i, t := range s.Key {
		if i > 0 {
			p.add(" . ")
		}
		p.add(string(t))
	}
	if s.Data != "" {
		p.add(" : ", string(s.Data))
	}
	p.add("\n")
	if s.Size > 0 {
		p.b = strconv.AppendUint(append(p.b, "\t\tsize "...), uint64(s.Size), 10)
		p.add("\n")
	}
	sep := "\t\tflags "
	for _, f := range []struct {
		on   bool
		word string
	}{{s.Dynamic, "dynamic"}, {s.Interval, "interval"}, {s.HasTimeout, "timeout"}} {
		if f.on {
			p.add(sep, f.word)
			sep = ","
		}
	}
	if sep == "," {
		p.add("\n")
	}
	if s.DefaultTimeout != 0 {
		p.b = appendTime(append(p.b, "\t\ttimeout "...), s.DefaultTimeout)
		p.add("\n")
	}
	if s.Counter {
		p.add("\t\tcounter\n")
	}
	switch len(s.Elements) {
	case 0:
	case 1:
		p.add("\t\telements = { ")
		p.b = appendElement(p.b, s, &s.Elements[0])
		p.add(" }\n")
	default:
		p.add("\t\telements = {")
		for i := range s.Elements {
			if i > 0 {
				p.b = append(p.b, ',')
			}
			p.b = append(p.b, "\n\t\t\t"...)
			p.b = appendElement(p.b, s, &s.Elements[i])
			if len(p.b) > flushAt {
				p.flush()
			}
		}
		p.add("\n\t\t}\n")
	}
	p.add("\t}\n")
}

func appendElement(b []byte, s *Set, e *Element) []byte {
	b = appendKey(b, s.Key, e.Key, e.KeyEnd)
	if e.Timeout != 0 {
		b = appendTime(append(b, " timeout "...), e.Timeout)
	}
	if e.Comment != "" {
		b = appendQuoted(append(b, " comment "...), e.Comment)
	}
	switch s.Data {
	case "":
	case VerdictType:
		b = append(b, " : "...)
		if e.Verdict == nil {
			return append(b, "!no-verdict"...)
		}
		b = appendVerdict(b, *e.Verdict)
	default:
		b = append(b, " : "...)
		b = appendMark(b, e.Mark)
	}
	return b
}

func appendMark(b []byte, m uint32) []byte {
	const digits = "0123456789abcdef"
	b = append(b, "0x"...)
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, digits[m>>shift&0xf])
	}
	return b
}

func (p *printer) chain(c *Chain) {
	p.add("\tchain ", c.Name, " {\n")
	if c.Hook != "" {
		p.add("\t\ttype ", c.Type, " hook ", c.Hook, " priority ")
		p.b = strconv.AppendInt(p.b, int64(c.Priority), 10)
		p.add("; policy accept;\n")
	}
	for i := range c.Rules {
		p.add("\t\t")
		p.b = appendRule(p.b, &c.Rules[i])
		p.add("\n")
		if len(p.b) > flushAt {
			p.flush()
		}
	}
	p.add("\t}\n")
}

// String returns the rule as nft text.
func (r Rule) String() string { return string(appendRule(nil, &r)) }

func appendRule(b []byte, r *Rule) []byte {
	for i, s := range r.Stmts {
		if i > 0 {
			b = append(b, ' ')
		}
		b = appendStmt(b, s)
	}
	if r.Comment != "" {
		b = appendQuoted(append(b, " comment "...), r.Comment)
	}
	return b
}

// Time returns a duration in nft's spelling: "1h30m", "500ms".
func Time(d time.Duration) string { return string(appendTime(nil, d)) }
