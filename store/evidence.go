package store

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"weir/phases/enforce"
	"weir/phases/finding"
	"weir/phases/monitor"
)

// EvidenceVersion is the version of the evidence's file.
const EvidenceVersion = "1"

var (
	evidenceBucket = []byte("weir-evidence") // versionKey → EvidenceVersion
	blockBucket    = []byte("blocks")        // time and number → compressed text of what changed, sealed
	answerBucket   = []byte("answers")       // number → answer, JSON, sealed
	findingBucket  = []byte("findings")      // fingerprint → finding, JSON, sealed
)

// EvidenceStore keeps the evidence, the answers and the findings in one bbolt
// file, apart from the journal. Evidence is appended in blocks by time, each
// the compressed text of what changed; nothing is read to be written again but
// by Compact. A crash loses at most what was not yet appended. It is safe for
// concurrent use.
type EvidenceStore struct {
	db *bolt.DB
	mu sync.Mutex // guards compacting against appending
}

// OpenEvidence opens the evidence, or makes a new file where none exists. It
// waits a second for another process (ErrLocked); an empty or truncated file is
// ErrDamaged, one of a newer weir ErrVersion.
func OpenEvidence(path string) (*EvidenceStore, error) { return openEvidence(path, false) }

// ReadEvidence opens the evidence for reading.
func ReadEvidence(path string) (*EvidenceStore, error) { return openEvidence(path, true) }

func openEvidence(path string, readOnly bool) (*EvidenceStore, error) {
	fail := func(err error) (*EvidenceStore, error) {
		return nil, fmt.Errorf("cannot open the evidence %s: %w", path, err)
	}
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) && !readOnly {
		if err := createEvidence(path); err != nil {
			return nil, fmt.Errorf("cannot make the evidence %s: %w", path, err)
		}
		info, err = os.Stat(path)
	}
	if err != nil {
		return fail(err)
	}
	if info.Size() == 0 {
		return fail(fmt.Errorf("%w: the file is empty; move it away to start anew, or put a copy in its place", ErrDamaged))
	}
	db, err := openBolt(path, readOnly)
	if err != nil {
		return fail(err)
	}
	err = guard(func() error {
		return db.View(func(tx *bolt.Tx) error {
			if need := tx.Size(); info.Size() < need {
				return fmt.Errorf("%w: it has %d bytes and should have %d", ErrDamaged, info.Size(), need)
			}
			b := tx.Bucket(evidenceBucket)
			if b == nil {
				return fmt.Errorf("%w: it is a database of something else", ErrDamaged)
			}
			for _, name := range [][]byte{blockBucket, answerBucket, findingBucket} {
				if tx.Bucket(name) == nil {
					return fmt.Errorf("%w: bucket %s is missing", ErrDamaged, name)
				}
			}
			return nil
		})
	})
	if err == nil {
		err = migrate(db, path, readOnly, evidenceBucket, EvidenceVersion, evidenceSteps)
	}
	if err != nil {
		return fail(errors.Join(err, db.Close()))
	}
	return &EvidenceStore{db: db}, nil
}

// createEvidence makes the file under another name first, so that a crash
// leaves none that is half made.
func createEvidence(path string) error {
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
		for _, name := range [][]byte{blockBucket, answerBucket, findingBucket} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		b, err := tx.CreateBucket(evidenceBucket)
		if err != nil {
			return err
		}
		return b.Put(versionKey, []byte(EvidenceVersion))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Link(fresh, path); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return errors.Join(os.Remove(fresh), syncDir(filepath.Dir(path)))
}

// Close waits for what goes on and closes the file.
func (s *EvidenceStore) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.db.Close()
}

// Append adds what changed (monitor.Evidence.Take) as a block, by the latest
// moment in it. It is on the disk when Append returns; where it fails, nothing
// of it is: give it back with monitor.Evidence.PutBack and try again later. An
// empty delta writes nothing.
func (s *EvidenceStore) Append(delta *monitor.Evidence) error {
	if delta.Empty() {
		return nil
	}
	data, err := pack(delta)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		err = s.update(func(tx *bolt.Tx) error {
			b := tx.Bucket(blockBucket)
			n, err := b.NextSequence()
			if err != nil {
				return err
			}
			b.FillPercent = 0.9 // keys only grow
			key := blockKey(delta.Latest(), n)
			return b.Put(key, seal(key, data))
		})
	}
	if err != nil {
		return fmt.Errorf("cannot keep evidence: %w", err)
	}
	return nil
}

func (s *EvidenceStore) update(f func(tx *bolt.Tx) error) error {
	return guard(func() error { return s.db.Update(f) })
}

func (s *EvidenceStore) view(f func(tx *bolt.Tx) error) error {
	return guard(func() error { return s.db.View(f) })
}

// blockKey sorts by time, then by number. Times before 1970 sort as 1970.
func blockKey(at time.Time, n uint64) []byte {
	k := binary.BigEndian.AppendUint64(nil, uint64(max(0, at.UnixNano())))
	return binary.BigEndian.AppendUint64(k, n)
}

