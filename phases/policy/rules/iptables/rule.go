package iptables

import (
	"fmt"
	"slices"
	"strings"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

// ruleReader holds what is known of one rule while its words are read.
type ruleReader struct {
	p      *parser
	words  []string
	m      rules.Match
	proto  flow.Proto
	either []rules.PortRange // of multiport --ports
	ways   []rules.Match     // of a set with several dimensions: any of them; nil is no such set
	action rules.Action
	target string
}

// rule reads the words after "-A CHAIN".
func (p *parser) rule(words []string) ([]rules.Rule, error) {
	r := ruleReader{p: p, words: words, action: rules.Continue, m: rules.Match{Family: p.family}}
	for len(r.words) > 0 {
		if err := r.option(); err != nil {
			return nil, err
		}
	}
	out := rules.Rule{File: p.file, Line: p.line, Text: p.text, Match: r.m, Action: r.action, Target: r.target}
	list := []rules.Rule{out}
	if r.either != nil {
		list = either(list, []rules.Match{{SrcPorts: []rules.Ports{{Ranges: r.either}}}, {Services: []rules.Services{{Ranges: on(r.proto, r.either)}}}})
	}
	if r.ways != nil {
		list = either(list, r.ways)
	}
	return list, nil
}

// either makes a rule for each way to match.
func either(list []rules.Rule, ways []rules.Match) (out []rules.Rule) {
	for _, x := range list {
		for _, w := range ways {
			y := x
			y.Match = x.Match.And(w)
			out = append(out, y)
		}
	}
	return out
}

func (r *ruleReader) next() (string, error) {
	if len(r.words) == 0 {
		return "", fmt.Errorf("the line ends too early")
	}
	w := r.words[0]
	r.words = r.words[1:]
	return w, nil
}

// option reads one option with its arguments.
func (r *ruleReader) option() error {
	opt, _ := r.next()
	not := false
	if opt == "!" {
		not = true
		var err error
		if opt, err = r.next(); err != nil {
			return err
		}
	}
	if len(r.words) > 1 && r.words[0] == "!" && (len(opt) == 2 || known[opt]) { // as older versions print it
		not = !not
		r.words = r.words[1:]
	}
	switch opt {
	case "-m", "--match":
		name, err := r.next()
		if err != nil {
			return err
		}
		if modules[name] {
			return nil
		}
		return r.unknown(name)
	case "-j", "--jump", "-g", "--goto":
		return r.to(opt)
	case "-c", "--set-counters":
		_, err1 := r.next()
		_, err2 := r.next()
		if err1 != nil || err2 != nil {
			return fmt.Errorf("-c needs two numbers")
		}
		return nil
	case "--match-set":
		return r.matchSet(not)
	case "-f", "--fragment":
		r.test("-f", not, false)
		return nil
	case "--syn":
		r.test("--tcp-flags FIN,SYN,RST,ACK SYN", not, false)
		return nil
	case "--tcp-flags":
		a, err1 := r.next()
		b, err2 := r.next()
		if err1 != nil || err2 != nil {
			return fmt.Errorf("--tcp-flags needs a mask and flags")
		}
		r.test("--tcp-flags "+a+" "+b, not, false)
		return nil
	}
	if strings.HasPrefix(opt, "--ct") && !known[opt] { // of conntrack: other than the packet's own header
		arg, err := r.next()
		r.test(opt+" "+arg, not, false)
		return err
	}
	if !known[opt] {
		words := []string{opt}
		for len(r.words) > 0 && !r.ours() {
			words = append(words, r.words[0])
			r.words = r.words[1:]
		}
		r.p.note("option %q is not known: undecided", strings.Join(words, " "))
		r.test(strings.Join(words, " "), not, true)
		return nil
	}
	arg, err := r.next()
	if err != nil {
		return err
	}
	before := r.m
	if err := r.decided(opt, arg, not); err != nil {
		r.p.note("%v: undecided", err)
		r.m = before
		r.test(opt+" "+arg, not, false)
	}
	return nil
}

// ours says whether the next word is an option of the rule itself.
func (r *ruleReader) ours() bool {
	w := r.words[0]
	if w == "!" && len(r.words) > 1 {
		w = r.words[1]
	}
	return known[w] || w == "--syn" || w == "--tcp-flags" || w == "-f" || w == "--match-set" || len(w) == 2 && w[0] == '-' && strings.Contains("msdpiojgc", w[1:])
}

// known are the options with one argument that the header decides, and
// comments.
var known = map[string]bool{
	"-s": true, "--source": true, "--src": true, "-d": true, "--destination": true, "--dst": true,
	"-p": true, "--protocol": true, "-i": true, "--in-interface": true, "-o": true, "--out-interface": true,
	"--sport": true, "--source-port": true, "--dport": true, "--destination-port": true,
	"--sports": true, "--source-ports": true, "--dports": true, "--destination-ports": true, "--ports": true,
	"--icmp-type": true, "--icmpv6-type": true, "--state": true, "--ctstate": true,
	"--src-range": true, "--dst-range": true, "--comment": true,
}

// modules are those whose options are all read.
var modules = map[string]bool{"tcp": true, "udp": true, "icmp": true, "icmp6": true, "icmpv6": true, "multiport": true,
	"state": true, "conntrack": true, "iprange": true, "comment": true, "sctp": true, "dccp": true, "udplite": true, "set": true}

// own are modules whose answer differs from rule to rule.
var own = []string{"limit", "hashlimit", "recent", "statistic", "connlimit", "quota", "nth", "random", "dstlimit", "psd"}

func (r *ruleReader) test(text string, not, own bool) {
	r.m.Tests = append(r.m.Tests, rules.Test{Text: text, Not: not, Own: own, File: r.p.file, Line: r.p.line})
}

// unknown takes the words of a module, up to the next option that is not its
// own.
func (r *ruleReader) unknown(name string) error {
	var words []string
	for len(r.words) > 0 {
		if r.ours() {
			break
		}
		words = append(words, r.words[0])
		r.words = r.words[1:]
	}
	not := len(words) > 0 && words[0] == "!" && !slices.Contains(words[1:], "!")
	if not {
		n := 0
		for _, w := range words {
			if strings.HasPrefix(w, "--") {
				n++
			}
		}
		if not = n == 1; not {
			words = words[1:]
		}
	}
	r.test(strings.Join(append([]string{"-m", name}, words...), " "), not, slices.Contains(own, name))
	return nil
}

// continues are targets after which the next rule is tried.
var continues = []string{"LOG", "NFLOG", "ULOG", "MARK", "CONNMARK", "CLASSIFY", "TCPMSS", "TOS", "DSCP", "TTL", "HL", "SET", "ECN",
	"SECMARK", "CONNSECMARK", "CT", "NOTRACK", "AUDIT", "TRACE", "CHECKSUM", "TEE", "IDLETIMER", "RATEEST", "LED"}

// translate are targets of the nat table that end its traversal.
var translate = []string{"DNAT", "SNAT", "MASQUERADE", "REDIRECT", "NETMAP"}

func (r *ruleReader) to(opt string) error {
	target, err := r.next()
	if err != nil {
		return err
	}
	switch {
	case opt == "-g" || opt == "--goto":
		r.action, r.target = rules.Goto, r.p.qualify(target)
		return nil
	case target == "ACCEPT":
		r.action = rules.Accept
	case target == "DROP":
		r.action = rules.Drop
	case target == "REJECT":
		r.action = rules.Reject
	case target == "RETURN":
		r.action = rules.Return
	case target == "QUEUE" || target == "NFQUEUE":
		r.action = rules.Accept
		r.p.note("%s hands packets to a program: it counts as accept", target)
	case slices.Contains(continues, target):
		if strings.HasSuffix(target, "LOG") {
			r.p.note("%s: the next rule is tried after it", target)
		}
		r.action = rules.Continue
	case slices.Contains(translate, target):
		r.action = rules.Accept
	default:
		r.action, r.target = rules.Jump, r.p.qualify(target)
	}
	if r.action != rules.Jump { // what follows is the target's own
		r.words = nil
		return nil
	}
	if len(r.words) > 0 && r.p.out.Chain(r.target) == nil { // an unknown target's options
		r.words = nil
	}
	return nil
}
