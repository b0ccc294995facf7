package demo

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"weir/phases"
)

const (
	stepCameras = "enforce/block:cameras"
	stepDesks   = "enforce/block:desks"
	stepCore    = "enforce/block:core"
	stepSwap    = "refactor/swap:desks"
)

// Traffic that the scenes look at.
var (
	phoneHome = talk{"camera", "tcp/8883", vendor}
	firmware  = talk{"camera", "tcp/443", update}
	browsing  = talk{"desk1", "tcp/443", web}
	mailing   = talk{"desk1", "tcp/587", mailer}
	payroll   = talk{"desk2", "tcp/5432", web}
	quic      = talk{"desk2", "udp/443", web}
	clock     = talk{"desk1", "udp/123", web}
	otherTime = talk{"desk2", "udp/123", update}
	remote    = talk{"stranger", "tcp/3389", web}
)

func (s *story) monitor() error {
	s.begin("monitor", "monitor", "nothing is blocked, every flow is written down")
	s.typed([]string{"weir", "daemon", "&"})
	if err := s.startDaemon(s.ctx); err != nil {
		return err
	}
	s.startTraffic()
	if _, err := s.do(everything, "apply", "plan.yaml"); err != nil {
		return err
	}
	s.did("apply")
	if err := s.step(phases.StepMonitor, first(0)); err != nil {
		return err
	}
	if err := s.confirm(phases.StepMonitor); err != nil {
		return err
	}
	if err := s.net.all(habits); err != nil {
		return fmt.Errorf("something does not pass: %w", err)
	}
	if err := s.sleep(200 * time.Millisecond); err != nil {
		return err
	}
	r, err := s.do(matching(`GROUP|camera`), "flows", "--group", "cameras")
	if err != nil {
		return err
	}
	for _, to := range []string{vendorV4, vendorV6} {
		if !strings.Contains(r.out, to) {
			return fmt.Errorf("the camera's way home to %s is not in the evidence", to)
		}
	}
	s.note("The camera phones home: %s is its vendor, and nobody declared that.", vendorV4)
	if _, err := s.do(everything, "endpoints"); err != nil {
		return err
	}
	return s.end(phases.StepMonitor)
}

func (s *story) alert() error {
	s.begin("alert", "enforce: alert only", "everything passes, what would be denied is a question")
	if err := s.step(phases.StepAlert, everything); err != nil {
		return err
	}
	if err := s.confirm(phases.StepAlert); err != nil {
		return err
	}
	if err := s.passes(mailing, phoneHome); err != nil {
		return err
	}
	if _, err := s.linesOf("desks", "tcp/587"); err != nil {
		return err
	}
	if _, err := s.do(everything, "findings"); err != nil {
		return err
	}
	if err := s.answerAll("desks", "tcp/587", "needed", "desks send mail"); err != nil {
		return err
	}
	if err := s.answerAll("cameras", "tcp/8883", "never", "a camera has no business there"); err != nil {
		return err
	}
	if _, err := s.do(everything, "unblock", "--drill"); err != nil {
		return err
	}
	s.did("drill")
	return s.end(phases.StepAlert)
}

func (s *story) brownout() error {
	s.begin("brownout", "a brownout", "two seconds of block, meant to lapse: what breaks?")
	if _, err := s.once(everything, "advance", "--brownout", "2s", "--yes"); err != nil {
		return err
	}
	armed := time.Now()
	s.did("request "+stepCameras, "approve "+stepCameras, "brownout "+stepCameras)
	if err := s.denied(phoneHome); err != nil {
		return err
	}
	if err := s.passes(firmware); err != nil {
		return err
	}
	if err := s.falls(armed, 2*time.Second, phoneHome); err != nil {
		return err
	}
	s.did("lapse")
	return s.end(phases.StepAlert)
}

// falls waits until the lease of a trial has ended and packets pass again.
func (s *story) falls(armed time.Time, lease time.Duration, k talk) error {
	if err := s.sleep(time.Until(armed.Add(lease + 100*time.Millisecond))); err != nil {
		return err
	}
	return s.passes(k)
}

func (s *story) lapse() error {
	s.begin("lapse", "the dead man's handle", "a step is armed, then every process of weir is killed")
	if _, err := s.once(matching("armed"), "advance", "--yes"); err != nil {
		return err
	}
	armed := time.Now()
	s.did("arm " + stepCameras) // what the brownout used is still approved
	pid := s.daemon.Process.Pid
	if err := s.denied(phoneHome); err != nil {
		return err
	}
	s.typed([]string{"kill", "-9", fmt.Sprint(pid)})
	if err := s.kill(); err != nil {
		return err
	}
	if err := s.denied(phoneHome); err != nil {
		return err
	}
	s.note("Nobody confirms. The lease is in the kernel, and the kernel ends it alone.")
	if err := s.falls(armed, 4*time.Second, phoneHome); err != nil {
		return err
	}
	s.did("lapse")
	s.typed([]string{"weir", "daemon", "&"})
	if err := s.startDaemon(s.ctx); err != nil {
		return err
	}
	if _, err := s.do(matching("lapsed"), "history"); err != nil {
		return err
	}
	return s.end(phases.StepAlert)
}

