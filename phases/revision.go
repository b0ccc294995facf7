package phases

import (
	"encoding/json"
	"fmt"

	"weir/nft"
)

// revisionJSON writes a revision with the kind of each statement beside it, so
// that it reads back as it was.
type revisionJSON struct{ nft.Revision }

type stmtJSON struct {
	Kind string          `json:"k"`
	Stmt json.RawMessage `json:"v"`
}

type ruleJSON struct {
	Stmts   []stmtJSON `json:"stmts"`
	Comment string     `json:"comment,omitempty"`
}

type chainJSON struct {
	nft.Chain
	Rules []ruleJSON
}

type rulesetJSON struct {
	nft.Ruleset
	Chains []chainJSON
}

type revJSON struct {
	nft.Revision
	Skeleton rulesetJSON
	Ruleset  rulesetJSON
}

func (r revisionJSON) MarshalJSON() ([]byte, error) {
	out := revJSON{Revision: r.Revision}
	var err error
	if out.Skeleton, err = wrapRuleset(r.Skeleton); err != nil {
		return nil, err
	}
	if out.Ruleset, err = wrapRuleset(r.Ruleset); err != nil {
		return nil, err
	}
	out.Revision.Skeleton, out.Revision.Ruleset = nft.Ruleset{}, nft.Ruleset{}
	return json.Marshal(out)
}

func (r *revisionJSON) UnmarshalJSON(b []byte) error {
	var in revJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	r.Revision = in.Revision
	var err error
	if r.Skeleton, err = unwrapRuleset(in.Skeleton); err != nil {
		return err
	}
	r.Ruleset, err = unwrapRuleset(in.Ruleset)
	return err
}

func wrapRuleset(r nft.Ruleset) (rulesetJSON, error) {
	out := rulesetJSON{Ruleset: r}
	out.Ruleset.Chains = nil
	for _, c := range r.Chains {
		w := chainJSON{Chain: c}
		w.Chain.Rules = nil
		for _, rule := range c.Rules {
			wr := ruleJSON{Comment: rule.Comment}
			for _, s := range rule.Stmts {
				kind, err := stmtKind(s)
				if err != nil {
					return out, err
				}
				v, err := json.Marshal(s)
				if err != nil {
					return out, err
				}
				wr.Stmts = append(wr.Stmts, stmtJSON{kind, v})
			}
			w.Rules = append(w.Rules, wr)
		}
		out.Chains = append(out.Chains, w)
	}
	return out, nil
}

func unwrapRuleset(in rulesetJSON) (nft.Ruleset, error) {
	out := in.Ruleset
	out.Chains = nil
	for _, c := range in.Chains {
		w := c.Chain
		for _, rule := range c.Rules {
			wr := nft.Rule{Comment: rule.Comment}
			for _, s := range rule.Stmts {
				v, err := readStmt(s)
				if err != nil {
					return out, err
				}
				wr.Stmts = append(wr.Stmts, v)
			}
			w.Rules = append(w.Rules, wr)
		}
		out.Chains = append(out.Chains, w)
	}
	return out, nil
}

func stmtKind(s nft.Stmt) (string, error) {
	switch s.(type) {
	case nft.Match:
		return "match", nil
	case nft.Jhash:
		return "jhash", nil
	case nft.Vmap:
		return "vmap", nil
	case nft.Count:
		return "count", nil
	case nft.Log:
		return "log", nil
	case nft.Limit:
		return "limit", nil
	case nft.SetOp:
		return "setop", nil
	case nft.Verdict:
		return "verdict", nil
	case nft.Reject:
		return "reject", nil
	case nft.Redirect:
		return "redirect", nil
	}
	return "", fmt.Errorf("cannot write a statement of type %T", s)
}

func readStmt(s stmtJSON) (nft.Stmt, error) {
	switch s.Kind {
	case "match":
		return readAs[nft.Match](s.Stmt)
	case "jhash":
		return readAs[nft.Jhash](s.Stmt)
	case "vmap":
		return readAs[nft.Vmap](s.Stmt)
	case "count":
		return readAs[nft.Count](s.Stmt)
	case "log":
		return readAs[nft.Log](s.Stmt)
	case "limit":
		return readAs[nft.Limit](s.Stmt)
	case "setop":
		return readAs[nft.SetOp](s.Stmt)
	case "verdict":
		return readAs[nft.Verdict](s.Stmt)
	case "reject":
		return readAs[nft.Reject](s.Stmt)
	case "redirect":
		return readAs[nft.Redirect](s.Stmt)
	}
	return nil, fmt.Errorf("cannot read a statement of kind %q", s.Kind)
}

func readAs[T nft.Stmt](b []byte) (nft.Stmt, error) {
	var v T
	err := json.Unmarshal(b, &v)
	return v, err
}
