package daemon

import (
	"context"
	"net"
	"time"

	"weir/cmd/weir/internal/api"
	"weir/nft"
	"weir/nft/kernel"
	"weir/phases"
	"weir/phases/audit"
	"weir/store"
)

// auditing is what the loop knows of the audit log.
type auditing struct {
	log     *store.AuditLog
	witness *witness // nil: the trust file names none
	said    string   // the last complaint, so that it is said once
}

// logged is a journal whose records the audit log takes over at once. What it
// cannot take, on a full disk, it takes later; until then no approval counts.
type logged struct {
	phases.Journal
	d *Daemon
}

// Append writes to the journal, then to the log.
func (l *logged) Append(r phases.Record) (phases.Record, error) {
	r, err := l.Journal.Append(r)
	if err == nil {
		l.d.complainAudit(l.d.audit.log.Follow())
	}
	return r, err
}

func stopwatch() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}

// compare reads the whole table back, and says in what it is not a revision's.
func (d *Daemon) compare(ctx context.Context, r nft.Revision, known []string) ([]nft.Difference, error) {
	want, err := kernel.NewWant([]nft.Revision{r}, known)
	if err != nil {
		return nil, err
	}
	diffs, _, err := d.kernel.Compare(ctx, want, true)
	return diffs, err
}

func (d *Daemon) openAudit() {
	d.audit.log = store.OpenAuditLog(d.cfg.State, d.journal)
	d.complainAudit(d.audit.log.Err())
	if n := d.audit.log.Lacked(); n > 0 {
		d.log.Error("the audit log's end was cut off; it was written again from the journal, and is what was signed", "records", n)
	}
}

func (d *Daemon) complainAudit(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != d.audit.said {
		d.log.Error("no approval counts", "error", err)
	}
	d.audit.said = text
}

// syslogSocket is where syslog listens, on machines that have one.
const syslogSocket = "/dev/log"

// checkpoint signs what came since the last one, and tells it to the daemon's
// log, which is the system's journal, and to syslog.
func (d *Daemon) checkpoint() {
	s, fresh, err := d.audit.log.Checkpoint(d.machine.Identity, d.cfg.Now())
	d.complainAudit(err)
	if err != nil || !fresh {
		return
	}
	d.log.Info("checkpoint", "line", s.Line())
	w := d.audit.witness
	if w != nil {
		w.tell(s)
	}
	if w == nil || !w.Syslog {
		toSyslog(s.Line()) // where there is one; the line is in the log and in the file, too
	}
}

func toSyslog(line string) error {
	c, err := net.Dial("unixgram", syslogSocket)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		return err
	}
	_, err = c.Write([]byte("<85>weir: " + line)) // authpriv.notice
	return err
}

// auditPart answers with some of the log's leaves, and with the checkpoints.
func (d *Daemon) auditPart(ctx context.Context, c caller, in api.AuditArgs) (api.AuditPart, error) {
	var out api.AuditPart
	if key := d.audit.log.Key(); key != nil {
		out.Key = audit.PublicText(key)
	}
	if err := d.audit.log.Err(); err != nil {
		out.Broken = err.Error()
	}
	leaves, err := store.ReadAuditLog(d.cfg.State)
	if err != nil {
		return out, err
	}
	out.Size = uint64(len(leaves))
	for n, i := 0, in.From; i < out.Size && n < partSize; i++ {
		out.Leaves = append(out.Leaves, leaves[i])
		n += len(leaves[i])
	}
	if in.From+uint64(len(out.Leaves)) < out.Size {
		return out, nil
	}
	if out.Journal, err = d.differs(leaves); err != nil {
		return out, err
	}
	out.Checkpoints, err = store.ReadCheckpoints(d.cfg.State)
	return out, err
}

// partSize bounds an answer in bytes, so that the loop is not held up.
const partSize = 8 << 20

// differs says in what the log is not the journal.
func (d *Daemon) differs(leaves [][]byte) ([]audit.Problem, error) {
	texts, err := d.journal.Texts()
	if err != nil {
		return nil, err
	}
	return audit.CheckJournal(leaves, texts), nil
}
