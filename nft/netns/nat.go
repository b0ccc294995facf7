package netns

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// Masquerade gives packets that leave by an interface the interface's address,
// both families, in a table of its own ("lab"), as an operator's ruleset would:
//
//	table inet lab { chain post { type nat hook postrouting priority 100; oifname "wan0" masquerade } }
func (n *NS) Masquerade(iface string) error {
	return n.with("masquerade on "+iface, func() error {
		c, err := nftables.New(nftables.WithNetNSFd(n.FD()))
		if err != nil {
			return err
		}
		t := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "lab"})
		ch := c.AddChain(&nftables.Chain{Name: "post", Table: t, Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource})
		name := make([]byte, 16)
		copy(name, iface)
		c.AddRule(&nftables.Rule{Table: t, Chain: ch, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
			&expr.Masq{},
		}})
		if err := c.Flush(); err != nil {
			return fmt.Errorf("cannot write the nat table: %w", err)
		}
		return nil
	})
}
