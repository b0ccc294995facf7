package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"weir/phases"
	"weir/phases/audit"
)

var at = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// auditFixture is a journal with its log, closed, of n records with a checkpoint
// after each.
func auditFixture(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	j, l := openAudit(t, dir)
	for i := range n {
		if _, err := j.Append(phases.Record{Kind: phases.Noted, At: at, Words: fmt.Sprint("record ", i+1)}); err != nil {
			t.Fatal(err)
		}
		if _, fresh, err := l.Checkpoint("m1", at); err != nil || !fresh {
			t.Fatal(fresh, err)
		}
	}
	closeAudit(t, j, l)
	return dir
}

func openAudit(t *testing.T, dir string) (*Journal, *AuditLog) {
	t.Helper()
	j, err := OpenJournal(filepath.Join(dir, "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	return j, OpenAuditLog(dir, j)
}

func closeAudit(t *testing.T, j *Journal, l *AuditLog) {
	t.Helper()
	if err := errors.Join(l.Close(), j.Close()); err != nil {
		t.Fatal(err)
	}
}

// verified checks everything that "weir audit verify" does, with the machine's
// key.
func verified(t *testing.T, dir string) []audit.Problem {
	t.Helper()
	key, err := ReadAuditKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	leaves, err := ReadAuditLog(dir)
	if err != nil {
		return []audit.Problem{{Words: err.Error()}}
	}
	lines, err := ReadCheckpoints(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := audit.Check(leaves, lines, key).Problems
	j, err := ReadJournal(filepath.Join(dir, "journal.db"))
	if err != nil {
		return append(found, audit.Problem{Words: err.Error()})
	}
	defer j.Close()
	texts, err := j.Texts()
	if err != nil {
		return append(found, audit.Problem{Words: err.Error()})
	}
	return append(found, audit.CheckJournal(leaves, texts)...)
}

func words(ps []audit.Problem) string {
	var b strings.Builder
	for _, p := range ps {
		fmt.Fprintln(&b, p.Words)
	}
	return b.String()
}

func TestAuditLogFollowsTheJournal(t *testing.T) {
	dir := auditFixture(t, 5)
	if p := verified(t, dir); p != nil {
		t.Fatal(words(p))
	}
	leaves, err := ReadAuditLog(dir)
	if err != nil || len(leaves) != 5 || !bytes.Contains(leaves[2], []byte(`"words":"record 3"`)) {
		t.Fatalf("%d leaves, %s, %v", len(leaves), leaves[2], err)
	}
	info, err := os.Stat(filepath.Join(dir, AuditKeyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info.Mode(), err)
	}
	j, l := openAudit(t, dir)
	defer closeAudit(t, j, l)
	if _, fresh, err := l.Checkpoint("m1", at); fresh || err != nil {
		t.Fatal("a second checkpoint of the same log", fresh, err)
	}
	size, root, err := l.Root()
	if err != nil || size != 5 {
		t.Fatal(size, err)
	}
	if err := l.Extends(size, root); err != nil {
		t.Fatal(err)
	}
	if err := l.Extends(4, root); err == nil {
		t.Fatal("the root of 5 records was taken for that of 4")
	}
	if err := l.Extends(6, root); err == nil {
		t.Fatal("a log of 5 records was taken for one of 6")
	}
}

// A kill between journal and log: the log catches up, at any torn byte.
func TestAuditLogCatchesUp(t *testing.T) {
	dir := auditFixture(t, 3)
	j, err := OpenJournal(filepath.Join(dir, "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append(phases.Record{Kind: phases.Noted, At: at, Words: "in the journal alone"}); err != nil {
		t.Fatal(err)
	}
	texts, err := j.Texts()
	if err != nil {
		t.Fatal(err)
	}
	j.Close()
	path := filepath.Join(dir, AuditFile)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	garbage := bytes.Repeat([]byte("x"), 5000) // a page that was never written
	if err := os.WriteFile(path, append(bytes.Clone(before), garbage...), 0o600); err != nil {
		t.Fatal(err)
	}
	j, l := openAudit(t, dir)
	closeAudit(t, j, l)
	if p := verified(t, dir); p != nil {
		t.Fatal("after a page of garbage:", words(p))
	}
	whole := append(texts[3], '\n')
	if now, _ := os.ReadFile(path); !bytes.Equal(now, append(bytes.Clone(before), whole...)) {
		t.Fatal("the garbage is still there")
	}
	for n := 0; n <= len(whole); n += 7 {
		if err := os.WriteFile(path, append(bytes.Clone(before), whole[:n]...), 0o600); err != nil {
			t.Fatal(err)
		}
		j, l := openAudit(t, dir)
		if err := l.Err(); err != nil || l.Lacked() != 0 {
			t.Fatalf("torn after %d bytes: %v, lacked %d", n, err, l.Lacked())
		}
		if size, _, err := l.Root(); size != 4 || err != nil {
			t.Fatal(size, err)
		}
		closeAudit(t, j, l)
		if p := verified(t, dir); p != nil {
			t.Fatalf("torn after %d bytes: %s", n, words(p))
		}
	}
}

// Every flipped byte of the log, of the checkpoints and of the journal's records
// is found, and the record is named.
func TestAuditEveryByteCounts(t *testing.T) {
	dir := auditFixture(t, 4)
	for _, name := range []string{AuditFile, CheckpointsFile} {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range data {
			bad := bytes.Clone(data)
			bad[i] ^= 1
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			found := verified(t, dir)
			if found == nil {
				t.Fatalf("byte %d of %s, %q, was changed and nothing was found", i, name, data[i])
			}
			record := bytes.Count(data[:i], []byte("\n"))
			want := map[string]string{AuditFile: fmt.Sprintf("record %d ", record), CheckpointsFile: fmt.Sprintf("checkpoint %d", record+1)}[name]
			if record > 0 && data[i] != '\n' && !strings.Contains(words(found), want) {
				t.Fatalf("byte %d of %s was changed; want %q in:\n%s", i, name, want, words(found))
			}
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if p := verified(t, dir); p != nil {
		t.Fatal(words(p))
	}
}

// rewrite changes the journal as somebody would who knows its form, checksums
// included.
func rewrite(t *testing.T, dir string, change func(b *bolt.Bucket) error) {
	t.Helper()
	db, err := openBolt(filepath.Join(dir, "journal.db"), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(func(tx *bolt.Tx) error { return change(tx.Bucket(journalBucket)) }), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func recordKey(n byte) []byte { return []byte{0, 0, 0, 0, 0, 0, 0, n} }

func TestAuditTampering(t *testing.T) {
	edit := func(f func(lines [][]byte) [][]byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, AuditFile)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			lines := f(bytes.SplitAfter(data, []byte("\n")))
			if err := os.WriteFile(path, bytes.Join(lines, nil), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	journal := func(f func(b *bolt.Bucket) error) func(*testing.T, string) {
		return func(t *testing.T, dir string) { rewrite(t, dir, f) }
	}
	changed := func(b *bolt.Bucket) error {
		text, err := unseal(recordKey(3), b.Get(recordKey(3)))
		if err != nil {
			return err
		}
		return b.Put(recordKey(3), seal(recordKey(3), bytes.Replace(text, []byte("record 3"), []byte("record x"), 1)))
	}
	for _, c := range []struct {
		name string
		do   func(*testing.T, string)
		want string // of verify
		open string // of the daemon's start; "" it heals by itself
	}{
		{"a record of the log dropped", edit(func(l [][]byte) [][]byte { return append(l[:3:3], l[4:]...) }),
			"record 3 of the log was dropped", "record 3 of the audit log is not"},
		{"records of the log moved", edit(func(l [][]byte) [][]byte { l[2], l[4] = l[4], l[2]; return l }),
			"record 2 of the log was moved: it stands in place 4", "record 2 of the audit log is not"},
		{"a record of the log doubled", edit(func(l [][]byte) [][]byte { return append(l[:3:3], append([][]byte{l[2]}, l[3:]...)...) }),
			"a record was added to the log", "record 3 of the audit log is not"},
		{"the log's end cut off", edit(func(l [][]byte) [][]byte { return l[:3] }),
			"records 3 to 5 were dropped", ""},
		{"the log emptied", edit(func(l [][]byte) [][]byte { return l[:1] }), "records 1 to 5 were dropped", ""},
		{"a record of the journal changed", journal(changed), "record 3 of the audit log is not record 3 of the journal", "record 3 of the audit log is not"},
		{"the journal's end cut off", journal(func(b *bolt.Bucket) error { return errors.Join(b.Delete(recordKey(5)), b.Delete(recordKey(4))) }),
			"an older journal was put back", "an older journal was put back"},
		{"a record of the journal dropped", journal(func(b *bolt.Bucket) error { return b.Delete(recordKey(2)) }),
			"record 2 of the journal was dropped", "record 2 of the audit log is not"},
		{"log and journal changed alike", func(t *testing.T, dir string) {
			rewrite(t, dir, changed)
			edit(func(l [][]byte) [][]byte {
				l[3] = bytes.Replace(l[3], []byte("record 3"), []byte("record x"), 1)
				return l
			})(t, dir)
		}, "one of the records 3 to 3 was changed", "another database was put back"},
		{"log and journal cut off alike", func(t *testing.T, dir string) {
			rewrite(t, dir, func(b *bolt.Bucket) error { return b.Delete(recordKey(5)) })
			edit(func(l [][]byte) [][]byte { return l[:5] })(t, dir)
		}, "records 5 to 5 were dropped", "an older database was put back"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := auditFixture(t, 5)
			c.do(t, dir)
			if got := words(verified(t, dir)); !strings.Contains(got, c.want) {
				t.Errorf("want %q in:\n%s", c.want, got)
			}
			j, l := openAudit(t, dir)
			defer closeAudit(t, j, l)
			_, _, err := l.Root()
			if c.open == "" {
				if err != nil || l.Lacked() == 0 {
					t.Fatal("not healed from the journal:", err, l.Lacked())
				}
				if p := verifyOpen(t, dir, j); p != "" {
					t.Fatal(p)
				}
				return
			}
			if !errors.Is(err, ErrAudit) || !strings.Contains(err.Error(), c.open) {
				t.Fatalf("want %q, got %v", c.open, err)
			}
			before, _ := os.ReadFile(filepath.Join(dir, AuditFile))
			if _, err := j.Append(phases.Record{Kind: phases.Noted, At: at}); err != nil {
				t.Fatal(err)
			}
			l.Follow()
			if _, _, err := l.Checkpoint("m1", at); err == nil {
				t.Error("a log that does not hold was signed")
			}
			if after, _ := os.ReadFile(filepath.Join(dir, AuditFile)); !bytes.Equal(before, after) {
				t.Error("a log that does not hold was written to")
			}
		})
	}
}

func verifyOpen(t *testing.T, dir string, j *Journal) string {
	t.Helper()
	leaves, err := ReadAuditLog(dir)
	if err != nil {
		t.Fatal(err)
	}
	texts, err := j.Texts()
	if err != nil {
		t.Fatal(err)
	}
	return words(audit.CheckJournal(leaves, texts))
}

func TestAuditLogOfAnotherVersion(t *testing.T) {
	for head, want := range map[string]error{"weir-audit-v2\n": ErrVersion, "something else\n": ErrDamaged, "": ErrDamaged} {
		dir := auditFixture(t, 2)
		if err := os.WriteFile(filepath.Join(dir, AuditFile), []byte(head), 0o600); err != nil {
			t.Fatal(err)
		}
		j, l := openAudit(t, dir)
		if err := l.Err(); !errors.Is(err, want) || !errors.Is(err, ErrAudit) {
			t.Errorf("%q: %v", head, err)
		}
		closeAudit(t, j, l)
	}
}

func TestAuditKeyIsMadeOnce(t *testing.T) {
	dir := auditFixture(t, 2)
	if err := os.Remove(filepath.Join(dir, AuditKeyFile)); err != nil {
		t.Fatal(err)
	}
	j, l := openAudit(t, dir)
	defer closeAudit(t, j, l)
	if err := l.Err(); err == nil || !strings.Contains(err.Error(), "audit.key is gone") {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, AuditKeyFile)); err == nil {
		t.Fatal("another key was made without a word")
	}
}

func FuzzReadAuditLog(f *testing.F) {
	f.Add([]byte(AuditVersion + "\n{\"seq\":1}\n{\"se"))
	f.Add([]byte("weir-audit-v9\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, AuditFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		leaves, end, err := readLeaves(dir, false)
		if err != nil {
			return
		}
		again := []byte(AuditVersion + "\n")
		for _, l := range leaves {
			again = append(append(again, l...), '\n')
		}
		if int64(len(again)) != end || !bytes.Equal(again, data[:end]) {
			t.Fatalf("%q was read as %q", data, again)
		}
	})
}
