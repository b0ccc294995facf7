package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"weir/cmd/weir/internal/api"
	"weir/phases"
)

// A command that rolls back sends to the kernel itself. Before that it leaves a
// note who it is, so that whoever sees the change next knows: this daemon at its
// next look, or the next one at its start.

// noteAge is how long a note stands for a change that was not seen yet, while
// a daemon runs; one that nothing came of is dropped.
const noteAge = time.Minute

func (d *Daemon) noteFile() string { return filepath.Join(d.cfg.State, api.RollbackNoteFile) }

// readNote says who left a note; phases.Self and false without one.
func (d *Daemon) readNote(now time.Time) (phases.Actor, bool, error) {
	data, err := os.ReadFile(d.noteFile())
	if errors.Is(err, os.ErrNotExist) {
		return phases.Self, false, nil
	}
	var note api.RollbackNote
	if err == nil {
		err = json.Unmarshal(data, &note)
	}
	if err == nil && note.Version != 1 {
		err = fmt.Errorf("it has version %d, this weir reads 1", note.Version)
	}
	if err != nil {
		d.dropNote()
		return phases.Self, false, err
	}
	if d.readers != nil && now.Sub(note.At).Abs() > noteAge {
		d.dropNote()
		return phases.Self, false, nil
	}
	return phases.Actor{UID: note.UID, LoginUID: note.LoginUID, Name: note.Name, PID: note.PID, Exe: note.Exe}, true, nil
}

func (d *Daemon) dropNote() {
	if err := os.Remove(d.noteFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
		d.log.Error("cannot remove the note of a rollback", "error", err)
	}
}
