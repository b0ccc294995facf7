package store

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"weir/phases"
)

func openTest(t *testing.T, path string) *Journal {
	t.Helper()
	j, err := OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Check(); err != nil && !errors.Is(err, berrors.ErrDatabaseNotOpen) {
			t.Error("the file is not consistent:", err)
		}
		j.Close()
	})
	return j
}

func fill(t *testing.T, path string, n int) {
	t.Helper()
	j, err := OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		if _, err := j.Append(phases.Record{Kind: phases.Noted, At: time.Unix(1, 0).UTC(), Words: "x", PlanText: make([]byte, 5000)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestJournalKeepsRecordsInOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "journal.db")
	fill(t, path, 3)
	fill(t, path, 2)
	j := openTest(t, path)
	records, err := j.Records()
	if err != nil || len(records) != 5 {
		t.Fatal(len(records), err)
	}
	for i, r := range records {
		if r.Seq != uint64(i+1) || r.Words != "x" || len(r.PlanText) != 5000 {
			t.Fatalf("record %d is %d %q", i, r.Seq, r.Words)
		}
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Error("mode", info.Mode())
	}
	if info, _ := os.Stat(filepath.Dir(path)); info.Mode().Perm() != 0o700 {
		t.Error("directory mode", info.Mode())
	}
}

func TestSecondOpenDoesNotWaitForEver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	openTest(t, path)
	for name, open := range map[string]func(string) (*Journal, error){"write": OpenJournal, "read": ReadJournal} {
		if _, err := open(path); !errors.Is(err, ErrLocked) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDamagedJournalIsNotTakenForNew(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "journal.db")
	fill(t, whole, 40)
	data, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	// At every page boundary and beside it, the file is refused or, where
	// bbolt does not need the rest to begin, refused when it is read.
	for size := 0; size < len(data); size += 2048 {
		path := filepath.Join(t.TempDir(), "journal.db")
		if err := os.WriteFile(path, data[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := OpenJournal(path)
		if err == nil {
			var records []phases.Record
			records, err = j.Records()
			if err == nil && len(records) == 40 {
				err = ErrDamaged // all records are before the cut: the tail is free pages
			}
			j.Close()
		}
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("cut to %d of %d bytes: %v", size, len(data), err)
		}
	}
	other := filepath.Join(t.TempDir(), "other.db")
	db, err := bolt.Open(other, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	if _, err := OpenJournal(other); !errors.Is(err, ErrDamaged) {
		t.Error("a database of something else:", err)
	}
}

func TestJournalOfANewerVersionIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	fill(t, path, 1)
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error { return tx.Bucket(metaBucket).Put(versionKey, []byte("2")) })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenJournal(path); !errors.Is(err, ErrVersion) {
		t.Fatal(err)
	}
}

func TestUnknownKindIsAnError(t *testing.T) {
	var r phases.Record
	if err := json.Unmarshal([]byte(`{"seq":1,"kind":"applauded"}`), &r); err == nil {
		t.Fatal("read a record of an unknown kind")
	}
}

func TestHalfMadeJournalIsMadeAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	if err := os.WriteFile(path+".new", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	fill(t, path, 1)
}

func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	f, err := OpenFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	digest := "sha256:" + "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for _, text := range []string{"one", "two"} {
		if err := f.PutFrozen(digest, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := f.GetFrozen(digest); err != nil || string(got) != text {
			t.Fatal(string(got), err)
		}
	}
	for _, to := range []string{"enforce/block:cameras", "off", "default"} {
		if err := f.PutBackout("r0123456789ab", to, []byte("m "+to), []byte("t "+to)); err != nil {
			t.Fatal(err)
		}
		m, n, err := f.Backout("r0123456789ab", to)
		if err != nil || string(m) != "m "+to || string(n) != "t "+to {
			t.Fatal(string(m), string(n), err)
		}
	}
	if got, err := f.Backouts("r0123456789ab"); err != nil || len(got) != 2 || got[0] != "enforce/block:cameras" || got[1] != "off" {
		t.Fatal(got, err)
	}
	for _, bad := range []string{"../../etc/passwd", "", "sha256:../x"} {
		if f.PutFrozen(bad, nil) == nil || f.PutBackout(bad, "off", nil, nil) == nil || f.PutBackout("r0123456789ab", bad, nil, nil) == nil {
			t.Errorf("took the name %q", bad)
		}
	}
	err = filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if want := map[bool]os.FileMode{true: 0o700, false: 0o600}[info.IsDir()]; info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
