package faults

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/phases"
)

// model is what the words that were done make of a rollout. It knows the plan's
// steps by name and nothing of records, revisions or maps.
type model struct {
	steps  []string // confirmed, in force; the last one is
	trial  string
	back   []string // groups in alert by hand
	was    []string // of them when the table went
	paused bool
	gone   bool
}

var stepDenies = map[string][]string{"enforce/block:desks": {"desks"}, "enforce/block:srv": {"desks", "srv"}, "watch": {"desks", "srv"}}

func (m model) step() string {
	if len(m.steps) == 0 {
		return "off"
	}
	return m.steps[len(m.steps)-1]
}

// denied says which probes do not pass.
func (m model) denied() string {
	if m.gone {
		return ""
	}
	deciding := m.step()
	if m.trial != "" {
		deciding = m.trial
	}
	groups := slices.DeleteFunc(slices.Clone(stepDenies[deciding]), func(g string) bool { return slices.Contains(m.back, g) })
	return denied(func(p probe) bool {
		return p.port == "443" || !slices.Contains(groups, strings.TrimRight(p.name, "46"))
	})
}

func (m model) view() view {
	return view{Step: m.step(), Trial: m.trial, Stack: strings.Join(m.steps, " "), Back: sorted(m.back), Paused: m.paused, Gone: m.gone, Denied: m.denied()}
}

// next is the step after the one in force.
func (m model) next() string {
	all := []string{"off", "monitor", "enforce/alert", "enforce/block:desks", "enforce/block:srv", "watch"}
	blocked := slices.DeleteFunc(slices.Clone(stepDenies[m.step()]), func(g string) bool { return slices.Contains(m.back, g) })
	switch {
	case m.step() == "off" || m.step() == "monitor":
	case !slices.Contains(blocked, "desks"):
		return all[3]
	case !slices.Contains(blocked, "srv"):
		return all[4]
	default:
		return all[5]
	}
	return all[slices.Index(all, m.step())+1]
}

// after is the model after a word that was done.
func (m model) after(word string, w *world) model {
	m.steps, m.back = slices.Clone(m.steps), slices.Clone(m.back)
	word, arg, _ := strings.Cut(word, ":")
	if m.step() == "off" && m.trial == "" && slices.Contains([]string{"yes", "back", "hand", "raw"}, word) {
		return m // there is nothing left of it
	}
	switch word {
	case "arm":
		m.trial = m.next()
	case "yes":
		if m.trial == "enforce/block:srv" || m.trial == "enforce/block:desks" || m.trial == "watch" {
			// what a block step narrows is back no more
			m.back = slices.DeleteFunc(m.back, func(g string) bool {
				return g == strings.TrimPrefix(m.trial, "enforce/block:") || !slices.Contains(stepDenies[m.trial], g)
			})
		} else {
			m.back = nil
		}
		m.steps = append(m.steps, m.trial)
		m.trial = ""
	case "back", "hand", "raw":
		switch {
		case arg == "off":
			m.steps = nil
		case arg != "":
			for m.step() != arg {
				m.steps = m.steps[:len(m.steps)-1]
			}
		case m.trial == "":
			m.steps = m.steps[:len(m.steps)-1]
		}
		m.trial, m.paused = "", true
	case "group":
		if !slices.Contains(m.back, arg) {
			m.back = append(m.back, arg)
		}
		m.paused = true
	case "lapse":
		m.trial = ""
	case "resume":
		m.paused = false
	case "delete":
		m.was, m.back = m.back, nil
		m.trial, m.gone = "", len(m.steps) > 0
	case "restore":
		m.back, m.gone = m.was, false
	case "boot":
		m.trial = ""
		if m.gone {
			m.back, m.gone = m.was, false
		}
	}
	return m
}

// possible lists the words that make sense.
func (m model) possible(w *world) []string {
	if m.gone {
		if m.paused {
			return []string{"resume", "boot"}
		}
		return []string{"restore", "boot"}
	}
	var out []string
	s := w.m.State()
	if m.paused {
		out = append(out, "resume", "resume")
	}
	switch {
	case m.trial != "" && !m.paused:
		out = append(out, "yes", "yes", "yes", "back", "lapse", "delete")
	case m.trial != "":
		out = append(out, "back", "lapse")
	case s.Request != nil && (s.Heads[s.Request.Digest].Over != s.StableID || s.Heads[s.Request.Digest].OverStep != s.Stable):
		out = append(out, "req") // what it was frozen upon is not in force any more
	case s.Request != nil && len(s.Request.Approvals) > 0 && !m.paused:
		out = append(out, "arm", "arm", "arm", "arm")
	case s.Request != nil && len(s.Request.Approvals) == 0:
		out = append(out, "ok", "ok")
	case m.step() != "watch" || len(m.back) > 0:
		out = append(out, "req", "req", "req")
	}
	if len(m.steps) > 1 && m.trial == "" {
		out = append(out, "back", "hand", "raw", "delete", "back:"+m.steps[0])
	}
	if len(m.steps) > 0 {
		out = append(out, "back:off", "boot")
		for _, g := range stepDenies[m.step()] {
			out = append(out, "group:"+g)
		}
	}
	return out
}

