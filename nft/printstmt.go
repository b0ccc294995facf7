package nft

import (
	"fmt"
	"strconv"
)

// StmtText returns one statement as nft text.
func StmtText(s Stmt) string { return string(appendStmt(nil, s)) }

func appendStmt(b []byte, s Stmt) []byte {
	switch s := s.(type) {
	case Match:
		return appendMatch(b, s)
	case Jhash:
		b = append(append(append(b, "jhash "...), s.Field...), " mod "...)
		b = append(strconv.AppendUint(b, uint64(s.Mod), 10), " seed 0x"...)
		b = append(strconv.AppendUint(b, uint64(s.Seed), 16), " < "...)
		return strconv.AppendUint(b, uint64(s.Below), 10)
	case Vmap:
		return append(append(appendFields(b, s.Fields), " vmap @"...), s.Map...)
	case Count:
		if s.Name == "" {
			return append(b, "counter"...)
		}
		return append(append(b, "counter name "...), s.Name...)
	case Log:
		b = append(b, "log "...)
		if s.Prefix != "" {
			b = append(appendQuoted(append(b, "prefix "...), s.Prefix), ' ')
		}
		b = strconv.AppendUint(append(b, "group "...), uint64(s.Group), 10)
		if s.Snaplen != 0 {
			b = strconv.AppendUint(append(b, " snaplen "...), uint64(s.Snaplen), 10)
		}
		if s.Threshold != 0 {
			b = strconv.AppendUint(append(b, " queue-threshold "...), uint64(s.Threshold), 10)
		}
		return b
	case Limit:
		return appendLimit(b, s)
	case SetOp:
		b = append(append(append(append(b, s.Op...), " @"...), s.Set...), " { "...)
		b = appendFields(b, s.Fields)
		if s.Limit != nil {
			b = appendLimit(append(b, ' '), *s.Limit)
		}
		if s.Counter {
			b = append(b, " counter"...)
		}
		return append(b, " }"...)
	case Verdict:
		return appendVerdict(b, s)
	case Reject:
		return append(append(b, "reject with "...), s.With...)
	case Redirect:
		return strconv.AppendUint(append(b, "redirect to :"...), uint64(s.Port), 10)
	}
	return fmt.Appendf(b, "!bad-statement-%T", s)
}

func appendVerdict(b []byte, v Verdict) []byte {
	if v.Kind == "" {
		return append(b, "!no-verdict"...)
	}
	b = append(b, v.Kind...)
	if v.Chain != "" {
		b = append(append(b, ' '), v.Chain...)
	}
	return b
}

func appendFields(b []byte, fields []Field) []byte {
	for i, f := range fields {
		if i > 0 {
			b = append(b, " . "...)
		}
		b = append(b, f...)
	}
	return b
}

func appendLimit(b []byte, l Limit) []byte {
	b = append(b, "limit rate "...)
	if l.Over {
		b = append(b, "over "...)
	}
	b = append(append(strconv.AppendUint(b, l.Rate, 10), '/'), l.Unit...)
	if l.Burst != 0 {
		b = append(strconv.AppendUint(append(b, " burst "...), uint64(l.Burst), 10), " packets"...)
	}
	return b
}

// appendMatch prints a comparison. A single value stands alone, several stand
// in braces, and so does the value of a concatenation. "! mask" is nft's "none
// of these bits".
func appendMatch(b []byte, m Match) []byte {
	b = appendFields(b, m.Fields)
	types := typesOf(m.Fields)
	if m.Set != "" {
		if m.Not {
			b = append(b, " !="...)
		}
		return append(append(b, " @"...), m.Set...)
	}
	if len(types) == 1 && types[0].bitMask() {
		return appendMaskMatch(b, m, types[0])
	}
	if m.Not {
		b = append(b, " !="...)
	}
	if len(m.Values) == 1 && len(types) == 1 {
		return appendKey(append(b, ' '), types, m.Values[0].Lo, m.Values[0].Hi)
	}
	b = append(b, " { "...)
	for i, v := range m.Values {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = appendKey(b, types, v.Lo, v.Hi)
	}
	return append(b, " }"...)
}

func appendMaskMatch(b []byte, m Match, t Type) []byte {
	if len(m.Values) != 1 || len(m.Values[0].Lo) != t.Width() || (t == tcpFlag) != (len(m.Mask) == 1) {
		return append(b, " !bad-mask"...)
	}
	n := number(t, m.Values[0].Lo)
	if t != tcpFlag {
		if m.Not {
			b = append(b, " !"...)
		}
		return appendMask(append(b, ' '), t.bits(), n, ",")
	}
	b = append(appendMask(append(b, " & ("...), flagBits, uint32(m.Mask[0]), " | "), ") "...)
	if m.Not {
		b = append(b, "!= "...)
	} else {
		b = append(b, "== "...)
	}
	if n&(n-1) == 0 {
		return appendMask(b, flagBits, n, " | ")
	}
	return append(appendMask(append(b, '('), flagBits, n, " | "), ')')
}
