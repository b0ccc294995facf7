package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"weir/phases"
)

// Files keeps frozen steps and backouts as plain files below a directory of
// mode 0700, each of mode 0600:
//
//	frozen/<64 hex digits>.json         a frozen step
//	backout/<revision>/<step>.msg       netlink bytes, ready to send
//	backout/<revision>/<step>.nft       the same for: nft -f
//	backout/<revision>/default.{msg,nft}
//
// In the name of a step, "/" is written "+".
type Files struct{ dir string }

var _ phases.Files = (*Files)(nil)

// OpenFiles makes the directories where they are missing.
func OpenFiles(dir string) (*Files, error) {
	for _, d := range []string{dir, filepath.Join(dir, "frozen"), filepath.Join(dir, "backout")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("cannot keep frozen steps: %w", err)
		}
	}
	return &Files{dir}, nil
}

// ReadFiles is OpenFiles for reading: it makes nothing.
func ReadFiles(dir string) *Files { return &Files{dir} }

var (
	digestForm   = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	revisionForm = regexp.MustCompile(`^r[0-9a-f]{12}$`)
	stepForm     = regexp.MustCompile(`^[a-z][a-z0-9/:-]{0,80}$`)
)

func (f *Files) frozenPath(digest string) (string, error) {
	if !digestForm.MatchString(digest) {
		return "", fmt.Errorf("%q is no digest", digest)
	}
	return filepath.Join(f.dir, "frozen", strings.TrimPrefix(digest, "sha256:")+".json"), nil
}

// PutFrozen writes a frozen step; a file that is there already is replaced by
// the same bytes.
func (f *Files) PutFrozen(digest string, data []byte) error {
	path, err := f.frozenPath(digest)
	if err == nil {
		err = write(path, data)
	}
	if err != nil {
		return fmt.Errorf("cannot keep frozen step %s: %w", digest, err)
	}
	return nil
}

// GetFrozen reads a frozen step's file. The caller verifies it.
func (f *Files) GetFrozen(digest string) ([]byte, error) {
	path, err := f.frozenPath(digest)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

func (f *Files) backoutPath(from, to string) (string, error) {
	if !revisionForm.MatchString(from) {
		return "", fmt.Errorf("%q is no revision", from)
	}
	if !stepForm.MatchString(to) {
		return "", fmt.Errorf("%q is no step", to)
	}
	return filepath.Join(f.dir, "backout", from, strings.ReplaceAll(to, "/", "+")), nil
}

// PutBackout writes the way back from a revision to a step ("default": the one
// that is taken unless another is named) as two files.
func (f *Files) PutBackout(from, to string, message, text []byte) error {
	path, err := f.backoutPath(from, to)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = errors.Join(write(path+".msg", message), write(path+".nft", text), syncDir(filepath.Join(f.dir, "backout")))
	}
	if err != nil {
		return fmt.Errorf("cannot keep the way back from %s to %s: %w", from, to, err)
	}
	return nil
}

// Backout reads the two files of a way back. It needs no database.
func (f *Files) Backout(from, to string) (message, text []byte, err error) {
	path, err := f.backoutPath(from, to)
	if err != nil {
		return nil, nil, err
	}
	message, err1 := os.ReadFile(path + ".msg")
	text, err2 := os.ReadFile(path + ".nft")
	if err := errors.Join(err1, err2); err != nil {
		return nil, nil, fmt.Errorf("cannot read the way back from %s to %s: %w", from, to, err)
	}
	return message, text, nil
}

// Backouts lists where one can go back to from a revision, without "default".
func (f *Files) Backouts(from string) ([]string, error) {
	if !revisionForm.MatchString(from) {
		return nil, fmt.Errorf("%q is no revision", from)
	}
	entries, err := os.ReadDir(filepath.Join(f.dir, "backout", from))
	if err != nil {
		return nil, fmt.Errorf("cannot list the ways back from %s: %w", from, err)
	}
	var out []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".nft"); ok && name != "default" {
			out = append(out, strings.ReplaceAll(name, "+", "/"))
		}
	}
	slices.Sort(out)
	return out, nil
}

// write replaces a file: the old or the new content, never a part, on the disk
// when it returns.
func write(path string, data []byte) error {
	if err := renameio.WriteFile(path, data, 0o600, renameio.WithTempDir(filepath.Dir(path)), renameio.IgnoreUmask()); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
