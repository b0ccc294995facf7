package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// ErrWritable is returned for a file that others may write, itself or by way of
// a folder above it.
var ErrWritable = errors.New("others may write it")

// ReadGuarded reads a small file that only root and the daemon's own user may
// change: neither the file nor any folder above it may be owned or written by
// anybody else, folders with the sticky bit above the file's own excepted. A
// file that is not there is os.ErrNotExist; one above most bytes is an error.
func ReadGuarded(path string, most int64) ([]byte, error) {
	fail := func(err error) ([]byte, error) { return nil, fmt.Errorf("cannot read %s: %w", path, err) }
	real, err := filepath.Abs(path)
	if err == nil {
		real, err = filepath.EvalSymlinks(real)
	}
	if err != nil {
		return fail(err)
	}
	for dir, own := filepath.Dir(real), true; ; dir, own = filepath.Dir(dir), false {
		info, err := os.Lstat(dir)
		if err != nil {
			return fail(err)
		}
		if err := guarded(dir, info, own); err != nil {
			return fail(err)
		}
		if dir == filepath.Dir(dir) {
			break
		}
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
	if err := guarded(real, info, true); err != nil {
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

func guarded(path string, info os.FileInfo, own bool) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("cannot tell who owns %s", path)
	}
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%w: uid %d owns %s; run: chown root %s", ErrWritable, st.Uid, path, path)
	}
	if info.Mode()&0o022 != 0 && (own || info.Mode()&os.ModeSticky == 0) {
		return fmt.Errorf("%w: the mode of %s is %v; run: chmod go-w %s", ErrWritable, path, info.Mode(), path)
	}
	return nil
}
