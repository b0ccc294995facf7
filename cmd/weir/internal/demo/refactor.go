package demo

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// forgotten is what the first draft of the refactoring lacks: it stands in
// plan.yaml as a comment, and in mended.yaml without its sign.
const forgotten = "        # - {to: [198.51.100.25"

func (s *story) refactor() error {
	s.begin("refactor", "refactor", "few rules that people understand, beside the old ones until they agree")
	r, err := s.once(matching(`^step|widens|narrows`), "request")
	if err != nil {
		return err
	}
	s.did("request " + stepShadow)
	for _, want := range []string{`widens   desks -> any ipv4 udp/443`, `widens   desks -> any ipv6 udp/443`, `narrows  desks -> any ipv4 but ` + webV4 + ` udp/123`,
		`narrows  desks -> ` + mailV4 + ` tcp/587`} {
		if !strings.Contains(r.out, want) {
			return fmt.Errorf("the request does not say %q:\n%s", want, r.out)
		}
	}
	s.note("What is approved: wider by QUIC, narrower by mail and by all clocks but one.")
	if _, err := s.do(everything, "approve"); err != nil {
		return err
	}
	if _, err := s.once(matching("^armed"), "advance"); err != nil {
		return err
	}
	s.did("approve "+stepShadow, "arm "+stepShadow)
	if err := s.confirm(stepShadow); err != nil {
		return err
	}
	s.note("The new rules look on: no packet meets anything else, and the kernel counts where they differ.")
	if err := s.passes(mailing, otherTime); err != nil {
		return err
	}
	if err := s.denied(quic); err != nil {
		return err
	}
	host := s.net.hosts[mailing.from].v4
	if err := s.refused("shadow (fail): desks "+host+" -> "+mailV4+" tcp/587 passes, and the refactoring would deny it", "request"); err != nil {
		return err
	}
	s.note("The draft has forgotten that desks send mail. It is mended in the plan.")
	if err := s.mend(); err != nil {
		return err
	}
	if err := s.step(stepShadow, matching("^armed")); err != nil {
		return err
	}
	if err := s.confirm(stepShadow); err != nil {
		return err
	}
	if err := s.passes(mailing, otherTime); err != nil {
		return err
	}
	if err := s.settle("desks", otherTime.service, "not-needed", "our own clock will do"); err != nil {
		return err
	}
	if err := s.step(stepSwap, matching("^armed")); err != nil {
		return err
	}
	if err := s.confirm(stepSwap); err != nil {
		return err
	}
	if err := s.passes(quic, clock, mailing); err != nil {
		return err
	}
	if err := s.denied(otherTime); err != nil {
		return err
	}
	return s.end(stepSwap)
}

// refused runs a command that a gate must refuse, with the words given.
func (s *story) refused(words string, args ...string) error {
	s.typed(append([]string{"weir"}, args...))
	var r result
	err := s.until(fmt.Sprintf("weir %s to be refused with %q", quoteAll(args), words), func() (err error) {
		if r, err = s.run(s.ctx, args...); err == nil && (r.code != refused || !strings.Contains(r.err, words)) {
			err = fmt.Errorf("exit %d: %s%s", r.code, r.out, r.err)
		}
		return err
	})
	if err != nil {
		return err
	}
	line, _, _ := strings.Cut(r.err[strings.Index(r.err, words):], ";")
	s.answer([]string{line, fmt.Sprintf("exit %d", r.code)})
	return nil
}

// mend registers the plan in which the refactoring forgets nothing.
func (s *story) mend() error {
	text := bytes.Replace(planText, []byte(forgotten), []byte(strings.Replace(forgotten, "# ", "", 1)), 1)
	if bytes.Equal(text, planText) {
		return fmt.Errorf("plan.yaml has nothing to mend")
	}
	if err := os.WriteFile(filepath.Join(s.dir, "mended.yaml"), text, 0o644); err != nil {
		return err
	}
	_, err := s.do(everything, "apply", "mended.yaml")
	s.did("apply")
	return err
}
