package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/exit"
	"weir/cmd/weir/internal/report"
	"weir/phases"
	"weir/phases/audit"
	"weir/plans"
	"weir/store"
)

var _ = register(func(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "audit",
		Short: "the tamper-evident log: who decided what, and whether it is whole",
		Long: `Every request, decision, step, way back, exception and drift is a line of the
audit log. The machine signs checkpoints of it, which go to the daemon's log, to
syslog, and to the witness that the trust file names.

  weir audit log --since 24h
  weir audit verify --against old-checkpoints
  weir audit key > machine.allowed      for ssh-keygen -Y verify
  weir audit report > report            for somebody who has no weir`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(auditLog(e), auditVerify(e), auditReport(e), auditKey(e), auditMend(e))
	return c
})

func auditLog(e *env) *cobra.Command {
	var since, kind string
	c := &cobra.Command{
		Use:   "log",
		Short: "list the audit log",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			from, err := moment(since, e.now())
			if err != nil {
				return err
			}
			a, err := e.readAudit(c.Context())
			if err != nil {
				return err
			}
			out := []phases.Record{}
			for i, l := range a.Leaves {
				var r phases.Record
				if err := json.Unmarshal(l, &r); err != nil {
					return exit.Errorf(exit.Difference, "record %d of the audit log cannot be read: %w", i+1, err).WithHint("weir audit verify")
				}
				if r.At.Before(from) || kind != "" && kind != string(r.Kind) && kind != string(r.Op) {
					continue
				}
				r.PlanText, r.TrustText = nil, nil
				out = append(out, r)
			}
			if e.output == "json" {
				return e.json("AuditLog", out)
			}
			t := newTable(e.out, "RECORD", "WHEN", "WHO", "ACCOUNT", "PROGRAM", "WHAT", "KERNEL", "TOOK", "")
			for _, r := range out {
				what := string(r.Kind)
				if r.Op != "" {
					what += " " + string(r.Op)
				}
				t.row(r.Seq, r.At.UTC().Format("2006-01-02T15:04:05Z"), r.Actor, account(r.Actor), program(r.Actor), what, switched(r), took(r), r.Words)
			}
			return t.flush()
		},
	}
	c.Flags().StringVar(&since, "since", "", "only what came since: 24h, 7d, or a time as 2026-01-31T08:00:00Z")
	c.Flags().StringVar(&kind, "kind", "", "only this kind or operation: requested, approved, denied, seen, noted, arm, rollback …")
	e.outputFlag(c)
	return c
}

// moment reads "24h ago" or a time.
func moment(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	d, err := plans.ParseDuration(s)
	if err != nil {
		return time.Time{}, exit.Errorf(exit.Usage, "cannot read the time %q", s).WithHint("24h, 7d, or 2026-01-31T08:00:00Z")
	}
	return now.Add(-d), nil
}

// account is uid and login uid, as the kernel said them.
func account(a phases.Actor) string {
	if a.LoginUID == phases.NoLogin {
		return fmt.Sprint(a.UID)
	}
	return fmt.Sprintf("%d/%d", a.UID, a.LoginUID)
}

func program(a phases.Actor) string {
	if a.PID == 0 {
		return "-"
	}
	return fmt.Sprintf("%d %s", a.PID, a.Exe)
}

