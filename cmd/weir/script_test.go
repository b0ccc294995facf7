package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"weir/nft/netns"
)

func TestMain(m *testing.M) {
	// The scripts wait for the kernel's clock most of the time.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	// The scripts mostly wait for leases and timeouts of their own kernels.
	if runtime.GOMAXPROCS(0) < 5 {
		if err := flag.Set("test.parallel", "5"); err != nil {
			panic(err)
		}
	}
	testscript.Main(m, map[string]func(){
		"weir": func() { os.Exit(Main(os.Args[1:])) },
		"sshd": sshd,
		// a login: what it runs is started by a process of this name
		"sshd-session": func() {
			c := exec.Command(os.Args[1], os.Args[2:]...)
			c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
			if err := c.Run(); err != nil {
				os.Exit(max(1, c.ProcessState.ExitCode()))
			}
		},
	})
}

// TestScript runs testdata/*.txtar: what a person types, with real packets
// between the commands. Beside testscript's own commands there are
//
//	lab                          a client, a gateway and an outside host, with echo servers
//	gw [-uid N] COMMAND …        run in the gateway's namespace; stdout and stderr can be compared
//	start NAME COMMAND …         the same in the background, until "kill9 NAME" or the script's end
//	kill9 NAME                   SIGKILL
//	reach  PROTO PORT [v4|v6]    the client gets an answer (both families without the last word)
//	denied PROTO PORT [v4|v6]    it does not; "-gw" first: the gateway itself, not the client
//	open NAME PROTO PORT v4|v6   a connection that stays open; "alive NAME", "dead NAME"
//	until SECONDS COMMAND …      repeat gw, reach or denied until it succeeds
//	until SECONDS match REGEXP gw …  and until its stdout matches
//	save NAME                    keep stdout's last word
//
// and those of scriptboot_test.go, scriptlab_test.go, ftplab_test.go,
// honeypot_test.go and notify_test.go.
func TestScript(t *testing.T) {
	t.Parallel()
	testscript.Run(t, params(false, "testdata"))
}

// TestScriptMasquerading runs again what must not depend on whether the gateway
// masquerades.
func TestScriptMasquerading(t *testing.T) {
	t.Parallel()
	p := params(true, "")
	for _, name := range []string{"story06-lapse", "story11-older", "unblock", "decide", "reopened", "wayback"} {
		p.Files = append(p.Files, filepath.Join("testdata", name+".txtar"))
	}
	testscript.Run(t, p)
}

func params(masquerade bool, dir string) testscript.Params {
	return testscript.Params{
		Dir: dir,
		Setup: func(e *testscript.Env) error {
			w := &stage{procs: map[string]*netns.Cmd{}, conns: map[string]net.Conn{}, masquerade: masquerade}
			e.Values[stageKey{}] = w
			e.Setenv("WEIR_SOCKET", filepath.Join(e.WorkDir, "weir.sock"))
			e.Setenv("WEIR_STATE", filepath.Join(e.WorkDir, "state"))
			e.Defer(w.close)
			return errors.Join(os.Chmod(filepath.Dir(e.WorkDir), 0o755), os.Chmod(e.WorkDir, 0o755))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"lab": cmdLab, "gw": cmdGW, "start": cmdStart, "kill9": cmdKill, "reach": cmdReach,
			"denied": cmdDenied, "open": cmdOpen, "alive": cmdAlive, "dead": cmdDead, "until": cmdUntil,
			"save": cmdSave, "client": cmdClient, "serve": cmdServe, "signal": cmdSignal, "upto": cmdUpto,
			"ftp": cmdFTP, "foreign": cmdForeign, "rules": cmdRules, "sysctls": cmdSysctls, "forget": cmdForget, "arrives": cmdArrives,
			"probes": cmdProbes, "restored": cmdRestored, "garbage": cmdGarbage, "addr": cmdAddr, "ruleset": cmdRuleset, "recur": cmdRecur, "cmpout": cmdCmpout,
			"webhook": cmdWebhook, "http": cmdHTTP, "scan": cmdScan, "from": cmdFrom,
			"lured": cmdLured, "refused": cmdRefused, "lure": cmdLure, "cut": cmdCut, "reboot": cmdReboot, "systemd": cmdSystemd, "heard": cmdHeard, "term": cmdTerm, "upgraded": cmdUpgraded, "hand": cmdHand, "labs": cmdLabs,
			"hostile": cmdHostile, "harmless": cmdHarmless,
			"checker": cmdChecker, "tampered": cmdTampered, "forged": cmdForged,
		},
	}
}

type stageKey struct{}

