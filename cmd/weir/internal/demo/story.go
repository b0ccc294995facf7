package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"weir/nft/netns"
	"weir/phases"
)

// Options says how the story is told.
type Options struct {
	Out    io.Writer
	Colour bool
	Width  int      // columns of the terminal; 0: 120
	Exe    string   // the weir program
	Keep   bool     // stay at the end, with a shell in the gateway
	In     *os.File // the terminal that the shell reads from; nil: there is none
	// Seen, where not nil, is called after each scene whose claims held.
	Seen func(Scene) error
}

// Scene is what a scene claims.
type Scene struct {
	Name    string
	Step    string    // in force in the gateway's kernel, with no trial running
	Gateway *netns.NS // where to look
	Deeds   []string  // everything that the story did until here
	Weir    func(args ...string) (stdout string, err error)
}

// limit is how long the story may take.
const limit = 90 * time.Second

type story struct {
	stage
	teller
	opt     Options
	ctx     context.Context
	n       int    // of the scene
	name    string // of the scene
	deeds   []string
	packets int
	times   []timed
}

// timed is something that was measured, for the end.
type timed struct{ what, took string }

// Run tells the whole story. A claim that does not hold is an error.
func Run(ctx context.Context, opt Options) (err error) {
	start := time.Now()
	if opt.Width == 0 {
		opt.Width = 120
	}
	s := &story{opt: opt, teller: teller{out: opt.Out, colour: opt.Colour, width: opt.Width}}
	var cancel context.CancelFunc
	s.ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("the story took longer than %v", limit))
	defer cancel()
	defer func() {
		switch log := s.lastLog(); {
		case err == nil:
		case ctx.Err() != nil:
			err = errors.New("interrupted; what the demo made is gone")
		case log != "":
			err = fmt.Errorf("%w\nthe daemon's last words:\n%s", err, log)
		}
		err = errors.Join(err, s.close())
	}()
	s.line(s.paint(bold, "weir demo: a small office, from open to only what is needed, and back"))
	s.line(s.paint(dim, "Everything happens in private network namespaces; this machine's network is not touched."))
	if err := s.set(opt.Exe); err != nil {
		return err
	}
	s.drawOffice()
	for _, scene := range []func(*story) error{
		(*story).monitor, (*story).alert, (*story).brownout, (*story).lapse, (*story).block, (*story).wrong,
		(*story).visitor, (*story).refactor, (*story).watch, (*story).back,
	} {
		if err := scene(s); err != nil {
			if s.ctx.Err() != nil {
				err = context.Cause(s.ctx)
			}
			return fmt.Errorf("scene %d, %s: %w", s.n, s.name, err)
		}
	}
	s.summary(time.Since(start))
	if opt.Keep {
		return s.keep(ctx)
	}
	return nil
}

func (s *story) drawOffice() {
	for _, l := range []string{
		"",
		"    desk1  desk2  stranger   10.20.16.0/24  fd20:0:0:16::/64 ┐",
		"    server  mail             10.20.1.0/24   fd20:0:0:1::/64  ├─ lan0 gateway wan0 ─ Internet",
		"    camera  doorbell         10.20.40.0/24  fd20:0:0:40::/64 ┘       weir",
	} {
		s.line(s.paint(dim, l))
	}
}

func (s *story) begin(name, title, words string) {
	s.n++
	s.name = name
	s.scene(s.n, title, words)
}

// did notes what the story did, in the words of Deeds.
func (s *story) did(deeds ...string) { s.deeds = append(s.deeds, deeds...) }

// end closes a scene: the kernel must hold the step, no trial may run, and the
// history must tell the same story.
func (s *story) end(step string) error {
	var history []phases.Record
	err := s.until("the history to tell the story", func() error {
		if err := s.ask(s.ctx, &history, "history"); err != nil {
			return err
		}
		if got := Deeds(history); !slices.Equal(got, s.deeds) {
			return fmt.Errorf("it tells\n  %s\nnot\n  %s", strings.Join(got, "\n  "), strings.Join(s.deeds, "\n  "))
		}
		return nil
	})
	if err != nil {
		return err
	}
	steps, trials, err := s.truth(s.ctx, history)
	if err != nil {
		return err
	}
	if !slices.Contains(steps, step) || len(trials) > 0 {
		return fmt.Errorf("the kernel holds %v with %v on trial, not %s", steps, trials, step)
	}
	if s.opt.Seen == nil {
		return nil
	}
	return s.opt.Seen(Scene{s.name, step, s.net.gateway, slices.Clone(s.deeds), func(args ...string) (string, error) {
		r, err := s.run(s.ctx, args...)
		if err == nil && r.code != 0 {
			err = fmt.Errorf("exit %d: %s", r.code, r.err)
		}
		return r.out, err
	}})
}

// until repeats f until it returns nil, for at most ten seconds: the daemon
// looks at the kernel twice a second.
func (s *story) until(what string, f func() error) error {
	for end := time.Now().Add(10 * time.Second); ; {
		err := f()
		if err == nil {
			return nil
		}
		if s.ctx.Err() != nil || time.Now().After(end) {
			return fmt.Errorf("waited for %s: %w", what, err)
		}
		if err := s.sleep(50 * time.Millisecond); err != nil {
			return err
		}
	}
}

// sleep waits, or ends with the story.
func (s *story) sleep(d time.Duration) error {
	select {
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (s *story) summary(took time.Duration) {
	s.line("")
	s.line(s.paint(bold, fmt.Sprintf("    %d scenes in %.0f s: %d packets went as told, and the history names the same %d deeds",
		s.n, took.Seconds(), s.packets, len(s.deeds))))
	for _, t := range s.times {
		s.line(s.paint(dim, fmt.Sprintf("    %-44s %s", t.what, t.took)))
	}
	if !s.opt.Keep {
		s.line("")
		s.line("    By hand, with a shell in the gateway:  weir demo --keep")
		s.line("    On your own network:                   weir init --profile office --look > plan.yaml")
	}
}
