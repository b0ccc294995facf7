package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

// machineFiles are the files of a machine that a reboot changes, by where they
// are; each is in the folder "machine" of the script and seen only by what the
// script runs.
var machineFiles = map[string]string{
	"boot_id": "/proc/sys/kernel/random/boot_id",
	"cmdline": "/proc/cmdline",
	"kmsg":    "/dev/kmsg",
	"etc":     "/etc",
}

// reboot [WORD …]: every process of the script is killed and the network is
// made anew, with an empty kernel, another boot id and the words on the
// kernel's command line. The disk stays. From then on the script's commands see
// machine/etc as /etc, and what they write to the kernel's log is in
// machine/kmsg.
func cmdReboot(ts *testscript.TestScript, neg bool, args []string) {
	w := stageOf(ts)
	w.close()
	w.lab, w.more = nil, nil
	clear(w.procs)
	clear(w.conns)
	w.boots++
	for _, name := range []string{"weir.sock", "boot.json", "nonces"} { // in /run, which a boot empties
		if err := os.Remove(ts.MkAbs(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			ts.Check(err)
		}
	}
	dir := ts.MkAbs("machine")
	ts.Check(os.MkdirAll(filepath.Join(dir, "etc", "weir"), 0o755))
	line := "quiet"
	for _, a := range args {
		line += " " + a
	}
	for name, text := range map[string]string{"boot_id": fmt.Sprintf("%08d-1111-4222-8333-444444444444\n", w.boots), "cmdline": line + "\n", "kmsg": ""} {
		ts.Check(os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	for _, name := range []string{"passwd", "group", "machine-id", "protocols", "services"} {
		data, err := os.ReadFile("/etc/" + name)
		ts.Check(err)
		ts.Check(os.WriteFile(filepath.Join(dir, "etc", name), data, 0o644))
	}
	cmdLab(ts, false, nil)
}

// onMachine wraps a command so that it sees the files of the machine.
func onMachine(ts *testscript.TestScript, path string, args []string) (string, []string) {
	if stageOf(ts).boots == 0 {
		return path, args
	}
	script := ""
	for name, at := range machineFiles {
		script += fmt.Sprintf("mount --bind '%s' %s && ", filepath.Join(ts.MkAbs("machine"), name), at)
	}
	return "/usr/bin/unshare", append([]string{"--mount", "/bin/sh", "-c", script + `exec "$@"`, "sh", path}, args...)
}
