package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"weir/phases"
	"weir/phases/compile"
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
func onMachine(ts *testscript.TestScript, uid int, path string, args []string) (string, []string) {
	if stageOf(ts).boots == 0 {
		return path, args
	}
	script := ""
	for name, at := range machineFiles {
		script += fmt.Sprintf("mount --bind '%s' %s && ", filepath.Join(ts.MkAbs("machine"), name), at)
	}
	if uid >= 0 {
		script += fmt.Sprintf("exec setpriv --reuid %d --clear-groups ", uid)
	} else {
		script += "exec "
	}
	return "/usr/bin/unshare", append([]string{"--mount", "/bin/sh", "-c", script + `"$@"`, "sh", path}, args...)
}

// systemd listens on $WORK/notify as systemd does; "heard WORD" waits until the
// word was said once more.
func cmdSystemd(ts *testscript.TestScript, neg bool, args []string) {
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: ts.MkAbs("notify"), Net: "unixgram"})
	ts.Check(err)
	said := make(chan string, 1000)
	var reader sync.WaitGroup
	reader.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := l.Read(buf)
			if err != nil {
				return // it was closed
			}
			select {
			case said <- string(buf[:n]):
			default: // nobody waits for so many
			}
		}
	})
	stageOf(ts).said = said
	ts.Defer(func() { l.Close(); reader.Wait() })
}

func cmdHeard(ts *testscript.TestScript, neg bool, args []string) {
	end := time.After(10 * time.Second)
	for {
		select {
		case s := <-stageOf(ts).said:
			if slices.Contains(strings.Split(s, "\n"), args[0]) {
				return
			}
		case <-end:
			ts.Fatalf("systemd was not told %s", args[0])
		}
	}
}

// term NAME: SIGTERM, as systemd sends it; it waits for the end.
func cmdTerm(ts *testscript.TestScript, neg bool, args []string) {
	w := stageOf(ts)
	w.mu.Lock()
	c := w.procs[args[0]]
	delete(w.procs, args[0])
	w.mu.Unlock()
	ts.Check(c.Process.Signal(syscall.SIGTERM))
	if err := c.Wait(); err != nil && c.ProcessState.ExitCode() != 0 {
		ts.Fatalf("it ended with %v", err)
	}
}

// upgraded: the frozen step in force was compiled, by an older weir, from
// something that this weir makes another ruleset of. What is recorded as its
// ruleset is as it was.
func cmdUpgraded(ts *testscript.TestScript, neg bool, args []string) {
	dir := filepath.Join(ts.Getenv("WEIR_STATE"), "frozen")
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	ts.Check(err)
	var newest phases.Frozen
	for _, name := range files {
		data, err := os.ReadFile(name)
		ts.Check(err)
		f, err := phases.DecodeFrozen("sha256:"+strings.TrimSuffix(filepath.Base(name), ".json"), data)
		ts.Check(err)
		if f.At.After(newest.At) {
			newest = f
		}
	}
	newest.Input.Groups[0].Treatment = compile.Drop
	newest.At = newest.At.Add(time.Second)
	data, err := newest.Encode()
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(dir, strings.TrimPrefix(newest.Digest(), "sha256:")+".json"), data, 0o600))
}

// labs listens on $WORK/lab.sock as weir-lab.socket does: each connection is the
// stdin and stdout of one "weir lab --ask", as nobody, without any right. Each
// leaves a line in labs.log.
func cmdLabs(ts *testscript.TestScript, neg bool, args []string) {
	l, err := net.Listen("unix", ts.MkAbs("lab.sock"))
	ts.Check(err)
	program, err := lookPath(ts, "weir")
	ts.Check(err)
	ts.Check(os.Chmod(filepath.Dir(program), 0o755))
	ts.Check(os.Chmod(filepath.Dir(filepath.Dir(program)), 0o755))
	log, err := os.Create(ts.MkAbs("labs.log"))
	ts.Check(err)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // it was closed
			}
			f, err := c.(*net.UnixConn).File()
			c.Close()
			if err != nil {
				fmt.Fprintln(log, err)
				continue
			}
			cmd := exec.Command("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", program, "lab", "--ask")
			cmd.Stdin, cmd.Stdout, cmd.Stderr = f, f, log
			err = cmd.Run()
			fmt.Fprintln(log, "played", err)
			f.Close()
		}
	})
	ts.Defer(func() { l.Close(); all.Wait(); log.Close() })
}
