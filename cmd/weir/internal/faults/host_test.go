package faults

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/exit"
	"weir/nft/netns"
	"weir/phases"
	"weir/phases/enforce"
	"weir/phases/finding"
	"weir/plans"
	"weir/store"
)

// hostPlan is a plan for the real daemon. Its groups are allowed what is
// declared, so that probes are no evidence.
var hostPlan = strings.NewReplacer("allow: observed", "allow: declared",
	"monitor: {minimum: 1s}", `declared:
  - {name: web, from: [desks], to: [outside], services: [tcp/443], owner: desktop@example.net, reason: work}
  - {name: web-srv, from: [srv], to: [outside], services: [tcp/443], owner: ops@example.net, reason: work}
monitor: {minimum: 1s}`,
).Replace(planText)

// host is a gateway with the real daemon, as a process of its own, and the real
// commands.
type host struct {
	*world // its machine is not used; the folder, the ground and the model are
	lab    *lab
	bin    string
	sock   string // "": in the folder
	cmd    *netns.Cmd
	waited chan error // its end
	log    *bytes.Buffer
	env    []string
	flows  int // that were sent

	mu sync.Mutex // guards armed where two advance at once
}

func newHost(t testing.TB, lease time.Duration) *host {
	t.Helper()
	bin := weir(t)
	g := newGround(t, true, nil).(*lab)
	w := &world{t: t, g: g, dir: folder(t), lease: lease}
	w.forget()
	h := &host{world: w, lab: g, bin: bin}
	h.plan = strings.Replace(hostPlan, "LEASE", plans.FormatDuration(lease), 1)
	h.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "WEIR_STATE=" + h.dir, "WEIR_SOCKET=" + h.socket()}
	t.Cleanup(func() {
		h.kill()
		if t.Failed() && h.log != nil {
			t.Logf("the daemon said:\n%s", tail(h.log.String(), 4000))
		}
	})
	return h
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

func (h *host) socket() string {
	if h.sock != "" {
		return h.sock
	}
	return filepath.Join(h.dir, "weir.sock")
}

// launch starts the daemon and waits until it answers, or has ended.
func (h *host) launch() error {
	c := h.lab.net.Gateway.Command(h.bin, "daemon")
	return h.launchAs(c)
}

func (h *host) launchAs(c *netns.Cmd) error {
	h.log = &bytes.Buffer{}
	c.Env = append(c.Env, h.env...)
	c.Stdout, c.Stderr = h.log, h.log
	if err := c.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	h.cmd, h.waited = c, ended
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		select {
		case err := <-ended:
			h.cmd = nil
			return errors.Join(errors.New("the daemon ended: "+tail(h.log.String(), 1000)), err)
		default:
		}
		var out []phases.Record
		if err := h.call("history", struct{}{}, &out); code(err) != exit.NoDaemon {
			return err
		}
	}
	return errors.New("the daemon does not answer")
}

// smallDisk starts the daemon on a disk of its own, which no other process sees
// and which goes with it. The socket is elsewhere.
func (h *host) smallDisk(size string) int {
	h.t.Helper()
	h.sock = filepath.Join(folder(h.t), "weir.sock")
	h.env = append(h.env, "WEIR_SOCKET="+h.sock)
	c := h.lab.net.Gateway.Command("unshare", "--mount", "sh", "-c", "mount -t tmpfs -o mode=0700,size="+size+" weir-faults $WEIR_STATE && exec "+h.bin+" daemon")
	must(h.t, h.launchAs(c))
	return c.Process.Pid
}

