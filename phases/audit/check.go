package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Problem is one thing that is not as it was, in words. Record is the first
// record that it touches, counted from 1; 0 where it touches none.
type Problem struct {
	Record uint64 `json:"record"`
	Words  string `json:"words"`
}

// Result is what Check found.
type Result struct {
	Size        uint64    `json:"size"`
	Root        string    `json:"root"`
	Checkpoints int       `json:"checkpoints"` // that were found good
	Signed      uint64    `json:"signed"`      // records under the newest good one
	Problems    []Problem `json:"problems,omitempty"`
}

// Check compares a log's leaves with checkpoints: lines, in any order; those of
// a witness may be among them.
func Check(leaves [][]byte, checkpoints []string, key Public) Result {
	var t Tree
	for _, l := range leaves {
		t.Append(l)
	}
	r := Result{Size: t.Size(), Root: t.Root()}
	add := func(record uint64, format string, args ...any) {
		r.Problems = append(r.Problems, Problem{record, fmt.Sprintf(format, args...)})
	}
	var good, bad uint64 // the newest sizes that checkpoints speak for, and against
	for i, line := range checkpoints {
		s, err := ParseLine(line)
		if err == nil {
			err = s.Verify(key)
		}
		if err != nil {
			add(0, "checkpoint %d: %v", i+1, err)
			continue
		}
		root, err := t.RootAt(s.Size)
		switch {
		case err != nil:
			add(r.Size+1, "the log has %d records, and a checkpoint of %s was signed over %d: records %d to %d were dropped",
				r.Size, s.At.Format("2006-01-02 15:04:05"), s.Size, r.Size+1, s.Size)
		case root == s.Root:
			r.Checkpoints++
			good = max(good, s.Size)
		case bad == 0 || s.Size < bad:
			bad = s.Size
		}
	}
	r.Signed = good
	if words, at := Sequence("log", leaves); at > 0 {
		add(at, "%s", words)
	} else if bad > 0 {
		add(good+1, "the log is not the one that was signed: one of the records %d to %d was changed, added, dropped or moved", good+1, bad)
	}
	return r
}

// CheckJournal compares a log's leaves with the journal's records.
func CheckJournal(leaves, journal [][]byte) []Problem {
	var out []Problem
	if words, at := Sequence("journal", journal); at > 0 {
		out = append(out, Problem{at, words})
	}
	if words, at := Differ(leaves, journal); at > 0 {
		out = append(out, Problem{at, words})
	}
	return out
}

// Differ names the first record in which a log is not its journal; 0 none.
func Differ(leaves, journal [][]byte) (string, uint64) {
	for i := range min(len(leaves), len(journal)) {
		if !bytes.Equal(leaves[i], journal[i]) {
			return fmt.Sprintf("record %d of the audit log is not record %d of the journal", i+1, i+1), uint64(i + 1)
		}
	}
	n, m := len(leaves), len(journal)
	switch {
	case n > m:
		return fmt.Sprintf("the journal has %d records and the audit log %d: an older journal was put back", m, n), uint64(m + 1)
	case m > n:
		return fmt.Sprintf("the audit log has %d records and the journal %d: its end was cut off", n, m), uint64(n + 1)
	}
	return "", 0
}

// Sequence names the first record that does not stand where its number says; 0
// where all do.
func Sequence(what string, texts [][]byte) (string, uint64) {
	for i := range texts {
		want := uint64(i + 1)
		switch got := number(texts[i]); {
		case got == want:
		case got == 0:
			return fmt.Sprintf("record %d of the %s cannot be read", want, what), want
		case got < want:
			return fmt.Sprintf("a record was added to the %s: in place %d stands record %d again", what, want, got), want
		default:
			for j := i + 1; j < len(texts); j++ {
				if number(texts[j]) == want {
					return fmt.Sprintf("record %d of the %s was moved: it stands in place %d, and record %d in its place", want, what, j+1, got), want
				}
			}
			return fmt.Sprintf("record %d of the %s was dropped: record %d stands in its place", want, what, got), want
		}
	}
	return "", 0
}

// number reads a record's sequence number, 0 for what is no record.
func number(text []byte) uint64 {
	var r struct {
		Seq uint64 `json:"seq"`
	}
	if json.Unmarshal(text, &r) != nil {
		return 0
	}
	return r.Seq
}
