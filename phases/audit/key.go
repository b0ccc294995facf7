package audit

import (
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/ssh"
)

// NewKey makes the key that a machine signs its checkpoints with, as a private
// key file of OpenSSH without a passphrase: the daemon signs alone.
func NewKey(rand io.Reader) ([]byte, error) {
	_, key, err := ed25519.GenerateKey(rand)
	if err != nil {
		return nil, fmt.Errorf("cannot make the machine's key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(key, "weir checkpoints")
	if err != nil {
		return nil, fmt.Errorf("cannot make the machine's key: %w", err)
	}
	return pem.EncodeToMemory(block), nil
}

// ParseKey reads what NewKey wrote.
func ParseKey(file []byte) (ssh.Signer, error) {
	key, err := ssh.ParsePrivateKey(file)
	if err == nil && key.PublicKey().Type() != ssh.KeyAlgoED25519 {
		err = errors.New("it is of type " + key.PublicKey().Type())
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the machine's key: %w", err)
	}
	return key, nil
}

// PublicText is a key as it stands in a .pub file, without a comment.
func PublicText(key ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// ParsePublic reads the line of a .pub file, or of an allowed_signers file,
// where a principal stands first.
func ParsePublic(line string) (ssh.PublicKey, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		if _, rest, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			key, _, _, _, err = ssh.ParseAuthorizedKey([]byte(rest))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read a public key: %w", err)
	}
	return key, nil
}

// Allowed is the file that "ssh-keygen -Y verify -f" reads, for the signatures
// of these namespaces.
func Allowed(key Public, namespaces ...string) string {
	return fmt.Sprintf("machine namespaces=%q %s\n", strings.Join(namespaces, ","), PublicText(key))
}

// Fingerprint is a key's, as "ssh-keygen -l" prints it.
func Fingerprint(key Public) string { return ssh.FingerprintSHA256(key) }

// Key is what a machine signs with.
type Key = ssh.Signer

// Public is the key that a machine's checkpoints are verified with.
type Public = ssh.PublicKey
