package store

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"weir/phases/audit"
)

// Witnessed reads the newest checkpoint of a machine from a witness's file,
// where other machines may have lines too; false where it has none. One that
// this machine's key did not sign is an error: the file tells of another log.
func Witnessed(path, machine string, key audit.Public) (audit.Signed, bool, error) {
	fail := func(err error) (audit.Signed, bool, error) {
		return audit.Signed{}, false, fmt.Errorf("cannot read the witness %s: %w", path, err)
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return audit.Signed{}, false, nil
	}
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	var newest audit.Signed
	found := false
	s := bufio.NewScanner(f)
	for s.Scan() {
		c, err := audit.ParseLine(s.Text())
		if err != nil || c.Machine != machine {
			continue // somebody else's, or torn off
		}
		if err := c.Verify(key); err != nil {
			return fail(err)
		}
		if c.Size >= newest.Size {
			newest, found = c, true
		}
	}
	if err := s.Err(); err != nil {
		return fail(err)
	}
	return newest, found, nil
}

// TellWitness adds a checkpoint to a witness's file.
func TellWitness(path string, c audit.Signed) error {
	line := c.Line()
	if strings.Contains(line, "\n") {
		return audit.ErrForm
	}
	if err := appendSynced(path, line); err != nil {
		return fmt.Errorf("cannot tell the witness: %w", err)
	}
	return nil
}