func blockTime(key []byte) (time.Time, error) {
	if len(key) != 16 {
		return time.Time{}, fmt.Errorf("%w: a block's key has %d bytes", ErrDamaged, len(key))
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(key))).UTC(), nil
}

func pack(e *monitor.Evidence) ([]byte, error) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		return nil, err
	}
	if err := e.Encode(w); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func unpack(key, value []byte) (*monitor.Evidence, error) {
	data, err := unseal(key, value)
	if err != nil {
		return nil, err
	}
	r := flate.NewReader(bytes.NewReader(data))
	e, err := monitor.Decode(r, nil)
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	return e, errors.Join(err, r.Close())
}

// Load returns all evidence, ready to be added to; say first in which time zone
// days are counted from now on (monitor.Evidence.SetZone). A block that cannot
// be read is an error that names it.
func (s *EvidenceStore) Load() (*monitor.Evidence, error) { return s.LoadUpTo(time.Time{}) }

// LoadUpTo is Load without the blocks after a moment (zero: all). Compacted
// blocks are whole months: Build's own limit cuts more finely.
func (s *EvidenceStore) LoadUpTo(upTo time.Time) (*monitor.Evidence, error) {
	sum := monitor.Sum(nil)
	err := s.view(func(tx *bolt.Tx) error {
		return tx.Bucket(blockBucket).ForEach(func(k, v []byte) error {
			at, err := blockTime(k)
			if err != nil {
				return err
			}
			if !upTo.IsZero() && at.After(upTo) {
				return nil
			}
			e, err := unpack(k, v)
			if err != nil {
				return fmt.Errorf("block of %s: %w", at.Format(time.RFC3339), err)
			}
			sum.Merge(e)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("cannot load the evidence: %w", err)
	}
	sum.Track()
	return sum, nil
}

// AddAnswer adds an answer. Earlier ones to the same question stay, for the
// record; the latest counts (enforce.Answers).
func (s *EvidenceStore) AddAnswer(a enforce.Answer) error {
	if _, err := finding.ParseVerdict(string(a.Verdict)); err != nil {
		return fmt.Errorf("cannot keep the answer: %w", err)
	}
	data, err := json.Marshal(a)
	if err == nil {
		err = s.update(func(tx *bolt.Tx) error {
			b := tx.Bucket(answerBucket)
			n, err := b.NextSequence()
			if err != nil {
				return err
			}
			key := binary.BigEndian.AppendUint64(nil, n)
			return b.Put(key, seal(key, data))
		})
	}
	if err != nil {
		return fmt.Errorf("cannot keep the answer: %w", err)
	}
	return nil
}

// Answers returns every answer in the order in which they were given.
func (s *EvidenceStore) Answers() (enforce.Answers, error) {
	var out enforce.Answers
	err := s.each(answerBucket, func(v []byte) error {
		var a enforce.Answer
		if err := json.Unmarshal(v, &a); err != nil {
			return err
		}
		if _, err := finding.ParseVerdict(string(a.Verdict)); err != nil {
			return err
		}
		out = append(out, a)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the answers: %w", err)
	}
	return out, nil
}

// PutFindings writes findings by their fingerprints, in place of older ones.
func (s *EvidenceStore) PutFindings(fs ...finding.Finding) error {
	err := s.update(func(tx *bolt.Tx) error {
		for _, f := range fs {
			if err := f.Check(); err != nil {
				return err
			}
			data, err := json.Marshal(f)
			if err != nil {
				return err
			}
			if err := tx.Bucket(findingBucket).Put([]byte(f.Fingerprint), seal([]byte(f.Fingerprint), data)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot keep findings: %w", err)
	}
	return nil
}

// Findings returns every finding, the severe and the latest first.
func (s *EvidenceStore) Findings() ([]finding.Finding, error) {
	var out []finding.Finding
	err := s.each(findingBucket, func(v []byte) error {
		var f finding.Finding
		if err := json.Unmarshal(v, &f); err != nil {
			return err
		}
		if err := f.Check(); err != nil {
			return err
		}
		out = append(out, f)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the findings: %w", err)
	}
	finding.Sort(out)
	return out, nil
}

func (s *EvidenceStore) each(bucket []byte, f func(text []byte) error) error {
	return s.view(func(tx *bolt.Tx) error {
		return tx.Bucket(bucket).ForEach(func(k, v []byte) error {
			text, err := unseal(k, v)
			if err != nil {
				return err
			}
			return f(text)
		})
	})
}

// Check looks through the whole file for damage.
func (s *EvidenceStore) Check() error {
	return s.view(func(tx *bolt.Tx) error {
		var all error
		for err := range tx.Check() {
			all = errors.Join(all, fmt.Errorf("%w: %w", ErrDamaged, err))
		}
		return all
	})
}
