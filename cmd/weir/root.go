package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/exit"
)

// env is what a command may touch of the world: its streams, its clock, and
// where the daemon and its files are.
type env struct {
	in       io.Reader
	out, err io.Writer
	now      func() time.Time
	socket   string
	state    string
	output   string // "text", "json" or, of the lists, "csv"
}

// Main runs a command line and returns its exit code. An error's words go to
// stderr as "weir: …", what to do next as "weir: hint: …".
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	e := &env{in: os.Stdin, out: os.Stdout, err: os.Stderr, now: time.Now}
	root := newRoot(e)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	return e.report(ctx, err)
}

func (e *env) report(ctx context.Context, err error) int {
	if err == nil {
		return int(exit.OK)
	}
	var d *difference
	if errors.As(err, &d) {
		return int(exit.Difference)
	}
	x := exit.From(err)
	if strings.HasPrefix(x.Text, "if any flags in the group") { // cobra's own words for flags that exclude each other
		x = exit.Errorf(exit.Usage, "these flags exclude each other: %s", x.Text).WithHint("weir --help")
	}
	if ctx.Err() != nil && x.Code == exit.Failed {
		x.Code = exit.Interrupted
	}
	if x.Text != "" {
		fmt.Fprintln(e.err, "weir: "+safeLines(x.Text))
	}
	if x.Hint != "" {
		fmt.Fprintln(e.err, "weir: hint: "+safeLines(x.Hint))
	}
	return int(x.Code)
}

// difference ends a command with exit code 2; its answer is already printed.
type difference struct{}

func (*difference) Error() string { return "there is a difference" }

func newRoot(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "weir",
		Short: "close a network's outbound traffic step by step, with a way back from each",
		Long: `weir takes a network whose outbound traffic is open to one where only what is
needed may leave, without breaking it on the way: it watches the flows, allows
the active ones and denies the rest (alert first, then block), merges the rules
into few that people understand, and keeps watching.

  weir init --profile office > plan.yaml     write a plan
  weir check plan.yaml                       find every mistake in it
  weir plan plan.yaml                        see every step before it happens
  weir apply plan.yaml                       register it with the daemon
  weir advance                               take the next step, on trial
  weir confirm                               keep it
  weir rollback                              go back, at once, from anywhere`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(e.in)
	root.SetOut(e.out)
	root.SetErr(e.err)
	pf := root.PersistentFlags()
	pf.StringVar(&e.socket, "socket", envOr("WEIR_SOCKET", "/run/weir/weir.sock"), "the daemon's socket")
	pf.StringVar(&e.state, "state", envOr("WEIR_STATE", "/var/lib/weir"), "the folder with journal, evidence and backouts")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return exit.Errorf(exit.Usage, "%s: %w", c.CommandPath(), err).WithHint("%s --help", c.CommandPath())
	})
	for _, make := range commands {
		root.AddCommand(make(e))
	}
	wrapUsage(root)
	return root
}

// commands is filled by each command's file.
var commands []func(*env) *cobra.Command

func register(f func(*env) *cobra.Command) bool {
	commands = append(commands, f)
	return true
}

