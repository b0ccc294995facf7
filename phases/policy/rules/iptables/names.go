package iptables

// portNames are names of IANA's "Service Name and Transport Protocol Port
// Number Registry" and of /etc/services that people write by hand.
var portNames = map[string]uint16{
	"ftp-data": 20, "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "domain": 53, "bootps": 67, "bootpc": 68, "tftp": 69,
	"http": 80, "www": 80, "kerberos": 88, "pop3": 110, "sunrpc": 111, "auth": 113, "ident": 113, "nntp": 119, "ntp": 123,
	"netbios-ns": 137, "netbios-dgm": 138, "netbios-ssn": 139, "imap": 143, "imap2": 143, "snmp": 161, "snmp-trap": 162, "bgp": 179,
	"ldap": 389, "https": 443, "microsoft-ds": 445, "smtps": 465, "isakmp": 500, "syslog": 514, "printer": 515, "submission": 587,
	"ipp": 631, "ldaps": 636, "rsync": 873, "imaps": 993, "pop3s": 995, "socks": 1080, "openvpn": 1194, "nfs": 2049,
	"mysql": 3306, "ms-wbt-server": 3389, "svn": 3690, "ipsec-nat-t": 4500, "sip": 5060, "sips": 5061, "mdns": 5353,
	"postgresql": 5432, "x11": 6000, "http-alt": 8080, "webcache": 8080,
}

// icmpNames are the names of iptables -p icmp -h, as type or type/code.
var icmpNames = map[string]string{
	"echo-reply": "0", "pong": "0", "destination-unreachable": "3", "network-unreachable": "3/0", "host-unreachable": "3/1",
	"protocol-unreachable": "3/2", "port-unreachable": "3/3", "fragmentation-needed": "3/4", "source-route-failed": "3/5",
	"network-unknown": "3/6", "host-unknown": "3/7", "network-prohibited": "3/9", "host-prohibited": "3/10",
	"TOS-network-unreachable": "3/11", "TOS-host-unreachable": "3/12", "communication-prohibited": "3/13",
	"host-precedence-violation": "3/14", "precedence-cutoff": "3/15", "source-quench": "4", "redirect": "5",
	"network-redirect": "5/0", "host-redirect": "5/1", "TOS-network-redirect": "5/2", "TOS-host-redirect": "5/3",
	"echo-request": "8", "ping": "8", "router-advertisement": "9", "router-solicitation": "10", "time-exceeded": "11",
	"ttl-exceeded": "11", "ttl-zero-during-transit": "11/0", "ttl-zero-during-reassembly": "11/1", "parameter-problem": "12",
	"ip-header-bad": "12/0", "required-option-missing": "12/1", "timestamp-request": "13", "timestamp-reply": "14",
	"address-mask-request": "17", "address-mask-reply": "18",
}

// icmpv6Names are the names of ip6tables -p icmpv6 -h.
var icmpv6Names = map[string]string{
	"destination-unreachable": "1", "no-route": "1/0", "communication-prohibited": "1/1", "beyond-scope": "1/2",
	"address-unreachable": "1/3", "port-unreachable": "1/4", "failed-policy": "1/5", "reject-route": "1/6",
	"packet-too-big": "2", "time-exceeded": "3", "ttl-exceeded": "3", "ttl-zero-during-transit": "3/0",
	"ttl-zero-during-reassembly": "3/1", "parameter-problem": "4", "bad-header": "4/0", "unknown-header-type": "4/1",
	"unknown-option": "4/2", "echo-request": "128", "ping": "128", "echo-reply": "129", "pong": "129",
	"router-solicitation": "133", "router-advertisement": "134", "neighbor-solicitation": "135", "neighbour-solicitation": "135",
	"neighbor-advertisement": "136", "neighbour-advertisement": "136", "redirect": "137",
}
