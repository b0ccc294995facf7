package phases

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"weir/nft"
	"weir/phases/approval"
	"weir/phases/compile"
	"weir/phases/health"
	"weir/phases/refactor"
)

// FrozenVersion is the version of the file of a frozen step.
const FrozenVersion = 1

// Head is what a frozen step says of itself without its large parts. Its JSON
// is the first line of the file and its SHA-256 is the step's digest; it holds
// the hashes of the other lines, so the digest covers everything.
type Head struct {
	Version  int               `json:"version"`
	Plan     string            `json:"plan"` // hash
	Step     Step              `json:"step"`
	Revision string            `json:"revision"` // ID
	Entry    map[string]string `json:"entry"`
	Hooks    []string          `json:"hooks"`
	OffID    string            `json:"offId"` // the revision that "off" goes back to
	OffEntry map[string]string `json:"offEntry"`
	Over     string            `json:"over"`     // stable revision that it was frozen upon, "" none
	OverStep string            `json:"overStep"` // digest of the frozen step that was confirmed then, "" none
	UpTo     time.Time         `json:"upTo"`     // evidence is up to here
	Backouts []Backout         `json:"backouts"` // every way back, newest confirmed step first, "off" last
	By       Actor             `json:"by"`
	At       time.Time         `json:"at"`
	Forecast *health.Forecast  `json:"forecast,omitempty"` // who will lose what answered them before; nil where nobody is narrowed
	Hashes   map[string]string `json:"hashes"`             // of plan, evidence, policy, lifelines and of the lines input, revision, off
	Proof    *refactor.Proof   `json:"proof,omitempty"`    // what the step's refactoring changes; nil: it has none
	Ask      *approval.Ask     `json:"ask,omitempty"`      // what binds signatures to this request; nil without a trust file

	Floor     []string   `json:"floor,omitempty"`     // what this machine's own configuration names and the step lets pass for that: "resolvers 198.51.100.53"
	Rehearsal *Rehearsal `json:"rehearsal,omitempty"` // nil: frozen by a weir that did not rehearse; it is not armed

	digest string
}

// Digest is "sha256:" and 64 hex digits, over the head as it is in the file.
func (h Head) Digest() string {
	if h.digest != "" {
		return h.digest
	}
	line, err := json.Marshal(h)
	if err != nil {
		panic("phases: a head that is not JSON: " + err.Error()) // only strings, numbers and times
	}
	return hashOf(line)
}

// Backout is the way back from a frozen step to an earlier one.
type Backout struct {
	To     string       `json:"to"`     // step name
	Digest string       `json:"digest"` // of the frozen step that it returns to; "" for off
	Nft    nft.Rollback `json:"nft"`
}

// Frozen is what is approved and armed: made once, kept as a file, never
// computed again.
type Frozen struct {
	Head
	Input  compile.Input // what the revision was compiled from
	Rules  nft.Revision
	OffRev nft.Revision
}

// Encode writes the file: four lines of JSON, the head, input, revision, off.
// It sets the hashes of the lines.
func (f *Frozen) Encode() ([]byte, error) {
	parts := []struct {
		name string
		v    any
	}{{"input", f.Input}, {"revision", f.Rules}, {"off", f.OffRev}}
	var body bytes.Buffer
	if f.Hashes == nil {
		f.Hashes = map[string]string{}
	}
	for _, p := range parts {
		line, err := json.Marshal(p.v)
		if err != nil {
			return nil, fmt.Errorf("cannot write the frozen step's %s: %w", p.name, err)
		}
		f.Hashes[p.name] = hashOf(line)
		body.Write(line)
		body.WriteByte('\n')
	}
	for name, v := range map[string]any{"policy": f.Input.Policy, "lifelines": f.Input.Lifelines} {
		line, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("cannot write the frozen step's %s: %w", name, err)
		}
		f.Hashes[name] = hashOf(line)
	}
	if f.Proof != nil {
		line, err := json.Marshal(f.Proof)
		if err != nil {
			return nil, fmt.Errorf("cannot write the frozen step's proof: %w", err)
		}
		f.Hashes["proof"] = hashOf(line)
	}
	f.Version = FrozenVersion
	head, err := json.Marshal(f.Head)
	if err != nil {
		return nil, fmt.Errorf("cannot write the frozen step's head: %w", err)
	}
	f.digest = hashOf(head)
	return append(append(head, '\n'), body.Bytes()...), nil
}

// withoutInput leaves the line of the input empty: what a boot needs.
func withoutInput(data []byte) []byte {
	lines := bytes.SplitN(data, []byte("\n"), 3)
	return bytes.Join([][]byte{lines[0], nil, lines[2]}, []byte("\n"))
}

// DecodeFrozen reads what Encode wrote and verifies it against the digest.
func DecodeFrozen(digest string, data []byte) (Frozen, error) {
	return decodeFrozen(digest, data, true)
}

// decodeFrozen reads a whole file, or one without its input.
func decodeFrozen(digest string, data []byte, whole bool) (Frozen, error) {
	lines := bytes.SplitN(data, []byte("\n"), 5)
	if len(lines) != 5 || len(lines[4]) != 0 {
		return Frozen{}, fmt.Errorf("cannot read frozen step %s: want 4 lines: %w", digest, ErrCorrupt)
	}
	if got := hashOf(lines[0]); got != digest {
		return Frozen{}, fmt.Errorf("cannot read frozen step %s: its digest is %s: %w", digest, got, ErrCorrupt)
	}
	var f Frozen
	if err := json.Unmarshal(lines[0], &f.Head); err != nil {
		return Frozen{}, fmt.Errorf("cannot read frozen step %s: %w", digest, err)
	}
	if f.Version != FrozenVersion {
		return Frozen{}, fmt.Errorf("cannot read frozen step %s: it has version %d, this weir reads %d", digest, f.Version, FrozenVersion)
	}
	var rules, off nft.Revision
	for i, p := range []struct {
		name string
		v    any
	}{{"input", &f.Input}, {"revision", &rules}, {"off", &off}} {
		if i == 0 && !whole {
			continue
		}
		if got := hashOf(lines[i+1]); got != f.Hashes[p.name] {
			return Frozen{}, fmt.Errorf("cannot read frozen step %s: its %s was changed: %w", digest, p.name, ErrCorrupt)
		}
		if err := json.Unmarshal(lines[i+1], p.v); err != nil {
			return Frozen{}, fmt.Errorf("cannot read frozen step %s: %s: %w", digest, p.name, err)
		}
	}
	f.Rules, f.OffRev = rules, off
	f.digest = digest
	return f, nil
}

func hashOf(b []byte) string {
	s := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(s[:])
}
