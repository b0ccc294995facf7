package approval

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"weir/plans"
)

// Namespace is what signatures are made for: "ssh-keygen -Y sign -n" takes it.
const Namespace = "weir-approval-v1"

// maxSignature bounds an armoured signature in bytes.
const maxSignature = 16 << 10

// Signed is a signature that was found good.
type Signed struct {
	Signer plans.Signer
	Key    string // its fingerprint, as ssh-keygen -l prints it
}

// Verify says whose signature over the text this is. The signer has a key in the
// trust file; role is what is decided.
//
//	ssh-keygen -Y verify -n weir-approval-v1 -f allowed_signers -I NAME -s SIGNATURE < STATEMENT
func Verify(t *plans.Trust, role string, text, armoured []byte) (Signed, error) {
	sig, err := unarmour(armoured)
	if err != nil {
		return Signed{}, err
	}
	if sig.Namespace != Namespace {
		return Signed{}, fmt.Errorf("%w: %q, not %q", ErrNamespace, sig.Namespace, Namespace)
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sig.PublicKey)))
	out := Signed{Key: ssh.FingerprintSHA256(sig.PublicKey)}
	found := false
	for _, s := range t.Signers {
		for _, k := range s.Keys {
			if k == line {
				out.Signer, found = s, true
			}
		}
	}
	if !found {
		return out, fmt.Errorf("%w: %s", ErrSigner, out.Key)
	}
	// The key is the trust file's own, not the signature's.
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return out, fmt.Errorf("%w: %w", ErrSigner, err)
	}
	if err := sshsig.Verify(bytes.NewReader(text), sig, key, sig.HashAlgorithm, Namespace); err != nil {
		return out, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if !out.Signer.Has(role) {
		return out, fmt.Errorf("%w: %s lacks the role %s", ErrRole, out.Signer.Name, role)
	}
	return out, nil
}

const (
	armourBegin = "-----BEGIN SSH SIGNATURE-----\n"
	armourEnd   = "-----END SSH SIGNATURE-----\n"
)

// unarmour reads a signature as ssh-keygen writes it, and nothing else: every
// byte of the file counts.
func unarmour(armoured []byte) (*sshsig.Signature, error) {
	bad := func(why string) (*sshsig.Signature, error) { return nil, fmt.Errorf("%w: %s", ErrArmour, why) }
	if len(armoured) > maxSignature {
		return bad("it is too long")
	}
	body, ok := strings.CutPrefix(string(armoured), armourBegin)
	if !ok {
		return bad("its first line is not " + strings.TrimSpace(armourBegin))
	}
	if body, ok = strings.CutSuffix(body, armourEnd); !ok {
		return bad("its last line is not " + strings.TrimSpace(armourEnd))
	}
	if strings.Contains(body, "\r") {
		return bad("it has the line ends of another system")
	}
	blob, err := base64.StdEncoding.Strict().DecodeString(body)
	if err != nil {
		return bad(err.Error())
	}
	sig, err := sshsig.ParseSignature(blob)
	if err != nil {
		return bad(err.Error())
	}
	if again := sig.Marshal(); !bytes.Equal(again, blob) {
		return bad("it holds more than a signature")
	}
	if !strings.HasPrefix(sig.PublicKey.Type(), "sk-") && len(sig.Signature.Rest) > 0 {
		return bad("it holds more than a signature")
	}
	return sig, nil
}
