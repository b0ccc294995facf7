package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"weir/phases"
)

// JournalVersion is the version of the journal's file.
const JournalVersion = "1"

// Errors of opening a database.
var (
	// ErrLocked is returned when another process holds the file.
	ErrLocked = errors.New("another process has the file open")
	// ErrDamaged is returned for a file that is empty, truncated or of
	// something else. bbolt would open an empty file as a new one.
	ErrDamaged = errors.New("the file is damaged")
	// ErrVersion is returned for a file that a newer weir wrote.
	ErrVersion = errors.New("the file has another version")
)

var (
	metaBucket    = []byte("weir")
	versionKey    = []byte("version")
	journalBucket = []byte("journal")
)

// lockWait is how long opening waits for another process.
const lockWait = time.Second

// Journal is an append-only list of records. It is safe for concurrent use.
type Journal struct {
	db *bolt.DB
}

var _ phases.Journal = (*Journal)(nil)

// OpenJournal opens a journal, or makes a new one where the file does not
// exist.
func OpenJournal(path string) (*Journal, error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := createJournal(path); err != nil {
			return nil, fmt.Errorf("cannot make the journal %s: %w", path, err)
		}
	}
	return openJournal(path, false)
}

// ReadJournal opens a journal for reading, as commands do when no daemon runs.
func ReadJournal(path string) (*Journal, error) { return openJournal(path, true) }

func openJournal(path string, readOnly bool) (*Journal, error) {
	fail := func(err error) (*Journal, error) { return nil, fmt.Errorf("cannot open the journal %s: %w", path, err) }
	info, err := os.Stat(path)
	if err != nil {
		return fail(err)
	}
	if info.Size() == 0 {
		return fail(fmt.Errorf("%w: the file is empty; move it away to start anew, the frozen steps are kept beside it", ErrDamaged))
	}
	db, err := openBolt(path, readOnly)
	if err != nil {
		return fail(err)
	}
	j := &Journal{db}
	err = guard(func() error {
		return db.View(func(tx *bolt.Tx) error {
			b := tx.Bucket(metaBucket)
			if b == nil || tx.Bucket(journalBucket) == nil {
				return fmt.Errorf("%w: it is a database of something else", ErrDamaged)
			}
			return nil
		})
	})
	if err == nil {
		err = migrate(db, path, readOnly, metaBucket, JournalVersion, journalSteps)
	}
	if err != nil {
		return fail(errors.Join(err, db.Close()))
	}
	return j, nil
}

// openBolt opens a bbolt file without waiting for ever, and turns the panic or
// page fault of a truncated file into ErrDamaged.
func openBolt(path string, readOnly bool) (db *bolt.DB, err error) {
	err = guard(func() error {
		var err error
		db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: lockWait, ReadOnly: readOnly, FreelistType: bolt.FreelistMapType})
		return err
	})
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, berrors.ErrTimeout):
		return nil, ErrLocked
	case errors.As(err, new(*os.PathError)):
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
}

// guard runs f and returns its panic, a fault in mapped memory included, as
// ErrDamaged.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	return f()
}

// createJournal makes the file under another name first: a crash leaves no
// file that is half a journal.
func createJournal(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	db, err := openBolt(fresh, false)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		if err := b.Put(versionKey, []byte(JournalVersion)); err != nil {
			return err
		}
		_, err = tx.CreateBucket(journalBucket)
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	// Link, not rename: a journal that appeared meanwhile is not replaced.
	if err := os.Link(fresh, path); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return errors.Join(os.Remove(fresh), syncDir(filepath.Dir(path)))
}

// Append gives the record the next Seq and writes it. It is on the disk when
// Append returns without an error.
func (j *Journal) Append(r phases.Record) (phases.Record, error) {
	err := guard(func() error {
		return j.db.Update(func(tx *bolt.Tx) error {
			b := tx.Bucket(journalBucket)
			seq, err := b.NextSequence()
			if err != nil {
				return err
			}
			r.Seq = seq
			text, err := json.Marshal(r)
			if err != nil {
				return err
			}
			key := binary.BigEndian.AppendUint64(nil, seq)
			return b.Put(key, seal(key, text))
		})
	})
	if err != nil {
		return r, fmt.Errorf("cannot append to the journal: %w", err)
	}
	return r, nil
}

// Records returns every record, oldest first.
func (j *Journal) Records() ([]phases.Record, error) {
	var out []phases.Record
	err := guard(func() error {
		return j.db.View(func(tx *bolt.Tx) error {
			return tx.Bucket(journalBucket).ForEach(func(k, v []byte) error {
				text, err := unseal(k, v)
				if err != nil {
					return err
				}
				var r phases.Record
				if err := json.Unmarshal(text, &r); errors.As(err, new(*json.SyntaxError)) {
					return fmt.Errorf("%w: record %x: %w", ErrDamaged, k, err)
				} else if err != nil {
					return fmt.Errorf("record %x: %w", k, err)
				}
				if want := uint64(len(out) + 1); r.Seq != want || binary.BigEndian.Uint64(k) != want {
					return fmt.Errorf("%w: record %d stands where record %d should", ErrDamaged, r.Seq, want)
				}
				out = append(out, r)
				return nil
			})
		})
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the journal: %w", err)
	}
	return out, nil
}

// Texts returns the bytes of every record as they were written, oldest first:
// what the leaves of the audit log are.
func (j *Journal) Texts() ([][]byte, error) { return j.texts(1) }

func (j *Journal) texts(from uint64) (out [][]byte, err error) {
	err = guard(func() error {
		return j.db.View(func(tx *bolt.Tx) error {
			c := tx.Bucket(journalBucket).Cursor()
			for k, v := c.Seek(binary.BigEndian.AppendUint64(nil, from)); k != nil; k, v = c.Next() {
				text, err := unseal(k, v)
				if err != nil {
					return err
				}
				out = append(out, bytes.Clone(text))
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the journal: %w", err)
	}
	return out, nil
}

// Check verifies the whole file, page by page.
func (j *Journal) Check() error {
	return guard(func() error {
		return j.db.View(func(tx *bolt.Tx) error {
			var all []error
			for err := range tx.Check() {
				all = append(all, err)
			}
			return errors.Join(all...)
		})
	})
}

// Close releases the file.
func (j *Journal) Close() error { return j.db.Close() }
