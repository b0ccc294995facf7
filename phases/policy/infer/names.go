package infer

import "weir/phases/flow"

// portNames are the usual names of ports, of IANA's "Service Name and
// Transport Protocol Port Number Registry".
var portNames = map[uint16]string{
	20: "ftp-data", 21: "ftp", 22: "ssh", 23: "telnet", 25: "smtp", 53: "domain", 67: "bootps", 68: "bootpc", 69: "tftp", 80: "http",
	88: "kerberos", 110: "pop3", 111: "sunrpc", 113: "auth", 119: "nntp", 123: "ntp", 137: "netbios-ns", 138: "netbios-dgm",
	139: "netbios-ssn", 143: "imap", 161: "snmp", 179: "bgp", 389: "ldap", 443: "https", 445: "microsoft-ds", 465: "smtps",
	500: "isakmp", 514: "syslog", 515: "printer", 587: "submission", 631: "ipp", 636: "ldaps", 873: "rsync", 993: "imaps",
	995: "pop3s", 1194: "openvpn", 2049: "nfs", 3306: "mysql", 3389: "ms-wbt-server", 4500: "ipsec-nat-t", 5060: "sip",
	5353: "mdns", 5432: "postgresql",
}

var icmpNames = map[flow.Proto]map[uint8]string{
	flow.ICMP: {0: "echo-reply", 3: "destination-unreachable", 4: "source-quench", 5: "redirect", 8: "echo-request",
		9: "router-advertisement", 10: "router-solicitation", 11: "time-exceeded", 12: "parameter-problem",
		13: "timestamp-request", 14: "timestamp-reply", 17: "address-mask-request", 18: "address-mask-reply"},
	flow.ICMPv6: {1: "destination-unreachable", 2: "packet-too-big", 3: "time-exceeded", 4: "parameter-problem",
		128: "echo-request", 129: "echo-reply", 133: "router-solicitation", 134: "router-advertisement",
		135: "neighbour-solicitation", 136: "neighbour-advertisement", 137: "redirect"},
}
