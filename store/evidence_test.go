package store

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"pgregory.net/rapid"

	"weir/phases/enforce"
	"weir/phases/finding"
	"weir/phases/flow"
	"weir/phases/monitor"
)

var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

func openEvidenceTest(t *testing.T, path string) *EvidenceStore {
	t.Helper()
	s, err := OpenEvidence(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Check(); err != nil && !errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func evidenceText(t interface{ Fatal(...any) }, e *monitor.Evidence) string {
	var b bytes.Buffer
	if err := e.Encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func recordOf(i int, at time.Time) flow.Record {
	return flow.Record{
		Flow: flow.Flow{Client: netip.AddrFrom4([4]byte{10, 20, 16, byte(i % 7)}), Server: netip.AddrFrom4([4]byte{198, 51, 100, byte(i % 11)}),
			Proto: flow.TCP, Port: 443},
		First: noon, Last: at, ID: uint32(i%13 + 1), SrcPort: uint16(i % 3), BytesOut: uint64(at.Sub(noon) / time.Second), Answered: true, Source: "kernel"}
}

// What was appended in pieces loads as the whole, compacted or not, and after
// reopening; bytes of a connection that goes on count once across a restart.
func TestEvidenceInPieces(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		path := filepath.Join(t.TempDir(), "evidence.db")
		s, err := OpenEvidence(path)
		if err != nil {
			rt.Fatal(err)
		}
		live, whole := monitor.New(nil), monitor.New(nil)
		for _, e := range []*monitor.Evidence{live, whole} {
			e.Observed(noon, noon.Add(time.Hour))
		}
		n := rapid.IntRange(0, 25).Draw(rt, "records")
		for i := range n {
			at := noon.Add(time.Duration(i) * 7 * time.Hour)
			live.Add(recordOf(i, at))
			whole.Add(recordOf(i, at))
			switch rapid.IntRange(0, 6).Draw(rt, "then") {
			case 0:
				err = s.Append(live.Take())
			case 1:
				err = s.Append(live.Take())
				if err == nil {
					_, err = s.Compact(at.Add(-48 * time.Hour))
				}
			case 2:
				err = errors.Join(s.Append(live.Take()), s.Close())
				if err == nil {
					s, err = OpenEvidence(path)
				}
				if err == nil {
					live, err = s.Load()
				}
			}
			if err != nil {
				rt.Fatal(err)
			}
		}
		if err := s.Append(live.Take()); err != nil {
			rt.Fatal(err)
		}
		back, err := s.Load()
		if err != nil {
			rt.Fatal(err)
		}
		dropConns := func(text string) string { // Compact forgets the ended ones
			var out []string
			for _, l := range strings.Split(text, "\n") {
				if !strings.HasPrefix(l, `{"connection"`) {
					out = append(out, l)
				}
			}
			return strings.Join(out, "\n")
		}
		if got, want := dropConns(evidenceText(rt, back)), dropConns(evidenceText(rt, whole)); got != want {
			rt.Fatalf("loaded\n%s\nwant\n%s", got, want)
		}
		if err := errors.Join(s.Check(), s.Close()); err != nil {
			rt.Fatal(err)
		}
	})
}

func TestLoadUpTo(t *testing.T) {
	s := openEvidenceTest(t, filepath.Join(t.TempDir(), "evidence.db"))
	e := monitor.New(nil)
	for i := range 3 {
		at := noon.Add(time.Duration(i) * time.Hour)
		e.Add(recordOf(i, at))
		if err := s.Append(e.Take()); err != nil {
			t.Fatal(err)
		}
	}
	early, err := s.LoadUpTo(noon.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(evidenceText(t, early), `{"flow"`); n != 2 {
		t.Errorf("got %d flows up to one o'clock, want 2", n)
	}
}

func TestAnswersAndFindings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "evidence.db")
	s := openEvidenceTest(t, path)
	a := enforce.Answer{Group: "servers", Service: flow.Single(flow.TCP, 25), Destination: netip.MustParsePrefix("198.51.100.7/32"),
		Verdict: finding.Needed, Who: "kim", Reason: "mail", At: noon}
	later := a
	later.Verdict, later.At = finding.Never, noon.Add(time.Hour)
	f := finding.Finding{Fingerprint: a.ID(), Kind: finding.WouldDeny, Severity: finding.Notice, State: finding.New, First: noon, Last: noon, Count: 3, Words: "w"}
	if err := errors.Join(s.AddAnswer(a), s.AddAnswer(later), s.PutFindings(f)); err != nil {
		t.Fatal(err)
	}
	if err := s.AddAnswer(enforce.Answer{Group: "servers"}); err == nil {
		t.Error("an answer that says nothing was kept")
	}
	if err := s.PutFindings(finding.Finding{Fingerprint: "x"}); err == nil {
		t.Error("a finding without a kind was kept")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s2 := openEvidenceTest(t, path)
	as, err := s2.Answers()
	if err != nil || len(as) != 2 || as[0] != a || as[1] != later {
		t.Errorf("answers %+v, %v", as, err)
	}
	if got := as.For("servers", netip.MustParseAddr("198.51.100.7"), flow.Single(flow.TCP, 25), noon.Add(2*time.Hour)); got == nil || got.Verdict != finding.Never {
		t.Errorf("the answer that holds is %+v", got)
	}
	fs, err := s2.Findings()
	if err != nil || len(fs) != 1 || fs[0] != f {
		t.Errorf("findings %+v, %v", fs, err)
	}
}

func TestDamagedEvidenceIsNotTakenForNew(t *testing.T) {
	make := func(t *testing.T) string {
		path := filepath.Join(t.TempDir(), "evidence.db")
		s, err := OpenEvidence(path)
		if err != nil {
			t.Fatal(err)
		}
		e := monitor.New(nil)
		for i := range 5000 {
			r := recordOf(i, noon)
			r.Server = netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)})
			r.ID = uint32(i * 2654435761)
			e.Add(r)
			if i%100 == 0 {
				if err := s.Append(e.Take()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		name   string
		damage func(path string) error
		want   error
		words  string
	}{
		{"empty", func(p string) error { return os.Truncate(p, 0) }, ErrDamaged, "empty"},
		{"a page", func(p string) error { return os.Truncate(p, 4096) }, ErrDamaged, ""},
		{"half", func(p string) error {
			i, err := os.Stat(p)
			return errors.Join(err, os.Truncate(p, i.Size()/2))
		}, ErrDamaged, ""},
		{"text", func(p string) error { return os.WriteFile(p, []byte("not a database at all\n"), 0o600) }, ErrDamaged, ""},
		{"newer", func(p string) error {
			db, err := bolt.Open(p, 0o600, nil)
			if err != nil {
				return err
			}
			return errors.Join(db.Update(func(tx *bolt.Tx) error {
				return tx.Bucket(evidenceBucket).Put(versionKey, []byte("2"))
			}), db.Close())
		}, ErrVersion, `"2"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := make(t)
			if err := c.damage(path); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s, err := OpenEvidence(path)
			if err == nil {
				_, err = s.Load()
				s.Close()
			}
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %v with %q and the path", err, c.want, c.words)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Error("opening changed the damaged file")
			}
		})
	}
}

func TestEvidenceIsLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "evidence.db")
	openEvidenceTest(t, path)
	if _, err := OpenEvidence(path); !errors.Is(err, ErrLocked) {
		t.Errorf("got %v, want ErrLocked", err)
	}
}

// A journal is no evidence, and the other way round.
func TestFilesAreNotMixedUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j, err := OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenEvidence(path); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "something else") {
		t.Errorf("got %v", err)
	}
}

func BenchmarkAppend(b *testing.B) {
	s, err := OpenEvidence(filepath.Join(b.TempDir(), "evidence.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	b.Run("flows=1000", func(b *testing.B) {
		for range b.N {
			b.StopTimer()
			e := monitor.New(nil)
			for j := range 1000 {
				r := recordOf(j, noon)
				r.Server = netip.AddrFrom4([4]byte{198, 51, byte(j >> 8), byte(j)})
				e.Add(r)
			}
			d := e.Take()
			b.StartTimer()
			if err := s.Append(d); err != nil {
				b.Fatal(err)
			}
		}
	})
}
