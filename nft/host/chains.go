package host

import (
	"fmt"

	"github.com/google/nftables"
)

var familyNames = map[nftables.TableFamily]string{
	nftables.TableFamilyINet: "inet", nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6",
	nftables.TableFamilyARP: "arp", nftables.TableFamilyNetdev: "netdev", nftables.TableFamilyBridge: "bridge",
}

var hookNames = [...]string{"prerouting", "input", "forward", "output", "postrouting", "ingress"}

// chains lists the base chains of everybody's nftables (iptables-nft included),
// for the current thread's network namespace.
func (s *sight) chains() {
	c, err := nftables.New()
	if err != nil {
		s.problem("cannot list the nftables chains: %v", err)
		return
	}
	all, err := c.ListChains()
	if err != nil {
		s.problem("cannot list the nftables chains: %v", err)
		return
	}
	for _, ch := range all {
		if ch.Hooknum == nil {
			continue
		}
		out := Chain{Family: familyNames[ch.Table.Family], Table: ch.Table.Name, Name: ch.Name, Type: string(ch.Type),
			Drops: ch.Policy != nil && *ch.Policy == nftables.ChainPolicyDrop}
		out.Hook = fmt.Sprintf("hook %d", *ch.Hooknum)
		if h := int(*ch.Hooknum); h < len(hookNames) && ch.Table.Family != nftables.TableFamilyARP && ch.Table.Family != nftables.TableFamilyNetdev {
			out.Hook = hookNames[h]
		}
		if ch.Priority != nil {
			out.Priority = int(*ch.Priority)
		}
		s.m.Chains = append(s.m.Chains, out)
	}
}
