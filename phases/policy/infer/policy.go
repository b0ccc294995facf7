package infer

import (
	"slices"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

// Policy is rules without priorities: a packet is in it if a rule matches. The
// zero value has no rules.
type Policy struct {
	Families []flow.Family // that it is about; a rule with no family is about all of these
	Denies   bool          // the rules are what is denied, all else is allowed
	Rules    []Rule
	Classes  []Class
}

// Rule is one box of packets.
type Rule struct {
	Match rules.Match
	If    []rules.Test // what must hold besides, where the header does not decide
	From  []rules.Rule // of the input: those that decide packets of this box, in their order
	Src   string       // name of the class that the sources are, or ""
	Dst   string
}

// Class is a set of addresses that several rules name.
type Class struct {
	Name  string
	Addrs rules.Addrs
}

// Ruleset writes the policy as rules of one chain, hooked as told.
func (p Policy) Ruleset(chain, hook string) rules.Ruleset {
	c := &rules.Chain{Name: chain, Hook: hook, Default: rules.Drop}
	action := rules.Accept
	if p.Denies {
		c.Default, action = rules.Accept, rules.Drop
	}
	for i, r := range p.Rules {
		m := r.Match
		m.Tests = append(slices.Clone(m.Tests), r.If...)
		c.Rules = append(c.Rules, rules.Rule{File: "policy", Line: i + 1, Text: r.String(), Match: m, Action: action})
	}
	return rules.Ruleset{Families: p.Families, Chains: []*rules.Chain{c}}
}

// name gives sets of addresses that several rules have a name, where that
// makes the policy simpler.
func (p *Policy) name() {
	uses := map[string][]*string{}
	sets := map[string]rules.Addrs{}
	var order []string
	note := func(list []rules.Addrs, into *string) {
		if len(list) != 1 || addrItems(list) < 2 {
			return
		}
		k := addrsText(list[0])
		if _, ok := sets[k]; !ok {
			sets[k] = list[0]
			order = append(order, k)
		}
		uses[k] = append(uses[k], into)
	}
	for i := range p.Rules {
		note(p.Rules[i].Match.Src, &p.Rules[i].Src)
		note(p.Rules[i].Match.Dst, &p.Rules[i].Dst)
	}
	for _, k := range order {
		n, items := len(uses[k]), addrItems([]rules.Addrs{sets[k]})
		if 1+items+n >= n*items {
			continue
		}
		c := Class{Name: "hosts-" + itoa(len(p.Classes)+1), Addrs: sets[k]}
		for _, into := range uses[k] {
			*into = c.Name
		}
		p.Classes = append(p.Classes, c)
	}
}
