package host

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestProcessOf(t *testing.T) {
	c := exec.Command("sleep", "30")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := ProcessOf(c.Process.Pid)
	if err != nil || p.Name != "sleep" || p.Command != "sleep 30" || p.UID != uint32(os.Getuid()) {
		t.Errorf("%+v, %v", p, err)
	}
	_ = c.Process.Kill()
	_ = c.Wait()
	if p, err := ProcessOf(c.Process.Pid); err == nil {
		t.Errorf("it has ended, and is %+v", p)
	}
}

// A name may hold brackets and spaces; login and terminal decide who it was.
func TestProcessFiles(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(root+"/7", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		stat, login string
		person      bool
	}{
		{"7 (a ) b) S 1 7 7 0 -1 0", "4294967295", false},
		{"7 (a ) b) S 1 7 7 34816 7 0", "4294967295", true},
		{"7 (a ) b) S 1 7 7 0 -1 0", "1000", true},
	} {
		for name, text := range map[string]string{"stat": row.stat, "status": "Name:\ta\nUid:\t33\t0\t0\t0\n", "loginuid": row.login, "cmdline": "nft\x00-f\x00-\x00"} {
			if err := os.WriteFile(root+"/7/"+name, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		p, err := processIn(root, 7)
		if err != nil || p.Name != "a ) b" || p.Command != "nft -f -" || p.UID != 33 || p.Person() != row.person {
			t.Errorf("%+v: %+v, %v", row, p, err)
		}
	}
}

func FuzzStat(f *testing.F) {
	f.Add("7 (a ) b) S 1 7 7 0 -1 0")
	f.Fuzz(func(t *testing.T, text string) {
		name, _, err := parseStat(text)
		if err == nil && !strings.Contains(text, name) {
			t.Errorf("the name %q is not in %q", name, text)
		}
	})
}
