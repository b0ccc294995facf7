package demo

import (
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"

	"weir/phases"
)

// Steps of the plan.
const (
	stepCameras = "enforce/block:cameras"
	stepDesks   = "enforce/block:desks"
	stepCore    = "enforce/block:core"
	stepShadow  = "refactor/shadow:desks"
	stepSwap    = "refactor/swap:desks"
)

// brownoutFor and leaseFor are what plan.yaml says.
const (
	brownoutFor = 2 * time.Second
	leaseFor    = 4 * time.Second
)

// Traffic that the scenes look at.
var (
	phoneHome = talk{"camera", "tcp/8883", vendor}
	firmware  = talk{"camera", "tcp/443", update}
	ringing   = talk{"doorbell", "tcp/443", update}
	browsing  = talk{"desk1", "tcp/443", web}
	pinging   = talk{"desk1", "ping", web}
	mailing   = talk{"desk1", "tcp/587", mailer}
	payroll   = talk{"desk2", "tcp/5432", web}
	quic      = talk{"desk1", "udp/443", web}
	clock     = talk{"desk1", "udp/123", web}
	otherTime = talk{"desk2", "udp/123", update}
	relaying  = talk{"mail", "tcp/25", mailer}
	odd       = talk{"server", "tcp/443", web}
	remote    = talk{"stranger", "tcp/3389", web}
)

func (s *story) monitor() error {
	s.begin("monitor", "monitor", "nothing is blocked; every flow is written down")
	s.typed([]string{"weir", "daemon", "&"})
	if err := s.startDaemon(s.ctx); err != nil {
		return err
	}
	s.startTraffic()
	if err := s.net.try("stranger", "ping", gwV4); err != nil {
		return err
	}
	if _, err := s.do(everything, "apply", "plan.yaml"); err != nil {
		return err
	}
	s.did("apply")
	if err := s.step(phases.StepMonitor, matching("^armed")); err != nil {
		return err
	}
	if err := s.confirm(phases.StepMonitor); err != nil {
		return err
	}
	if err := s.net.all(habits); err != nil {
		return fmt.Errorf("something does not pass: %w", err)
	}
	s.packets += 2 * len(habits)
	if err := s.sleep(300 * time.Millisecond); err != nil { // the connections end
		return err
	}
	r, err := s.do(before("CONNS", everything), "flows", "--group", "cameras")
	if err != nil {
		return err
	}
	for _, to := range phoneHome.to.all() {
		if !strings.Contains(r.out, to) {
			return fmt.Errorf("%s is not in the evidence:\n%s", to, r.out)
		}
	}
	s.note("203.0.113.5 has the firmware. 203.0.113.66 is the vendor: the camera phones home.")
	r, err = s.do(before("FLOWS", matching(`^GROUP|10\.20\.`)), "endpoints")
	if err != nil {
		return err
	}
	if !regexp.MustCompile(`10\.20\.16\.66 .*never`).MatchString(r.out) {
		return fmt.Errorf("the stranger at 10.20.16.66 is not listed as never outside:\n%s", r.out)
	}
	s.note("Who talks outside, and who is here and never does: 10.20.16.66 is a stranger.")
	return s.end(phases.StepMonitor)
}

func (s *story) alert() error {
	s.begin("alert", "enforce, alert only", "everything passes; what would be denied is a question")
	if err := s.step(phases.StepAlert, matching("^armed")); err != nil {
		return err
	}
	if err := s.confirm(phases.StepAlert); err != nil {
		return err
	}
	if err := s.passes(mailing, phoneHome); err != nil {
		return err
	}
	for _, k := range []talk{mailing, phoneHome} {
		if _, err := s.questions(map[string]string{"desk1": "desks", "camera": "cameras"}[k.from], k.service); err != nil {
			return err
		}
	}
	if _, err := s.do(before("OPEN", everything), "findings"); err != nil {
		return err
	}
	s.note("People answer: desks do send mail, and a camera has no business with its vendor.")
	if err := s.settle("desks", mailing.service, "needed", "desks send mail"); err != nil {
		return err
	}
	if err := s.settle("cameras", phoneHome.service, "never", "it only phones home"); err != nil {
		return err
	}
	if _, err := s.do(everything, "unblock", "--drill"); err != nil {
		return err
	}
	s.did("drill")
	s.note("The way out is exercised before anything is blocked.")
	return s.end(phases.StepAlert)
}

