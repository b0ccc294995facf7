package daemon

import (
	"fmt"
	"sync"
	"time"

	"weir/phases"
	"weir/phases/audit"
	"weir/plans"
	"weir/store"
)

// witness tells the checkpoints to whom the trust file names. Its file may be on
// another machine's disk, and hang: one goroutine writes to it, and nobody waits
// for that longer than patience.
type witness struct {
	plans.Witness
	ask  chan question
	wait sync.WaitGroup
}

// question is a checkpoint to be told, or with an answer wanted only the state.
type question struct {
	tell   audit.Signed
	answer chan answer
}

type answer struct {
	newest audit.Signed // that the witness had when it was first read; zero none
	err    error        // why not everything is told
}

// patience is how long a request or an approval waits for the witness.
const patience = 2 * time.Second

func newWitness(w plans.Witness, machine string, key audit.Public, syslog func(string) error, complain func(error)) *witness {
	x := &witness{Witness: w, ask: make(chan question, 16)}
	x.wait.Go(func() { x.work(machine, key, syslog, complain) })
	return x
}

func (w *witness) work(machine string, key audit.Public, syslog func(string) error, complain func(error)) {
	var a answer
	var file, log audit.Signed // still to be told; zero: nothing
	said := ""
	read := w.File == ""
	for q := range w.ask {
		if q.answer == nil {
			file, log = q.tell, q.tell // the newest one says what the earlier ones said
		}
		a.err = nil
		if !read {
			if a.newest, _, a.err = store.Witnessed(w.File, machine, key); a.err == nil {
				read = true
			}
		}
		if w.File != "" && a.err == nil && file.Size > a.newest.Size {
			if a.err = store.TellWitness(w.File, file); a.err == nil {
				file = audit.Signed{}
			}
		}
		if w.Syslog && log.Size > 0 {
			if err := syslog(log.Line()); err == nil {
				log = audit.Signed{}
			} else if a.err == nil {
				a.err = fmt.Errorf("cannot tell syslog: %w", err)
			}
		}
		if text := fmt.Sprint(a.err); a.err != nil && text != said {
			complain(a.err)
			said = text
		}
		if q.answer != nil {
			q.answer <- a
		}
	}
}

// tell does not wait. A witness that hangs is found out by state.
func (w *witness) tell(c audit.Signed) {
	select {
	case w.ask <- question{tell: c}:
	default: // the next one says what this one said
	}
}

// state waits until everything that tell was given is told.
func (w *witness) state() (answer, error) {
	q := question{answer: make(chan answer, 1)}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case w.ask <- q:
	case <-late.C:
		return answer{}, fmt.Errorf("the witness does not answer within %s", patience)
	}
	select {
	case a := <-q.answer:
		return a, a.err
	case <-late.C:
		return answer{}, fmt.Errorf("the witness does not answer within %s", patience)
	}
}

// close waits for the goroutine, but not for a disk that hangs.
func (w *witness) close() {
	close(w.ask)
	done := make(chan struct{})
	go func() { w.wait.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
	}
}

// witnessed is the audit log for approvals: it counts only while the witness was
// told everything, and remembers nothing that the log does not have.
type witnessed struct{ d *Daemon }

var _ phases.AuditLog = witnessed{}

func (l witnessed) Root() (uint64, string, error) {
	if err := l.d.heardByWitness(); err != nil {
		return 0, "", err
	}
	return l.d.audit.log.Root()
}

func (l witnessed) Extends(size uint64, root string) error {
	if err := l.d.heardByWitness(); err != nil {
		return err
	}
	return l.d.audit.log.Extends(size, root)
}

func (d *Daemon) heardByWitness() error {
	w := d.audit.witness
	if w == nil {
		return nil
	}
	a, err := w.state()
	if err == nil && a.newest.Size > 0 {
		if err = d.audit.log.Extends(a.newest.Size, a.newest.Root); err != nil {
			err = fmt.Errorf("the witness %s remembers %d records: %w", w.File, a.newest.Size, err)
		}
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", store.ErrAudit, err)
	}
	return err
}

// useWitness begins to tell whom the accepted trust file names.
func (d *Daemon) useWitness(t *plans.Trust) {
	var want plans.Witness
	if t != nil {
		want = t.Witness
	}
	if have := d.audit.witness; have != nil {
		if have.Witness == want {
			return
		}
		have.close()
		d.audit.witness = nil
	}
	if key := d.audit.log.Key(); want != (plans.Witness{}) && key != nil {
		machine := d.machine.Identity
		if machine == "" {
			machine = "-"
		}
		d.audit.witness = newWitness(want, machine, key, toSyslog, func(err error) { d.log.Error("no approval counts until the witness is told", "error", err) })
		if c := d.audit.log.Signed(); c.Size > 0 && d.audit.log.Err() == nil {
			d.audit.witness.tell(c)
		}
	}
}
