package approval

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"weir/plans"
)

func hash(c string) string { return "sha256:" + strings.Repeat(c, 64) }

func sample() Statement {
	return Statement{
		Decision: Approve, Subject: Step, Name: "enforce/block:desks", Digest: hash("a"),
		Ask:  Ask{Machine: "m0123", Trust: hash("b"), NotAfter: time.Date(2026, 3, 3, 9, 0, 0, 0, time.UTC), Nonce: strings.Repeat("5", 32), LogRoot: "-"},
		Plan: hash("c"), Upon: "r0123456789ab", UponStep: hash("d"), Revision: "rabcdefabcdef",
		Hashes:  map[string]string{"input": hash("e"), "evidence": hash("f"), "lifelines": hash("0")},
		Targets: []string{"cameras alert", "desks reject"},
	}
}

const sampleText = `weir-approval-v1
decision: approve
subject: step
name: enforce/block:desks
digest: sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
machine: m0123
trust: sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
plan: sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc
upon: r0123456789ab
upon-step: sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd
revision: rabcdefabcdef
not-before: -
not-after: 2026-03-03T09:00:00Z
lease: -
reason: -
nonce: 55555555555555555555555555555555
log-size: 0
log-root: -
hash: evidence sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
hash: input sha256:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee
hash: lifelines sha256:0000000000000000000000000000000000000000000000000000000000000000
target: cameras alert
target: desks reject
`

func TestStatement(t *testing.T) {
	s := sample()
	if got := string(s.Text()); got != sampleText {
		t.Errorf("the text is\n%s\nwant\n%s", got, sampleText)
	}
	got, err := Parse(s.Text())
	if err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("read back as %+v, %v", got, err)
	}
	for _, c := range []struct{ old, new string }{
		{"\n", "\r\n"}, {"v1", "v2"}, {"decision: approve\n", ""}, {"approve", "maybe"}, {"decision: approve\n", "decision: approve\ndecision: approve\n"},
		{"decision: approve\n", "decision: deny\ndecision: approve\n"}, {"log-root: -\n", "log-root: -\nmore: 1\n"}, {"plan: sha256:", "plan: sha1:"},
		{"log-size: 0", "log-size: 00"}, {"09:00:00Z", "09:00:00.5Z"}, {"09:00:00Z", "10:00:00+01:00"}, {"nonce: 5", "nonce: G"},
		{"target: desks reject\n", "target: desks reject"}, {"target: desks reject\n", "target: desks reject \n"}, {"desks reject", "desks\x1b[2Jreject"},
		{"lease: -", "lease: 1h0m0s"}, {"reason: -", "reason: why"}, {"decision: approve", "decision: emergency"}, {"lease: -\n", ""},
		{"not-after: 2026-03-03T09:00:00Z", "not-after: -"}, {"hash: evidence", "hash: input"},
	} {
		bad := strings.Replace(sampleText, c.old, c.new, 1)
		if _, err := Parse([]byte(bad)); !errors.Is(err, ErrForm) {
			t.Errorf("%q for %q is read: %v", c.new, c.old, err)
		}
	}
}

func TestEmergency(t *testing.T) {
	s := sample()
	s.Decision, s.Lease, s.Reason = Emergency, 90*time.Minute, "worm: on the desks, CHG-7"
	got, err := Parse(s.Text())
	if err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("read back as %+v, %v", got, err)
	}
	for _, c := range []struct{ old, new string }{
		{"lease: 1h30m0s", "lease: 90m"}, {"lease: 1h30m0s", "lease: -1h30m0s"}, {"lease: 1h30m0s", "lease: -"},
		{"reason: worm: on the desks, CHG-7", "reason: -"}, {"subject: step", "subject: trust"},
	} {
		bad := strings.Replace(string(s.Text()), c.old, c.new, 1)
		if _, err := Parse([]byte(bad)); !errors.Is(err, ErrForm) {
			t.Errorf("%q for %q is read: %v", c.new, c.old, err)
		}
	}
	other := s
	other.Reason = "another"
	if err := s.Matches(other); !errors.Is(err, ErrSubject) {
		t.Errorf("another reason: %v", err)
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		change func(s *Statement)
		want   error
	}{
		{func(s *Statement) {}, nil},
		{func(s *Statement) { s.Machine = "m9" }, ErrMachine},
		{func(s *Statement) { s.Ask.Trust = hash("9") }, ErrTrust},
		{func(s *Statement) { s.Plan = hash("9") }, ErrPlan},
		{func(s *Statement) { s.Name = "watch" }, ErrStep},
		{func(s *Statement) { s.Upon = "r9" }, ErrUpon},
		{func(s *Statement) { s.UponStep = hash("9") }, ErrUpon},
		{func(s *Statement) { s.Digest = hash("9") }, ErrDigest},
		{func(s *Statement) { s.Revision = "r9" }, ErrHashes},
		{func(s *Statement) { s.Hashes["input"] = hash("9") }, ErrHashes},
		{func(s *Statement) { delete(s.Hashes, "input") }, ErrHashes},
		{func(s *Statement) { s.Targets = s.Targets[1:] }, ErrHashes},
		{func(s *Statement) { s.Nonce = strings.Repeat("9", 32) }, ErrNonce},
		{func(s *Statement) { s.NotAfter = s.NotAfter.Add(time.Hour) }, ErrWindow},
		{func(s *Statement) { s.NotBefore = s.NotAfter }, ErrWindow},
		{func(s *Statement) { s.LogSize = 7 }, ErrLog},
		{func(s *Statement) { s.LogRoot = "x" }, ErrLog},
		{func(s *Statement) { s.Decision = Deny }, ErrSubject},
		{func(s *Statement) { s.Subject = Trust }, ErrSubject},
	} {
		s := sample()
		c.change(&s)
		if err := s.Matches(sample()); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, want %v", s, err, c.want)
		}
	}
}

