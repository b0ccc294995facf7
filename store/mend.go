package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"weir/phases/audit"
)

// MendJournal gives a journal the records that it lacks and its audit log has:
// an older copy was put back, or the newest records were lost. A journal that is
// not there is made of the log alone. One that says something else than the log
// is left as it is. It returns how many records came back. No daemon may run.
func MendJournal(dir string) (n int, err error) {
	fail := func(err error) (int, error) { return 0, fmt.Errorf("cannot mend the journal: %w", err) }
	leaves, err := ReadAuditLog(dir)
	if err != nil {
		return fail(err)
	}
	if words, at := audit.Sequence("audit log", leaves); at > 0 {
		return fail(fmt.Errorf("%w: %s", ErrAudit, words))
	}
	j, err := OpenJournal(filepath.Join(dir, "journal.db"))
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	texts, err := j.Texts()
	if err != nil {
		return fail(err)
	}
	if len(texts) >= len(leaves) {
		return fail(fmt.Errorf("it lacks nothing: the journal has %d records, and the audit log %d", len(texts), len(leaves)))
	}
	if words, at := audit.Differ(leaves[:len(texts)], texts); at > 0 {
		return fail(fmt.Errorf("%w: %s; move journal.db away, and it is made of the audit log", ErrAudit, words))
	}
	err = guard(func() error {
		return j.db.Update(func(tx *bolt.Tx) error {
			b := tx.Bucket(journalBucket)
			for i, leaf := range leaves[len(texts):] {
				key := binary.BigEndian.AppendUint64(nil, uint64(len(texts)+i+1))
				if err := b.Put(key, seal(key, leaf)); err != nil {
					return err
				}
			}
			return b.SetSequence(uint64(len(leaves)))
		})
	})
	if err != nil {
		return fail(err)
	}
	if _, err := j.Records(); err != nil {
		return fail(err)
	}
	return len(leaves) - len(texts), nil
}
