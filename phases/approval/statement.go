package approval

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Version is the first line of every statement of this form.
const Version = "weir-approval-v1"

// Decision is a yes or a no.
type Decision string

// The decisions.
const (
	Approve   Decision = "approve"
	Deny      Decision = "deny"
	Emergency Decision = "emergency" // do it now, for the lease, without the quorum
)

// Subject is what a statement decides.
type Subject string

// The subjects.
const (
	Step      Subject = "step"      // a frozen step
	Trust     Subject = "trust"     // another trust file
	Exception Subject = "exception" // an unblock or a quarantine beyond what one operator may do
)

// Ask is what a request adds to a frozen step, so that a signature is for one
// machine, one time and one use. It stands in the frozen step's head, and its
// zero value is a request without a trust file.
type Ask struct {
	Machine   string    `json:"machine"`            // identity of the machine, or "set:" and a name
	Trust     string    `json:"trust"`              // hash of the trust file in force
	NotBefore time.Time `json:"notBefore,omitzero"` // zero: at once
	NotAfter  time.Time `json:"notAfter"`           // whole seconds, UTC
	Nonce     string    `json:"nonce"`              // 32 hex digits, spent when the step is armed
	LogSize   uint64    `json:"logSize"`            // of the audit log at the time of the request
	LogRoot   string    `json:"logRoot"`            // its root; "-" without a log
	Tickets   []Ticket  `json:"tickets,omitempty"`  // of a step that denies
}

// Ticket lets an account put one group alone back to alert while the step that
// it was signed with is in force.
type Ticket struct {
	Group   string        `json:"group"`
	Account string        `json:"account"`
	Times   int           `json:"times"` // how often; 1 or more
	For     time.Duration `json:"for"`   // from the confirm on; whole seconds
}

// String is the ticket as signers sign it.
func (t Ticket) String() string {
	return fmt.Sprintf("%s %s %d %s", t.Group, t.Account, t.Times, t.For)
}

func parseTicket(text string) (Ticket, error) {
	f := strings.Split(text, " ")
	if len(f) != 4 || f[0] == "" || f[1] == "" {
		return Ticket{}, errors.New("a ticket is a group, an account, how often and for how long")
	}
	times, err := strconv.Atoi(f[2])
	long, err2 := time.ParseDuration(f[3])
	if err = errors.Join(err, err2); err == nil && (times < 1 || long < time.Second) {
		err = errors.New("a ticket is for one use or more, and for one second or longer")
	}
	return Ticket{f[0], f[1], times, long}, err
}

// Statement is what a signer signs. Its text binds every field; the digest
// binds everything of a frozen step once more.
type Statement struct {
	Decision Decision
	Subject  Subject
	Name     string // of the step; "trust" for a trust file
	Digest   string // of the frozen step, or of the new trust file
	Ask
	Plan     string            // hash; "-" for a trust file
	Upon     string            // revision that the step was frozen upon; "-" none
	UponStep string            // digest of the frozen step that was confirmed then; "-" none
	Revision string            // that would be armed; "-" for a trust file
	Hashes   map[string]string // of the frozen step's parts, by name
	Targets  []string          // what becomes of each group, for the eyes of the signer
	Lease    time.Duration     // emergency, exception: how long; whole seconds
	Reason   string            // emergency, exception: why; "" else
}

// MaxSize bounds a statement's text in bytes.
const MaxSize = 256 << 10

// Text is the canonical text: one fact a line, always in the same order, and
// the only text that Parse takes for this statement.
func (s Statement) Text() []byte {
	var b strings.Builder
	line := func(key, value string) { b.WriteString(key + ": " + value + "\n") }
	b.WriteString(Version + "\n")
	line("decision", string(s.Decision))
	line("subject", string(s.Subject))
	line("name", s.Name)
	line("digest", s.Digest)
	line("machine", s.Machine)
	line("trust", s.Ask.Trust)
	line("plan", s.Plan)
	line("upon", s.Upon)
	line("upon-step", s.UponStep)
	line("revision", s.Revision)
	line("not-before", moment(s.NotBefore))
	line("not-after", moment(s.NotAfter))
	lease, reason := "-", "-"
	if s.Lease != 0 {
		lease = s.Lease.String()
	}
	if s.Reason != "" {
		reason = s.Reason
	}
	line("lease", lease)
	line("reason", reason)
	line("nonce", s.Nonce)
	line("log-size", strconv.FormatUint(s.LogSize, 10))
	line("log-root", s.LogRoot)
	for _, t := range s.Tickets {
		line("ticket", t.String())
	}
	var names []string
	for n := range s.Hashes {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		line("hash", n+" "+s.Hashes[n])
	}
	for _, t := range s.Targets {
		line("target", t)
	}
	return []byte(b.String())
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

var (
	valueForm   = regexp.MustCompile(`^[!-~]([ -~]*[!-~])?$`)
	hashForm    = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	nonceForm   = regexp.MustCompile(`^[0-9a-f]{32}$`)
	partForm    = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)
	errNotCanon = errors.New("it is not in the one form that is signed")
)

