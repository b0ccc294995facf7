package nftjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"weir/phases/flow"
	"weir/phases/policy/rules"
)

// Read reads the JSON of a whole ruleset. The file's name is what rules say
// where they come from.
func Read(file, text string) (rules.Ruleset, error) {
	r := reader{file: file, sets: map[string][]any{}, chains: map[string]*rules.Chain{}}
	items, err := r.items(text)
	if err != nil {
		return rules.Ruleset{}, fmt.Errorf("cannot read %s: %w", file, err)
	}
	for _, step := range []func(item) error{r.named, r.chain, r.rule} {
		for _, it := range items {
			r.line = it.line
			if err := step(it); err != nil {
				return rules.Ruleset{}, fmt.Errorf("cannot read %s:%d: %w", file, it.line, err)
			}
		}
	}
	r.foreignFamilies()
	r.severalHooks()
	return r.out, nil
}

type reader struct {
	file   string
	line   int
	out    rules.Ruleset
	sets   map[string][]any // elements of named sets and maps, by "family table name"
	chains map[string]*rules.Chain
	only   []owned // chains of tables of one family
}

type owned struct {
	chain  *rules.Chain
	family flow.Family
}

// item is an object of the list: its kind and its fields.
type item struct {
	line int
	kind string
	obj  map[string]any
}

func (r *reader) note(format string, a ...any) {
	r.out.Notes = append(r.out.Notes, rules.Note{File: r.file, Line: r.line, Text: fmt.Sprintf(format, a...)})
}

// items cuts the list, keeping each object's line.
func (r *reader) items(text string) ([]item, error) {
	var top struct {
		Nftables []json.RawMessage `json:"nftables"`
	}
	if err := json.Unmarshal([]byte(text), &top); err != nil {
		return nil, fmt.Errorf("not the output of nft -j: %w", err)
	}
	if top.Nftables == nil {
		return nil, fmt.Errorf("not the output of nft -j: it has no list \"nftables\"")
	}
	oneLine := !strings.Contains(strings.TrimSpace(text), "\n")
	var out []item
	at, line := 0, 1
	for i, raw := range top.Nftables {
		if n := strings.Index(text[at:], string(raw)); n >= 0 {
			line += strings.Count(text[at:at+n], "\n")
			at += n
		}
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		var obj map[string]any
		if err := d.Decode(&obj); err != nil {
			return nil, fmt.Errorf("entry %d is no object", i+1)
		}
		it := item{line: line}
		if oneLine {
			it.line = i + 1
		}
		if add, ok := obj["add"].(map[string]any); ok { // as a script of commands
			obj = add
		}
		for k, v := range obj {
			m, ok := v.(map[string]any)
			if len(obj) != 1 || !ok {
				return nil, fmt.Errorf("entry %d is not one object with a kind", i+1)
			}
			it.kind, it.obj = k, m
		}
		out = append(out, it)
	}
	return out, nil
}

func str(m map[string]any, key string) string { s, _ := m[key].(string); return s }

func list(v any) []any {
	switch x := v.(type) {
	case nil:
		return nil
	case []any:
		return x
	}
	return []any{v}
}

// table returns the key of an object's table, and the family that it judges:
// "" for both. ok is false for families that are left aside.
func table(m map[string]any) (key string, fam flow.Family, ok bool) {
	f := str(m, "family")
	key = f + " " + str(m, "table")
	switch f {
	case "ip":
		return key, flow.IPv4, true
	case "ip6":
		return key, flow.IPv6, true
	case "inet":
		return key, "", true
	}
	return key, "", false
}

// named reads sets and maps, and names what is left aside.
func (r *reader) named(it item) error {
	switch it.kind {
	case "set", "map", "element":
		key, _, _ := table(it.obj)
		key += " " + str(it.obj, "name")
		r.sets[key] = append(r.sets[key], list(it.obj["elem"])...)
		if it.kind != "element" && r.sets[key] == nil {
			r.sets[key] = []any{}
		}
		if flags := fmt.Sprint(it.obj["flags"]); strings.Contains(flags, "dynamic") || strings.Contains(flags, "timeout") {
			r.note("the elements of %s %s change with time: they count as they were listed", it.kind, str(it.obj, "name"))
		}
	case "metainfo", "counter", "quota", "limit", "ct helper", "ct timeout", "ct expectation", "secmark", "synproxy", "chain", "rule":
	case "table":
		if f := str(it.obj, "family"); f != "ip" && f != "ip6" && f != "inet" {
			r.note("table %s %s is not about ip, ip6 or inet: left aside", f, str(it.obj, "name"))
		}
	case "flowtable":
		r.note("flowtable %s: packets of connections in it pass no chain", str(it.obj, "name"))
	default:
		r.note("object %q is not known: left aside", it.kind)
	}
	return nil
}

var hooks = []string{"prerouting", "input", "forward", "output", "postrouting", "ingress", "egress"}

// chain reads a chain's declaration.
func (r *reader) chain(it item) error {
	key, fam, ok := table(it.obj)
	if it.kind != "chain" || !ok {
		return nil
	}
	name := str(it.obj, "name")
	full := key + " " + name
	if r.chains[full] != nil {
		return fmt.Errorf("chain %s was declared before", full)
	}
	c := &rules.Chain{Name: name}
	for _, o := range r.out.Chains {
		if o.Name == name {
			c.Name = full
		}
	}
	if h := str(it.obj, "hook"); h != "" {
		if !slices.Contains(hooks, h) {
			return fmt.Errorf("chain %s: hook %q is not known", full, h)
		}
		if c.Hook, c.Default = h, rules.Accept; str(it.obj, "policy") == "drop" {
			c.Default = rules.Drop
		}
		if t := str(it.obj, "type"); t != "filter" && r.out.Chain(name) == nil {
			c.Name = t + ":" + name
		}
	}
	r.chains[full] = c
	r.out.Chains = append(r.out.Chains, c)
	if fam != "" {
		r.only = append(r.only, owned{c, fam})
	}
	return nil
}

// foreignFamilies makes the families of the ruleset: a chain of one family
// accepts what is of the other where the ruleset judges both.
func (r *reader) foreignFamilies() {
	fams := map[flow.Family]bool{}
	for _, o := range r.only {
		fams[o.family] = true
	}
	if len(r.only) == len(r.out.Chains) && len(fams) == 1 {
		r.out.Families = []flow.Family{r.only[0].family}
		return
	}
	for _, o := range r.only {
		other := flow.IPv6
		if o.family == flow.IPv6 {
			other = flow.IPv4
		}
		if o.chain.Hook != "" {
			o.chain.Rules = slices.Insert(o.chain.Rules, 0, rules.Rule{File: r.file, Text: "a table of " + string(o.family) + " judges nothing else",
				Match: rules.Match{Family: other}, Action: rules.Accept})
		}
	}
}

// severalHooks says where a packet must pass more than one chain.
func (r *reader) severalHooks() {
	r.line = 0
	for _, h := range hooks {
		var names []string
		for _, c := range r.out.Chains {
			if c.Hook == h && !strings.Contains(c.Name, ":") {
				names = append(names, c.Name)
			}
		}
		if len(names) > 1 {
			r.note("%d chains are hooked to %s (%s): a packet passes only if each accepts it; each is judged by itself", len(names), h, strings.Join(names, ", "))
		}
	}
}
