package nftjson

// icmpTypes, icmpCodes and their like of ICMPv6 are the names that nft prints
// ("nft describe icmp type"), protocols those of protocols that flow writes
// otherwise.
var (
	icmpTypes = map[string]uint16{"echo-reply": 0, "destination-unreachable": 3, "source-quench": 4, "redirect": 5, "echo-request": 8,
		"router-advertisement": 9, "router-solicitation": 10, "time-exceeded": 11, "parameter-problem": 12, "timestamp-request": 13,
		"timestamp-reply": 14, "info-request": 15, "info-reply": 16, "address-mask-request": 17, "address-mask-reply": 18}
	icmpCodes = map[string]uint16{"net-unreachable": 0, "host-unreachable": 1, "prot-unreachable": 2, "port-unreachable": 3, "frag-needed": 4,
		"net-prohibited": 9, "host-prohibited": 10, "admin-prohibited": 13}
	icmpv6Types = map[string]uint16{"destination-unreachable": 1, "packet-too-big": 2, "time-exceeded": 3, "parameter-problem": 4,
		"echo-request": 128, "echo-reply": 129, "mld-listener-query": 130, "mld-listener-report": 131, "mld-listener-done": 132,
		"mld-listener-reduction": 132, "nd-router-solicit": 133, "nd-router-advert": 134, "nd-neighbor-solicit": 135,
		"nd-neighbor-advert": 136, "nd-redirect": 137, "router-renumbering": 138, "ind-neighbor-solicit": 141,
		"ind-neighbor-advert": 142, "mld2-listener-report": 143}
	icmpv6Codes = map[string]uint16{"no-route": 0, "admin-prohibited": 1, "addr-unreachable": 3, "port-unreachable": 4, "policy-fail": 5, "reject-route": 6}
	protocols   = map[string]uint16{"ipencap": 4, "ipv6": 41, "rsvp": 46, "ipv6-route": 43, "ipv6-frag": 44, "ipv6-nonxt": 59, "ipv6-opts": 60,
		"eigrp": 88, "ospfigp": 89, "ipcomp": 108, "comp": 108, "l2tp": 115, "egp": 8, "igp": 9, "hopopt": 0, "ip": 0, "rdp": 27, "etherip": 97, "encap": 98, "mobility-header": 135}
)
