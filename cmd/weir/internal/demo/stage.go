package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	_ "embed"

	"weir/nft/netns"
)

//go:embed plan.yaml
var planText []byte

// stage is the office with the folder, the daemon and the commands.
type stage struct {
	net    network
	dir    string
	daemon *netns.Cmd
	live   context.CancelFunc
	quiet  chan struct{} // closed when the traffic has ended
}

// set builds everything. Whatever it made is in s even when it fails.
func (s *stage) set(exe string) error {
	var err error
	if s.dir, err = os.MkdirTemp("", "weir-demo-"); err != nil {
		return fmt.Errorf("cannot make the demo's folder: %w", err)
	}
	if err := os.Mkdir(filepath.Join(s.dir, "bin"), 0o755); err != nil {
		return err
	}
	if err := os.Symlink(exe, s.weir()); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.dir, "plan.yaml"), planText, 0o644); err != nil {
		return err
	}
	return s.net.build()
}

// weir is the program's path, by which it is found as "weir" in PATH.
func (s *stage) weir() string   { return filepath.Join(s.dir, "bin", "weir") }
func (s *stage) socket() string { return filepath.Join(s.dir, "weir.sock") }
func (s *stage) state() string  { return filepath.Join(s.dir, "state") }
func (s *stage) log() string    { return filepath.Join(s.dir, "daemon.log") }

// env is what makes every printed command line work.
func (s *stage) env() []string {
	var out []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch name {
		case "WEIR_SOCKET", "WEIR_STATE", "PATH":
		default:
			out = append(out, kv)
		}
	}
	return append(out, "WEIR_SOCKET="+s.socket(), "WEIR_STATE="+s.state(),
		"PATH="+filepath.Join(s.dir, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// command prepares weir in the gateway's namespace. Ctrl-C is for the demo
// alone, which ends its children itself.
func (s *stage) command(args ...string) *netns.Cmd {
	c := s.net.gateway.Command(s.weir(), args...)
	c.Dir, c.Env = s.dir, s.env()
	c.SysProcAttr.Setpgid = true
	return c
}

// result is what a command said.
type result struct {
	out, err string
	code     int
	took     time.Duration
}

// failed says in one line what went wrong.
func (r result) failed() string {
	line, _, _ := strings.Cut(strings.TrimSpace(r.err), "\n")
	return strings.TrimPrefix(line, "weir: ")
}

// run runs weir to its end, or kills it when ctx is done.
func (s *stage) run(ctx context.Context, args ...string) (result, error) {
	if err := ctx.Err(); err != nil {
		return result{}, err
	}
	c := s.command(args...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	start := time.Now()
	if err := c.Start(); err != nil {
		return result{}, err
	}
	stop := context.AfterFunc(ctx, func() { c.Process.Kill() }) //nolint:errcheck // it may have ended
	defer stop()
	err := c.Wait()
	if ctx.Err() != nil {
		return result{}, ctx.Err()
	}
	r := result{out: out.String(), err: errs.String(), code: c.ProcessState.ExitCode(), took: time.Since(start)}
	if err != nil && r.code <= 0 {
		return r, fmt.Errorf("weir %s: %w: %s", strings.Join(args, " "), err, r.err)
	}
	return r, nil
}

// ask runs a command with -o json and decodes its data.
func (s *stage) ask(ctx context.Context, into any, args ...string) error {
	r, err := s.run(ctx, append(args, "-o", "json")...)
	if err != nil {
		return err
	}
	if r.code != 0 {
		return fmt.Errorf("weir %s: %s", strings.Join(args, " "), r.failed())
	}
	answer := struct {
		Data any `json:"data"`
	}{into}
	if err := json.Unmarshal([]byte(r.out), &answer); err != nil {
		return fmt.Errorf("cannot read the answer of weir %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// startDaemon starts the daemon in the gateway and waits until it answers.
func (s *stage) startDaemon(ctx context.Context) error {
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	c := s.command("daemon")
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		return err
	}
	s.daemon = c
	for end := time.Now().Add(10 * time.Second); ; {
		l, err := net.Dial("unix", s.socket())
		if err == nil {
			return l.Close()
		}
		if time.Now().After(end) {
			return fmt.Errorf("the daemon does not answer: %w\n%s", err, s.lastLog())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// kill ends the daemon as a crash does.
func (s *stage) kill() error {
	if s.daemon == nil {
		return nil
	}
	c := s.daemon
	s.daemon = nil
	err := c.Process.Signal(syscall.SIGKILL)
	c.Wait() //nolint:errcheck // killed, as meant
	return err
}

// lastLog is the end of the daemon's log.
func (s *stage) lastLog() string {
	b, err := os.ReadFile(s.log())
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

func (s *stage) startTraffic() {
	ctx, cancel := context.WithCancel(context.Background())
	s.live, s.quiet = cancel, make(chan struct{})
	go func() {
		defer close(s.quiet)
		s.net.live(ctx, time.Second)
	}()
}

func (s *stage) stopTraffic() {
	if s.live == nil {
		return
	}
	s.live()
	<-s.quiet
	s.live = nil
}

// close takes everything away.
func (s *stage) close() error {
	var errs []error
	s.stopTraffic()
	if s.daemon != nil {
		errs = append(errs, s.kill())
	}
	errs = append(errs, s.reap(), s.net.close())
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}
