package daemon

import (
	"encoding/json"
	"fmt"
	"os"

	"weir/phases"
)

// mirrored is a journal whose records are also appended to a plain file, so
// that "weir history" can be read with the database unreadable. The database
// is what counts; the file may lack the last record after a crash.
type mirrored struct {
	phases.Journal
	path string
}

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

func (m *mirrored) copy(r phases.Record) error {
	r.PlanText = nil
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(m.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() == 0 {
		line = append([]byte(HistoryVersion+"\n"), line...)
	}
	_, err = f.Write(append(line, '\n'))
	return err
}
