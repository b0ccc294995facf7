package nft_test

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weir/nft"
)

// ruleset draws rulesets that Check accepts, of every kind of thing.
func ruleset(t *rapid.T) nft.Ruleset {
	r := nft.Ruleset{Family: "inet", Table: "weir"}
	n := 0
	name := func() string {
		n++
		return rapid.StringMatching(`[a-zA-Z][a-z0-9_./-]{0,10}`).Draw(t, "name") + fmt.Sprint("_", n)
	}
	for range rapid.IntRange(0, 2).Draw(t, "counters") {
		r.Counters = append(r.Counters, name())
	}
	for range rapid.IntRange(0, 3).Draw(t, "sets") {
		r.Sets = append(r.Sets, drawSet(t, name()))
	}
	for range rapid.IntRange(0, 3).Draw(t, "chains") {
		c := nft.Chain{Name: name()}
		if rapid.Bool().Draw(t, "base") {
			c.Type = rapid.SampledFrom([]string{"filter", "nat"}).Draw(t, "type")
			c.Hook = rapid.SampledFrom([]string{"forward", "output", "input", "prerouting"}).Draw(t, "hook")
			c.Priority = rapid.Int32().Draw(t, "priority")
		}
		for range rapid.IntRange(0, 3).Draw(t, "rules") {
			rule := nft.Rule{Comment: comment(t)}
			for range rapid.IntRange(1, 4).Draw(t, "stmts") {
				rule.Stmts = append(rule.Stmts, drawStmt(t, name))
			}
			c.Rules = append(c.Rules, rule)
		}
		r.Chains = append(r.Chains, c)
	}
	return r
}

func comment(t *rapid.T) string {
	if rapid.Bool().Draw(t, "no comment") {
		return ""
	}
	return rapid.StringMatching(`[ -!#-\[\]-~äß#]{0,30}`).Draw(t, "comment")
}

var keyTypes = []nft.Type{nft.IPv4Addr, nft.IPv6Addr, nft.EtherAddr, nft.InetProto, nft.InetService, nft.NFProto,
	nft.IfName, nft.Mark, nft.ICMPType, nft.ICMPv6Type}

func millis(t *rapid.T, low int64) time.Duration {
	return time.Duration(rapid.Int64Range(low, 400*24*3600*1000).Draw(t, "ms")) * time.Millisecond
}

func drawSet(t *rapid.T, name string) nft.Set {
	s := nft.Set{Name: name,
		Key:        rapid.SliceOfN(rapid.SampledFrom(keyTypes), 1, 4).Draw(t, "key"),
		Data:       rapid.SampledFrom([]nft.Type{"", nft.Mark, nft.VerdictType}).Draw(t, "data"),
		Interval:   rapid.Bool().Draw(t, "interval"),
		HasTimeout: rapid.Bool().Draw(t, "timeouts"),
		Dynamic:    rapid.Bool().Draw(t, "dynamic"),
		Counter:    rapid.Bool().Draw(t, "counter"),
		Size:       rapid.Uint32().Draw(t, "size"),
	}
	if rapid.Bool().Draw(t, "default timeout") {
		s.DefaultTimeout = millis(t, 1)
	}
	for range rapid.IntRange(0, 4).Draw(t, "elements") {
		var e nft.Element
		e.Key, e.KeyEnd = drawKey(t, s.Key, s.Interval)
		e.Comment = comment(t)
		if rapid.Bool().Draw(t, "timeout") {
			e.Timeout = millis(t, 1)
		}
		switch s.Data {
		case nft.Mark:
			e.Mark = rapid.Uint32().Draw(t, "mark")
		case nft.VerdictType:
			e.Verdict = nft.To(drawVerdict(t, func() string { return "c_1" }))
		}
		s.Elements = append(s.Elements, e)
	}
	return s
}

func drawKey(t *rapid.T, types []nft.Type, ranges bool) (lo, hi []byte) {
	var los, his [][]byte
	for _, ty := range types {
		l, h := drawValue(t, ty), []byte(nil)
		if ranges && ty != nft.IfName && rapid.Bool().Draw(t, "range") {
			h = drawValue(t, ty)
			if ty == nft.IPv4Addr && rapid.Bool().Draw(t, "prefix") {
				l[3], h = 0, []byte{l[0], l[1], l[2], 255}
			}
			if bytes.Compare(order(ty, l), order(ty, h)) > 0 {
				l, h = h, l
			}
		}
		if h == nil {
			h = l
		}
		los, his = append(los, l), append(his, h)
	}
	lo, hi = los[0], his[0]
	if len(types) > 1 {
		lo, hi = nft.Concat(los...), nft.Concat(his...)
	}
	if bytes.Equal(lo, hi) {
		hi = nil
	}
	return lo, hi
}

// order turns a value into bytes that sort as the kernel's numbers do.
func order(ty nft.Type, v []byte) []byte {
	if ty != nft.Mark {
		return v
	}
	probe := nft.MarkKey(1)
	if probe[0] == 0 {
		return v
	}
	return []byte{v[3], v[2], v[1], v[0]}
}

