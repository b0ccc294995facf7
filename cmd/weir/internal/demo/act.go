package demo

import (
	"fmt"
	"strings"
	"time"

	"weir/phases/enforce"
)

// do runs a command that must succeed and shows what is picked of its answer.
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

// refused is the exit code of a command that a gate refuses.
const refused = 4

// once is do for a command that a gate may refuse for a while, as a person
// repeats it. The first refusal is shown where it lasted.
func (s *story) once(p pick, args ...string) (result, error) {
	s.typed(append([]string{"weir"}, args...))
	var first string
	for start := time.Now(); ; {
		r, err := s.run(s.ctx, args...)
		if err != nil {
			return r, err
		}
		waited := time.Since(start)
		if r.code == 0 {
			if waited > 1200*time.Millisecond && first != "" {
				s.answer([]string{first, fmt.Sprintf("… and %.1f s later:", waited.Seconds())})
			}
			s.answer(p(lines(r.out)))
			return r, nil
		}
		if r.code != refused || waited > 20*time.Second {
			return r, fmt.Errorf("weir %s: exit %d: %s", quoteAll(args), r.code, r.failed())
		}
		if first == "" {
			first, _, _ = strings.Cut(r.err, "\n")
			first, _, _ = strings.Cut(first, ";") // the first gate of several
		}
		if err := s.sleep(150 * time.Millisecond); err != nil {
			return r, err
		}
	}
}

func lines(text string) []string {
	text = strings.TrimRight(text, "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
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
func (s *story) passes(ks ...talk) error { return s.send(passes, ks) }
func (s *story) denied(ks ...talk) error { return s.send(denied, ks) }

func (s *story) send(want string, ks []talk) error {
	for _, k := range ks {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		for to, err := range s.net.each(k) {
			s.packets++
			if want == passes && err != nil {
				return fmt.Errorf("%s to %s %s should pass: %w", k.from, to, k.service, err)
			}
			if want == denied && err == nil {
				return fmt.Errorf("%s to %s %s should be denied, and passes", k.from, to, k.service)
			}
		}
		s.packet(k, want)
	}
	return nil
}

// questions waits until a question about a group's service waits for a person,
// and returns those of both families.
func (s *story) questions(group, service string) (out []enforce.Line, err error) {
	err = s.until("a finding of group "+group+", "+service, func() error {
		var all struct {
			Questions []enforce.Line `json:"questions"`
		}
		if err := s.ask(s.ctx, &all, "findings"); err != nil {
			return err
		}
		out = nil
		for _, l := range all.Questions {
			if l.Group == group && l.Service.String() == service {
				out = append(out, l)
			}
		}
		if len(out) < 2 {
			return fmt.Errorf("%d of 2", len(out))
		}
		return nil
	})
	return out, err
}

// settle answers every question about a group's service.
func (s *story) settle(group, service, verdict, reason string) error {
	ls, err := s.questions(group, service)
	if err != nil {
		return err
	}
	for _, l := range ls {
		if _, err := s.do(everything, "findings", "answer", l.ID, verdict, "--reason", reason); err != nil {
			return err
		}
		s.did("answer " + verdict)
	}
	return nil
}
