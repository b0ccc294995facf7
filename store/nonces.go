package store

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"weir/phases"
)

// Nonces keeps spent nonces as lines of plain files, one in each folder: a
// database that is put back from a copy does not take them with it. A nonce
// counts as spent when any of the files has it; the folder in /run forgets at a
// reboot, the one with the state does not. A file that is there and cannot be
// read is an error, never an empty list. It is safe for concurrent use by
// processes: lines are only appended.
type Nonces struct{ paths []string }

var _ phases.Nonces = (*Nonces)(nil)

// noncesHead is the first line of each file.
const noncesHead = "weir-nonces-v1"

var nonceForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

// OpenNonces makes the files where they are missing.
func OpenNonces(dirs ...string) (*Nonces, error) {
	n := &Nonces{}
	for _, d := range dirs {
		path := filepath.Join(d, "nonces")
		_, err := os.Stat(path)
		if errors.Is(err, os.ErrNotExist) {
			err = write(path, []byte(noncesHead+"\n"))
		}
		if err != nil {
			return nil, fmt.Errorf("cannot keep what is spent in %s: %w", path, err)
		}
		n.paths = append(n.paths, path)
		if _, err := n.has(path, ""); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// Spend writes a nonce to every file that lacks it. It is on the disk when
// Spend returns without an error.
func (n *Nonces) Spend(nonce string) error {
	if !nonceForm.MatchString(nonce) {
		return fmt.Errorf("%q is no nonce", nonce)
	}
	for _, p := range n.paths {
		has, err := n.has(p, nonce)
		if err != nil {
			return err
		}
		if has {
			continue
		}
		if err := appendLine(p, nonce); err != nil {
			return fmt.Errorf("cannot spend a nonce in %s: %w", p, err)
		}
	}
	return nil
}

// Spent says whether any of the files has the nonce.
func (n *Nonces) Spent(nonce string) (bool, error) {
	for _, p := range n.paths {
		if has, err := n.has(p, nonce); has || err != nil {
			return has, err
		}
	}
	return false, nil
}

func (n *Nonces) has(path, nonce string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("cannot read what is spent: %w", err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	if !s.Scan() || s.Text() != noncesHead {
		return false, fmt.Errorf("cannot read what is spent: %s: %w: its first line is not %s", path, ErrDamaged, noncesHead)
	}
	found := false
	for s.Scan() {
		// A line that a crash cut short was never told to anybody as spent.
		found = found || nonce != "" && s.Text() == nonce
	}
	return found, s.Err()
}

// appendLine also ends a line that a crash cut short.
func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	last := []byte{'\n'}
	if err == nil && info.Size() > 0 {
		_, err = f.ReadAt(last, info.Size()-1)
	}
	if err == nil {
		if last[0] != '\n' {
			line = "\n" + line
		}
		_, err = f.WriteString(line + "\n")
	}
	return errors.Join(err, f.Sync(), f.Close())
}
