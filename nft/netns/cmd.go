package netns

import (
	"bytes"
	"errors"
	"os/exec"
	"syscall"
)

// Cmd is an exec.Cmd whose process starts in a namespace. Only the methods
// below start it there; exec.Cmd's others must not be used to start it.
type Cmd struct {
	*exec.Cmd
	n *NS
}

// Command prepares a program that runs inside the namespace. It is killed when
// the namespace closes, and with this process.
func (n *NS) Command(name string, args ...string) *Cmd {
	c := exec.Command(name, args...)
	// A child inherits the network of the thread that forks it. That thread
	// lives as long as the namespace, and so does the child at most.
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return &Cmd{c, n}
}

// Start starts the program.
func (c *Cmd) Start() error {
	return c.n.with("start "+c.Path, c.Cmd.Start)
}

// Run starts the program and waits for it.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the program and returns its standard output.
func (c *Cmd) Output() ([]byte, error) {
	if c.Stdout != nil {
		return nil, errors.New("cannot read the output: Stdout is set")
	}
	var out, msg bytes.Buffer
	c.Stdout = &out
	if c.Stderr == nil {
		c.Stderr = &msg
	}
	err := c.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		exit.Stderr = msg.Bytes()
	}
	return out.Bytes(), err
}

// CombinedOutput runs the program and returns its standard output and error.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	if c.Stdout != nil || c.Stderr != nil {
		return nil, errors.New("cannot read the output: Stdout or Stderr is set")
	}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}
