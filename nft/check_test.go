package nft_test

import (
	"testing"

	"weir/nft"
)

// Check names the place of everything that the text could not say.
func TestCheckRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*nft.Ruleset){
		"family":             func(r *nft.Ruleset) { r.Family = "ip" },
		"table":              func(r *nft.Ruleset) { r.Table = "a b" },
		"counter":            func(r *nft.Ruleset) { r.Counters[0] = "" },
		"counter twice":      func(r *nft.Ruleset) { r.Counters[1] = r.Counters[0] },
		"set twice":          func(r *nft.Ruleset) { r.Sets[1].Name = r.Sets[0].Name },
		"chain twice":        func(r *nft.Ruleset) { r.Chains[1].Name = r.Chains[0].Name },
		"key type":           func(r *nft.Ruleset) { r.Sets[0].Key = []nft.Type{"ct_state"} },
		"no key type":        func(r *nft.Ruleset) { r.Sets[0].Key = nil },
		"data":               func(r *nft.Ruleset) { r.Sets[0].Data = nft.IPv4Addr },
		"timeout":            func(r *nft.Ruleset) { r.Sets[4].DefaultTimeout = 1 },
		"element timeout":    func(r *nft.Ruleset) { r.Sets[1].Elements[0].Timeout = -1 },
		"short key":          func(r *nft.Ruleset) { r.Sets[2].Elements[2].Key = []byte{1, 2, 3} },
		"range":              func(r *nft.Ruleset) { r.Sets[6].Elements[0].KeyEnd = r.Sets[6].Elements[1].Key },
		"backwards":          func(r *nft.Ruleset) { e := &r.Sets[2].Elements[0]; e.Key, e.KeyEnd = e.KeyEnd, e.Key },
		"range of one":       func(r *nft.Ruleset) { e := &r.Sets[2].Elements[0]; e.KeyEnd = e.Key },
		"padding":            func(r *nft.Ruleset) { r.Sets[6].Elements[0].Key[5] = 1 },
		"long interface":     func(r *nft.Ruleset) { r.Sets[0].Elements[0].Key = []byte("sixteen-bytes-xx") },
		"wildcard":           func(r *nft.Ruleset) { r.Sets[0].Elements[0].Key = nft.Iface("w*") },
		"no verdict":         func(r *nft.Ruleset) { r.Sets[1].Elements[0].Verdict = nil },
		"verdict in marks":   func(r *nft.Ruleset) { r.Sets[0].Elements[0].Verdict = nft.To(nft.Accept()) },
		"mark in a set":      func(r *nft.Ruleset) { r.Sets[2].Elements[0].Mark = 1 },
		"empty elements":     func(r *nft.Ruleset) { r.Sets[0].Elements = []nft.Element{} },
		"comment":            func(r *nft.Ruleset) { r.Sets[1].Elements[0].Comment = `say "no"` },
		"hook":               func(r *nft.Ruleset) { r.Chains[5].Hook = "ingress" },
		"type":               func(r *nft.Ruleset) { r.Chains[5].Type = "route" },
		"priority":           func(r *nft.Ruleset) { r.Chains[0].Priority = 1 },
		"no statement":       func(r *nft.Ruleset) { r.Chains[0].Rules[0].Stmts = nil },
		"nil statement":      func(r *nft.Ruleset) { r.Chains[0].Rules[0].Stmts[0] = nil },
		"rule comment":       func(r *nft.Ruleset) { r.Chains[0].Rules[0].Comment = string(make([]byte, 128)) },
		"verdict":            stmt(nft.Verdict{}),
		"verdict chain":      stmt(nft.Verdict{Kind: "accept", Chain: "x"}),
		"jump nowhere":       stmt(nft.Jump("")),
		"log prefix":         stmt(nft.Log{Prefix: string(make([]byte, 128))}),
		"limit":              stmt(nft.Limit{Unit: "second"}),
		"limit unit":         stmt(nft.Limit{Rate: 1, Unit: "day"}),
		"set limit":          stmt(nft.SetOp{Op: "add", Set: "s", Fields: []nft.Field{nft.IPSaddr}, Limit: &nft.Limit{}}),
		"set operation":      stmt(nft.SetOp{Op: "delete", Set: "s", Fields: []nft.Field{nft.IPSaddr}}),
		"reject":             stmt(nft.Reject{}),
		"redirect":           stmt(nft.Redirect{}),
		"jhash mod":          stmt(nft.Jhash{Field: nft.IPSaddr}),
		"jhash field":        stmt(nft.Jhash{Field: nft.ThDport, Mod: 1}),
		"vmap":               stmt(nft.Lookup("", nft.IPSaddr)),
		"vmap of a mask":     stmt(nft.Lookup("m", nft.CTState)),
		"no field":           stmt(nft.In("s")),
		"unknown field":      stmt(nft.In("s", "ip ttl")),
		"mask concatenated":  stmt(nft.In("s", nft.IPSaddr, nft.CTState)),
		"no values":          stmt(nft.Is(nft.IPSaddr)),
		"set and values":     stmt(nft.Match{Fields: []nft.Field{nft.IPSaddr}, Set: "s", Values: []nft.Value{{Lo: addr("10.0.0.1")}}}),
		"short value":        stmt(nft.Is(nft.IPSaddr, []byte{1})),
		"two masks":          stmt(nft.Is(nft.CTState, nft.MarkKey(1), nft.MarkKey(2))),
		"mask of an address": stmt(nft.Match{Fields: []nft.Field{nft.IPSaddr}, Mask: []byte{1}, Values: []nft.Value{{Lo: addr("10.0.0.1")}}}),
		"flags without mask": stmt(nft.Is(nft.TCPFlags, []byte{2})),
		"unknown state":      stmt(nft.State("fresh")),
	} {
		r := sample()
		spoil(&r)
		if err := r.Check(); err == nil {
			t.Errorf("%s: accepted\n%s", name, r)
		}
	}
	if err := sample().Check(); err != nil {
		t.Error(err)
	}
}

func stmt(s nft.Stmt) func(*nft.Ruleset) {
	return func(r *nft.Ruleset) { r.Chains[0].Rules[0].Stmts[0] = s }
}
