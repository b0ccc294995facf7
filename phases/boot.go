package phases

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/nft"
	"weir/plans"
)

// BootVersion is the version of the boot snapshot's format.
const BootVersion = 1

// bootMagic begins the snapshot's first line: the magic, the version, and the
// hash of everything after that line.
const bootMagic = "weir-boot-v"

// Boot is what a machine that was started again begins with: the confirmed step
// as the recorded bytes, and what the ways back from it lead to. It needs
// nothing beside it, neither journal nor frozen steps.
type Boot struct {
	OnBoot   string    `json:"onBoot"` // plans.OnBootRestore or plans.OnBootOpen
	At       time.Time `json:"at"`
	Step     string    `json:"step"`             // name; "off"
	Digest   string    `json:"digest"`           // of the frozen step; "" for off
	Revision string    `json:"revision"`         // what becomes stable
	From     string    `json:"from"`             // digest of the frozen step whose ruleset, or for off whose off, it is
	Back     []string  `json:"back,omitempty"`   // groups that are back in alert, by name
	Nonces   []string  `json:"nonces,omitempty"` // that are spent, sorted
	ByHand   bool      `json:"byHand,omitempty"` // somebody rolled back without the daemon, which has not seen it
	Parts    []Part    `json:"parts"`            // the frozen steps that follow, that of From first
	parts    map[string][]byte
}

// Part is a frozen step in the snapshot: head, revision and off; not what they
// were compiled from.
type Part struct {
	Digest string `json:"digest"`
	Size   int    `json:"size"` // bytes
}

// Errors of reading a snapshot.
var (
	ErrBoot      = errors.New("the boot snapshot is damaged")
	ErrBootNewer = errors.New("the boot snapshot was written by a newer weir")
)

// BootOf is what a boot restores while the frozen step with this head is
// confirmed; with off, while everything passes, by that step's "off".
func BootOf(h Head, off bool, back []string) Boot {
	b := Boot{OnBoot: plans.OnBootRestore, Step: h.Step.Name, Digest: h.Digest(), Revision: h.Revision, From: h.Digest(), Back: slices.Sorted(slices.Values(back))}
	if off {
		b.Step, b.Digest, b.Revision, b.Back = StepOff, "", h.OffID, nil
	}
	return b
}

// same says whether two snapshots begin with the same. What is spent is not
// compared: that is written with the next change.
func (b Boot) same(o Boot) bool {
	return b.OnBoot == o.OnBoot && b.Digest == o.Digest && b.Revision == o.Revision && slices.Equal(b.Back, o.Back) && b.ByHand == o.ByHand
}

// Encode writes the snapshot; frozen reads the file of a frozen step. A way
// back that cannot be read is left out, and lacks says so: the step itself
// matters more.
func (b Boot) Encode(frozen func(digest string) ([]byte, error)) (snapshot []byte, lacks, err error) {
	fail := func(err error) ([]byte, error, error) {
		return nil, nil, fmt.Errorf("cannot make the boot snapshot: %w", err)
	}
	var body bytes.Buffer
	b.Parts = nil
	add := func(digest string) (Frozen, error) {
		data, err := frozen(digest)
		if err != nil {
			return Frozen{}, err
		}
		f, err := DecodeFrozen(digest, data)
		if err != nil {
			return Frozen{}, err
		}
		part := withoutInput(data)
		b.Parts = append(b.Parts, Part{digest, len(part)})
		body.Write(part)
		return f, nil
	}
	f, err := add(b.From)
	if err != nil {
		return fail(err)
	}
	if b.Digest != "" {
		for _, w := range f.Backouts {
			if w.Digest == "" || slices.ContainsFunc(b.Parts, func(p Part) bool { return p.Digest == w.Digest }) {
				continue
			}
			if _, err := add(w.Digest); err != nil {
				lacks = errors.Join(lacks, fmt.Errorf("the boot snapshot lacks the way back to %s: %w", w.To, err))
			}
		}
	}
	head, err := json.Marshal(b)
	if err != nil {
		return fail(err)
	}
	rest := append(append(head, '\n'), body.Bytes()...)
	return append([]byte(bootMagic+strconv.Itoa(BootVersion)+" "+hashOf(rest)+"\n"), rest...), lacks, nil
}

// DecodeBoot reads what Encode wrote, and verifies every byte of it: ErrBoot,
// or ErrBootNewer.
func DecodeBoot(data []byte) (Boot, error) {
	fail := func(format string, args ...any) (Boot, error) {
		return Boot{}, fmt.Errorf("cannot read the boot snapshot: %w: %w", ErrBoot, fmt.Errorf(format, args...))
	}
	first, rest, ok := bytes.Cut(data, []byte("\n"))
	words := strings.Fields(string(first[:min(len(first), 200)]))
	if !ok || len(words) != 2 || !strings.HasPrefix(words[0], bootMagic) {
		return fail("its first line is not %s%d and a hash", bootMagic, BootVersion)
	}
	switch v, err := strconv.ParseUint(strings.TrimPrefix(words[0], bootMagic), 10, 31); {
	case err != nil || v == 0:
		return fail("%q is no version", words[0])
	case v > BootVersion:
		return Boot{}, fmt.Errorf("%w: version %d, this weir reads %d", ErrBootNewer, v, BootVersion)
	}
	if got := hashOf(rest); got != words[1] {
		return fail("its hash is %s, not %s", got, words[1])
	}
	head, body, _ := bytes.Cut(rest, []byte("\n"))
	var b Boot
	if err := json.Unmarshal(head, &b); err != nil {
		return fail("%w", err)
	}
	b.parts = map[string][]byte{}
	for _, p := range b.Parts {
		if p.Size < 0 || p.Size > len(body) {
			return fail("it ends in the middle of %s", p.Digest)
		}
		b.parts[p.Digest], body = body[:p.Size], body[p.Size:]
	}
	if len(body) != 0 || len(b.Parts) == 0 || b.Parts[0].Digest != b.From || b.OnBoot != plans.OnBootRestore && b.OnBoot != plans.OnBootOpen {
		return fail("its parts are not what its head says")
	}
	if _, err := b.Main(); err != nil {
		return fail("%w", err)
	}
	return b, nil
}

