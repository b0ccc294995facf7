package boot

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOff(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "off")
	line := filepath.Join(dir, "cmdline")
	for _, row := range []struct {
		cmdline string
		want    bool
	}{
		{"quiet splash\n", false}, {"weir=off\n", true}, {"quiet weir=off ro\n", true}, {"quiet\tweir=off", true},
		{"weir=offline", false}, {"noweir=off", false}, {"weir=on", false}, {"WEIR=OFF", false}, {"", false},
	} {
		if err := os.WriteFile(line, []byte(row.cmdline), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := off(line, file); (got != "") != row.want || row.want && !strings.Contains(got, "kernel's command line") {
			t.Errorf("%q: %q", row.cmdline, got)
		}
	}
	if got := off(filepath.Join(dir, "nothing"), file); got != "" {
		t.Error(got)
	}
	for _, make := range []func() error{
		func() error { return os.WriteFile(file, nil, 0o600) },
		func() error { return os.Mkdir(file, 0o700) },
		func() error { return os.Symlink("/nowhere", file) },
	} {
		if err := make(); err != nil {
			t.Fatal(err)
		}
		if got := off(line, file); got != "the file "+file {
			t.Errorf("%q", got)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}
