package suite

import (
	"strings"

	"weir/nft"
	"weir/phases/flow"
)

// Hooks are the letters that the revisions use.
var Hooks = []string{nft.HookForward, nft.HookOutput}

// ID returns the id of a revision that is named by a letter, "" for "-".
func ID(letter string) string {
	if letter == "-" || letter == "" {
		return ""
	}
	return "r00000000000" + letter
}

// letter is the reverse of ID.
func letter(id string) string {
	if l, ok := strings.CutPrefix(id, "r00000000000"); ok {
		return l
	}
	if id == "" {
		return "-"
	}
	return id
}

// Revision returns the revision named by a letter from a to f. It refuses TCP
// connections to Port(letter), unless its group is back in alert.
func Revision(name string) nft.Revision {
	id := ID(name)
	rev := nft.Revision{ID: id, Skeleton: skeleton(), Groups: []string{Group}, Entry: map[string]string{}}
	rev.Ruleset = nft.Ruleset{Family: "inet", Table: nft.TableName}
	denied := "s" + name + "_denied"
	// The sets have another name in each revision, as another content has.
	rev.Ruleset.Sets = []nft.Set{{Name: denied, Key: []nft.Type{nft.InetProto, nft.InetService}, Size: 16,
		Elements: []nft.Element{{Key: nft.Concat(nft.ProtoKey(flow.TCP), nft.Port(Port(name)))}}}}
	rev.Ruleset.Chains = []nft.Chain{{Name: id + "_d_" + Group, Rules: []nft.Rule{
		nft.R(nft.Lookup(nft.BackMap(Group), nft.NFProtoF)),
		nft.R(nft.State("established"), nft.Lookup(nft.SpareMap(Group), nft.NFProtoF)),
		nft.R(nft.Reject{With: "tcp reset"}),
	}}}
	for _, h := range Hooks {
		rev.Entry[h] = id + "_" + h
		rev.Ruleset.Chains = append(rev.Ruleset.Chains, nft.Chain{Name: id + "_" + h, Rules: []nft.Rule{
			nft.R(nft.Is(nft.L4Proto, nft.ProtoKey(flow.TCP)), nft.In(denied, nft.L4Proto, nft.ThDport), nft.Goto(id+"_d_"+Group)),
			nft.R(nft.Accept()),
		}})
	}
	return rev
}

// skeleton is the smallest that has every map.
func skeleton() nft.Ruleset {
	r := nft.Ruleset{Family: "inet", Table: nft.TableName, Counters: []string{"w_reply", "w_spared"}}
	marks := func(name string) nft.Set {
		return nft.Set{Name: name, Key: []nft.Type{nft.IfName}, Data: nft.Mark}
	}
	verdicts := func(name string, timeout bool) nft.Set {
		return nft.Set{Name: name, Key: []nft.Type{nft.NFProto}, Data: nft.VerdictType, HasTimeout: timeout}
	}
	r.Sets = []nft.Set{marks(nft.MarkerMap), marks(nft.TxMap), verdicts(nft.BackMap(Group), true), verdicts(nft.SpareMap(Group), true)}
	r.Chains = []nft.Chain{
		{Name: "w_spare", Rules: []nft.Rule{nft.R(nft.Count{Name: "w_spared"}, nft.Accept())}},
		{Name: nft.AlertChain(Group), Rules: []nft.Rule{nft.R(nft.Accept())}},
	}
	hooks := map[string]string{nft.HookForward: "forward", nft.HookOutput: "output"}
	for _, h := range Hooks {
		r.Sets = append(r.Sets, verdicts(nft.TrialMap(h), true), verdicts(nft.StableMap(h), false))
		r.Chains = append(r.Chains,
			nft.Chain{Name: "w_main_" + h, Rules: []nft.Rule{
				nft.R(nft.Reply(), nft.Count{Name: "w_reply"}, nft.Accept()),
				nft.R(nft.Lookup(nft.TrialMap(h), nft.NFProtoF)),
				nft.R(nft.Lookup(nft.StableMap(h), nft.NFProtoF)),
			}},
			nft.Chain{Name: "w_base_" + h, Type: "filter", Hook: hooks[h], Priority: 10, Rules: []nft.Rule{nft.R(nft.Jump("w_main_" + h))}})
	}
	r.Sets[0].Elements = []nft.Element{{Key: nft.Iface("layout"), Mark: nft.LayoutVersion}}
	return r
}
