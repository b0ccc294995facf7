package store

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/phases/audit"
)

func TestWitnessRemembersTheNewest(t *testing.T) {
	dir := auditFixture(t, 4)
	key, err := ReadAuditKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := ReadCheckpoints(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "witness")
	if _, found, err := Witnessed(path, "m1", key); found || err != nil {
		t.Fatal("a witness that is not there yet", found, err)
	}
	for _, i := range []int{0, 2, 1} { // an older one that was told later is not the newest
		c, err := audit.ParseLine(lines[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := TellWitness(path, c); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file = append(file, "somebody else's words\n"+strings.Replace(lines[3], " m1 ", " m2 ", 1)+"\n"+lines[3][:50]...)
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	c, found, err := Witnessed(path, "m1", key)
	if err != nil || !found || c.Size != 3 {
		t.Fatal(c.Size, found, err)
	}

	text, err := audit.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := audit.ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Witnessed(path, "m1", other.PublicKey()); !errors.Is(err, audit.ErrSignature) {
		t.Fatal("a witness of another log was taken:", err)
	}
	if _, found, err := Witnessed(path, "m3", other.PublicKey()); found || err != nil {
		t.Fatal(found, err)
	}
}
