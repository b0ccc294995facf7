package plans

import (
	"strings"
	"testing"
	"time"
)

const (
	keyA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJTs+Wty5uLmbJAwpXPk8MwhGhkw2dNbq+Ytsof8f5Kg"
	keyB = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"
	keyC = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gAAAABHNzaDo="
)

const goodTrust = `apiVersion: weir/v1
kind: Trust
profile: quorum
signers:
  alice: {login: alice, keys: ["` + keyA + `", "alice@example.net ` + keyC + ` her token"]}
  bob: {login: "1002", keys: ["` + keyB + `"], roles: [approve]}
least:
  - {steps: "enforce/block:*", quorum: 2}
change: 1
unblock: {longest: 4h, widest4: 28, from4: 24, from6: 56}
quarantine: {longest: 1d}
access: {read: [staff], operate: [netops, adm]}
witness: {file: /mnt/witness/weir, syslog: true}
`

func TestTrust(t *testing.T) {
	tr, err := ParseTrust("trust.yaml", []byte(goodTrust))
	if err != nil {
		t.Fatal(err)
	}
	if a := tr.SignerOf("alice"); a == nil || len(a.Keys) != 2 || !a.Has(RoleTrust) {
		t.Errorf("alice is %+v", a)
	}
	if b := tr.SignerOf("1002"); b == nil || b.Has(RoleTrust) || !b.Has(RoleApprove) {
		t.Errorf("bob is %+v", b)
	}
	if len(tr.Access[MayOperate]) != 2 || len(tr.Access[MayApprove]) != 0 {
		t.Errorf("access is %v", tr.Access)
	}
	if tr.Witness != (Witness{"/mnt/witness/weir", true}) {
		t.Errorf("the witness is %+v", tr.Witness)
	}
	if tr.SignerOf("") != nil {
		t.Error("nobody is somebody")
	}
	if tr.Change != 1 || tr.Unblock.Longest != 4*time.Hour || tr.Unblock.Widest4 != 28 || tr.Unblock.From4 != 24 || tr.Unblock.From6 != 56 || tr.Quarantine != 24*time.Hour {
		t.Errorf("read as %+v", tr)
	}
	// A plan may ask for more, never for less.
	for _, c := range []struct {
		step string
		plan ApprovalRule
		want ApprovalRule
	}{
		{"enforce/block:desks", ApprovalRule{Quorum: 1, SelfApproval: true}, ApprovalRule{Quorum: 2}},
		{"enforce/block:desks", ApprovalRule{Quorum: 3}, ApprovalRule{Quorum: 3}},
		{"monitor", ApprovalRule{Quorum: 1, SelfApproval: true}, ApprovalRule{Quorum: 1}},
		{"monitor", ApprovalRule{Quorum: 0, SelfApproval: true}, ApprovalRule{Quorum: 1}},
	} {
		if got := tr.Stricter(c.step, c.plan); got != c.want {
			t.Errorf("%s with %+v needs %+v, want %+v", c.step, c.plan, got, c.want)
		}
	}
	office, err := ParseTrust("t", []byte("apiVersion: weir/v1\nkind: Trust\nprofile: office\nsigners: {ann: {keys: [\""+keyA+"\"]}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if !office.Stricter("enforce/block:x", ApprovalRule{Quorum: 1, SelfApproval: true}).SelfApproval {
		t.Error("in an office one person cannot approve their own steps")
	}
}

func TestTrustMistakes(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"kind: Trust", "kind: RolloutPlan", `kind cannot be "RolloutPlan"`},
		{"profile: quorum\n", "", `lacks "profile"`},
		{"profile: quorum", "profile: home", `profile cannot be "home"`},
		{"login: alice, ", "logn: alice, ", `did you mean "login"?`},
		{`login: "1002"`, "login: alice", "is alice's already"},
		{keyB, keyA, "this key is alice's already"},
		{keyB, "no key", "no public key"},
		{`"` + keyB + `"`, `"bob no-touch-required ` + keyB + `"`, "does not obey options"},
		{"roles: [approve]", "roles: [boss]", `roles cannot be "boss"`},
		{"quorum: 2", "quorum: 3", "there are 2 signers with the role approve"},
		{"quorum: 2", "quorum: 0", "write 1 or more"},
		{"quorum: 2", "quorum: 2, selfApproval: true", "only in an office"},
		{"change: 1", "change: 2", "there are 1 signers with the role trust"},
		{"change: 1\n", "", "changing the file would need 2"},
		{"longest: 4h", "longest: 4", "as 4h"},
		{"from4: 24", "from4: 33", "write 1 to 32"},
		{"access: {read: [staff]", "access: {reed: [staff]", `did you mean "read"?`},
		{"read: [staff]", "read: staff", "wants a list"},
		{"least:", "lest:", `did you mean "least"?`},
		{"  bob:", "  alice:", "is here twice"},
		{"signers:", "signers: &a", "an anchor"},
		{"/mnt/witness/weir", "witness/weir", "wants an absolute path"},
		{"/mnt/witness/weir", "7", "wants an absolute path"},
		{"syslog: true", "syslog: yes please", "wants true or false"},
		{"{file: /mnt/witness/weir, syslog: true}", "{}", "names nobody"},
		{"syslog: true", "sislog: true", `did you mean "syslog"?`},
	} {
		if !strings.Contains(goodTrust, c.old) {
			t.Fatalf("%q is not in the file", c.old)
		}
		_, err := ParseTrust("trust.yaml", []byte(strings.Replace(goodTrust, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "trust.yaml:") {
			t.Errorf("%q for %q: %v, want %q", c.new, c.old, err, c.want)
		}
	}
}

func FuzzParseTrust(f *testing.F) {
	f.Add([]byte(goodTrust))
	f.Add([]byte("signers: [{a: b}]"))
	f.Add([]byte("signers: {a: {keys: [1]}}\nleast: [1]\nmachines: x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tr, err := ParseTrust("t", data)
		if err == nil && (len(tr.Signers) == 0 || tr.Change < 1) {
			t.Errorf("nobody can decide by %q", data)
		}
		if err != nil && strings.Contains(err.Error(), "please report") {
			t.Errorf("%q: %v", data, err)
		}
	})
}
