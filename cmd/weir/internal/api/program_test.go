package api

import (
	"os"
	"os/exec"
	"testing"
)

func TestProgram(t *testing.T) {
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if got := program(int32(os.Getpid())); got != own {
		t.Errorf("this program is %q, not %q", got, own)
	}
	c := exec.Command("true")
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	if got := program(int32(c.Process.Pid)); got != "" {
		t.Errorf("a process that is gone is %q", got)
	}
	if got := program(2); got != "[kthreadd]" && got != "" { // the kernel's own have no file; a container has none of them
		t.Errorf("process 2 is %q", got)
	}
}