func TestWindow(t *testing.T) {
	end := time.Date(2026, 3, 3, 9, 0, 0, 0, time.UTC)
	a := Ask{NotBefore: end.Add(-time.Hour), NotAfter: end}
	for _, c := range []struct {
		at   time.Time
		want error
	}{{end.Add(-time.Hour - time.Second), ErrEarly}, {end.Add(-time.Hour), nil}, {end.Add(-time.Second), nil}, {end, ErrLate}} {
		if err := a.Open(c.at); !errors.Is(err, c.want) {
			t.Errorf("at %s: %v, want %v", c.at, err, c.want)
		}
	}
}

// keygen runs ssh-keygen in a folder with a key of the type.
type keygen struct {
	*testing.T
	dir string
}

func (k keygen) run(stdin []byte, args ...string) ([]byte, error) {
	c := exec.Command("ssh-keygen", args...)
	c.Dir, c.Stdin = k.dir, bytes.NewReader(stdin)
	return c.CombinedOutput()
}

func (k keygen) must(stdin []byte, args ...string) {
	k.Helper()
	if out, err := k.run(stdin, args...); err != nil {
		k.Fatalf("ssh-keygen %v: %v: %s", args, err, out)
	}
}

func (k keygen) read(name string) []byte {
	k.Helper()
	b, err := os.ReadFile(filepath.Join(k.dir, name))
	if err != nil {
		k.Fatal(err)
	}
	return b
}

func (k keygen) write(name string, data []byte) {
	k.Helper()
	if err := os.WriteFile(filepath.Join(k.dir, name), data, 0o600); err != nil {
		k.Fatal(err)
	}
}

// key makes a key and returns its public line.
func (k keygen) key(name, kind string) string {
	k.Helper()
	k.must(nil, "-q", "-N", "", "-t", kind, "-C", "comment", "-f", name)
	f := strings.Fields(string(k.read(name + ".pub")))
	return f[0] + " " + f[1]
}

// sign signs as a person would.
func (k keygen) sign(key, namespace string, text []byte) []byte {
	k.Helper()
	k.write("st", text)
	os.Remove(filepath.Join(k.dir, "st.sig"))
	k.must(nil, "-q", "-Y", "sign", "-n", namespace, "-f", key, "st")
	return k.read("st.sig")
}

func (k keygen) verifies(t *plans.Trust, name string, text, sig []byte) bool {
	k.Helper()
	k.write("allowed", []byte(t.AllowedSigners(Namespace)))
	k.write("check.sig", sig)
	_, err := k.run(text, "-Y", "verify", "-n", Namespace, "-f", "allowed", "-I", name, "-s", "check.sig")
	return err == nil
}

func trustOf(signers ...plans.Signer) *plans.Trust {
	for i := range signers {
		if signers[i].Roles == nil {
			signers[i].Roles = []string{plans.RoleApprove}
		}
	}
	return &plans.Trust{Profile: plans.ProfileQuorum, Signers: signers}
}

func TestKeygenSigns(t *testing.T) {
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		k := keygen{t, t.TempDir()}
		tr := trustOf(plans.Signer{Name: "alice", Keys: []string{k.key("a", "ed25519")}}, plans.Signer{Name: "bob", Keys: []string{k.key("b", kind)}})
		text := sample().Text()
		sig := k.sign("b", Namespace, text)
		got, err := Verify(tr, plans.RoleApprove, text, sig)
		if err != nil || got.Signer.Name != "bob" {
			t.Fatalf("%s: signed by %q: %v", kind, got.Signer.Name, err)
		}
		if !k.verifies(tr, "bob", text, sig) {
			t.Errorf("%s: ssh-keygen does not agree", kind)
		}
		for _, c := range []struct {
			why  string
			err  error
			want error
		}{
			{"another purpose", second(Verify(tr, plans.RoleApprove, text, k.sign("b", "file", text))), ErrNamespace},
			{"no role", second(Verify(tr, plans.RoleTrust, text, sig)), ErrRole},
			{"unknown", second(Verify(trustOf(tr.Signers[0]), plans.RoleApprove, text, sig)), ErrSigner},
			{"another text", second(Verify(tr, plans.RoleApprove, append(text, '\n'), sig)), ErrSignature},
			{"twice", second(Verify(tr, plans.RoleApprove, text, append(bytes.Clone(sig), sig...))), ErrArmour},
			{"nothing", second(Verify(tr, plans.RoleApprove, text, nil)), ErrArmour},
		} {
			if !errors.Is(c.err, c.want) {
				t.Errorf("%s, %s: %v, want %v", kind, c.why, c.err, c.want)
			}
		}
	}
}

