package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/cmd/weir/internal/demo"
	"weir/phases"
)

// theStory is what the demo does, in the words of its history.
var theStory = []string{
	"apply", "request monitor", "approve monitor", "arm monitor", "confirm monitor",
	"request enforce/alert", "approve enforce/alert", "arm enforce/alert", "confirm enforce/alert",
	"answer needed", "answer needed", "answer never", "answer never", "drill",
	"request enforce/block:cameras", "approve enforce/block:cameras", "brownout enforce/block:cameras", "lapse",
	"arm enforce/block:cameras", "lapse",
	"request enforce/block:cameras", "approve enforce/block:cameras", "arm enforce/block:cameras", "confirm enforce/block:cameras",
	"request enforce/block:desks", "approve enforce/block:desks", "arm enforce/block:desks", "confirm enforce/block:desks",
	"request enforce/block:core", "approve enforce/block:core", "arm enforce/block:core", "confirm enforce/block:core",
	"unblock",
	"request refactor/shadow:desks", "approve refactor/shadow:desks", "arm refactor/shadow:desks", "confirm refactor/shadow:desks",
	"apply", "request refactor/shadow:desks", "approve refactor/shadow:desks", "arm refactor/shadow:desks", "confirm refactor/shadow:desks",
	"answer not-needed", "answer not-needed",
	"request refactor/swap:desks", "approve refactor/swap:desks", "arm refactor/swap:desks", "confirm refactor/swap:desks",
	"request watch", "approve watch", "arm watch", "confirm watch",
	"rollback to enforce/block:core", "rollback to off", "removed",
}

// TestDemo compares, scene by scene, what the story says with what nft lists in
// the gateway and with what the history tells; and nothing may be left.
func TestDemo(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	exe, err := exec.LookPath("weir")
	if err != nil {
		t.Fatal(err)
	}
	before := ownNamespaces(t)
	var out bytes.Buffer
	var scenes []string
	var gateway uint64
	start := time.Now()
	err = demo.Run(t.Context(), demo.Options{Out: &out, Exe: exe, Seen: func(s demo.Scene) error {
		scenes = append(scenes, s.Name)
		if n := len(s.Deeds); n > len(theStory) || !slices.Equal(s.Deeds, theStory[:n]) {
			return fmt.Errorf("the story is %q", s.Deeds)
		}
		text, err := s.Weir("history", "-o", "json")
		if err != nil {
			return err
		}
		var history struct{ Data []phases.Record }
		if err := json.Unmarshal([]byte(text), &history); err != nil {
			return err
		}
		if got := demo.Deeds(history.Data); !slices.Equal(got, s.Deeds) {
			return fmt.Errorf("the history tells %q, the story %q", got, s.Deeds)
		}
		var st syscall.Stat_t
		if err := syscall.Stat(s.Gateway.Path(), &st); err != nil {
			return err
		}
		gateway = st.Ino
		return holds(s, history.Data)
	}})
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if want := "monitor alert brownout lapse block wrong visitor refactor watch back"; strings.Join(scenes, " ") != want {
		t.Errorf("the scenes were %q, want %s", scenes, want)
	}
	if took := time.Since(start); took > 90*time.Second {
		t.Errorf("it took %v", took)
	}
	if got := ownNamespaces(t); !slices.Equal(got, before) {
		t.Errorf("threads are in the namespaces %v, before in %v", got, before)
	}
	nothingLeft(t, os.Getenv("TMPDIR"), gateway)
	if strings.Contains(out.String(), "\x1b[") {
		t.Error("colours without a terminal")
	}
}

var stableChain = regexp.MustCompile(`goto (r[0-9a-f]+)_f`)

