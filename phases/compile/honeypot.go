package compile

import "weir/nft"

// HoneypotSet holds a family while its captured flows may live: a lease that
// the daemon refreshes after a probe came through. While the set is empty
// nothing is redirected and what was captured is ended.
const HoneypotSet = "w_hp"

// honeypotGate is the input side of the redirect: captured connections live
// only under the lease.
//
//	chain w_base_i { type filter hook input priority -10; policy accept;
//	  ct status dnat ct direction original meta l4proto tcp th dport 2323 jump w_hpgate
//	}
//	chain w_hpgate {
//	  meta nfproto @w_hp accept
//	  counter name w_hpcut
//	  meta l4proto tcp reject with tcp reset
//	  reject with icmpx port-unreachable
//	}
func honeypotGate(port uint16) []nft.Chain {
	return []nft.Chain{
		{Name: "w_hpgate", Rules: []nft.Rule{
			rule(in(HoneypotSet, nft.NFProtoF), accept),
			rule(count("w_hpcut")),
			rule(proto(6), nft.Reject{With: "tcp reset"}),
			rule(nft.Reject{With: "icmpx port-unreachable"}),
		}},
		{Name: "w_base_i", Type: "filter", Hook: "input", Priority: -10, Rules: []nft.Rule{
			rule(is(nft.CTStatus, nft.Value{Lo: host32(statusDNAT)}), is(nft.CTDirection, one(0)), proto(6),
				is(nft.ThDport, one(byte(port>>8), byte(port))), jump("w_hpgate")),
		}},
	}
}

// nat writes the redirect where any group or never rule has one.
func (b *builder) nat() bool { return false }
