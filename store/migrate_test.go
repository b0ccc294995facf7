package store

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"weir/phases"
)

// oldJournal makes a journal as an older weir could have written it: its values
// carry no checksum.
func oldJournal(t *testing.T, version string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal.db")
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		if err := b.Put(versionKey, []byte(version)); err != nil {
			return err
		}
		j, err := tx.CreateBucket(journalBucket)
		if err != nil {
			return err
		}
		for seq, text := range []string{1: `{"seq":1,"kind":"applied","actor":{},"words":"one"}`, 2: `{"seq":2,"kind":"paused","actor":{},"words":"two"}`} {
			if text == "" {
				continue
			}
			if err := errors.Join(j.Put(binary.BigEndian.AppendUint64(nil, uint64(seq)), []byte(text)), j.SetSequence(uint64(seq))); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// sealAll is a migration: every value gets its checksum.
func sealAll(tx *bolt.Tx) error {
	b := tx.Bucket(journalBucket)
	var keys, values [][]byte
	err := b.ForEach(func(k, v []byte) error {
		keys, values = append(keys, append([]byte{}, k...)), append(values, seal(k, v))
		return nil
	})
	for i := range keys {
		err = errors.Join(err, b.Put(keys[i], values[i]))
	}
	return err
}

func TestOlderJournalIsMigratedAfterACopy(t *testing.T) {
	defer func(old map[int]migration) { journalSteps = old }(journalSteps)
	path := oldJournal(t, "0")
	// Nothing leads from it to here: refused, and left as it is.
	if _, err := OpenJournal(path); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "too old") {
		t.Fatal(err)
	}
	// A reader does not migrate.
	journalSteps = map[int]migration{0: sealAll}
	if _, err := ReadJournal(path); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "when the daemon starts") {
		t.Fatal(err)
	}
	// A step that fails changes nothing, and the copy is there.
	journalSteps = map[int]migration{0: func(tx *bolt.Tx) error { return errors.Join(sealAll(tx), errors.New("cut off here")) }}
	if _, err := OpenJournal(path); err == nil || !strings.Contains(err.Error(), "cannot migrate from version 0 to 1: cut off here") {
		t.Fatal(err)
	}
	if v := versionOf(t, path); v != "0" {
		t.Fatalf("after a migration that failed the version is %q", v)
	}
	// A step that panics, as on a damaged page, neither.
	journalSteps = map[int]migration{0: func(*bolt.Tx) error { panic("a page") }}
	if _, err := OpenJournal(path); !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}

	journalSteps = map[int]migration{0: sealAll}
	for range 2 { // again, it is what it is
		j, err := OpenJournal(path)
		if err != nil {
			t.Fatal(err)
		}
		records, err := j.Records()
		if err != nil || len(records) != 2 || records[0].Words != "one" || records[1].Kind != phases.Paused {
			t.Fatal(records, err)
		}
		if err := errors.Join(j.Check(), j.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if v := versionOf(t, path); v != JournalVersion {
		t.Fatal(v)
	}
	// The copy is the old one, whole.
	if v := versionOf(t, path+".v0"); v != "0" {
		t.Fatalf("the copy has version %q", v)
	}
	if info, err := os.Stat(path + ".v0"); err != nil || info.Mode() != 0o600 {
		t.Error(info, err)
	}
	journalSteps = map[int]migration{0: sealAll}
	j, err := OpenJournal(path + ".v0") // from the copy one can begin again
	if err != nil {
		t.Fatal(err)
	}
	j.Close()
}

func TestNewerFilesAreLeftAlone(t *testing.T) {
	for _, version := range []string{"2", "17", "", "x", "-1"} {
		path := oldJournal(t, version)
		before, _ := os.ReadFile(path)
		_, err := OpenJournal(path)
		if !errors.Is(err, ErrVersion) {
			t.Errorf("version %q: %v", version, err)
		}
		if after, _ := os.ReadFile(path); string(after) != string(before) {
			t.Errorf("version %q: the file was changed", version)
		}
		if copies, _ := filepath.Glob(path + ".v*"); len(copies) > 0 {
			t.Errorf("version %q: %v", version, copies)
		}
	}
}

func TestOlderEvidenceIsMigratedAfterACopy(t *testing.T) {
	defer func(old map[int]migration) { evidenceSteps = old }(evidenceSteps)
	path := filepath.Join(t.TempDir(), "evidence.db")
	s, err := OpenEvidence(path)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(s.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(evidenceBucket).Put(versionKey, []byte("0")) }), s.Close())
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	evidenceSteps = map[int]migration{0: func(*bolt.Tx) error { ran++; return nil }}
	for range 2 {
		s, err := OpenEvidence(path)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	if _, err := os.Stat(path + ".v0"); err != nil || ran != 1 {
		t.Error(ran, err)
	}
}

func versionOf(t *testing.T, path string) (v string) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(func(tx *bolt.Tx) error { v = string(tx.Bucket(metaBucket).Get(versionKey)); return nil })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestBootsKeepWhatIsOfAnotherVersion(t *testing.T) {
	dir := t.TempDir()
	b, err := OpenBoots(dir)
	if err != nil {
		t.Fatal(err)
	}
	put := func(s string) {
		t.Helper()
		if err := b.PutBoot([]byte(s), []byte("choice of "+s)); err != nil {
			t.Fatal(err)
		}
	}
	put("weir-boot-v1 x\none")
	put("weir-boot-v1 x\ntwo")
	if all, _ := filepath.Glob(filepath.Join(dir, "boot", "snapshot.v*")); len(all) != 0 {
		t.Error(all)
	}
	put("weir-boot-v2 x\nnewer")
	put("weir-boot-v1 x\nthree")
	s, c, err := b.GetBoot()
	if err != nil || string(s) != "weir-boot-v1 x\nthree" || string(c) != "choice of weir-boot-v1 x\nthree" {
		t.Errorf("%q %q %v", s, c, err)
	}
	for v, want := range map[string]string{"1": "two", "2": "newer"} {
		if data, err := os.ReadFile(filepath.Join(dir, "boot", "snapshot.v"+v)); err != nil || !strings.HasSuffix(string(data), want) {
			t.Errorf("%q %v", data, err)
		}
	}
	if err := errors.Join(b.DropBoot(), b.DropBoot()); err != nil {
		t.Error(err)
	}
	if _, _, err := b.GetBoot(); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if choice, err := b.GetChoice(); len(choice) > 0 || err != nil {
		t.Error(choice, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "boot", "snapshot"), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	put("weir-boot-v1 x\nfour")
}
