package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// ErrWritable is returned for a file that others may write, itself or by way of
// a folder above it.
var ErrWritable = errors.New("others may write it")

// ReadGuarded reads a small file that only root, the caller's own user and the
// given ones may change: neither the file nor any folder above it may be owned or
// written by anybody else, folders with the sticky bit above the file's own
// excepted. A file that is not there is os.ErrNotExist; one above most bytes is an
// error.
func ReadGuarded(path string, most int64, owners ...uint32) ([]byte, error) {
	fail := func(err error) ([]byte, error) { return nil, fmt.Errorf("cannot read %s: %w", path, err) }
	real, err := resolved(path)
	if err != nil {
		return fail(err)
	}
	if err := guardedDir(filepath.Dir(real), owners); err != nil {
		return fail(err)
	}
	f, err := os.OpenFile(real, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fail(err)
	}
	if !info.Mode().IsRegular() {
		return fail(errors.New("it is no plain file"))
	}
	if err := guarded(real, info, true, owners); err != nil {
		return fail(err)
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return fail(err)
	}
	if int64(len(data)) > most {
		return fail(fmt.Errorf("it has more than %d bytes", most))
	}
	return data, nil
}

// Guarded says whether only root and the caller's own user may change what is in
// a folder: ErrWritable, with what to do, where somebody else owns or may write
// it, or a folder above it.
func Guarded(dir string) error {
	real, err := resolved(dir)
	if err == nil {
		err = guardedDir(real, nil)
	}
	if err != nil {
		return fmt.Errorf("cannot use %s: %w", dir, err)
	}
	return nil
}

func resolved(path string) (string, error) {
	real, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(real)
}

func guardedDir(dir string, owners []uint32) error {
	for own := true; ; dir, own = filepath.Dir(dir), false {
		info, err := os.Lstat(dir)
		if err != nil {
			return err
		}
		if err := guarded(dir, info, own, owners); err != nil {
			return err
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

func guarded(path string, info os.FileInfo, own bool, owners []uint32) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("cannot tell who owns %s", path)
	}
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() && !slices.Contains(owners, st.Uid) && !unmapped(st.Uid) {
		return fmt.Errorf("%w: uid %d owns %s; run: chown root %s", ErrWritable, st.Uid, path, path)
	}
	if info.Mode()&0o022 != 0 && (own || info.Mode()&os.ModeSticky == 0) {
		return fmt.Errorf("%w: the mode of %s is %v; run: chmod go-w %s", ErrWritable, path, info.Mode(), path)
	}
	return nil
}

// unmapped says whether an owner is somebody outside of this user namespace,
// real root among them: there a throw-away demo runs, and nothing that lasts.
func unmapped(uid uint32) bool {
	const overflow = 65534
	if uid != overflow {
		return false
	}
	data, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && !slices.Equal(strings.Fields(string(data)), []string{"0", "0", "4294967295"})
}