// stage is what one script made.
type stage struct {
	lab        *netns.Lab
	masquerade bool
	boots      int         // since the script began
	said       chan string // to systemd
	out        string      // of the last gw
	errs       string
	mu         sync.Mutex // guards what follows
	procs      map[string]*netns.Cmd
	conns      map[string]net.Conn
	more       map[string]*netns.NS // further clients
}

func (w *stage) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		c.Close()
	}
	for _, p := range w.procs {
		p.Process.Kill()
		p.Wait()
	}
	for _, n := range w.more {
		n.Close()
	}
	if w.lab != nil {
		w.lab.Close()
	}
}

func stageOf(ts *testscript.TestScript) *stage { return ts.Value(stageKey{}).(*stage) }

func cmdLab(ts *testscript.TestScript, neg bool, args []string) {
	w := stageOf(ts)
	lab, err := netns.NewLab()
	ts.Check(err)
	w.lab = lab
	// Rejections are told apart from silence without waiting for the next second.
	ts.Check(lab.Gateway.Sysctl("net.ipv4.icmp_ratelimit", "0"))
	ts.Check(lab.Gateway.Sysctl("net.ipv6.icmp.ratelimit", "0"))
	if w.masquerade {
		ts.Check(lab.Gateway.Masquerade(netns.OutsideIf))
	}
	for _, port := range []string{"22", "25", "80", "443", "3389", "5432", "9999"} {
		ts.Check(lab.Outside.EchoTCP(net.JoinHostPort(netns.OutsideIP4, port), net.JoinHostPort(netns.OutsideIP6, port)))
	}
	for _, port := range []string{"53", "123", "443", "514"} {
		ts.Check(lab.Outside.EchoUDP(net.JoinHostPort(netns.OutsideIP4, port), net.JoinHostPort(netns.OutsideIP6, port)))
	}
}

// command prepares a command in the gateway's namespace.
func command(ts *testscript.TestScript, args []string) *netns.Cmd {
	w := stageOf(ts)
	if w.lab == nil {
		ts.Fatalf("no lab yet")
	}
	uid := -1
	if len(args) > 2 && args[0] == "-uid" {
		v, err := strconv.Atoi(args[1])
		ts.Check(err)
		uid, args = v, args[2:]
	}
	if len(args) == 0 {
		ts.Fatalf("no command")
	}
	path, err := lookPath(ts, args[0])
	ts.Check(err)
	run, rest := onMachine(ts, uid, path, args[1:])
	c := w.lab.Gateway.Command(run, rest...)
	c.Dir = ts.Getenv("WORK")
	for _, k := range []string{"PATH", "HOME", "TMPDIR", "WEIR_SOCKET", "WEIR_STATE"} {
		c.Env = append(c.Env, k+"="+ts.Getenv(k))
	}
	if uid >= 0 {
		// The scripts' own copy of the program is in a folder of mode 0700.
		for _, dir := range []string{filepath.Dir(path), filepath.Dir(filepath.Dir(path))} {
			if strings.HasPrefix(dir, os.TempDir()+"/") {
				ts.Check(os.Chmod(dir, 0o755))
			}
		}
		if w.boots > 0 {
			return c // it becomes that user after the mounts
		}
		c.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: 0, NoSetGroups: true}
	}
	return c
}

func lookPath(ts *testscript.TestScript, name string) (string, error) {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		p := filepath.Join(dir, name)
		if st, err := os.Stat(p); err == nil && st.Mode()&0o111 != 0 {
			return p, nil
		}
	}
	return exec.LookPath(name)
}

func cmdGW(ts *testscript.TestScript, neg bool, args []string) {
	err := runGW(ts, args)
	if neg && err == nil {
		ts.Fatalf("unexpected success")
	}
	if !neg {
		ts.Check(err)
	}
}

// runGW runs a command and keeps its streams for "stdout" and "stderr". The
// last line of stderr becomes "exit N".
func runGW(ts *testscript.TestScript, args []string) error {
	err := quietGW(ts, args)
	s := stageOf(ts)
	fmt.Fprint(ts.Stdout(), s.out)
	fmt.Fprint(ts.Stderr(), s.errs)
	return err
}

func quietGW(ts *testscript.TestScript, args []string) error {
	c := command(ts, args)
	var out, errs strings.Builder
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	code := 0
	if c.ProcessState != nil {
		code = c.ProcessState.ExitCode()
	}
	fmt.Fprintf(&errs, "exit %d\n", code)
	stageOf(ts).out, stageOf(ts).errs = out.String(), errs.String()
	return err
}