func drawValue(t *rapid.T, ty nft.Type) []byte {
	if ty == nft.IfName {
		return nft.Iface(rapid.StringMatching(`[a-z0-9.:_-]{1,15}`).Draw(t, "iface"))
	}
	return rapid.SliceOfN(rapid.Byte(), ty.Width(), ty.Width()).Draw(t, string(ty))
}

func drawVerdict(t *rapid.T, name func() string) nft.Verdict {
	v := nft.Verdict{Kind: rapid.SampledFrom([]string{"accept", "drop", "return", "continue", "jump", "goto"}).Draw(t, "verdict")}
	if v.Kind == "jump" || v.Kind == "goto" {
		v.Chain = name()
	}
	return v
}

var keyFields = []nft.Field{nft.L4Proto, nft.NFProtoF, nft.IIFName, nft.OIFName, nft.IIFType, nft.IPSaddr, nft.IPDaddr,
	nft.IP6Saddr, nft.IP6Daddr, nft.EtherSaddr, nft.ThSport, nft.ThDport, nft.ICMPTypeF, nft.ICMP6TypeF,
	nft.CTDirection, nft.FibDaddr, nft.FibOIFName, nft.SkUID}

func drawFields(t *rapid.T) []nft.Field {
	return rapid.SliceOfN(rapid.SampledFrom(keyFields), 1, 4).Draw(t, "fields")
}

func drawLimit(t *rapid.T) nft.Limit {
	return nft.Limit{Over: rapid.Bool().Draw(t, "over"), Rate: rapid.Uint64Range(1, 1<<40).Draw(t, "rate"),
		Unit: rapid.SampledFrom([]string{"second", "minute", "hour"}).Draw(t, "unit"), Burst: rapid.Uint32().Draw(t, "burst")}
}

func drawStmt(t *rapid.T, name func() string) nft.Stmt {
	switch rapid.IntRange(0, 10).Draw(t, "stmt") {
	case 0:
		return nft.Match{Fields: drawFields(t), Not: rapid.Bool().Draw(t, "not"), Set: name()}
	case 1:
		return nft.Jhash{Field: rapid.SampledFrom([]nft.Field{nft.IPSaddr, nft.IP6Saddr, nft.EtherSaddr}).Draw(t, "field"),
			Mod: rapid.Uint32Range(1, 1<<32-1).Draw(t, "mod"), Seed: rapid.Uint32().Draw(t, "seed"), Below: rapid.Uint32().Draw(t, "below")}
	case 2:
		return nft.Vmap{Fields: drawFields(t), Map: name()}
	case 3:
		return rapid.SampledFrom([]nft.Count{{}, {Name: name()}}).Draw(t, "count")
	case 4:
		return nft.Log{Prefix: comment(t), Group: rapid.Uint16().Draw(t, "group"), Snaplen: rapid.Uint32().Draw(t, "snaplen"), Threshold: rapid.Uint16().Draw(t, "threshold")}
	case 5:
		return drawLimit(t)
	case 6:
		op := nft.SetOp{Op: rapid.SampledFrom([]string{"add", "update"}).Draw(t, "op"), Set: name(), Fields: drawFields(t), Counter: rapid.Bool().Draw(t, "counter")}
		if rapid.Bool().Draw(t, "limit") {
			l := drawLimit(t)
			op.Limit = &l
		}
		return op
	case 7:
		return rapid.SampledFrom([]nft.Stmt{nft.Reject{With: "tcp reset"}, nft.Reject{With: "icmpx admin-prohibited"}, nft.Reject{With: "icmpx port-unreachable"}, nft.Redirect{Port: 1}}).Draw(t, "end")
	case 8:
		return drawVerdict(t, name)
	case 9:
		f := rapid.SampledFrom([]nft.Field{nft.CTState, nft.CTStatus, nft.TCPFlags}).Draw(t, "mask of")
		m := nft.Match{Fields: []nft.Field{f}, Not: rapid.Bool().Draw(t, "not"), Values: []nft.Value{{Lo: drawValue(t, f.Type())}}}
		if f == nft.TCPFlags {
			m.Mask = drawValue(t, f.Type())
		}
		return m
	}
	m := nft.Match{Fields: drawFields(t), Not: rapid.Bool().Draw(t, "not")}
	var types []nft.Type
	for _, f := range m.Fields {
		types = append(types, f.Type())
	}
	for range rapid.IntRange(1, 3).Draw(t, "values") {
		lo, hi := drawKey(t, types, false)
		m.Values = append(m.Values, nft.Value{Lo: lo, Hi: hi})
	}
	return m
}

func TestEveryRulesetReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := ruleset(t)
		if err := want.Check(); err != nil {
			t.Fatal(err)
		}
		text := want.String()
		got, err := nft.Parse(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, numbered(text))
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("text:\n%s\nread back as:\n%s\n%#v\n%#v", text, got, got, want)
		}
	})
}
