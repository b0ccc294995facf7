package boot

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
)

// Outcome is what a boot came to.
type Outcome string

// The outcomes.
const (
	Restored Outcome = "restored" // what was confirmed is in force
	Open     Outcome = "open"     // nothing is: everything passes
	Switched Outcome = "off"      // weir is switched off: everything passes
	Nothing  Outcome = "nothing"  // nothing was ever confirmed here
	Left     Outcome = "left"     // the table is there already, made since the machine was started
)

// Report is what a boot came to, for the daemon that starts after it.
type Report struct {
	Version  int       `json:"version"`
	At       time.Time `json:"at"`
	BootID   string    `json:"bootId"`
	Outcome  Outcome   `json:"outcome"`
	Step     string    `json:"step,omitempty"`
	Words    string    `json:"words"`              // one line
	Problems []string  `json:"problems,omitempty"` // what a person should look at
}

const reportVersion = 1

// reportFile is in the folder of the socket, which is empty after a boot.
func reportFile(run string) string { return filepath.Join(run, "boot.json") }

// Write leaves the report in a folder, which is made where it is missing.
func (r Report) Write(run string) error {
	r.Version = reportVersion
	data, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.MkdirAll(run, 0o755)
	}
	if err == nil {
		err = renameio.WriteFile(reportFile(run), append(data, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("cannot leave the report of the boot: %w", err)
	}
	return nil
}

// ReadReport returns the report of this boot, nil where there is none.
func ReadReport(run, bootID string) (*Report, error) {
	data, err := os.ReadFile(reportFile(run))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var r Report
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err == nil && r.Version != reportVersion {
		err = fmt.Errorf("it has version %d, this weir reads %d", r.Version, reportVersion)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the report of the boot: %w", err)
	}
	if r.BootID != bootID {
		return nil, nil
	}
	return &r, nil
}

// kmsg is where a line goes to the kernel's log.
const kmsg = "/dev/kmsg"

// Tell writes a line to the kernel's log, where it is read when nothing else
// works: as an error, or as a notice.
func Tell(bad bool, line string) error {
	level := 5
	if bad {
		level = 3
	}
	f, err := os.OpenFile(kmsg, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "<%d>weir: %s\n", level, line)
	return errors.Join(err, f.Close())
}