// wrapUsage gives wrong arguments exit code 64.
func wrapUsage(c *cobra.Command) {
	if args := c.Args; args != nil {
		c.Args = func(c *cobra.Command, a []string) error {
			if err := args(c, a); err != nil {
				return exit.Errorf(exit.Usage, "%s: %w", c.CommandPath(), err).WithHint("%s --help", c.CommandPath())
			}
			return nil
		}
	} else if c.Parent() == nil {
		c.Args = func(c *cobra.Command, a []string) error {
			if len(a) > 0 {
				return exit.Errorf(exit.Usage, "weir knows no command %q", a[0]).WithHint("weir --help lists them")
			}
			return nil
		}
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	for _, s := range c.Commands() {
		wrapUsage(s)
	}
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func (e *env) client() *api.Client { return api.NewClient(e.socket) }

// call asks the daemon. Long work says on a terminal that it goes on.
func (e *env) call(ctx context.Context, verb string, in, out any) error {
	if f, ok := e.err.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		done := make(chan struct{})
		var wait sync.WaitGroup
		defer func() { close(done); wait.Wait() }()
		wait.Go(func() {
			start := time.Now()
			t := time.NewTicker(time.Second)
			defer t.Stop()
			for shown := false; ; {
				select {
				case <-t.C:
					shown = true
					fmt.Fprintf(e.err, "\r%s, %s …", verb, span(time.Since(start).Round(time.Second)))
				case <-done:
					if shown {
						fmt.Fprint(e.err, "\r\x1b[K")
					}
					return
				}
			}
		})
	}
	err := e.client().Call(ctx, verb, in, out)
	if x := exit.From(err); x != nil && x.Code == exit.NoDaemon && e.state != envOr("WEIR_STATE", "/var/lib/weir") {
		return x.WithHint("start it: weir daemon --socket %s --state %s", e.socket, e.state)
	}
	return err
}

// readWithin bounds the wait for what can also be read without the daemon.
const readWithin = 10 * time.Second

// readOnly is call for a verb that changes nothing and that plain files and the
// kernel can answer, too. bare says that they have to: the daemon is not there,
// hangs, or went away.
func (e *env) readOnly(ctx context.Context, verb string, out any) (bare *exit.Error, err error) {
	within, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	err = e.call(within, verb, struct{}{}, out)
	x := exit.From(err)
	switch {
	case x == nil || ctx.Err() != nil:
		return nil, err
	case x.Code == exit.NoDaemon:
		return x, nil
	case x.Code == exit.Unknown && within.Err() != nil:
		return exit.Errorf(exit.NoDaemon, "the daemon on %s hangs: no answer within %s", e.socket, readWithin).
			WithHint("end it and start it again; what is in force stays in the kernel"), nil
	case x.Code == exit.Unknown:
		return x, nil
	}
	return nil, err
}

// outputFlag adds -o to a read.
func (e *env) outputFlag(c *cobra.Command, formats ...string) {
	all := append([]string{"text", "json"}, formats...)
	c.Flags().StringVarP(&e.output, "output", "o", "text", "output: "+strings.Join(all, ", "))
	pre := c.PreRunE
	c.PreRunE = func(c *cobra.Command, a []string) error {
		for _, f := range all {
			if e.output == f {
				if pre != nil {
					return pre(c, a)
				}
				return nil
			}
		}
		return exit.Errorf(exit.Usage, "%s: no output %q", c.CommandPath(), e.output).
			WithHint("one of %s", strings.Join(all, ", "))
	}
}

// json prints v with the version of its shape.
func (e *env) json(kind string, v any) error {
	data, err := json.MarshalIndent(map[string]any{"apiVersion": api.Version, "kind": kind, "data": v}, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.out, "%s\n", plainJSON(data))
	return err
}

// plainJSON is the same JSON in characters that a terminal shows: the others,
// which stand in strings alone, are written as escapes.
func plainJSON(data []byte) []byte {
	if !bytes.ContainsFunc(data, func(r rune) bool { return r != '\n' && r != unicode.ReplacementChar && unprintable(r) }) {
		return data
	}
	out := make([]byte, 0, len(data))
	for _, r := range string(data) {
		if r == '\n' || r == unicode.ReplacementChar || !unprintable(r) {
			out = utf8.AppendRune(out, r)
			continue
		}
		for _, u := range utf16.Encode([]rune{r}) {
			out = fmt.Appendf(out, "\\u%04x", u)
		}
	}
	return out
}

// terminal says whether the answer goes to a person.
func (e *env) terminal() bool {
	f, ok := e.out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// safe makes a string that came from the network or a person fit one line of a
// terminal: control characters, bidirectional marks and invalid UTF-8 are
// written as escapes.
func safe(s string) string {
	clean := true
	for _, r := range s {
		if unprintable(r) {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unprintable(r) {
			fmt.Fprintf(&b, "\\u{%x}", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func safeLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = safe(lines[i])
	}
	return strings.Join(lines, "\n")
}

// plainText makes many lines safe; tabs stay.
func plainText(text string) string {
	cells := strings.Split(text, "\t")
	for i := range cells {
		cells[i] = safeLines(cells[i])
	}
	return strings.Join(cells, "\t")
}

// plainly prints what f writes, made safe: words of other programs' files are in
// it.
func (e *env) plainly(f func(io.Writer) error) error {
	var b bytes.Buffer
	if err := f(&b); err != nil {
		return err
	}
	_, err := io.WriteString(e.out, plainText(b.String()))
	return err
}

func unprintable(r rune) bool {
	return unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Me)
}
