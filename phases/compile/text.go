package compile

import (
	"fmt"

	"weir/nft"
)

// text is what the ID is the digest of.
func text(r nft.Ruleset) string {
	out := fmt.Sprintf("%s %s %q\n", r.Family, r.Table, r.Counters)
	for _, s := range r.Sets {
		e := s.Elements
		s.Elements = nil
		out += fmt.Sprintf("%+v\n", s)
		for _, e := range e {
			v := nft.Verdict{}
			if e.Verdict != nil {
				v = *e.Verdict
			}
			out += fmt.Sprintf("%x %x %v %d\n", e.Key, e.KeyEnd, v, e.Mark)
		}
	}
	for _, c := range r.Chains {
		out += fmt.Sprintf("%s %s %s %d\n", c.Name, c.Type, c.Hook, c.Priority)
		for _, r := range c.Rules {
			for _, s := range r.Stmts {
				if op, ok := s.(nft.SetOp); ok && op.Limit != nil {
					out += fmt.Sprintf("%+v ", *op.Limit)
					op.Limit = nil
					s = op
				}
				out += fmt.Sprintf("%T%+v ", s, s)
			}
			out += "\n"
		}
	}
	return out
}