// Main is the frozen step that the boot begins with, without what it was
// compiled from.
func (b Boot) Main() (Frozen, error) { return b.part(b.From) }

// Way is the frozen step that a way back leads to, in the same way.
func (b Boot) Way(digest string) (Frozen, error) { return b.part(digest) }

func (b Boot) part(digest string) (Frozen, error) {
	data, ok := b.parts[digest]
	if !ok {
		return Frozen{}, fmt.Errorf("the boot snapshot has no step %s", digest)
	}
	return decodeFrozen(digest, data, false)
}

// whole says whether every way back is in the snapshot.
func (b Boot) whole() bool {
	f, err := b.Main()
	return err == nil && (b.Digest == "" || !slices.ContainsFunc(f.Backouts, func(w Backout) bool { return w.Digest != "" && b.parts[w.Digest] == nil }))
}

// Rollback is the transaction that puts the snapshot in force.
func (b Boot) Rollback(f Frozen, tx string) nft.Rollback {
	r := nft.Rollback{ID: b.Revision, Entry: f.Entry, Hooks: f.Hooks, Tx: tx, Kind: nft.TxBoot, Alert: b.Back}
	if b.Digest == "" {
		r.Entry, r.Hooks = f.OffEntry, hooksOf(f.OffEntry)
	}
	if b.ByHand {
		r.Kind = nft.TxRollback
	}
	return r
}

// Choice is what stands in a small file beside the snapshot, so that a damaged
// snapshot does not take with it what is to be done then, and which of the
// recorded frozen steps it was.
type Choice struct {
	OnBoot string   `json:"onBoot"`
	Step   string   `json:"step"`
	From   string   `json:"from"`
	Off    bool     `json:"off,omitempty"`
	Back   []string `json:"back,omitempty"`
	ByHand bool     `json:"byHand,omitempty"`
}

const choiceMagic = "weir-onboot-v"

// Choice is what belongs beside the snapshot.
func (b Boot) Choice() Choice {
	return Choice{OnBoot: b.OnBoot, Step: b.Step, From: b.From, Off: b.Digest == "", Back: b.Back, ByHand: b.ByHand}
}

// Encode writes the file.
func (c Choice) Encode() ([]byte, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("cannot write what a boot does: %w", err)
	}
	return fmt.Appendf(nil, "%s%d %s\n%s\n", choiceMagic, BootVersion, hashOf(text), text), nil
}

// DecodeChoice reads what Encode wrote: ErrBoot, or ErrBootNewer.
func DecodeChoice(data []byte) (Choice, error) {
	fail := func(format string, args ...any) (Choice, error) {
		return Choice{}, fmt.Errorf("cannot read what a boot does: %w: %w", ErrBoot, fmt.Errorf(format, args...))
	}
	lines := strings.Split(string(data), "\n")
	if len(lines) != 3 || lines[2] != "" {
		return fail("want two lines")
	}
	version, sum, ok := strings.Cut(lines[0], " ")
	v, err := strconv.ParseUint(strings.TrimPrefix(version, choiceMagic), 10, 31)
	switch {
	case !ok || !strings.HasPrefix(version, choiceMagic) || err != nil || v == 0:
		return fail("its first line is not %s%d and a hash", choiceMagic, BootVersion)
	case v > BootVersion:
		return Choice{}, fmt.Errorf("%w: version %d, this weir reads %d", ErrBootNewer, v, BootVersion)
	case hashOf([]byte(lines[1])) != sum:
		return fail("its hash is not %s", sum)
	}
	var c Choice
	if err := json.Unmarshal([]byte(lines[1]), &c); err != nil {
		return fail("%w", err)
	}
	if c.OnBoot != plans.OnBootRestore && c.OnBoot != plans.OnBootOpen {
		return fail("%q is no choice", c.OnBoot)
	}
	return c, nil
}

// Boot makes the snapshot again from the file of the frozen step that the
// choice names, which is verified against its digest.
func (c Choice) Boot(frozen func(digest string) ([]byte, error)) (Boot, error) {
	data, err := frozen(c.From)
	if err != nil {
		return Boot{}, fmt.Errorf("cannot read the frozen step: %w", err)
	}
	f, err := DecodeFrozen(c.From, data)
	if err != nil {
		return Boot{}, err
	}
	b := BootOf(f.Head, c.Off, c.Back)
	b.OnBoot, b.ByHand = c.OnBoot, c.ByHand
	text, _, err := b.Encode(frozen)
	if err != nil {
		return Boot{}, err
	}
	return DecodeBoot(text)
}
