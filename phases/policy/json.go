package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"weir/phases/flow"
)

// ruleJSON is a Rule on disk and wire; what is empty is left out.
type ruleJSON struct {
	Group     string         `json:"group"`
	Endpoints []netip.Prefix `json:"endpoints,omitempty"`
	To        []netip.Prefix `json:"to,omitempty"`
	Services  []flow.Service `json:"services"`
	Families  []flow.Family  `json:"families,omitempty"`
	Reason    Reason         `json:"reason"`
	Name      string         `json:"name,omitempty"`
	Owner     string         `json:"owner,omitempty"`
	Expires   *time.Time     `json:"expires,omitempty"`
}

// MarshalJSON writes a rule with camelCase keys.
func (r Rule) MarshalJSON() ([]byte, error) {
	j := ruleJSON{r.Group, r.Endpoints, r.To, r.Services, r.Families, r.Reason, r.Name, r.Owner, nil}
	if !r.Expires.IsZero() {
		j.Expires = &r.Expires
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON wrote; unknown keys, reasons and
// families are errors.
func (r *Rule) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var j ruleJSON
	if err := d.Decode(&j); err != nil {
		return fmt.Errorf("cannot read rule: %w", err)
	}
	if !slices.Contains([]Reason{"", Observed, DeclaredBy, OneWay, Answered, Refactored}, j.Reason) {
		return fmt.Errorf("cannot read rule of group %s: unknown reason %q", j.Group, j.Reason)
	}
	for _, f := range j.Families {
		if f != flow.IPv4 && f != flow.IPv6 {
			return fmt.Errorf("cannot read rule of group %s: unknown family %q: want ipv4 or ipv6", j.Group, f)
		}
	}
	if slices.Contains(j.Endpoints, netip.Prefix{}) || slices.Contains(j.To, netip.Prefix{}) {
		return fmt.Errorf("cannot read rule of group %s: an empty prefix; leave the list out to mean any", j.Group)
	}
	if slices.Contains(j.Services, flow.Service{}) || len(j.Services) == 0 {
		return fmt.Errorf("cannot read rule of group %s: it needs at least one service", j.Group)
	}
	*r = Rule{j.Group, j.Endpoints, j.To, j.Services, j.Families, j.Reason, j.Name, j.Owner, time.Time{}}
	if j.Expires != nil {
		r.Expires = *j.Expires
	}
	return nil
}

// MarshalJSON writes a policy as {"rules": […]}.
func (p Policy) MarshalJSON() ([]byte, error) {
	rules := p.Rules
	if rules == nil {
		rules = []Rule{}
	}
	return json.Marshal(struct {
		Rules []Rule `json:"rules"`
	}{rules})
}

// boxJSON is a Box on the wire.
type boxJSON struct {
	Group   string       `json:"group"`
	Family  flow.Family  `json:"family"`
	Client  netip.Prefix `json:"client"`
	Server  netip.Prefix `json:"server"`
	Service flow.Service `json:"service"`
}

// MarshalJSON writes a box with lower-case keys.
func (b Box) MarshalJSON() ([]byte, error) { return json.Marshal(boxJSON(b)) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (b *Box) UnmarshalJSON(data []byte) error {
	var j boxJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return fmt.Errorf("cannot read box: %w", err)
	}
	*b = Box(j)
	return nil
}
