package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"weir/nft/netns"
	"weir/phases"
	"weir/phases/enforce"
)

// Options says how the story is told.
type Options struct {
	Out    io.Writer
	Colour bool
	Width  int    // columns of the terminal, 0: lines are not cut
	Exe    string // the weir program
	Keep   bool   // stay at the end, with a shell in the gateway
	// Seen, where not nil, is called after each scene whose claims held.
	Seen func(Scene) error
}

// Scene is what a scene claims.
type Scene struct {
	Name    string
	Step    string    // in force in the gateway's kernel
	Gateway *netns.NS // where to look
	Deeds   []string  // everything that the story did until here
	History []phases.Record
}

// limit is how long the story may take.
const limit = 90 * time.Second

type story struct {
	stage
	teller
	opt   Options
	ctx   context.Context
	n     int
	name  string
	deeds []string
	rolls []string
}

// Run tells the whole story. A claim that does not hold is an error.
func Run(ctx context.Context, opt Options) (err error) {
	start := time.Now()
	s := &story{opt: opt, teller: teller{out: opt.Out, colour: opt.Colour, width: opt.Width}}
	var cancel context.CancelFunc
	s.ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("the story took longer than %v", limit))
	defer cancel()
	defer func() {
		if err != nil && ctx.Err() == nil {
			if log := s.lastLog(); log != "" {
				err = fmt.Errorf("%w\nthe daemon's last words:\n%s", err, log)
			}
		}
		err = errors.Join(err, s.close())
	}()
	s.line(s.paint(bold, "weir demo: a small office, closed step by step"))
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
			if cause := context.Cause(s.ctx); cause != nil {
				err = cause
			}
			return fmt.Errorf("scene %d, %s: %w", s.n, s.name, err)
		}
	}
	if err := s.summary(time.Since(start)); err != nil {
		return err
	}
	if opt.Keep {
		return s.keep(ctx)
	}
	return nil
}