func cmdSave(ts *testscript.TestScript, neg bool, args []string) {
	words := strings.Fields(stageOf(ts).out)
	if len(words) == 0 {
		ts.Fatalf("the last command printed nothing")
	}
	ts.Setenv(args[0], words[len(words)-1])
}

func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	w := stageOf(ts)
	c := command(ts, args[1:])
	log, err := os.Create(filepath.Join(ts.Getenv("WORK"), args[0]+".log"))
	ts.Check(err)
	defer log.Close()
	c.Stdout, c.Stderr = log, log
	ts.Check(c.Start())
	w.mu.Lock()
	w.procs[args[0]] = c
	w.mu.Unlock()
}

func cmdKill(ts *testscript.TestScript, neg bool, args []string) {
	w := stageOf(ts)
	w.mu.Lock()
	c := w.procs[args[0]]
	delete(w.procs, args[0])
	w.mu.Unlock()
	if c == nil {
		ts.Fatalf("nothing was started as %s", args[0])
	}
	ts.Check(c.Process.Kill())
	c.Wait()
}

func addresses(args []string) []string {
	if _, _, err := net.SplitHostPort(args[1]); err == nil {
		return args[1:2]
	}
	v4, v6 := net.JoinHostPort(netns.OutsideIP4, args[1]), net.JoinHostPort(netns.OutsideIP6, args[1])
	if len(args) > 2 {
		return map[string][]string{"v4": {v4}, "v6": {v6}}[args[2]]
	}
	return []string{v4, v6}
}

func tryAll(ts *testscript.TestScript, args []string, want bool) error {
	from, args := fromWhere(ts, args)
	for _, a := range addresses(args) {
		err := try(from, args[0], a)
		if want && err != nil {
			return fmt.Errorf("%s %s: %w", args[0], a, err)
		}
		if !want && err == nil {
			return fmt.Errorf("%s %s answers", args[0], a)
		}
	}
	return nil
}

func cmdReach(ts *testscript.TestScript, neg bool, args []string)  { ts.Check(tryAll(ts, args, true)) }
func cmdDenied(ts *testscript.TestScript, neg bool, args []string) { ts.Check(tryAll(ts, args, false)) }

func cmdOpen(ts *testscript.TestScript, neg bool, args []string) {
	w := stageOf(ts)
	from, args := fromWhere(ts, args)
	c, err := from.Dial(args[1], addresses(args[1:])[0], time.Second)
	ts.Check(err)
	ts.Check(answers(c, time.Second))
	w.mu.Lock()
	w.conns[args[0]] = c
	w.mu.Unlock()
}

func exchange(ts *testscript.TestScript, name string, patience time.Duration) error {
	w := stageOf(ts)
	w.mu.Lock()
	c := w.conns[name]
	w.mu.Unlock()
	if c == nil {
		ts.Fatalf("no open connection %s", name)
	}
	return answers(c, patience)
}

func cmdAlive(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(exchange(ts, args[0], 5*time.Second))
}
func cmdDead(ts *testscript.TestScript, neg bool, args []string) {
	if exchange(ts, args[0], 600*time.Millisecond) == nil {
		ts.Fatalf("connection %s still answers", args[0])
	}
}

func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	secs, err := strconv.ParseFloat(args[0], 64)
	ts.Check(err)
	end := time.Now().Add(time.Duration(secs * float64(time.Second)))
	var want *regexp.Regexp
	if args[1] == "match" {
		want = regexp.MustCompile("(?m)" + args[2])
		args = args[2:]
	}
	for {
		switch args[1] {
		case "gw":
			err = quietGW(ts, args[2:])
			if out := stageOf(ts).out; err == nil && want != nil && !want.MatchString(out) {
				err = fmt.Errorf("stdout does not match %s: %s", want, out)
			}
		case "reach":
			err = tryAll(ts, args[2:], true)
		case "denied":
			err = tryAll(ts, args[2:], false)
		case "dead":
			if err = nil; exchange(ts, args[2], 600*time.Millisecond) == nil {
				err = fmt.Errorf("connection %s still answers", args[2])
			}
		case "lured":
			err = lured(ts, args[2:])
		case "refused":
			err = refused(ts, args[2:])
		case "cut":
			err = cut(ts, args[2:])
		default:
			ts.Fatalf("until cannot repeat %s", args[1])
		}
		if late := time.Now().After(end); err == nil || late {
			if args[1] == "gw" {
				fmt.Fprint(ts.Stdout(), stageOf(ts).out)
				fmt.Fprint(ts.Stderr(), stageOf(ts).errs)
			}
			if err != nil {
				ts.Fatalf("not in time: %v", err)
			}
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}