// switched is the revision before and after.
func switched(r phases.Record) string {
	switch r.Kind {
	case phases.Seen, phases.Lapsed, phases.Adopted, phases.Booted, phases.Emptied, phases.TakenOut:
	default:
		return "-"
	}
	text := orNone(r.Revision)
	if r.Before != r.Revision {
		text = orNone(r.Before) + " → " + text
	}
	if r.Trial != "" {
		text += " (trial " + r.Trial + ")"
	}
	return text
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func took(r phases.Record) string {
	if r.Took == 0 {
		return "-"
	}
	return span(r.Took)
}

func auditVerify(e *env) *cobra.Command {
	var against []string
	var key string
	c := &cobra.Command{
		Use:   "verify",
		Short: "is the audit log whole: against the journal, the checkpoints, and older ones",
		Long: `Compares the audit log with the journal, record by record, and with every signed
checkpoint, and names the first record that was changed, dropped, moved or cut off.
--against reads checkpoints that were kept elsewhere, from syslog or by a witness;
in each line of such a file the checkpoint is found by its first word. Without the
daemon it reads the files. Exit 2: the log is not what it was.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			a, err := e.readAudit(c.Context())
			if err != nil {
				return err
			}
			lines := a.Checkpoints
			for _, path := range against {
				more, err := checkpointsIn(path)
				if err != nil {
					return err
				}
				lines = append(lines, more...)
			}
			if key != "" {
				data, err := os.ReadFile(key)
				if err != nil {
					return exit.Errorf(exit.Usage, "cannot read the key: %w", err)
				}
				a.Key = strings.TrimSpace(string(data))
			}
			public, err := audit.ParsePublic(a.Key)
			if err != nil {
				return exit.Errorf(exit.Invalid, "%w", err)
			}
			r := audit.Check(a.Leaves, lines, public)
			r.Problems = append(r.Problems, a.Journal...)
			if a.Broken != "" {
				r.Problems = append(r.Problems, audit.Problem{Words: a.Broken})
			}
			if e.output == "json" {
				err = e.json("AuditResult", r)
			} else {
				e.showVerified(r)
			}
			if err == nil && len(r.Problems) > 0 {
				err = &difference{}
			}
			return err
		},
	}
	c.Flags().StringArrayVar(&against, "against", nil, "a file with checkpoints that were kept elsewhere; may be given again")
	c.Flags().StringVar(&key, "key", "", "a file with the machine's public key, noted earlier (weir audit key)")
	e.outputFlag(c)
	return c
}

func (e *env) showVerified(r audit.Result) {
	for _, p := range r.Problems {
		fmt.Fprintln(e.out, safe(p.Words))
	}
	if len(r.Problems) > 0 {
		fmt.Fprintf(e.out, "the audit log does NOT hold: %s, root %s\n", many(int(r.Size), "record"), r.Root)
		return
	}
	fmt.Fprintf(e.out, "the audit log holds: %s, root %s\n", many(int(r.Size), "record"), r.Root)
	fmt.Fprintf(e.out, "  it is the journal's, and under %s of this machine\n", many(r.Checkpoints, "checkpoint"))
	if n := r.Size - r.Signed; n > 0 {
		fmt.Fprintf(e.out, "  %s came after the newest checkpoint\n", many(int(n), "record"))
	}
}

// checkpointsIn finds the checkpoints in a file's lines: those of syslog begin
// with other words.
func checkpointsIn(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, exit.Errorf(exit.Usage, "cannot read checkpoints: %w", err)
	}
	defer f.Close()
	var out []string
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if i := strings.Index(s.Text(), audit.Version+" "); i >= 0 {
			fields := strings.Fields(s.Text()[i:])
			out = append(out, strings.TrimRight(strings.Join(fields[:min(6, len(fields))], " "), `"`))
		}
	}
	if s.Err() == nil && len(out) == 0 {
		return nil, exit.Errorf(exit.Invalid, "there is no checkpoint in %s", path)
	}
	return out, s.Err()
}

func auditKey(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "key",
		Short: "the public key of this machine's checkpoints, for ssh-keygen -Y verify -f",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			a, err := e.auditPart(c.Context(), 1<<62)
			if err != nil {
				return err
			}
			key, err := audit.ParsePublic(a.Key)
			if err != nil {
				return exit.Errorf(exit.Failed, "%w: %s", err, a.Broken)
			}
			fmt.Fprint(e.out, audit.Allowed(key, audit.Version, report.Version))
			return nil
		},
	}
}

func auditMend(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "mend",
		Short: "give the journal back the records that only the audit log has",
		Long: `After an older journal was put back, or its end was lost: the records that it lacks
are taken from the audit log, which has the same bytes. Where the journal says
something else than the log, move journal.db away first; all of it is then made of
the log. The daemon must not run.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			n, err := store.MendJournal(e.state)
			if err != nil {
				return err
			}
			fmt.Fprintf(e.out, "%s came back; start the daemon, then: weir audit verify\n", many(n, "record"))
			return nil
		},
	}
}

func (e *env) auditPart(ctx context.Context, from uint64) (api.AuditPart, error) {
	var out api.AuditPart
	err := e.call(ctx, "audit", api.AuditArgs{From: from}, &out)
	return out, err
}

// readAudit reads the whole log, from the daemon or, where none answers, from
// its files.
func (e *env) readAudit(ctx context.Context) (api.AuditPart, error) {
	all, err := e.auditPart(ctx, 0)
	for err == nil && uint64(len(all.Leaves)) < all.Size {
		var more api.AuditPart
		more, err = e.auditPart(ctx, uint64(len(all.Leaves)))
		if len(more.Leaves) == 0 && err == nil {
			err = io.ErrUnexpectedEOF
		}
		more.Leaves = append(all.Leaves, more.Leaves...)
		all = more
	}
	if x := exit.From(err); x != nil && x.Code == exit.NoDaemon {
		if bare, err := e.auditFiles(); !errors.Is(err, os.ErrNotExist) {
			fmt.Fprintln(e.err, "weir: no daemon answers; these are the files in "+e.state)
			return bare, err
		}
	}
	return all, err
}

func (e *env) auditFiles() (api.AuditPart, error) {
	var out api.AuditPart
	var err error
	if out.Leaves, err = store.ReadAuditLog(e.state); err != nil {
		return out, err
	}
	out.Size = uint64(len(out.Leaves))
	if out.Checkpoints, err = store.ReadCheckpoints(e.state); err != nil {
		return out, err
	}
	key, err := store.ReadAuditKey(e.state)
	if err != nil {
		return out, err
	}
	out.Key = audit.PublicText(key)
	j, err := store.ReadJournal(filepath.Join(e.state, "journal.db"))
	if err != nil {
		out.Journal = []audit.Problem{{Words: err.Error()}}
		return out, nil
	}
	defer j.Close()
	texts, err := j.Texts()
	if err != nil {
		out.Journal = []audit.Problem{{Words: err.Error()}}
		return out, nil
	}
	out.Journal = audit.CheckJournal(out.Leaves, texts)
	return out, nil
}
