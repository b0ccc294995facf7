package kernel

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"weir/nft"
)

// Want is what the table should hold: the skeleton and some revisions, as they
// were recorded. It is made once and compared often; it does not change.
type Want struct {
	chains map[string][]*wantChain // more than one where the skeletons of two revisions differ
	sets   map[string]*wantSet
	count  []string                   // named counters
	ids    map[string]bool            // of the revisions
	known  map[string]bool            // of further revisions, which may be there and are not looked at
	hooks  map[string]map[string]bool // hook letter → chains that trial and stable may lead to
	groups map[string]bool
}

type wantChain struct {
	nft.Chain
	skeleton bool
	rules    []digest
	base     string
	sum      digest
}

type wantSet struct {
	set
	skeleton bool // its elements are not compared
	sum      []byte
	listed   int // elements as the kernel counts them, ends of ranges included
}

// NewWant makes a Want of revisions. Where their skeletons differ, any of them
// may be the one that was loaded last. known are the ids of all other revisions
// that may be loaded.
func NewWant(revs []nft.Revision, known []string) (*Want, error) {
	w := &Want{chains: map[string][]*wantChain{}, sets: map[string]*wantSet{}, ids: map[string]bool{}, known: map[string]bool{},
		hooks: map[string]map[string]bool{}, groups: map[string]bool{}}
	for _, id := range known {
		w.known[id] = true
	}
	for _, rev := range revs {
		w.ids[rev.ID] = true
		for _, g := range rev.Groups {
			w.groups[g] = true
		}
		for h, c := range rev.Entry {
			if w.hooks[h] == nil {
				w.hooks[h] = map[string]bool{}
			}
			w.hooks[h][c] = true
		}
		for i, r := range []nft.Ruleset{rev.Skeleton, rev.Ruleset} {
			w.count = append(w.count, r.Counters...)
			for _, c := range r.Chains {
				if err := w.chain(c, i == 0); err != nil {
					return nil, fmt.Errorf("cannot say what revision %s should be: %w", rev.ID, err)
				}
			}
			for _, s := range r.Sets {
				if err := w.set(s, i == 0); err != nil {
					return nil, fmt.Errorf("cannot say what revision %s should be: %w", rev.ID, err)
				}
			}
		}
	}
	slices.Sort(w.count)
	w.count = slices.Compact(w.count)
	return w, nil
}

func (w *Want) chain(c nft.Chain, skeleton bool) error {
	x := &wantChain{Chain: c, skeleton: skeleton, base: baseText(c)}
	for _, r := range c.Rules {
		d, err := ruleDigest(r)
		if err != nil {
			return fmt.Errorf("chain %s: %w", c.Name, err)
		}
		x.rules = append(x.rules, d)
	}
	x.sum = chainDigest(x.base, x.rules)
	all := slices.DeleteFunc(w.chains[c.Name], func(o *wantChain) bool { return o.sum == x.sum })
	w.chains[c.Name] = append(all, x)
	return nil
}

func (w *Want) set(s nft.Set, skeleton bool) error {
	if old, ok := w.sets[s.Name]; ok && !skeleton && !old.skeleton {
		return nil // shared, and named by its content
	}
	v, err := newSet(s)
	if err != nil {
		return err
	}
	x := &wantSet{set: v, skeleton: skeleton}
	if !skeleton {
		if x.sum, x.listed, err = wantedSum(&v); err != nil {
			return err
		}
	}
	w.sets[s.Name] = x
	return nil
}

// baseText is what a base chain hangs on; "" of any other chain.
func baseText(c nft.Chain) string {
	if c.Hook == "" {
		return ""
	}
	return fmt.Sprintf("type %s hook %s priority %d; policy accept", c.Type, c.Hook, c.Priority)
}

func chainDigest(base string, rules []digest) digest {
	h := sha256.New()
	field(h, []byte(base))
	for _, d := range rules {
		h.Write(d[:])
	}
	return digestOf(h)
}

// mine says whether a name is one that weir gives: of the skeleton where the
// marker lists the chain, or of a revision that is known.
func (w *Want) mine(name string, marks map[string]uint32) bool {
	if id := revisionOf(name); id != "" {
		return w.known[id] || w.ids[id]
	}
	return strings.HasPrefix(name, "w_") && marks[chainMark(name)] != 0
}

// contentName says whether a set is named by its content, as those are that
// revisions share. One that is left of a load that was cut short is in no
// marker, and does nothing.
func contentName(name string) bool {
	return len(name) == 14 && strings.Trim(name[2:], "0123456789abcdef") == ""
}

// pick is the version of a chain that the marker says was loaded; without it
// the last one.
func pick(versions []*wantChain, marks map[string]uint32) *wantChain {
	for _, v := range versions {
		if sum, err := checksum(v.Chain); err == nil && v.skeleton && marks[chainMark(v.Name)] == sum {
			return v
		}
	}
	return versions[len(versions)-1]
}