// holds lists the gateway's tables and finds the step that a scene names.
func holds(s demo.Scene, history []phases.Record) error {
	tables, err := s.Gateway.Command("nft", "list", "tables").Output()
	if err != nil {
		return fmt.Errorf("nft: %w", err)
	}
	if !strings.Contains(string(tables), "table inet weir") {
		if s.Name != "back" {
			return fmt.Errorf("weir has no table after %s", s.Name)
		}
		return nil
	}
	if s.Name == "back" {
		return fmt.Errorf("the table is still there after remove")
	}
	trial, err := s.Gateway.Command("nft", "list", "map", "inet", "weir", "w_trial_f").Output()
	if err != nil {
		return fmt.Errorf("nft: %w", err)
	}
	if stableChain.Match(trial) {
		return fmt.Errorf("a trial runs after %s:\n%s", s.Name, trial)
	}
	stable, err := s.Gateway.Command("nft", "list", "map", "inet", "weir", "w_stable_f").Output()
	if err != nil {
		return fmt.Errorf("nft: %w", err)
	}
	found := stableChain.FindAllStringSubmatch(string(stable), -1)
	if len(found) != 2 || found[0][1] != found[1][1] {
		return fmt.Errorf("the two families are not in one step:\n%s", stable)
	}
	for _, r := range history {
		if r.Head != nil && r.Head.Step.Name == s.Step && r.Head.Revision == found[0][1] {
			return nil
		}
	}
	return fmt.Errorf("after %s the kernel holds %s, which is no revision of %s", s.Name, found[0][1], s.Step)
}

// ownNamespaces lists the networks that this process's threads are in.
func ownNamespaces(t *testing.T) []string {
	t.Helper()
	links, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range links {
		if at, err := os.Readlink(l); err == nil {
			out = append(out, at)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// nothingLeft wants an empty folder, and no process in the gateway's network.
func nothingLeft(t *testing.T, dir string, gateway uint64) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left in %s: %v, %v", dir, left, err)
	}
	all, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		var st syscall.Stat_t
		if gateway != 0 && syscall.Stat(p, &st) == nil && st.Ino == gateway {
			t.Errorf("%s is still in the gateway's network", p)
		}
	}
	if got := runningIn(t, dir); len(got) > 0 {
		t.Errorf("processes that were started in %s still run: %v", dir, got)
	}
}

// runningIn lists the processes whose command line or environment names a
// folder.
func runningIn(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, p := range all {
		if filepath.Base(p) == strconv.Itoa(os.Getpid()) {
			continue // TMPDIR was set for what it starts
		}
		for _, file := range []string{"/cmdline", "/environ"} {
			if b, err := os.ReadFile(p + file); err == nil && bytes.Contains(b, []byte(dir)) {
				cmd, _ := os.ReadFile(p + "/cmdline")
				out = append(out, p+": "+strings.ReplaceAll(string(cmd), "\x00", " "))
				break
			}
		}
	}
	return out
}

// demoCommand prepares the program itself as a child, with a folder of its own
// for what it makes, for a user who may be anybody.
func demoCommand(t *testing.T, args ...string) (c *exec.Cmd, tmp string) {
	t.Helper()
	exe, err := exec.LookPath("weir")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	tmp = filepath.Join(dir, "tmp")
	for _, err := range []error{
		// By another process: what this one writes, a child that is forked
		// meanwhile holds open, and it cannot be run (ETXTBSY).
		exec.Command("cp", exe, filepath.Join(dir, "weir")).Run(), os.Mkdir(tmp, 0o777), os.Chmod(tmp, os.ModeSticky|0o777),
		os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	c = exec.Command(filepath.Join(dir, "weir"), append([]string{"demo"}, args...)...)
	c.Dir = tmp
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + tmp, "TMPDIR=" + tmp}
	return c, tmp
}

func TestDemoAsAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	c, tmp := demoCommand(t)
	if os.Getuid() == 0 {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !bytes.Contains(out, []byte("10 scenes in ")) {
		t.Errorf("the story has no end:\n%s", out)
	}
	nothingLeft(t, tmp, 0)
}