func (s *story) drawOffice() {
	for _, l := range []string{
		"",
		"    desk1 desk2 stranger   10.20.16.0/24 ┐",
		"    server mail            10.20.1.0/24  ├── lan0  gateway  wan0 ── Internet: web, mail, updates,",
		"    camera doorbell        10.20.40.0/24 ┘         (weir)           the camera's vendor",
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
	for end := time.Now().Add(5 * time.Second); ; {
		if err := s.ask(s.ctx, &history, "history"); err != nil {
			return err
		}
		got := Deeds(history)
		if slices.Equal(got, s.deeds) {
			break
		}
		if time.Now().After(end) { // the daemon looks at the kernel twice a second
			return fmt.Errorf("the history tells another story:\n  %s\nnot\n  %s", strings.Join(got, "\n  "), strings.Join(s.deeds, "\n  "))
		}
		if err := s.sleep(50 * time.Millisecond); err != nil {
			return err
		}
	}
	steps, trials, err := s.truth(s.ctx, history)
	if err != nil {
		return err
	}
	if !slices.Contains(steps, step) || len(trials) > 0 {
		return fmt.Errorf("the kernel holds %v with %v on trial, not %s", steps, trials, step)
	}
	if s.opt.Seen != nil {
		return s.opt.Seen(Scene{s.name, step, s.net.gateway, slices.Clone(s.deeds), history})
	}
	return nil
}

// weir runs a command that must succeed and shows what is picked of its answer.
func (s *story) do(p pick, args ...string) (result, error) {
	s.typed(append([]string{"weir"}, args...))
	r, err := s.run(s.ctx, args...)
	if err != nil {
		return r, err
	}
	if r.code != 0 {
		return r, fmt.Errorf("weir %s: exit %d: %s", quoteAll(args), r.code, r.failed())
	}
	s.answer(p(lines(r.out)))
	return r, nil
}

// refused runs a command that must end with an exit code, and shows why.
func (s *story) refused(code int, p pick, args ...string) (result, error) {
	s.typed(append([]string{"weir"}, args...))
	r, err := s.run(s.ctx, args...)
	if err != nil {
		return r, err
	}
	if r.code != code {
		return r, fmt.Errorf("weir %s: exit %d, want %d: %s", quoteAll(args), r.code, code, r.failed())
	}
	s.answer(p(lines(r.err)))
	return r, nil
}

// once repeats a command until it succeeds, as a person does who waits for a
// gate; it prints it once.
func (s *story) once(p pick, args ...string) (result, error) {
	s.typed(append([]string{"weir"}, args...))
	start, why := time.Now(), ""
	for {
		r, err := s.run(s.ctx, args...)
		if err != nil {
			return r, err
		}
		if r.code == 0 {
			if waited := time.Since(start); waited > 400*time.Millisecond {
				s.answer([]string{fmt.Sprintf("(waited %.1fs: %s)", waited.Seconds(), why)})
			}
			s.answer(p(lines(r.out)))
			return r, nil
		}
		if r.code != 4 || time.Since(start) > 20*time.Second {
			return r, fmt.Errorf("weir %s: exit %d: %s", quoteAll(args), r.code, r.failed())
		}
		if why == "" {
			why = gateWords(r.failed())
		}
		if err := s.sleep(150 * time.Millisecond); err != nil {
			return r, err
		}
	}
}

var gateText = regexp.MustCompile(`(?:held by a gate|gate)[^:]*: (.*)$`)

func gateWords(failed string) string {
	if m := gateText.FindStringSubmatch(failed); m != nil {
		return m[1]
	}
	return failed
}

func lines(text string) []string {
	text = strings.TrimRight(text, "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

func (s *story) sleep(d time.Duration) error {
	select {
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// step takes the next step up to its trial.
func (s *story) step(name string, p pick) error {
	_, err := s.once(p, "advance", "--yes")
	s.did("request "+name, "approve "+name, "arm "+name)
	return err
}

func (s *story) confirm(name string) error {
	_, err := s.do(everything, "confirm")
	s.did("confirm " + name)
	return err
}

// passes and denied send packets and say what became of them.
func (s *story) passes(ks ...talk) error { return s.packets(true, ks) }
func (s *story) denied(ks ...talk) error { return s.packets(false, ks) }

func (s *story) packets(want bool, ks []talk) error {
	for _, k := range ks {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		v4, v6 := s.net.both(k)
		for to, err := range map[string]error{k.to.v4: v4, k.to.v6: v6} {
			if want && err != nil {
				return fmt.Errorf("%s to %s %s should pass: %w", k.from, to, k.service, err)
			}
			if !want && err == nil {
				return fmt.Errorf("%s to %s %s should be denied, and passes", k.from, to, k.service)
			}
		}
		verdict := "denied"
		if want {
			verdict = "passes"
		}
		s.packet(k, verdict)
	}
	return nil
}

// lineOf waits until a question about a group's service is in the list, and
// returns its lines.
func (s *story) linesOf(group, service string) ([]enforce.Line, error) {
	for end := time.Now().Add(5 * time.Second); ; {
		var all struct {
			Questions []enforce.Line `json:"questions"`
		}
		var out []enforce.Line
		if err := s.ask(s.ctx, &all, "findings"); err != nil {
			return nil, err
		}
		for _, l := range all.Questions {
			if l.Group == group && l.Service.String() == service {
				out = append(out, l)
			}
		}
		if len(out) > 0 {
			return out, nil
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("no finding of group %s and %s", group, service)
		}
		if err := s.sleep(50 * time.Millisecond); err != nil {
			return nil, err
		}
	}
}

func (s *story) answerAll(group, service, verdict, reason string) error {
	ls, err := s.linesOf(group, service)
	if err != nil {
		return err
	}
	said := map[string]bool{}
	for _, l := range ls {
		if said[l.ID] {
			continue
		}
		said[l.ID] = true
		if _, err := s.do(everything, "findings", "answer", l.ID, verdict, "--reason", reason); err != nil {
			return err
		}
		s.did("answer " + verdict)
	}
	return nil
}

func (s *story) summary(took time.Duration) error {
	_, err := fmt.Fprintf(s.out, "\n    %s\n", s.paint(dim, fmt.Sprintf("told in %.0f seconds", took.Seconds())))
	return err
}

func (s *story) keep(ctx context.Context) error { return nil }

var _ = os.Getpid
