package phases

import (
	"bytes"
	"encoding/json"
	"testing"

	"weir/nft"
)

// FuzzFrozen: a file is refused or read, whatever is in it, also where its
// digest fits.
func FuzzFrozen(f *testing.F) {
	s := newScript(f)
	s.run("apply:p drill to:enforce/alert req")
	f.Add(s.w.frozen[s.m.State().Request.Digest])
	f.Add([]byte("{}\n{}\n{}\n{}\n"))
	f.Add([]byte("{\"version\":1}\nnull\nnull\nnull\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		head, _, _ := bytes.Cut(data, []byte("\n"))
		got, err := DecodeFrozen(hashOf(head), data)
		if err == nil && got.Version != FrozenVersion {
			t.Fatal("read another version")
		}
	})
}

// FuzzJournal: a state is made of any records that can be read, and what
// follows from it panics on nothing.
func FuzzJournal(f *testing.F) {
	s := newScript(f)
	s.run("apply:p drill to:enforce/block:cameras group:cameras resume back resume req ok:ben")
	var all bytes.Buffer
	for _, r := range s.w.records {
		line, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		all.Write(append(line, '\n'))
	}
	f.Add(all.Bytes())
	f.Add([]byte(`{"kind":"requested"}` + "\n" + `{"kind":"seen","done":true}`))
	f.Add([]byte(`{"kind":"intent","op":"confirm"}` + "\n" + `{"kind":"seen","done":true}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var records []Record
		for _, line := range bytes.Split(data, []byte("\n")) {
			var r Record
			if json.Unmarshal(line, &r) == nil {
				records = append(records, r)
			}
		}
		s := Fold(records)
		look := nft.Look{Present: true, BootID: "b"}
		for _, r := range Reconcile(s, look, s.PlanAt) {
			s.apply(r)
		}
		if more := Reconcile(s, look, s.PlanAt); len(more) > 0 {
			t.Fatalf("recovering twice writes %+v", more)
		}
		if _, err := Next(testPlans["p"], s); err != nil && err != ErrNoNext {
			t.Fatal(err)
		}
	})
}