func (s *story) block() error {
	s.begin("block", "enforce: block", "wave by wave, each on trial until somebody confirms")
	if err := s.step(stepCameras, matching("step|armed")); err != nil {
		return err
	}
	if err := s.confirm(stepCameras); err != nil {
		return err
	}
	if err := s.denied(phoneHome); err != nil {
		return err
	}
	if err := s.passes(firmware, talk{"doorbell", "tcp/443", update}); err != nil {
		return err
	}
	if err := s.step(stepDesks, matching("step|armed")); err != nil {
		return err
	}
	if err := s.confirm(stepDesks); err != nil {
		return err
	}
	if err := s.passes(browsing, mailing); err != nil {
		return err
	}
	if err := s.denied(quic); err != nil {
		return err
	}
	return s.end(stepDesks)
}

var unblockLine = regexp.MustCompile(`(?m)^\s+weir (unblock .*--to ` + regexp.QuoteMeta(webV4) + ` .*)$`)

func (s *story) wrong() error {
	s.begin("wrong", "weir got something wrong", "the payroll runs once a month, and was not seen")
	if err := s.denied(payroll); err != nil {
		return err
	}
	host := s.net.hosts[payroll.from].v4
	var r result
	for end := time.Now().Add(5 * time.Second); ; {
		var err error
		if r, err = s.run(s.ctx, "why", host); err != nil {
			return err
		}
		if unblockLine.MatchString(r.out) {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("weir why %s does not name the denied flow: %s%s", host, r.out, r.err)
		}
		if err := s.sleep(50 * time.Millisecond); err != nil {
			return err
		}
	}
	if _, err := s.do(everything, "why", host); err != nil {
		return err
	}
	args := strings.Fields(unblockLine.FindStringSubmatch(r.out)[1])
	if _, err := s.do(everything, args...); err != nil {
		return err
	}
	s.did("unblock")
	if err := s.net.try(payroll.from, payroll.service, payroll.to.v4); err != nil {
		return fmt.Errorf("it does not pass after the unblock: %w", err)
	}
	s.packet(talk{payroll.from, payroll.service, site{payroll.to.v4, ""}}, "passes")
	if _, err := s.do(everything, "unblock", "--list"); err != nil {
		return err
	}
	return s.end(stepDesks)
}

func (s *story) visitor() error {
	s.begin("visitor", "a stranger", "somebody's laptop tries remote desktop, which the plan never allows")
	if err := s.denied(remote); err != nil {
		return err
	}
	if n := s.net.arrived.Load(); n > 0 {
		return fmt.Errorf("%d remote desktop connections reached the Internet", n)
	}
	return s.end(stepDesks)
}

func (s *story) refactor() error {
	s.begin("refactor", "refactor", "few rules that people understand, and what that changes")
	if err := s.step(stepCore, matching("step|armed")); err != nil {
		return err
	}
	if err := s.confirm(stepCore); err != nil {
		return err
	}
	if _, err := s.once(everything, "request"); err != nil {
		return err
	}
	s.did("request " + stepSwap)
	if _, err := s.do(everything, "advance", "--yes"); err != nil {
		return err
	}
	s.did("approve "+stepSwap, "arm "+stepSwap)
	if err := s.confirm(stepSwap); err != nil {
		return err
	}
	if err := s.passes(quic, clock); err != nil {
		return err
	}
	if err := s.denied(otherTime); err != nil {
		return err
	}
	return s.end(stepSwap)
}

func (s *story) watch() error {
	s.begin("watch", "watch", "the capture goes on")
	if err := s.step(phases.StepWatch, matching("step|armed")); err != nil {
		return err
	}
	if err := s.confirm(phases.StepWatch); err != nil {
		return err
	}
	if _, err := s.do(everything, "status"); err != nil {
		return err
	}
	return s.end(phases.StepWatch)
}

func (s *story) back() error {
	s.begin("back", "and back", "one message to the kernel, from anywhere")
	if _, err := s.do(everything, "rollback", "--phase", "enforce"); err != nil {
		return err
	}
	s.did("rollback to " + stepCore)
	if err := s.denied(phoneHome); err != nil {
		return err
	}
	if _, err := s.do(everything, "rollback", "--to", "off"); err != nil {
		return err
	}
	s.did("rollback to off")
	if err := s.passes(phoneHome, payroll, remote); err != nil {
		return err
	}
	return s.end(phases.StepOff)
}
