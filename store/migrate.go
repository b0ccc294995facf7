package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/google/renameio/v2"
	bolt "go.etcd.io/bbolt"
)

// migration brings a database from one version to the next. It runs in the
// transaction that also writes the version, so that a crash leaves the old
// database or the new one.
type migration func(tx *bolt.Tx) error

// The steps from each older version that was ever released. There is one
// version of both so far.
var (
	journalSteps  = map[int]migration{}
	evidenceSteps = map[int]migration{}
)

// migrate brings a database whose version stands in a bucket to the version
// that this weir reads. An older one is first copied beside it, with its version
// in the name, where no such copy is yet. A newer one, and one that is older than
// anything that can be read, is ErrVersion, and left alone.
func migrate(db *bolt.DB, path string, readOnly bool, bucket []byte, version string, steps map[int]migration) error {
	want, err := strconv.Atoi(version)
	if err != nil {
		return err
	}
	var text string
	if err := guard(func() error {
		return db.View(func(tx *bolt.Tx) error {
			text = string(bytes.Clone(tx.Bucket(bucket).Get(versionKey)))
			return nil
		})
	}); err != nil {
		return err
	}
	have, err := strconv.Atoi(text)
	switch {
	case text == version:
		return nil
	case err != nil || have > want:
		return fmt.Errorf("%w: %q, this weir reads %q", ErrVersion, text, version)
	}
	for v := have; v < want; v++ {
		if steps[v] == nil {
			return fmt.Errorf("%w: %q, which is too old to be read: this weir reads %q", ErrVersion, text, version)
		}
	}
	if readOnly {
		return fmt.Errorf("%w: %q, this weir reads %q and migrates it when the daemon starts", ErrVersion, text, version)
	}
	if err := keepCopy(db, path+".v"+text); err != nil {
		return fmt.Errorf("cannot keep a copy before migrating: %w", err)
	}
	err = guard(func() error {
		return db.Update(func(tx *bolt.Tx) error {
			for v := have; v < want; v++ {
				if err := steps[v](tx); err != nil {
					return err
				}
			}
			return tx.Bucket(bucket).Put(versionKey, []byte(version))
		})
	})
	if err != nil {
		return fmt.Errorf("cannot migrate from version %d to %d: %w", have, want, err)
	}
	return nil
}

// keepCopy writes the database to another file: whole and on the disk, or not
// at all. A copy that is there stays: it is of before an attempt that failed.
func keepCopy(db *bolt.DB, path string) error {
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	err = guard(func() error {
		return db.View(func(tx *bolt.Tx) error {
			_, err := tx.WriteTo(f)
			return err
		})
	})
	if err != nil {
		return errors.Join(err, f.Cleanup())
	}
	return errors.Join(f.CloseAtomicallyReplace(), syncDir(filepath.Dir(path)))
}
