package kernel

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"weir/nft"
)

// Bypass is something in another table that takes traffic past weir's chains, or
// shows it to them changed.
type Bypass struct {
	Kind   string // "flowtable", "notrack", "redirect" or "tproxy"
	Family string
	Table  string
	Name   string // of the flowtable, or of the chain with the rule
	Rules  int    // of that kind in the chain; 0 of a flowtable
	Device []string
}

// String says it in words.
func (b Bypass) String() string {
	if b.Kind == "flowtable" {
		return fmt.Sprintf("flowtable %s of table %s %s on %s", b.Name, b.Family, b.Table, strings.Join(b.Device, ", "))
	}
	return fmt.Sprintf("%s in chain %s of table %s %s", b.Kind, b.Name, b.Family, b.Table)
}

// bypassing are the expressions that do so. A flowtable without a rule that adds
// to it does nothing, but a rule is soon added.
var bypassing = map[string]string{"notrack": "notrack", "redir": "redirect", "tproxy": "tproxy"}

// attributes of nf_tables.h that the unix package may lack
const (
	attrFlowtableTable = 1 // NFTA_FLOWTABLE_TABLE
	attrFlowtableName  = 2 // NFTA_FLOWTABLE_NAME
	attrFlowtableHook  = 3 // NFTA_FLOWTABLE_HOOK
	attrFlowHookDevs   = 3 // NFTA_FLOWTABLE_HOOK_DEVS
	attrDeviceName     = 1 // NFTA_DEVICE_NAME
	msgGetFlowtable    = 23
)

// Bypasses lists what there is of that in all tables of the families inet, ip,
// ip6 and bridge but weir's own, sorted.
func (k *Kernel) Bypasses(ctx context.Context) ([]Bypass, error) {
	var out []Bypass
	_, err := k.c.stable(ctx, func() error {
		out = nil
		for _, f := range []byte{1, 2, 7, 10} {
			found := map[string]*Bypass{}
			if err := k.c.requestFamily(ctx, f, unix.NFT_MSG_GETRULE, func(p []byte) error {
				readBypasses(found, f, p)
				return nil
			}); err != nil {
				return err
			}
			for _, b := range found {
				out = append(out, *b)
			}
			if err := k.c.requestFamily(ctx, f, msgGetFlowtable, func(p []byte) error {
				if b, ok := readFlowtable(f, p); ok {
					out = append(out, b)
				}
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list what other tables do with packets: %w", err)
	}
	slices.SortFunc(out, func(a, b Bypass) int { return strings.Compare(a.String(), b.String()) })
	return out, nil
}

// readBypasses adds what one rule does.
func readBypasses(found map[string]*Bypass, family byte, p []byte) {
	table, chain := text(attr(p, unix.NFTA_RULE_TABLE)), text(attr(p, unix.NFTA_RULE_CHAIN))
	if family == familyInet && (table == nft.TableName || table == string(probe)) {
		return
	}
	for _, e := range attrs(attr(p, unix.NFTA_RULE_EXPRESSIONS)) {
		kind := bypassing[text(attr(e, unix.NFTA_EXPR_NAME))]
		if kind == "" && text(attr(e, unix.NFTA_EXPR_NAME)) == "target" {
			kind = iptablesTargets[text(attr(attr(e, unix.NFTA_EXPR_DATA), 1))] // NFTA_TARGET_NAME
		}
		if kind == "" {
			continue
		}
		key := kind + " " + table + " " + chain
		if found[key] == nil {
			found[key] = &Bypass{Kind: kind, Family: familyNames[family], Table: table, Name: chain}
		}
		found[key].Rules++
	}
}

// iptablesTargets are those that iptables-nft writes in its own form.
var iptablesTargets = map[string]string{"NOTRACK": "notrack", "CT": "notrack", "REDIRECT": "redirect", "TPROXY": "tproxy"}

func readFlowtable(family byte, p []byte) (Bypass, bool) {
	b := Bypass{Kind: "flowtable", Family: familyNames[family], Table: text(attr(p, attrFlowtableTable)), Name: text(attr(p, attrFlowtableName))}
	for _, d := range attrs(attr(attr(p, attrFlowtableHook), attrFlowHookDevs)) {
		b.Device = append(b.Device, text(d))
	}
	slices.Sort(b.Device)
	return b, b.Name != ""
}