// in runs a command in the gateway with the mounts of a process.
func (h *host) in(pid int, args ...string) string {
	h.t.Helper()
	c := h.lab.net.Gateway.Command("nsenter", append([]string{"--mount", "--target", strconv.Itoa(pid)}, args...)...)
	c.Env = h.env
	out, err := c.CombinedOutput()
	if err != nil {
		h.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// kill is SIGKILL; it returns when the process is gone.
func (h *host) kill() {
	if h.cmd == nil {
		return
	}
	_ = h.cmd.Process.Kill() // it may have ended by itself
	<-h.waited
	h.cmd = nil
}

func (h *host) signal(s syscall.Signal) {
	h.t.Helper()
	if err := h.cmd.Process.Signal(s); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) call(verb string, in, out any) error {
	return api.NewClient(h.socket()).Call(ctx, verb, in, out)
}

func code(err error) exit.Code {
	if err == nil {
		return exit.OK
	}
	return exit.From(err).Code
}

// cli runs a command in the gateway; the last word of the answer is its exit code.
func (h *host) cli(args ...string) (stdout, stderr string, code int) {
	h.t.Helper()
	c := h.lab.net.Gateway.Command(h.bin, args...)
	c.Env = h.env
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		h.t.Fatal(err)
	}
	return out.String(), errs.String(), c.ProcessState.ExitCode()
}

// must runs a command that succeeds and says want.
func (h *host) must(want string, args ...string) string {
	h.t.Helper()
	out, errs, code := h.cli(args...)
	if code != 0 || !strings.Contains(out, want) {
		h.t.Fatalf("weir %s: exit %d, want %q\n%s%s", strings.Join(args, " "), code, want, out, errs)
	}
	return out
}

// verb asks the daemon for one of the words of world.do.
func (h *host) verb(word string) error {
	word, arg, _ := strings.Cut(word, ":")
	switch word {
	case "apply":
		return h.call("apply", api.ApplyArgs{File: "plan.yaml", Text: []byte(h.plan + "# " + arg + "\n")}, nil)
	case "req":
		return h.call("request", api.StepArgs{Step: arg}, nil)
	case "ok":
		return h.call("approve", api.ApproveArgs{}, nil)
	case "arm":
		h.mu.Lock()
		h.armed = time.Now()
		h.mu.Unlock()
		return h.call("advance", api.AdvanceArgs{}, nil)
	case "yes":
		return h.call("confirm", struct{}{}, nil)
	case "back":
		return h.call("rollback", api.RollbackArgs{To: arg}, nil)
	case "group":
		return h.call("rollback", api.RollbackArgs{Group: arg}, nil)
	case "resume":
		return h.call("resume", struct{}{}, nil)
	case "restore":
		return h.call("restore", struct{}{}, nil)
	case "drill":
		_, errs, code := h.cli("unblock", "--drill")
		if code != 0 {
			return errors.New(errs)
		}
		return nil
	}
	h.t.Fatalf("no such verb: %s", word)
	return nil
}

// reach advances until a step is confirmed.
func (h *host) reach(step string) {
	h.t.Helper()
	var last error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		s := h.status()
		switch {
		case s.Step == step:
			return
		case s.Plan == "":
			last = h.verb("apply")
		case s.Paused != nil:
			last = h.verb("resume")
		case s.Step != "off" && s.Drill.IsZero():
			last = h.verb("drill")
		default:
			h.newFlow()
			if last = h.verb("req"); last == nil {
				last = errors.Join(h.verb("ok"), h.verb("arm"), h.verb("yes"))
			}
			if last != nil {
				h.answer()
				time.Sleep(100 * time.Millisecond) // a gate waits for time to pass
			}
		}
	}
	h.t.Fatalf("not at %s in time: %v", step, last)
}

// newFlow sends a packet that no rule knows: a gate wants to see that the log
// still speaks, and a flow is logged once an hour.
func (h *host) newFlow() {
	h.t.Helper()
	h.flows++
	c, err := h.lab.net.Client.Dial("udp", net.JoinHostPort(netns.OutsideIP4, strconv.Itoa(20000+h.flows))+"@"+net.JoinHostPort(sources["stray4"], "0"), time.Second)
	if err != nil {
		h.t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		h.t.Fatal(err)
	}
}

// answer says of everything that waits for a person that it is not needed.
func (h *host) answer() {
	h.t.Helper()
	var lines []enforce.Line
	must(h.t, h.call("lines", api.LinesArgs{}, &lines))
	for _, l := range lines {
		err := h.call("answer", api.AnswerArgs{ID: l.ID, Verdict: finding.NotNeeded, Reason: "a probe"}, nil)
		if code(err) != exit.OK && code(err) != exit.Invalid { // it may be no question any more
			h.t.Fatal(err)
		}
	}
}

func (h *host) status() api.Status {
	h.t.Helper()
	var s api.Status
	if err := h.call("status", struct{}{}, &s); err != nil {
		h.t.Fatal(err)
	}
	return s
}

// records reads a copy of the journal: the daemon holds the file.
func (h *host) records() []phases.Record {
	h.t.Helper()
	copied := filepath.Join(h.t.TempDir(), "journal.db")
	var err error
	for range 5 { // a copy made while it was written may be torn
		var j *store.Journal
		if err = copyFile(filepath.Join(h.dir, "journal.db"), copied); err != nil {
			h.t.Fatal(err)
		}
		if j, err = store.ReadJournal(copied); err != nil {
			continue
		}
		records, rerr := j.Records()
		err = errors.Join(rerr, j.Check(), j.Close())
		if err == nil {
			return records
		}
	}
	h.t.Fatal(err)
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
