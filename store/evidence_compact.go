package store

import (
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"weir/phases/monitor"
)

// daysApart is how long blocks stay joined by day before they go into their
// month.
const daysApart = 48 * time.Hour

// Compact joins the blocks before a moment: one for each of the last two days,
// one for each month before, without the connections that ended in them. Once
// an hour is enough, with the present: what it reads is then a day, and once a
// day a month. It returns how many blocks it joined. Each join is one
// transaction: a crash leaves the blocks as they were or joined.
func (s *EvidenceStore) Compact(before time.Time) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	periods, err := s.periods(before)
	if err != nil {
		return 0, fmt.Errorf("cannot compact the evidence: %w", err)
	}
	joined := 0
	for _, keys := range periods {
		if len(keys) < 2 {
			continue
		}
		if err := s.join(keys, before); err != nil {
			return joined, fmt.Errorf("cannot compact the evidence: %w", err)
		}
		joined += len(keys)
	}
	return joined, nil
}

// periods returns the keys of the blocks before a moment, by day and by month
// (UTC).
func (s *EvidenceStore) periods(before time.Time) ([][][]byte, error) {
	var out [][][]byte
	last := ""
	err := s.view(func(tx *bolt.Tx) error {
		return tx.Bucket(blockBucket).ForEach(func(k, _ []byte) error {
			at, err := blockTime(k)
			if err != nil || !at.Before(before) {
				return err
			}
			period := at.Format("2006-01")
			if at.After(before.Add(-daysApart)) {
				period = at.Format("2006-01-02")
			}
			if period != last {
				last = period
				out = append(out, nil)
			}
			out[len(out)-1] = append(out[len(out)-1], append([]byte(nil), k...))
			return nil
		})
	})
	return out, err
}

// join replaces blocks by their sum, under the key of the last: what was loaded
// up to an earlier moment no longer holds the joined block.
func (s *EvidenceStore) join(keys [][]byte, before time.Time) error {
	return s.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(blockBucket)
		sum := monitor.Sum(nil)
		for _, k := range keys {
			e, err := unpack(k, b.Get(k))
			if err != nil {
				at, _ := blockTime(k)
				return fmt.Errorf("block of %s: %w", at.Format(time.RFC3339), err)
			}
			sum.Merge(e)
		}
		sum.Prune(before.Add(-24 * time.Hour)) // what goes on is in a later block
		data, err := pack(sum)
		if err != nil {
			return err
		}
		for _, k := range keys[:len(keys)-1] {
			if err := b.Delete(k); err != nil {
				return err
			}
		}
		last := keys[len(keys)-1]
		return b.Put(last, seal(last, data))
	})
}