// TestDemoByHand types every command line that the story printed again, in the
// shell that it offers, and sends every packet that it claims.
func TestDemoByHand(t *testing.T) {
	t.Parallel()
	c, tmp := demoCommand(t, "--keep")
	var out synced
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Process.Kill()
	enter := waitFor(t, &out, `(?m)^    \$ (nsenter .*)'\. (\S+); exec sh'$`)
	script := replay(out.String(), enter[2])
	file := filepath.Join(tmp, "replay.sh")
	if err := os.WriteFile(file, []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	said, err := exec.Command("sh", "-c", strings.TrimSuffix(enter[1], "sh -c ")+" sh "+file).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s\n%s", err, script, said)
	}
	if !bytes.Contains(said, []byte("THE END")) {
		t.Errorf("the script did not come to its end:\n%s", said)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	// The daemon that the script left in the background goes with the office.
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	nothingLeft(t, tmp, 0)
}

var (
	typedLine  = regexp.MustCompile(`^    \$ ((?:weir|kill) .*)$`)
	packetLine = regexp.MustCompile(`^    ✓ (\S+) +(\S+) +(\S+(?: \S+)?)  +(passes|denied)$`)
	// refusedLine is the second line that a refused command has said.
	refusedLine = regexp.MustCompile(`^      exit (\d+)$`)
	armedLine   = regexp.MustCompile(`^    ([\d.]+) s after it was armed:$`)
)

// replay makes a shell script of a story: a person repeats what a gate refuses,
// unless the story says so.
func replay(story, env string) string {
	lines := []string{". " + env, `again() {
  n=0
  while :; do
    eval "$1"; code=$?
    [ $code = 0 ] && return
    n=$((n+1))
    case $code in 3|4) ;; *) n=1000 ;; esac
    [ $n -lt 150 ] || { echo "exit $code: $1"; exit 1; }
    sleep .1
  done
}
refused() { eval "$2"; code=$?; [ $code = $1 ] || { echo "exit $code, not $1: $2"; exit 1; }; }`}
	all := strings.Split(story, "\n")
	for i, l := range all {
		if m := refusedLine.FindStringSubmatch(l); m != nil {
			lines = append(lines, fmt.Sprintf("refused %s '%s'", m[1], typedLine.FindStringSubmatch(all[i-2])[1]))
		}
		if m := typedLine.FindStringSubmatch(l); m != nil {
			switch {
			case strings.HasSuffix(m[1], "&"):
				lines = append(lines, strings.TrimSuffix(m[1], "&")+">/dev/null 2>&1 &", `while [ ! -S "$WEIR_SOCKET" ]; do sleep .1; done; sleep .2`)
			case i+2 < len(all) && refusedLine.MatchString(all[i+2]):
			case strings.HasPrefix(m[1], "kill"):
				lines = append(lines, m[1], `rm -f "$WEIR_SOCKET"`)
			default:
				lines = append(lines, "again '"+strings.ReplaceAll(m[1], "'", `'\''`)+"'")
			}
		}
		if m := packetLine.FindStringSubmatch(l); m != nil {
			want := map[string]string{"passes": "0", "denied": "2"}[m[4]]
			probe := fmt.Sprintf("weir demo probe %s %s %s", m[1], m[2], m[3])
			lines = append(lines, fmt.Sprintf("%s; code=$?; [ $code = %s ] || { echo \"exit $code: %s\"; exit 1; }", probe, want, probe))
		}
		if m := armedLine.FindStringSubmatch(l); m != nil {
			lines = append(lines, "sleep "+m[1])
		}
	}
	return strings.Join(append(lines, "echo THE END"), "\n") + "\n"
}

func TestDemoInterrupted(t *testing.T) {
	t.Parallel()
	c, tmp := demoCommand(t)
	var out synced
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Process.Kill()
	waitFor(t, &out, `confirmed monitor`)
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	c.Wait()
	if code := c.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit %d, want 130", code)
	}
	if !strings.HasSuffix(out.String(), "weir: interrupted; what the demo made is gone\n") {
		t.Errorf("it says\n%s", out.String())
	}
	nothingLeft(t, tmp, 0)
}

func TestDemoProbeWithoutAnOffice(t *testing.T) {
	t.Parallel()
	c, _ := demoCommand(t, "probe", "camera", "tcp/8883", "203.0.113.66")
	out, err := c.CombinedOutput()
	if c.ProcessState.ExitCode() != 64 || !strings.Contains(string(out), "hint: weir demo --keep") {
		t.Errorf("%v: %s", err, out)
	}
}

// synced is a buffer that a child writes and a test reads.
type synced struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (s *synced) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *synced) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

func waitFor(t *testing.T, out *synced, expression string) []string {
	t.Helper()
	re := regexp.MustCompile(expression)
	for end := time.Now().Add(100 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if m := re.FindStringSubmatch(out.String()); m != nil {
			return m
		}
	}
	t.Fatalf("%s was not said:\n%s", expression, out.String())
	return nil
}
