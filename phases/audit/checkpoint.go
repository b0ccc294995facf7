package audit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// Version is the first line of a checkpoint's text, and the namespace of its
// signature.
const Version = "weir-checkpoint-v1"

// Checkpoint says what a machine's log was.
type Checkpoint struct {
	Machine string // its identity; "-" without one
	Size    uint64 // number of records
	Root    string // "sha256:" and 64 hex digits
	At      time.Time
}

// Text is what is signed: one fact a line.
func (c Checkpoint) Text() []byte {
	return fmt.Appendf(nil, "%s\nmachine: %s\nsize: %d\nroot: %s\nat: %s\n", Version, c.Machine, c.Size, c.Root, c.At.UTC().Format(time.RFC3339))
}

// Signed is a checkpoint with the machine's signature.
type Signed struct {
	Checkpoint
	blob []byte // the signature without its armour
}

// ErrForm is returned for a line that is no checkpoint.
var ErrForm = errors.New("this is not a checkpoint")

// ErrSignature is returned for a checkpoint that the key did not sign.
var ErrSignature = errors.New("the machine's key did not sign this checkpoint")

// Sign signs a checkpoint. at is kept in whole seconds.
func Sign(c Checkpoint, key Key) (Signed, error) {
	sig, err := sshsig.Sign(bytes.NewReader(c.Text()), key, sshsig.HashSHA512, Version)
	if err != nil {
		return Signed{}, fmt.Errorf("cannot sign a checkpoint: %w", err)
	}
	c.At = c.At.UTC().Truncate(time.Second)
	return Signed{c, sig.Marshal()}, nil
}

// Line is the checkpoint in one line, without an end: what goes to the journal,
// to syslog and to the witness.
func (s Signed) Line() string {
	return fmt.Sprintf("%s %s %d %s %s %s", Version, s.Machine, s.Size, s.Root, s.At.UTC().Format(time.RFC3339), base64.StdEncoding.EncodeToString(s.blob))
}

var (
	machineForm = regexp.MustCompile(`^[!-~]{1,200}$`)
	hashForm    = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// maxLine bounds a checkpoint's line in bytes.
const maxLine = 4096

// ParseLine reads what Line wrote; every other line is ErrForm.
func ParseLine(line string) (Signed, error) {
	fail := func(why string) (Signed, error) { return Signed{}, fmt.Errorf("%w: %s", ErrForm, why) }
	f := strings.Split(line, " ")
	if len(line) > maxLine || len(f) != 6 || f[0] != Version {
		return fail("want " + Version + " MACHINE SIZE ROOT TIME SIGNATURE")
	}
	s := Signed{Checkpoint: Checkpoint{Machine: f[1], Root: f[3]}}
	var err, err2, err3 error
	s.Size, err = strconv.ParseUint(f[2], 10, 63)
	s.At, err2 = time.Parse(time.RFC3339, f[4])
	s.blob, err3 = base64.StdEncoding.Strict().DecodeString(f[5])
	switch {
	case !machineForm.MatchString(s.Machine):
		return fail("its machine")
	case err != nil:
		return fail("its size")
	case !hashForm.MatchString(s.Root):
		return fail("its root")
	case err2 != nil:
		return fail("its time")
	case err3 != nil:
		return fail("its signature")
	}
	s.At = s.At.UTC()
	if s.Line() != line {
		return fail("it is not in the one form")
	}
	if sig, err := parseSignature(s.blob); err != nil || !bytes.Equal(sig.Marshal(), s.blob) {
		return fail("its signature")
	}
	return s, nil
}

// parseSignature does not panic, whatever the bytes are.
func parseSignature(blob []byte) (sig *sshsig.Signature, err error) {
	defer func() {
		if recover() != nil {
			sig, err = nil, ErrForm
		}
	}()
	return sshsig.ParseSignature(blob)
}

// Armoured is the signature as "ssh-keygen -Y verify -s" reads it.
func (s Signed) Armoured() []byte { return armour(s.blob) }

func armour(blob []byte) []byte {
	var b strings.Builder
	b.WriteString("-----BEGIN SSH SIGNATURE-----\n")
	for t := base64.StdEncoding.EncodeToString(blob); t != ""; {
		n := min(70, len(t))
		b.WriteString(t[:n] + "\n")
		t = t[n:]
	}
	b.WriteString("-----END SSH SIGNATURE-----\n")
	return []byte(b.String())
}

// SignText signs a text of another kind than a checkpoint, which its namespace
// keeps apart, and returns the armoured signature.
func SignText(namespace string, text []byte, key Key) ([]byte, error) {
	if namespace == Version {
		return nil, fmt.Errorf("cannot sign: %s is for checkpoints", namespace)
	}
	sig, err := sshsig.Sign(bytes.NewReader(text), key, sshsig.HashSHA512, namespace)
	if err != nil {
		return nil, fmt.Errorf("cannot sign: %w", err)
	}
	return armour(sig.Marshal()), nil
}

// Verify is nil where the key signed exactly this checkpoint.
func (s Signed) Verify(key Public) error {
	sig, err := parseSignature(s.blob)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if !bytes.Equal(sig.PublicKey.Marshal(), key.Marshal()) {
		return fmt.Errorf("%w: it is of %s, not of %s", ErrSignature, ssh.FingerprintSHA256(sig.PublicKey), ssh.FingerprintSHA256(key))
	}
	if err := sshsig.Verify(bytes.NewReader(s.Text()), sig, key, sig.HashAlgorithm, Version); err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return nil
}