func second(_ Signed, err error) error { return err }

// A byte changed anywhere, in the statement or in the signature, is refused.
func TestEveryByteCounts(t *testing.T) {
	k := keygen{t, t.TempDir()}
	tr := trustOf(plans.Signer{Name: "alice", Keys: []string{k.key("a", "ed25519")}})
	text := sample().Text()
	sig := k.sign("a", Namespace, text)
	for _, flip := range []byte{0x01, 0x02, 0x20, 0x80} {
		for i := range text {
			bad := bytes.Clone(text)
			bad[i] ^= flip
			if _, err := Verify(tr, plans.RoleApprove, bad, sig); !errors.Is(err, ErrSignature) {
				t.Fatalf("byte %d of the statement ^ %#x: %v", i, flip, err)
			}
			if s, err := Parse(bad); err == nil && s.Matches(sample()) == nil {
				t.Fatalf("byte %d of the statement ^ %#x is the same statement", i, flip)
			}
		}
		for i := range sig {
			bad := bytes.Clone(sig)
			bad[i] ^= flip
			if _, err := Verify(tr, plans.RoleApprove, text, bad); err == nil {
				t.Fatalf("byte %d of the signature ^ %#x is taken: %q", i, flip, bad)
			}
		}
	}
	for i := range sig {
		if _, err := Verify(tr, plans.RoleApprove, text, sig[:i]); err == nil {
			t.Fatalf("the first %d bytes are taken", i)
		}
	}
}

// What the library signs, ssh-keygen verifies; and a key in hardware counts only
// with a touch.
func TestKeygenVerifies(t *testing.T) {
	k := keygen{t, t.TempDir()}
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	text := sample().Text()
	soft, err := ssh.NewSignerFromSigner(priv)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := sshsig.Sign(bytes.NewReader(text), soft, sshsig.HashSHA512, Namespace)
	if err != nil {
		t.Fatal(err)
	}
	const app = "ssh:"
	hard, err := ssh.ParsePublicKey(ssh.Marshal(struct {
		Kind string
		Key  []byte
		App  string
	}{ssh.KeyAlgoSKED25519, pub, app}))
	if err != nil {
		t.Fatal(err)
	}
	line := func(p ssh.PublicKey) string { return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(p))) }
	tr := trustOf(plans.Signer{Name: "alice", Keys: []string{line(soft.PublicKey()), line(hard)}})
	touched := func(flags byte) []byte {
		sum := sha512.Sum512(text)
		data := append([]byte("SSHSIG"), ssh.Marshal(struct{ Namespace, Reserved, Hash, Sum string }{Namespace, "", "sha512", string(sum[:])})...)
		appSum, dataSum := sha256.Sum256([]byte(app)), sha256.Sum256(data)
		rest := []byte{flags, 0, 0, 0, 9}
		blob := ed25519.Sign(priv, append(append(appSum[:], rest...), dataSum[:]...))
		sig := &sshsig.Signature{Version: 1, PublicKey: hard, Namespace: Namespace, HashAlgorithm: sshsig.HashSHA512,
			Signature: &ssh.Signature{Format: ssh.KeyAlgoSKED25519, Blob: blob, Rest: rest}}
		return sshsig.Armor(sig)
	}
	for _, c := range []struct {
		why  string
		sig  []byte
		want error
	}{{"software", sshsig.Armor(plain), nil}, {"touched", touched(1), nil}, {"not touched", touched(0), ErrSignature}} {
		got, err := Verify(tr, plans.RoleApprove, text, c.sig)
		if !errors.Is(err, c.want) || err == nil && got.Signer.Name != "alice" {
			t.Errorf("%s: %v, want %v", c.why, err, c.want)
		}
		// ssh-keygen does not ask for the touch.
		if !k.verifies(tr, "alice", text, c.sig) {
			t.Errorf("%s: ssh-keygen does not agree", c.why)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sampleText))
	f.Add([]byte("weir-approval-v1\ndecision: deny\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse(text)
		if err == nil && !bytes.Equal(s.Text(), text) {
			t.Errorf("%q is read, and written as %q", text, s.Text())
		}
		if err != nil && !errors.Is(err, ErrForm) {
			t.Errorf("%q: %v", text, err)
		}
	})
}

func FuzzUnarmour(f *testing.F) {
	f.Add([]byte(armourBegin + "U1NIU0lH\n" + armourEnd))
	f.Add([]byte(armourBegin + armourEnd))
	f.Fuzz(func(t *testing.T, data []byte) {
		if sig, err := unarmour(data); err == nil && sig.PublicKey == nil {
			t.Error("a signature without a key")
		} else if err != nil && !errors.Is(err, ErrArmour) {
			t.Error(err)
		}
	})
}
