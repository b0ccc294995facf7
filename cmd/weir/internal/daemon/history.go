package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"weir/cmd/weir/internal/exit"
	"weir/phases"
)

// mirrored is a journal whose records are also appended to a plain file, so
// that "weir history" can be read with the database unreadable. The database
// is what counts; after a crash the file may lack the last record until the next
// one comes.
type mirrored struct {
	phases.Journal
	path string
}

// tailSize is how much of the file's end is looked at for its newest record.
const tailSize = 256 << 10

// HistoryVersion stands in the first line of the plain file.
const HistoryVersion = `{"weirHistory":1}`

// Append writes to the database, then to the file.
func (m *mirrored) Append(r phases.Record) (phases.Record, error) {
	r, err := m.Journal.Append(r)
	if err != nil {
		return r, err
	}
	if err := m.copy(r); err != nil {
		// The record is durable; the copy is for bad days. Say it, go on.
		fmt.Fprintf(os.Stderr, "weir: cannot copy a record to %s: %v\n", m.path, err)
	}
	return r, nil
}

// copy adds a record, and before it those that the file lacks: a crash came
// between the database and the file, or the disk was full.
func (m *mirrored) copy(r phases.Record) (err error) {
	f, err := os.OpenFile(m.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	tail := make([]byte, min(size, tailSize))
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil {
		return err
	}
	var text []byte
	switch n := len(tail); {
	case n == 0:
		text = []byte(HistoryVersion + "\n")
	case tail[n-1] != '\n':
		text = []byte("\n") // ends a line that was torn off
	}
	last := newestSeq(tail)
	if last == 0 && size > tailSize {
		last = r.Seq - 1 // one huge line: nothing is known of it
	}
	missing := []phases.Record{r}
	if last+1 < r.Seq {
		all, err := m.Records()
		if err != nil {
			return err
		}
		missing = slices.DeleteFunc(all, func(o phases.Record) bool { return o.Seq <= last || o.Seq > r.Seq })
	}
	for _, o := range missing {
		o.PlanText = nil
		line, err := json.Marshal(o)
		if err != nil {
			return err
		}
		text = append(append(text, line...), '\n')
	}
	_, err = f.Write(text)
	return err
}

// newestSeq is that of the last line that is a record.
func newestSeq(data []byte) uint64 {
	lines := bytes.Split(data, []byte("\n"))
	for i := len(lines) - 1; i >= 0; i-- {
		var r struct {
			Seq uint64 `json:"seq"`
		}
		if json.Unmarshal(lines[i], &r) == nil && r.Seq > 0 {
			return r.Seq
		}
	}
	return 0
}

// ReadHistory reads the plain copy of the journal. A line that a crash or a full
// disk tore off is counted and left out.
func ReadHistory(state string) (records []phases.Record, torn int, err error) {
	data, err := os.ReadFile(filepath.Join(state, "history.jsonl"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, 0, exit.Errorf(exit.NoDaemon, "no daemon answers, and there is no history in %s", state)
	}
	if err != nil {
		return nil, 0, err
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	if string(lines[0]) != HistoryVersion {
		return nil, 0, exit.Errorf(exit.Invalid, "cannot read the history in %s: its first line is not of version 1", state)
	}
	for _, line := range lines[1:] {
		var r phases.Record
		if err := json.Unmarshal(line, &r); err != nil {
			torn++
			continue
		}
		records = append(records, r)
	}
	return records, torn, nil
}