// Parse reads a statement's text. What is not exactly what Text writes is
// ErrForm.
func Parse(text []byte) (Statement, error) {
	fail := func(err error) (Statement, error) { return Statement{}, fmt.Errorf("%w: %w", ErrForm, err) }
	if len(text) > MaxSize {
		return fail(fmt.Errorf("it has %d bytes, more than %d", len(text), MaxSize))
	}
	lines := strings.Split(string(text), "\n")
	if lines[0] != Version {
		return fail(fmt.Errorf("its first line is not %s", Version))
	}
	if lines[len(lines)-1] != "" {
		return fail(errors.New("its last line has no end"))
	}
	s := Statement{Hashes: map[string]string{}}
	for i, l := range lines[1 : len(lines)-1] {
		key, value, ok := strings.Cut(l, ": ")
		if !ok || !valueForm.MatchString(value) {
			return fail(fmt.Errorf("line %d is no fact", i+2))
		}
		if err := s.set(key, value); err != nil {
			return fail(fmt.Errorf("line %d: %w", i+2, err))
		}
	}
	if err := s.check(); err != nil {
		return fail(err)
	}
	if string(s.Text()) != string(text) {
		return fail(errNotCanon)
	}
	return s, nil
}

func (s *Statement) set(key, value string) (err error) {
	at := func() time.Time {
		if value == "-" {
			return time.Time{}
		}
		var t time.Time
		t, err = time.Parse(time.RFC3339, value)
		return t.UTC()
	}
	switch key {
	case "decision":
		s.Decision = Decision(value)
	case "subject":
		s.Subject = Subject(value)
	case "name":
		s.Name = value
	case "digest":
		s.Digest = value
	case "machine":
		s.Machine = value
	case "trust":
		s.Ask.Trust = value
	case "plan":
		s.Plan = value
	case "upon":
		s.Upon = value
	case "upon-step":
		s.UponStep = value
	case "revision":
		s.Revision = value
	case "not-before":
		s.NotBefore = at()
	case "not-after":
		s.NotAfter = at()
	case "lease":
		if value != "-" {
			s.Lease, err = time.ParseDuration(value)
		}
	case "reason":
		if value != "-" {
			s.Reason = value
		}
	case "nonce":
		s.Nonce = value
	case "log-size":
		s.LogSize, err = strconv.ParseUint(value, 10, 64)
	case "log-root":
		s.LogRoot = value
	case "ticket":
		var t Ticket
		t, err = parseTicket(value)
		s.Tickets = append(s.Tickets, t)
	case "hash":
		name, hash, _ := strings.Cut(value, " ")
		if !partForm.MatchString(name) {
			return errors.New("a hash has no name")
		}
		s.Hashes[name] = hash
	case "target":
		s.Targets = append(s.Targets, value)
	default:
		return fmt.Errorf("unknown fact %q", key)
	}
	return err
}

// check says whether a statement has every fact in its form.
func (s Statement) check() error {
	hash := func(name, value string, none bool) error {
		if hashForm.MatchString(value) || none && value == "-" {
			return nil
		}
		return fmt.Errorf("%s is no hash", name)
	}
	errs := []error{hash("digest", s.Digest, false), hash("trust", s.Ask.Trust, false), hash("plan", s.Plan, s.Subject != Step),
		hash("upon-step", s.UponStep, true)}
	for n, h := range s.Hashes {
		errs = append(errs, hash("the hash of "+n, h, true))
	}
	bounded := s.Decision == Emergency || s.Subject == Exception
	switch {
	case !slices.Contains([]Decision{Approve, Deny, Emergency}, s.Decision):
		errs = append(errs, fmt.Errorf("no decision %q", s.Decision))
	case !slices.Contains([]Subject{Step, Trust, Exception}, s.Subject):
		errs = append(errs, fmt.Errorf("no subject %q", s.Subject))
	case bounded && (s.Lease <= 0 || s.Reason == "" || s.Subject == Trust):
		errs = append(errs, errors.New("an emergency, and an exception, has a lease and a reason"))
	case !bounded && (s.Lease != 0 || s.Reason != ""):
		errs = append(errs, errors.New("a lease or a reason, which only an emergency or an exception has"))
	case s.Subject != Step && len(s.Tickets) > 0:
		errs = append(errs, errors.New("a ticket, which only a step has"))
	case s.Subject == Exception && len(s.Targets) != 1:
		errs = append(errs, errors.New("an exception is one"))
	}
	for name, v := range map[string]string{"name": s.Name, "machine": s.Machine, "upon": s.Upon, "revision": s.Revision, "log-root": s.LogRoot} {
		if !valueForm.MatchString(v) {
			errs = append(errs, fmt.Errorf("%s is missing", name))
		}
	}
	if !nonceForm.MatchString(s.Nonce) {
		errs = append(errs, errors.New("nonce is not 32 hex digits"))
	}
	if s.NotAfter.IsZero() {
		errs = append(errs, errors.New("not-after is missing"))
	}
	return errors.Join(errs...)
}