func (s *story) brownout() error {
	s.begin("brownout", "a brownout", "two seconds of block, meant to lapse: what breaks?")
	_, err := s.once(matching(`^brownout|cameras .*\*|doorbell .*\*|denies`), "advance", "--brownout", "2s", "--yes")
	if err != nil {
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
	if err := s.falls(armed, brownoutFor, phoneHome); err != nil {
		return err
	}
	s.did("lapse")
	return s.end(phases.StepAlert)
}

// falls waits for the end of a lease: a moment after it the packets pass.
func (s *story) falls(armed time.Time, lease time.Duration, k talk) error {
	const moment = 300 * time.Millisecond
	if err := s.sleep(time.Until(armed.Add(lease + moment))); err != nil {
		return err
	}
	s.note("%.1f s after it was armed:", time.Since(armed).Seconds())
	return s.passes(k)
}

func (s *story) lapse() error {
	s.begin("lapse", "every process of weir dies", "a step on trial is held by the kernel alone, and ends alone")
	if _, err := s.once(matching("^armed"), "advance", "--yes"); err != nil {
		return err
	}
	armed := time.Now()
	s.did("arm " + stepCameras) // the approval is the brownout's
	s.typed([]string{"kill", "-9", "$!"})
	if err := s.kill(); err != nil {
		return err
	}
	if err := s.denied(phoneHome); err != nil {
		return err
	}
	if err := s.falls(armed, leaseFor, phoneHome); err != nil {
		return err
	}
	s.did("lapse")
	s.typed([]string{"weir", "daemon", "&"})
	if err := s.startDaemon(s.ctx); err != nil {
		return err
	}
	r, err := s.do(matching(`fell back`), "history")
	if err != nil {
		return err
	}
	if !strings.Contains(r.out, "lapsed          not confirmed in time") {
		return fmt.Errorf("the history does not tell of the lapse:\n%s", r.out)
	}
	return s.end(phases.StepAlert)
}

func (s *story) block() error {
	s.begin("block", "enforce, block", "wave by wave, each on trial until a person confirms")
	for _, w := range []struct {
		step         string
		passes, deny []talk
	}{
		{stepCameras, []talk{firmware, ringing}, []talk{phoneHome}},
		{stepDesks, []talk{browsing, pinging, mailing}, []talk{quic}},
		{stepCore, []talk{relaying}, []talk{odd}},
	} {
		if err := s.step(w.step, matching("^armed")); err != nil {
			return err
		}
		if err := s.confirm(w.step); err != nil {
			return err
		}
		if err := s.passes(w.passes...); err != nil {
			return err
		}
		if err := s.denied(w.deny...); err != nil {
			return err
		}
	}
	return s.end(stepCore)
}

var unblockLine = regexp.MustCompile(`(?m)^\s+weir (unblock .*--to ` + regexp.QuoteMeta(webV4) + ` --service tcp/5432 .*)$`)

func (s *story) wrong() error {
	s.begin("wrong", "weir got something wrong", "the payroll runs once a month, and was never seen")
	if err := s.denied(payroll); err != nil {
		return err
	}
	host := s.net.hosts[payroll.from].v4
	var r result
	err := s.until("weir why to name the flow", func() (err error) {
		if r, err = s.run(s.ctx, "why", host); err == nil && !unblockLine.MatchString(r.out) {
			err = fmt.Errorf("weir why %s: %s%s", host, r.out, r.err)
		}
		return err
	})
	if err != nil {
		return err
	}
	if _, err := s.do(first(3), "why", host); err != nil {
		return err
	}
	args := strings.Fields(unblockLine.FindStringSubmatch(r.out)[1])
	start := time.Now()
	if _, err := s.do(everything, args...); err != nil {
		return err
	}
	s.did("unblock")
	if err := s.passes(talk{payroll.from, payroll.service, site{v4: webV4}}); err != nil {
		return err
	}
	s.measured("an unblock, typed until the packet passed", time.Since(start))
	if err := s.denied(talk{payroll.from, payroll.service, site{v6: webV6}}, talk{"desk1", payroll.service, site{v4: webV4}}); err != nil {
		return err
	}
	s.note("One host, one flow, one hour: the kernel ends it, even if weir is dead.")
	return s.end(stepCore)
}

func (s *story) measured(what string, took time.Duration) {
	s.times = append(s.times, timed{what, fmt.Sprintf("%.0f ms", took.Seconds()*1000)})
}

func (s *story) visitor() error {
	s.begin("visitor", "a stranger", "a laptop on a desk's socket tries remote desktop, which nobody may")
	err := s.until("the honeypot", func() error { return s.lure(remote) })
	if err != nil {
		return err
	}
	s.packet(remote, "lands in the honeypot")
	if n := s.net.arrived.Load(); n > 0 {
		return fmt.Errorf("%d remote desktop connections reached the Internet", n)
	}
	err = s.until("the visitor among the findings", func() error {
		r, err := s.run(s.ctx, "findings")
		for _, from := range []string{s.net.hosts[remote.from].v4, s.net.hosts[remote.from].v6} {
			if err == nil && !strings.Contains(r.out, from+" of desks reached the honeypot") {
				err = fmt.Errorf("%s is not among them:\n%s%s", from, r.out, r.err)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	if _, err := s.do(matching(`reached the honeypot`), "findings"); err != nil {
		return err
	}
	return s.end(stepCore)
}

// lure connects and says something, which nobody may answer.
func (s *story) lure(k talk) error {
	for _, to := range k.to.all() {
		c, err := s.net.hosts[k.from].ns.Dial("tcp", net.JoinHostPort(to, k.service[4:]), patience)
		if err != nil {
			return err
		}
		s.packets++
		_, err = c.Write([]byte("hello, let me in\r\n"))
		c.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *story) watch() error {
	s.begin("watch", "watch", "the capture goes on; what deviates from the policy is a finding")
	if err := s.step(phases.StepWatch, matching("^armed")); err != nil {
		return err
	}
	if err := s.confirm(phases.StepWatch); err != nil {
		return err
	}
	r, err := s.do(matching(`new-flow.*(5432|udp/443|tcp/443)|unused`), "findings")
	if err != nil {
		return err
	}
	if !strings.Contains(r.out, "desks -> "+webV4+" tcp/5432") {
		return fmt.Errorf("the payroll is not among the findings:\n%s", r.out)
	}
	if _, err := s.do(matching(`in force|GROUP|reject|alert`), "status"); err != nil {
		return err
	}
	return s.end(phases.StepWatch)
}

func (s *story) back() error {
	s.begin("back", "and back", "one message to the kernel; no gate, no approval, no daemon needed")
	r, err := s.do(first(1), "rollback", "--phase", "enforce")
	if err != nil {
		return err
	}
	s.measured("a rollback, as a whole process", r.took)
	s.did("rollback to " + stepCore)
	if err := s.denied(phoneHome); err != nil {
		return err
	}
	if err := s.passes(quic); err != nil {
		return err
	}
	s.note("Nothing that passed is denied: what the refactoring had widened comes back in alert.")
	if r, err = s.do(first(1), "rollback", "--to", "off"); err != nil {
		return err
	}
	s.measured("a rollback to off, as a whole process", r.took)
	s.did("rollback to off")
	if err := s.passes(phoneHome, payroll, remote); err != nil {
		return err
	}
	if _, err := s.do(everything, "remove", "--yes"); err != nil {
		return err
	}
	s.did("removed")
	return s.end(phases.StepOff)
}
