package plans

import (
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Trust is a trust file without mistakes: who may decide on a machine. It is
// the machine's own and above every plan: a plan may ask for more, never for
// less.
type Trust struct {
	Hash       string // "sha256:" and 64 hex digits, of the file's bytes
	Profile    string // ProfileQuorum or ProfileOffice
	Machines   MachineSet
	Signers    []Signer    // by name
	Least      []LeastRule // as written: the first whose Steps matches decides
	Change     int         // how many signers must agree to another trust file
	Unblock    Unblock     // zero values: the plan's limits alone
	Quarantine time.Duration
	Witness    Witness
	Access     map[string][]string // right → groups of accounts; nil: whoever may open the socket may do all
}

// The rights on the daemon's socket. Each lets one read too.
const (
	MayRead    = "read"    // what is in force, and what is asked for
	MayTraffic = "traffic" // who talked to what
	MayOperate = "operate"
	MayApprove = "approve" // bring decisions
)

// The profiles: in an office one person may approve their own steps.
const (
	ProfileQuorum = "quorum"
	ProfileOffice = "office"
)

// The roles of a signer.
const (
	RoleApprove = "approve" // steps
	RoleTrust   = "trust"   // another trust file
)

// MachineSet is a named set of machines that share their approvals; without a
// name an approval is for one machine.
type MachineSet struct {
	Name    string
	Members []string // machine identities, as "weir trust" prints them
}

// Signer is one person. Two keys of one person are one voice.
type Signer struct {
	Name  string
	Login string   // account on this machine: who the requester of a step is; "" unknown
	Keys  []string // "type base64", as in authorized_keys
	Roles []string
}

// Has says whether the signer has a role.
func (s Signer) Has(role string) bool { return slices.Contains(s.Roles, role) }

// LeastRule is the least that steps of a kind need.
type LeastRule struct {
	Steps        string // a glob over step names
	Quorum       int
	SelfApproval bool // only with the profile office
}

// Floor returns what a step needs at least.
func (t *Trust) Floor(step string) LeastRule {
	for _, r := range t.Least {
		if Glob(r.Steps, step) {
			return r
		}
	}
	return LeastRule{Steps: "*", Quorum: 1, SelfApproval: t.Profile == ProfileOffice}
}

// Stricter is a plan's rule, raised to what the trust file asks for at least.
func (t *Trust) Stricter(step string, rule ApprovalRule) ApprovalRule {
	least := t.Floor(step)
	rule.Quorum = max(rule.Quorum, least.Quorum)
	rule.SelfApproval = rule.SelfApproval && least.SelfApproval
	return rule
}

// SignerOf returns the signer with an account, or nil.
func (t *Trust) SignerOf(login string) *Signer {
	for i := range t.Signers {
		if login != "" && t.Signers[i].Login == login {
			return &t.Signers[i]
		}
	}
	return nil
}

// AllowedSigners is the file that "ssh-keygen -Y verify -f" reads.
func (t *Trust) AllowedSigners(namespace string) string {
	var b strings.Builder
	for _, s := range t.Signers {
		for _, k := range s.Keys {
			fmt.Fprintf(&b, "%s namespaces=%q %s\n", s.Name, namespace, k)
		}
	}
	return b.String()
}

// ParseTrust reads a trust file. The error is of type Mistakes and holds
// everything that is wrong with it; file is only used in messages. It never
// panics.
func ParseTrust(file string, data []byte) (t *Trust, err error) {
	r := newReader(file, data)
	defer func() {
		if x := recover(); x != nil {
			r.addAt(0, 0, "the trust file cannot be read", "please report the file")
			t, err = nil, r.err()
		}
	}()
	root := r.read()
	if root == nil {
		return nil, r.err()
	}
	if root.kind != mapping {
		r.add(root, fmt.Sprintf("a trust file is a map of fields, not %s", root.kind), "see docs/approvals.md for one to start from")
		return nil, r.err()
	}
	sum := sha256.Sum256(data)
	d := &trustDecoder{decoder: &decoder{reader: r, p: &Plan{}}, t: &Trust{Hash: "sha256:" + hex.EncodeToString(sum[:])}}
	d.trust(root)
	if err := r.err(); err != nil {
		return nil, err
	}
	return d.t, nil
}

type trustDecoder struct {
	*decoder
	t *Trust
}

func (d *trustDecoder) trust(root *node) {
	t := d.t
	d.fields(root, "the trust file", []string{"apiVersion", "kind", "profile", "signers"}, "apiVersion", "kind", "profile", "machines", "signers", "least", "change", "unblock", "quarantine", "access", "witness")
	d.oneOf(root.get("apiVersion"), "apiVersion", "weir/v1")
	d.oneOf(root.get("kind"), "kind", "Trust")
	d.oneOf(root.get("profile"), "profile", ProfileQuorum, ProfileOffice)
	t.Profile = str(root.get("profile"))
	if m := root.get("machines"); m != nil {
		d.fields(m, "machines", []string{"name", "members"}, "name", "members")
		t.Machines = MachineSet{Name: d.name(m.get("name")), Members: d.texts(m.get("members"), "members")}
	}
	d.signers(root.get("signers"))
	d.least(root.get("least"))
	t.Change = 1
	for _, l := range t.Least {
		t.Change = max(t.Change, l.Quorum)
	}
	t.Change = d.count(root.get("change"), "change", t.Change, d.having(RoleTrust), RoleTrust)
	if n := root.get("change"); n == nil && t.Change > d.having(RoleTrust) && len(t.Signers) > 0 && !d.hurt(root) {
		d.add(root.key("signers"), fmt.Sprintf("changing the file would need %d signers with the role trust, and there are %d", t.Change, d.having(RoleTrust)), "give more signers the role, or write change: with how many it needs")
	}
	if n := root.get("unblock"); n != nil {
		d.fields(n, "unblock", nil, "longest", "widest4", "widest6", "from4", "from6")
		t.Unblock = Unblock{Longest: d.span(n.get("longest"), "longest", 30*day), Widest4: d.bits(n.get("widest4"), "widest4", 32), Widest6: d.bits(n.get("widest6"), "widest6", 128),
			From4: d.bits(n.get("from4"), "from4", 32), From6: d.bits(n.get("from6"), "from6", 128)}
	}
	if n := root.get("access"); n != nil {
		d.fields(n, "access", nil, MayRead, MayTraffic, MayOperate, MayApprove)
		t.Access = map[string][]string{}
		for i, k := range n.keys {
			t.Access[k.text] = d.texts(n.vals[i], k.text)
		}
	}
	d.witness(root.get("witness"))
	if n := root.get("quarantine"); n != nil {
		d.fields(n, "quarantine", []string{"longest"}, "longest")
		t.Quarantine = d.span(n.get("longest"), "longest", 7*day)
	}
}

func (d *trustDecoder) signers(n *node) {
	if n == nil {
		return
	}
	if n.kind != mapping || len(n.keys) == 0 {
		d.add(n, "signers wants a map of names", `write signers: {alice: {login: alice, keys: ["ssh-ed25519 AAAA…"]}}`)
		return
	}
	owner, accounts := map[string]string{}, map[string]string{}
	for i, k := range n.keys {
		v := n.vals[i]
		s := Signer{Name: d.name(k), Roles: []string{RoleApprove, RoleTrust}}
		d.fields(v, "signer "+clip(k.text), []string{"keys"}, "login", "keys", "roles")
		if at := v.get("login"); at != nil {
			s.Login = str(at)
			if !loginForm.MatchString(s.Login) {
				d.add(at, fmt.Sprintf("%q is not an account", clip(s.Login)), "write the name as id -un prints it; a number needs quotes")
			} else if other, ok := accounts[s.Login]; ok {
				d.add(at, fmt.Sprintf("the account %q is %s's already", s.Login, other), "one account is one person")
			}
			accounts[s.Login] = s.Name
		}
		if at := v.get("roles"); at != nil {
			s.Roles = nil
			for _, x := range d.list(at, "roles") {
				d.oneOf(x, "roles", RoleApprove, RoleTrust)
				s.Roles = append(s.Roles, x.text)
			}
		}
		for _, x := range d.list(v.get("keys"), "keys") {
			key, f := parseKey(x.text)
			if f != nil {
				d.fail(x, f)
				continue
			}
			if other, ok := owner[key]; ok {
				d.add(x, fmt.Sprintf("this key is %s's already", other), "one key is one person's")
			}
			owner[key] = s.Name
			s.Keys = append(s.Keys, key)
		}
		if at := v.get("keys"); at != nil && at.kind == list && len(at.vals) == 0 {
			d.add(at, "the signer has no key", `write keys: ["ssh-ed25519 AAAA…"]`)
		}
		d.t.Signers = append(d.t.Signers, s)
	}
	slices.SortFunc(d.t.Signers, func(a, b Signer) int { return strings.Compare(a.Name, b.Name) })
}

var loginForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}$`)

// keyTypes are the kinds of keys that may sign; the last two are in hardware.
var keyTypes = []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSA, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256}

// parseKey reads a line of authorized_keys or of allowed_signers, where a
// principal stands first, and returns it as type and base64.
func parseKey(line string) (string, *fault) {
	bad := func(text, hint string) (string, *fault) { return "", &fault{text, hint} }
	first, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	if !slices.Contains(keyTypes, first) {
		line = rest
	}
	key, _, options, more, err := ssh.ParseAuthorizedKey([]byte(line))
	switch {
	case err != nil:
		return bad("this is no public key", "write the one line of the .pub file")
	case len(options) > 0:
		return bad("a key with options", "weir does not obey options: write the type and the key alone")
	case len(strings.TrimSpace(string(more))) > 0:
		return bad("more than one key", "write one key for each entry")
	case !slices.Contains(keyTypes, key.Type()):
		return bad(fmt.Sprintf("a key of type %s", clip(key.Type())), "the types are "+strings.Join(keyTypes, ", "))
	}
	if k, ok := key.(ssh.CryptoPublicKey); ok {
		if r, ok := k.CryptoPublicKey().(*rsa.PublicKey); ok && r.N.BitLen() < 2048 {
			return bad(fmt.Sprintf("an RSA key of %d bits", r.N.BitLen()), "write one of 2048 bits or more, or of type ssh-ed25519")
		}
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))), nil
}

func (d *trustDecoder) least(n *node) {
	if n == nil {
		return
	}
	for _, v := range d.list(n, "least") {
		d.fields(v, "an entry of least", []string{"steps", "quorum"}, "steps", "quorum", "selfApproval")
		l := LeastRule{Steps: str(v.get("steps")), Quorum: d.count(v.get("quorum"), "quorum", 1, d.having(RoleApprove), RoleApprove)}
		if l.Steps == "" && v.get("steps") != nil {
			d.add(v.get("steps"), "steps wants a pattern", `write steps: "enforce/block:*"`)
		}
		if at := v.get("selfApproval"); at != nil {
			l.SelfApproval = truth(at)
			if at.kind != boolean {
				d.add(at, "selfApproval wants true or false", "write true or false")
			}
			if l.SelfApproval && d.t.Profile != ProfileOffice {
				d.add(at, "one person may approve their own steps only in an office", "write profile: office, or selfApproval: false")
			}
		}
		if l.SelfApproval && l.Quorum > 1 {
			d.add(v.get("quorum"), "more than one signer, and one person alone", "write quorum: 1, or selfApproval: false")
		}
		d.t.Least = append(d.t.Least, l)
	}
}

// having counts the signers with a role.
func (d *trustDecoder) having(role string) int {
	n := 0
	for _, s := range d.t.Signers {
		if s.Has(role) {
			n++
		}
	}
	return n
}

// fields notes missing and unknown fields.
func (d *trustDecoder) fields(n *node, what string, need []string, known ...string) {
	if n == nil || n.kind != mapping {
		d.add(n, what+" wants a map of fields", "the fields are "+strings.Join(known, ", "))
		return
	}
	for _, k := range n.keys {
		if !slices.Contains(known, k.text) {
			d.add(k, fmt.Sprintf("unknown field %q", clip(k.text)), didYouMean(k.text, known, "remove it; fields here are "))
		}
	}
	for _, f := range need {
		if n.get(f) == nil {
			d.add(n, fmt.Sprintf("%s lacks %q", what, f), "add "+f+":")
		}
	}
}

func (d *trustDecoder) oneOf(n *node, field string, want ...string) {
	if n != nil && !slices.Contains(want, str(n)) {
		d.add(n, fmt.Sprintf("%s cannot be %q", field, clip(n.show())), "write "+strings.Join(want, " or "))
	}
}

func (d *trustDecoder) list(n *node, field string) []*node {
	if n == nil {
		return nil
	}
	if n.kind != list {
		d.add(n, fmt.Sprintf("%s wants a list, not %s", field, n.kind), "write ["+clip(n.show())+"]")
		return nil
	}
	return n.vals
}

func (d *trustDecoder) texts(n *node, field string) []string {
	var out []string
	for _, v := range d.list(n, field) {
		if v.kind != text || v.text == "" {
			d.add(v, fmt.Sprintf("%s wants text, not %s", field, v.kind), "write it in quotes")
			continue
		}
		out = append(out, v.text)
	}
	return out
}

// count reads how many signers must agree; there must be as many.
func (d *trustDecoder) count(n *node, field string, otherwise, have int, role string) int {
	if n == nil {
		return otherwise
	}
	switch {
	case n.kind != number || n.num < 1:
		d.add(n, fmt.Sprintf("%s wants how many signers must agree", field), "write 1 or more")
	case n.num > int64(have) && have > 0:
		d.add(n, fmt.Sprintf("%s is %d, and there are %d signers with the role %s", field, n.num, have, role), "write less, or add signers")
	}
	return int(n.num)
}

func (d *trustDecoder) span(n *node, field string, most time.Duration) time.Duration {
	if n != nil && n.kind != text {
		d.add(n, field+" wants a duration", "write a number and a unit, as 4h")
		return 0
	}
	return d.duration(n, 0, time.Second, most)
}

func (d *trustDecoder) bits(n *node, field string, most int64) int {
	if n == nil {
		return 0
	}
	if n.kind != number || n.num < 1 || n.num > most {
		d.add(n, field+" wants a prefix length", fmt.Sprintf("write 1 to %d", most))
		return 0
	}
	return int(n.num)
}
