package main

import (
	"github.com/spf13/cobra"
)

var _ = register(func(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "what existing rules amount to: infer, compare, query, matrix, suggest",
		Long: `Reads rules that are there already and says what they amount to. Needs no daemon
and no rights, and changes nothing. A FILE is one of these, told by its content:

  iptables-save or ip6tables-save   both at once: fw.v4,fw.v6
  rules for nft -f                  read by nft in a namespace of its own
  nft -j list ruleset               or live: for this machine's own, by nft
  a rollout plan                    what it lets pass in the end; --evidence FILE
  what weir policy infer -o nft     wrote

"-" is standard input. Sets that rules of iptables look into come from what
ipset save wrote: --sets FILE. What the header of a packet does not decide (a
uid, a mark, a rate) is a question of its own, never guessed; what is not
understood is named with its line on stderr.`,
	}
	c.AddCommand(e.policyInfer("infer"), e.policyCompare("compare"), e.policyQuery(), e.policyMatrix(), e.policySuggest())
	return c
})

var _ = register(func(e *env) *cobra.Command { return e.policyInfer("infer") })
var _ = register(func(e *env) *cobra.Command { return e.policyCompare("compare") })