// TestRandomWalk does what makes sense in any order, and strikes about every
// third word at a random call in a random way; then a new process looks. What a
// person sees is what the model says, before the struck word or after it.
func TestRandomWalk(t *testing.T) {
	for _, real := range []bool{true, false} {
		t.Run(map[bool]string{true: "kernel", false: "fake"}[real], func(t *testing.T) {
			t.Parallel()
			r := seed(t)
			g := newGround(t, real, nil)
			end := time.Now().Add(bound(t, 5*time.Second))
			words, struck, walks := 0, 0, 0
			for walks == 0 || time.Now().Before(end) {
				a, b := walk(t, g, r, end)
				words, struck, walks = words+a, struck+b, walks+1
				if t.Failed() {
					return
				}
			}
			t.Logf("%d walks, %d words, %d of them struck", walks, words, struck)
		})
	}
}

func walk(t *testing.T, g ground, r *rand.Rand, end time.Time) (words, struck int) {
	lease := 30 * time.Second
	if g.real() && r.IntN(4) == 0 {
		lease = time.Second // then it may lapse at any moment, or be waited for
	}
	w := newWorld(t, g, lease)
	defer w.stop()
	w.run("apply drill")
	var m model
	var said []string
	defer func() {
		if t.Failed() {
			t.Logf("the walk was: %s\n%s", strings.Join(said, " "), w.history())
		}
	}()
	for range 40 {
		if time.Now().After(end) && words > 0 {
			break
		}
		all := m.possible(w)
		if lease > time.Second {
			all = slices.DeleteFunc(all, func(s string) bool { return s == "lapse" && g.real() })
		}
		word := all[r.IntN(len(all))]
		said = append(said, word)
		words++
		allowed := []model{m.after(word, w)}
		strike := r.IntN(3) == 0
		if strike {
			w.p.arm(1+r.IntN(8), []mode{killAfter, failBefore, failAfter}[r.IntN(3)])
			w.p.err = answers[r.IntN(len(answers))]
			allowed = append(allowed, m)
		}
		dead, err := w.attempt(word)
		fired := w.p.fired
		w.p.arm(0, "")
		if fired != "" {
			struck++
			said[len(said)-1] += fmt.Sprintf("[%s]", fired)
		} else {
			allowed = allowed[:1]
		}
		late := m.trial != "" && lease == time.Second
		switch {
		case late && (errors.Is(err, phases.ErrLapsed) || errors.Is(err, phases.ErrNothing) || errors.Is(err, phases.ErrNoTrial)):
			allowed = append(allowed, m.after("lapse", w))
		case fired == "" && err != nil:
			t.Fatalf("%s: %v", word, err)
		}
		if late || word == "arm" && lease == time.Second {
			// It may have ended before the word, or after it.
			for _, a := range slices.Clone(allowed) {
				allowed = append(allowed, a.after("lapse", w))
			}
			allowed = append(allowed, m.after("lapse", w).after(word, w))
		}
		if dead != "" || r.IntN(4) == 0 {
			w.stop()
			w.start()
		}
		if _, err := w.m.Recover(ctx, w.now); err != nil {
			t.Fatal(err)
		}
		if err := w.m.KeepBoot(w.now); err != nil {
			t.Fatal(err)
		}
		got := w.view()
		i := slices.IndexFunc(allowed, func(a model) bool { return a.view() == got })
		if i < 0 {
			if again := w.lapsedMeanwhile(); again != nil { // between looking and the packets
				got = *again
				i = slices.IndexFunc(allowed, func(a model) bool { return a.view() == got })
			}
		}
		if i < 0 {
			t.Fatalf("after %s (%v)\nis       %+v\nwant     %+v\nor       %+v", said[len(said)-1], err, got, allowed[0].view(), allowed[len(allowed)-1].view())
		}
		m = allowed[i]
		w.holds()
	}
	return words, struck
}

// lapsedMeanwhile looks again where a short lease may have ended.
func (w *world) lapsedMeanwhile() *view {
	if w.lease > time.Second {
		return nil
	}
	w.run("look")
	v := w.view()
	return &v
}
