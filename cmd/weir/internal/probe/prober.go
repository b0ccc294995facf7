package probe

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"time"

	"weir/phases/health"
	"weir/plans"
)

// kept is how many attempts of a probe are remembered.
const kept = 8

// Prober tries the probes of one plan again and again. It is safe for concurrent
// use.
type Prober struct {
	now func() time.Time

	mu     sync.Mutex // guards what follows
	of     plans.Health
	probes []health.Probe
	kicks  []chan struct{}
	cancel context.CancelFunc
	wait   *sync.WaitGroup
}

// New makes a prober without probes. now is rollout time.
func New(now func() time.Time) *Prober { return &Prober{now: now} }

// Set makes these the probes. Where nothing changed nothing is forgotten.
func (p *Prober) Set(h plans.Health) {
	h.Probes = slices.Clone(h.Probes)
	for i := range h.Probes {
		h.Probes[i].Pos = plans.Pos{}
	}
	p.mu.Lock()
	same := reflect.DeepEqual(p.of, h)
	p.mu.Unlock()
	if same {
		return
	}
	p.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of, p.probes, p.kicks = h, nil, nil
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.wait = cancel, &sync.WaitGroup{}
	for i, probe := range h.Probes {
		p.probes = append(p.probes, health.Probe{Name: probe.Name, Group: probe.Group})
		kick := make(chan struct{}, 1)
		p.kicks = append(p.kicks, kick)
		p.wait.Go(func() { p.run(ctx, i, probe, h, kick) })
	}
}

func (p *Prober) run(ctx context.Context, i int, probe plans.Probe, h plans.Health, kick <-chan struct{}) {
	t := time.NewTicker(h.Every)
	defer t.Stop()
	for {
		r := health.Result{Began: p.now()}
		r.Outcome, r.Words = try(ctx, probe, h.Within)
		if ctx.Err() != nil {
			return
		}
		p.mu.Lock()
		list := append(p.probes[i].Results, r)
		p.probes[i].Results = slices.Clone(list[max(0, len(list)-kept):])
		p.mu.Unlock()
		select {
		case <-t.C:
		case <-kick:
			t.Reset(h.Every)
		case <-ctx.Done():
			return
		}
	}
}

// Kick tries every probe now.
func (p *Prober) Kick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.kicks {
		select {
		case k <- struct{}{}:
		default:
		}
	}
}

// Latest returns the probes with their latest attempts.
func (p *Prober) Latest() []health.Probe {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.probes)
}

// Close ends all attempts and waits for them.
func (p *Prober) Close() {
	p.mu.Lock()
	cancel, wait := p.cancel, p.wait
	p.mu.Unlock()
	if cancel == nil {
		return
	}
	cancel()
	wait.Wait()
}
