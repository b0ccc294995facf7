package flow

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Service is a protocol with a range of server ports, ICMP types, or nothing.
//
//	tcp/443          one port
//	tcp/8000-8100    ports, both ends included
//	tcp              all ports (Lo 0, Hi 65535)
//	icmp/8           one ICMP type, every code
//	icmp             all types (Lo 0, Hi 255)
//	esp, gre, ip/41  a bare protocol (Lo and Hi are 0)
//
// The zero value is invalid. A Service is comparable.
type Service struct {
	Proto  Proto
	Lo, Hi uint16
}

// Max returns the largest port or type of the protocol: 65535, 255 or 0.
func (p Proto) Max() uint16 {
	switch {
	case p.HasPorts():
		return 65535
	case p.IsICMP():
		return 255
	}
	return 0
}

// Single returns the service of one port or type.
func Single(p Proto, port uint16) Service { return Service{p, port, port} }

// All returns the service of every port or type of a protocol.
func All(p Proto) Service { return Service{p, 0, p.Max()} }

func (s Service) String() string {
	switch {
	case s.Proto == 0:
		return ""
	case s == All(s.Proto):
		return s.Proto.String()
	case s.Lo == s.Hi:
		return s.Proto.String() + "/" + strconv.Itoa(int(s.Lo))
	}
	return fmt.Sprintf("%s/%d-%d", s.Proto, s.Lo, s.Hi)
}

// Contains says whether o is within s.
func (s Service) Contains(o Service) bool {
	return s.Proto == o.Proto && s.Lo <= o.Lo && o.Hi <= s.Hi
}

// Overlaps says whether s and o share a port.
func (s Service) Overlaps(o Service) bool {
	return s.Proto == o.Proto && s.Lo <= o.Hi && o.Lo <= s.Hi
}

// Fits says whether the protocol exists in the family: ICMP is IPv4's alone,
// ICMPv6 is IPv6's, every other protocol is both's.
func (p Proto) Fits(f Family) bool {
	return !(p == ICMP && f == IPv6) && !(p == ICMPv6 && f == IPv4)
}

// ParseService reads the text of one service.
func ParseService(text string) (Service, error) {
	name, rest := text, ""
	if !strings.HasPrefix(text, "ip/") {
		var cut bool
		name, rest, cut = strings.Cut(text, "/")
		if cut && rest == "" {
			return Service{}, fmt.Errorf("cannot read service %q: nothing after the /", text)
		}
	}
	p, err := ParseProto(name)
	if err != nil {
		return Service{}, fmt.Errorf("cannot read service %q: %w", text, err)
	}
	if rest == "" {
		return All(p), nil
	}
	if p.Max() == 0 {
		return Service{}, fmt.Errorf("cannot read service %q: %s has no ports; write %q", text, p, p.String())
	}
	lo, hi, isRange := strings.Cut(rest, "-")
	if !isRange {
		hi = lo
	}
	l, err1 := strconv.ParseUint(lo, 10, 16)
	h, err2 := strconv.ParseUint(hi, 10, 16)
	if err1 != nil || err2 != nil || l > uint64(p.Max()) || h > uint64(p.Max()) {
		return Service{}, fmt.Errorf("cannot read service %q: want numbers from 0 to %d", text, p.Max())
	}
	if l > h {
		return Service{}, fmt.Errorf("cannot read service %q: the range runs backwards; write %s/%d-%d", text, p, h, l)
	}
	return Service{p, uint16(l), uint16(h)}, nil
}

// MarshalText and UnmarshalText make a Service a JSON string.
func (s Service) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote; "" gives the zero value.
func (s *Service) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*s = Service{}
		return nil
	}
	v, err := ParseService(string(b))
	*s = v
	return err
}

// CompareServices orders by protocol number, then by port.
func CompareServices(a, b Service) int {
	return cmp.Or(cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Lo, b.Lo), cmp.Compare(a.Hi, b.Hi))
}

// MergeServices sorts services and joins those that touch or overlap.
func MergeServices(in []Service) []Service {
	s := slices.Clone(in)
	slices.SortFunc(s, CompareServices)
	out := s[:0]
	for _, x := range s {
		if n := len(out); n > 0 && out[n-1].Proto == x.Proto && int(x.Lo) <= int(out[n-1].Hi)+1 {
			out[n-1].Hi = max(out[n-1].Hi, x.Hi)
			continue
		}
		out = append(out, x)
	}
	return out
}
