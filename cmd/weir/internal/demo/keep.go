package demo

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"weir/nft/capture"
	"weir/phases/flow"
)

// keep leaves the office standing for a person's own hands: as at the
// beginning, so that every command line of the story works again in its order.
func (s *story) keep(ctx context.Context) error {
	if err := s.afresh(ctx); err != nil {
		return err
	}
	l, err := s.serveProbes()
	if err != nil {
		return err
	}
	defer l.Close()
	if err := os.WriteFile(filepath.Join(s.dir, "env"), []byte(s.exports()), 0o644); err != nil {
		return err
	}
	for _, text := range []string{
		"",
		s.paint(bold, "    Now you. The office is as at the beginning, and weir does not run."),
		"    Every line above works by hand, in its order: begin with  weir daemon &",
		"    Lines with ✓ are packets:  weir demo probe camera tcp/8883 203.0.113.66 2001:db8:113::66",
		"    A shell in the gateway, from another terminal:",
		"    " + s.paint(cyan, "$ "+s.nsenter()),
		"",
	} {
		s.line(text)
	}
	if s.opt.In == nil {
		s.line("    Interrupt it to take everything away.")
		<-ctx.Done()
		return nil
	}
	return s.shell()
}

// afresh makes everything as at the beginning: the daemon is ended and its
// folder empty, and the gateway remembers no connection of the story, which
// would be evidence. The table is gone already.
func (s *story) afresh(ctx context.Context) error {
	if err := s.kill(); err != nil {
		return err
	}
	for _, f := range []string{s.state(), s.socket(), s.log()} {
		if err := os.RemoveAll(f); err != nil {
			return err
		}
	}
	s.stopTraffic()
	defer s.startTraffic()
	_, err := capture.DeleteConnections(ctx, capture.Options{NetNS: s.net.gateway.FD()}, func(flow.Record) bool { return true })
	return err
}

// exports sets a shell up for the printed command lines.
func (s *story) exports() string {
	return fmt.Sprintf("cd %s\nexport WEIR_SOCKET=%s WEIR_STATE=%s %s=%s PATH=%s:\"$PATH\" PS1='weir gateway $ '\n",
		quote(s.dir), quote(s.socket()), quote(s.state()), Variable, quote(s.probes()), quote(filepath.Dir(s.weir())))
}

// nsenter is a command line that opens a shell in the gateway from elsewhere.
func (s *story) nsenter() string {
	enter := "nsenter --net=" + s.net.gateway.Path()
	if netnsInUserns() {
		enter = fmt.Sprintf("nsenter --user=/proc/%d/ns/user --preserve-credentials --net=%s", os.Getpid(), s.net.gateway.Path())
	}
	return enter + " sh -c " + quote(". "+s.dir+"/env; exec sh")
}

// netnsInUserns says whether this process is root in a user namespace only: the
// one uid that it knows is mapped to another.
func netnsInUserns() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	f := strings.Fields(string(b))
	return err == nil && len(f) == 3 && f[2] == "1"
}

// shell opens a shell in the gateway and waits for its end. Ctrl-C is the
// shell's while it runs: caught here, not ignored, which its programs would
// inherit.
func (s *story) shell() error {
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	path := os.Getenv("SHELL")
	if _, err := exec.LookPath(path); err != nil {
		path = "/bin/sh"
	}
	args := []string{"-i"}
	if filepath.Base(path) == "bash" {
		args = []string{"--norc", "-i"} // PATH and prompt stay
	}
	c := s.net.gateway.Command(path, args...)
	c.Dir = s.dir
	c.Env = append(s.env(), Variable+"="+s.probes(), "PS1=weir gateway $ ")
	c.Stdin, c.Stdout, c.Stderr = s.opt.In, os.Stdout, os.Stderr
	s.line("    Leave with  exit : everything is taken away.")
	if err := c.Start(); err != nil {
		return err
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(ended)
	gone := make(chan struct{})
	go func() {
		select {
		case <-ended:
			c.Process.Kill() //nolint:errcheck // it may have ended
		case <-gone:
		}
	}()
	c.Wait() //nolint:errcheck // a shell ends with its last command's code
	close(gone)
	return nil
}
