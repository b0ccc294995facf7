package plans

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"weir/phases/flow"
)

// services reads the plan's named services.
func (d *decoder) services(n *node) {
	d.p.Services = map[string][]flow.Service{}
	if n == nil || n.kind != mapping {
		return
	}
	for i, key := range n.keys {
		name := d.name(key)
		if _, err := flow.ParseProto(name); err == nil {
			d.add(key, fmt.Sprintf("%q is the name of a protocol", name), "choose another name for the service")
			continue
		}
		var out []flow.Service
		for _, v := range items(n.vals[i], text) {
			s, f := parseService(v.text)
			if f != nil {
				d.fail(v, f)
				continue
			}
			out = append(out, s)
		}
		if name != "" {
			d.p.Services[name] = flow.MergeServices(out)
		}
	}
}

// parseService reads protocol and ports, with a hint.
func parseService(s string) (flow.Service, *fault) {
	v, err := flow.ParseService(s)
	if err == nil {
		if v.Proto.HasPorts() && v.Hi == 0 {
			return v, &fault{fmt.Sprintf("%s: port 0 is not in use", s), fmt.Sprintf("write %s for every port", v.Proto)}
		}
		if v.Proto == 0 {
			return v, &fault{fmt.Sprintf("%q is not a service", clip(s)), serviceHint}
		}
		return v, nil
	}
	f := &fault{fmt.Sprintf("%q is not a service", clip(s)), serviceHint}
	proto, port, _ := strings.Cut(strings.ToLower(s), "/")
	if w, ok := wellKnown[proto]; ok && port == "" {
		f.hint = fmt.Sprintf("write %s", w)
		return v, f
	}
	if t, ok := icmpTypes[strings.ToLower(s)]; ok {
		f.hint = fmt.Sprintf("write %s", t)
		return v, f
	}
	if p, ok := wellKnown[proto]; ok && isProto(port) {
		f.hint = fmt.Sprintf("write %s", p)
		return v, f
	}
	if p, ok := wellKnown[port]; ok {
		f.hint = fmt.Sprintf("write the number, as %s", p)
		return v, f
	}
	if _, err := flow.ParseProto(port); err == nil && port != "" {
		f.hint = fmt.Sprintf("write %s/%s", port, proto)
		return v, f
	}
	if i := strings.LastIndex(err.Error(), ": "); i >= 0 && port != "" {
		f.hint = strings.Replace(clip(err.Error()[i+2:]), "want ", "write ", 1)
	}
	return v, f
}

const serviceHint = "write protocol and port, as tcp/443, udp/5000-5010, icmp/8, esp or ip/41"

// wellKnown is for hints only: a plan names its services itself.
var wellKnown = map[string]string{"http": "tcp/80", "https": "tcp/443", "ssh": "tcp/22", "dns": "udp/53 and tcp/53", "domain": "udp/53 and tcp/53",
	"ntp": "udp/123", "smtp": "tcp/25", "submission": "tcp/587", "imaps": "tcp/993", "rdp": "tcp/3389", "ldap": "tcp/389", "ldaps": "tcp/636",
	"syslog": "udp/514", "snmp": "udp/161", "ftp": "tcp/21", "telnet": "tcp/23", "ping": "icmp/8 and icmpv6/128", "quic": "udp/443",
	"dhcp": "udp/67", "postgres": "tcp/5432", "mysql": "tcp/3306", "wireguard": "udp/51820", "ipsec": "esp, udp/500 and udp/4500"}

var icmpTypes = map[string]string{"icmp/echo-request": "icmp/8", "icmp/echo": "icmp/8", "icmpv6/echo-request": "icmpv6/128", "icmp6": "icmpv6", "ipv6-icmp": "icmpv6"}

// serviceList reads names of services and protocols with ports.
func (d *decoder) serviceList(n *node) []flow.Service {
	var out []flow.Service
	for _, v := range items(n, text) {
		if named, ok := d.p.Services[v.text]; ok {
			out = append(out, named...)
			continue
		}
		if strings.Contains(v.text, "/") || isProto(v.text) {
			s, f := parseService(v.text)
			if f != nil {
				d.fail(v, f)
				continue
			}
			out = append(out, s)
			continue
		}
		hint := serviceHint + ", or name it under services"
		if w, ok := wellKnown[strings.ToLower(v.text)]; ok {
			hint = fmt.Sprintf("write %s, or name it under services", w)
		}
		if best := nearest(v.text, slices.Collect(maps.Keys(d.p.Services))); best != "" {
			hint = fmt.Sprintf("did you mean %q?", best)
		}
		d.add(v, fmt.Sprintf("the plan has no service %q", clip(v.text)), hint)
	}
	return flow.MergeServices(out)
}

func isProto(s string) bool {
	_, err := flow.ParseProto(s)
	return err == nil
}

// serviceFamilies are the families in which one of the services exists; both
// where there is no service.
func serviceFamilies(ss []flow.Service) []flow.Family {
	if len(ss) == 0 {
		return bothFamilies
	}
	var out []flow.Family
	for _, f := range bothFamilies {
		if slices.ContainsFunc(ss, func(s flow.Service) bool { return s.Proto.Fits(f) }) {
			out = append(out, f)
		}
	}
	return out
}

// ServiceName returns the name of the plan's service that is exactly s, else
// of the first by name that lists s among others, else "".
func (p *Plan) ServiceName(s flow.Service) string {
	listed := ""
	for _, name := range slices.Sorted(maps.Keys(p.Services)) {
		ss := p.Services[name]
		switch {
		case len(ss) == 1 && ss[0] == s:
			return name
		case listed == "" && slices.Contains(ss, s):
			listed = name
		}
	}
	return listed
}
