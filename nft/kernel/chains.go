package kernel

import (
	"fmt"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"weir/nft"
)

const (
	newElem = unix.NFT_MSG_NEWSETELEM
	delElem = unix.NFT_MSG_DELSETELEM
	create  = unix.NLM_F_CREATE
)

// addTable writes: add table inet weir. It carries no flags, so that a table
// that exists keeps its own.
func (b *batch) addTable(t table) {
	b.add(unix.NFT_MSG_NEWTABLE, create, func(w *wire) { w.str(unix.NFTA_TABLE_NAME, string(t)) })
}

// deleteTable writes: delete table inet weir
func (b *batch) deleteTable(t table) {
	b.add(unix.NFT_MSG_DELTABLE, 0, func(w *wire) { w.str(unix.NFTA_TABLE_NAME, string(t)) })
}

// addCounter writes: add counter inet weir NAME
func (b *batch) addCounter(t table, name string) {
	b.add(unix.NFT_MSG_NEWOBJ, create, func(w *wire) {
		w.str(unix.NFTA_OBJ_TABLE, string(t))
		w.str(unix.NFTA_OBJ_NAME, name)
		w.u32(unix.NFTA_OBJ_TYPE, unix.NFT_OBJECT_COUNTER)
		d := w.nest(unix.NFTA_OBJ_DATA)
		w.u64(unix.NFTA_COUNTER_BYTES, 0)
		w.u64(unix.NFTA_COUNTER_PACKETS, 0)
		w.unnest(d)
	})
}

var hookNumbers = map[string]uint32{
	"prerouting": unix.NF_INET_PRE_ROUTING, "input": unix.NF_INET_LOCAL_IN, "forward": unix.NF_INET_FORWARD,
	"output": unix.NF_INET_LOCAL_OUT, "postrouting": unix.NF_INET_POST_ROUTING,
}

// addChain writes: add chain inet weir NAME
// or, of a base chain: add chain inet weir NAME { type T hook H priority P ; policy accept ; }
func (b *batch) addChain(t table, c nft.Chain) error {
	hook, ok := hookNumbers[c.Hook]
	if c.Hook != "" && !ok {
		return fmt.Errorf("cannot write chain %s: no hook %q", c.Name, c.Hook)
	}
	b.add(unix.NFT_MSG_NEWCHAIN, create, func(w *wire) {
		w.str(unix.NFTA_CHAIN_TABLE, string(t))
		w.str(unix.NFTA_CHAIN_NAME, c.Name)
		if c.Hook == "" {
			return
		}
		h := w.nest(unix.NFTA_CHAIN_HOOK)
		w.u32(unix.NFTA_HOOK_HOOKNUM, hook)
		w.u32(unix.NFTA_HOOK_PRIORITY, uint32(c.Priority))
		w.unnest(h)
		w.u32(unix.NFTA_CHAIN_POLICY, uint32(verdictCodes["accept"]))
		w.str(unix.NFTA_CHAIN_TYPE, c.Type)
	})
	return nil
}

// deleteChain writes: delete chain inet weir NAME
func (b *batch) deleteChain(t table, name string) {
	b.add(unix.NFT_MSG_DELCHAIN, 0, func(w *wire) {
		w.str(unix.NFTA_CHAIN_TABLE, string(t))
		w.str(unix.NFTA_CHAIN_NAME, name)
	})
}

// flushChain writes: flush chain inet weir NAME
func (b *batch) flushChain(t table, name string) {
	b.add(unix.NFT_MSG_DELRULE, 0, func(w *wire) {
		w.str(unix.NFTA_RULE_TABLE, string(t))
		w.str(unix.NFTA_RULE_CHAIN, name)
	})
}

// deleteRule writes: delete rule inet weir CHAIN handle N
func (b *batch) deleteRule(t table, chain string, handle uint64) {
	b.add(unix.NFT_MSG_DELRULE, 0, func(w *wire) {
		w.str(unix.NFTA_RULE_TABLE, string(t))
		w.str(unix.NFTA_RULE_CHAIN, chain)
		w.u64(unix.NFTA_RULE_HANDLE, handle)
	})
}

// addRule writes: add rule inet weir CHAIN STATEMENTS
func (b *batch) addRule(t table, chain string, rule nft.Rule) error {
	r := &ruleWriter{b: b, t: t, known: map[nft.Field]bool{}}
	for _, s := range rule.Stmts {
		if err := r.stmt(s); err != nil {
			return fmt.Errorf("cannot write a rule of chain %s: %w", chain, err)
		}
	}
	if len(rule.Comment) > 127 {
		return fmt.Errorf("cannot write a rule of chain %s: its comment is longer than 127 bytes", chain)
	}
	var list wire
	for _, e := range r.exprs {
		data, err := expr.Marshal(familyInet, e)
		if err != nil {
			return fmt.Errorf("cannot write a rule of chain %s: %w", chain, err)
		}
		list.bytes(unix.NFTA_LIST_ELEM|nested, data)
	}
	b.add(unix.NFT_MSG_NEWRULE, create|unix.NLM_F_APPEND, func(w *wire) {
		w.str(unix.NFTA_RULE_TABLE, string(t))
		w.str(unix.NFTA_RULE_CHAIN, chain)
		w.bytes(unix.NFTA_RULE_EXPRESSIONS|nested, list)
		if rule.Comment != "" {
			w.bytes(unix.NFTA_RULE_USERDATA, comment(rule.Comment))
		}
	})
	return nil
}
