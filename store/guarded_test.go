package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadGuarded(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "etc")
	file := filepath.Join(dir, "trust.yaml")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(dir, 0o755))
	must(os.WriteFile(file, []byte("x"), 0o644))
	for _, c := range []struct {
		why    string
		do, un func()
		want   error
	}{
		{"good", func() {}, func() {}, nil},
		{"group writes the file", func() { must(os.Chmod(file, 0o664)) }, func() { must(os.Chmod(file, 0o644)) }, ErrWritable},
		{"all write the file", func() { must(os.Chmod(file, 0o646)) }, func() { must(os.Chmod(file, 0o644)) }, ErrWritable},
		{"all write the folder", func() { must(os.Chmod(dir, 0o777)) }, func() { must(os.Chmod(dir, 0o755)) }, ErrWritable},
		{"a sticky folder", func() { must(os.Chmod(dir, 0o777|os.ModeSticky)) }, func() { must(os.Chmod(dir, 0o755)) }, ErrWritable},
		{"a folder above", func() { must(os.Chmod(top, 0o777)) }, func() { must(os.Chmod(top, 0o755)) }, ErrWritable},
		{"a sticky folder above", func() { must(os.Chmod(top, 0o777|os.ModeSticky)) }, func() { must(os.Chmod(top, 0o755)) }, nil},
		{"another owner", func() { must(os.Chown(file, 1001, 0)) }, func() { must(os.Chown(file, 0, 0)) }, ErrWritable},
		{"another owner above", func() { must(os.Chown(dir, 1001, 0)) }, func() { must(os.Chown(dir, 0, 0)) }, ErrWritable},
		{"gone", func() { must(os.Rename(file, file+"x")) }, func() { must(os.Rename(file+"x", file)) }, os.ErrNotExist},
	} {
		c.do()
		data, err := ReadGuarded(file, 10)
		if !errors.Is(err, c.want) || err == nil && string(data) != "x" {
			t.Errorf("%s: %q, %v; want %v", c.why, data, err, c.want)
		}
		c.un()
	}
	must(os.WriteFile(file, []byte(strings.Repeat("x", 11)), 0o644))
	if _, err := ReadGuarded(file, 10); err == nil {
		t.Error("a long file is read")
	}
	if _, err := ReadGuarded(dir, 10); err == nil {
		t.Error("a folder is read")
	}
	// A link is judged by where it leads.
	other := t.TempDir()
	must(os.WriteFile(filepath.Join(other, "t"), []byte("x"), 0o666))
	must(os.Chmod(filepath.Join(other, "t"), 0o666))
	must(os.Symlink(filepath.Join(other, "t"), filepath.Join(dir, "link")))
	if _, err := ReadGuarded(filepath.Join(dir, "link"), 10); !errors.Is(err, ErrWritable) {
		t.Errorf("a link out of the folder: %v", err)
	}
}

// A folder that others may write keeps nothing.
func TestGuarded(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "state")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(dir, 0o700))
	for _, c := range []struct {
		why    string
		do, un func()
		want   error
	}{
		{"good", func() {}, func() {}, nil},
		{"others write it", func() { must(os.Chmod(dir, 0o777)) }, func() { must(os.Chmod(dir, 0o700)) }, ErrWritable},
		{"others write it, sticky", func() { must(os.Chmod(dir, 0o777|os.ModeSticky)) }, func() { must(os.Chmod(dir, 0o700)) }, ErrWritable},
		{"somebody else's", func() { must(os.Chown(dir, 1001, 0)) }, func() { must(os.Chown(dir, 0, 0)) }, ErrWritable},
		{"nobody's", func() { must(os.Chown(dir, 65534, 0)) }, func() { must(os.Chown(dir, 0, 0)) }, ErrWritable},
		{"a folder above", func() { must(os.Chmod(top, 0o775)) }, func() { must(os.Chmod(top, 0o755)) }, ErrWritable},
		{"a link to one", func() {
			must(os.Chmod(dir, 0o770))
			must(os.Rename(dir, dir+"2"))
			must(os.Symlink(dir+"2", dir))
		}, func() { must(os.Remove(dir)); must(os.Rename(dir+"2", dir)); must(os.Chmod(dir, 0o700)) }, ErrWritable},
	} {
		c.do()
		if err := Guarded(dir); !errors.Is(err, c.want) {
			t.Errorf("%s: %v; want %v", c.why, err, c.want)
		}
		c.un()
	}
	file := filepath.Join(top, "plan.yaml")
	must(os.WriteFile(file, []byte("x"), 0o644))
	must(os.Chown(file, 1001, 0))
	if _, err := ReadGuarded(file, 10); !errors.Is(err, ErrWritable) {
		t.Errorf("a file of somebody else: %v", err)
	}
	if _, err := ReadGuarded(file, 10, 1001); err != nil {
		t.Errorf("a file of the one who runs this: %v", err)
	}
}

func TestNonces(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	n, err := OpenNonces(a, b)
	if err != nil {
		t.Fatal(err)
	}
	one, two := strings.Repeat("1", 32), strings.Repeat("2", 32)
	want := func(n *Nonces, nonce string, want bool) {
		t.Helper()
		if got, err := n.Spent(nonce); err != nil || got != want {
			t.Errorf("%s spent: %v, %v; want %v", nonce, got, err, want)
		}
	}
	want(n, one, false)
	for range 2 {
		if err := n.Spend(one); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Spend("no nonce"); err == nil {
		t.Error("anything is a nonce")
	}
	want(n, one, true)
	want(n, two, false)
	if text, _ := os.ReadFile(filepath.Join(a, "nonces")); string(text) != noncesHead+"\n"+one+"\n" {
		t.Errorf("the file is %q", text)
	}
	// A line that a crash cut short takes no later one with it.
	f, err := os.OpenFile(filepath.Join(a, "nonces"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("33")
	f.Close()
	os.WriteFile(filepath.Join(b, "nonces"), []byte(noncesHead+"\n"), 0o600)
	if err := n.Spend(two); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(b, "nonces"), []byte(noncesHead+"\n"+one+"\n"), 0o600)
	want(n, two, true)
	// One of the files put back from a copy is not enough.
	if err := os.WriteFile(filepath.Join(a, "nonces"), []byte(noncesHead+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err = OpenNonces(a, b); err != nil {
		t.Fatal(err)
	}
	want(n, one, true)
	want(n, two, false)
	// An emptied file is no empty list.
	if err := os.WriteFile(filepath.Join(b, "nonces"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Spent(two); !errors.Is(err, ErrDamaged) {
		t.Errorf("an emptied file: %v", err)
	}
	if _, err := OpenNonces(a, b); !errors.Is(err, ErrDamaged) {
		t.Errorf("an emptied file is opened: %v", err)
	}
}
