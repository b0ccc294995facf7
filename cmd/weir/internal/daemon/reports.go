package daemon

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/exit"
	"weir/nft/host"
	"weir/phases"
	"weir/phases/flow"
	"weir/phases/monitor"
	"weir/plans"
)

func (d *Daemon) needPlan() (plans.Plan, error) {
	p := d.machine.Plan()
	if p.Hash == "" {
		return p, exit.From(phases.ErrNoPlan)
	}
	return p, nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if s == "" {
		return netip.Prefix{}, nil
	}
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, exit.Errorf(exit.Usage, "cannot read address %q", s)
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, exit.Errorf(exit.Usage, "cannot read prefix %q", s)
	}
	switch {
	case p.Addr().Is4In6():
		return netip.Prefix{}, exit.Errorf(exit.Usage, "cannot read prefix %q: write it as IPv4", s)
	case p != p.Masked():
		return netip.Prefix{}, exit.Errorf(exit.Usage, "cannot read prefix %q: it has bits beyond its length: want %s, or a longer prefix", s, p.Masked())
	}
	return p, nil
}

func (d *Daemon) flows(ctx context.Context, c caller, in api.FlowsArgs) ([]monitor.FlowLine, error) {
	if _, err := d.needPlan(); err != nil {
		return nil, err
	}
	if err := d.refresh(ctx, c.now, freshFor); err != nil {
		return nil, err
	}
	f := monitor.Filter{Group: in.Group}
	var err error
	if f.Client, err = parsePrefix(in.Client); err != nil {
		return nil, err
	}
	if in.Service != "" {
		if f.Service, err = flow.ParseService(in.Service); err != nil {
			return nil, exit.Errorf(exit.Usage, "%w", err)
		}
	}
	by, ok := map[string]monitor.By{
		"flow": monitor.ByAll, "group": {Group: true}, "service": {Group: true, Service: true},
		"destination": {Group: true, Service: true, Destination: true},
	}[in.By]
	if !ok {
		return nil, exit.Errorf(exit.Usage, "cannot list flows by %q", in.By).WithHint("flow, group, service or destination")
	}
	rows := d.rows(c.now, 0)
	if !in.All {
		var active []monitor.Row
		for _, r := range rows {
			if r.Answered && !r.Inbound || r.OneWay {
				active = append(active, r)
			}
		}
		rows = active
	}
	return monitor.Flows(rows, f, by), nil
}

func (d *Daemon) ports(ctx context.Context, c caller, in None) ([]monitor.PortLine, error) {
	p, err := d.needPlan()
	if err != nil {
		return nil, err
	}
	if err := d.refresh(ctx, c.now, freshFor); err != nil {
		return nil, err
	}
	return monitor.Ports(&p, d.rows(c.now, 0)), nil
}

func (d *Daemon) endpoints(ctx context.Context, c caller, in None) ([]monitor.EndpointLine, error) {
	p, err := d.needPlan()
	if err != nil {
		return nil, err
	}
	if err := d.refresh(ctx, c.now, freshFor); err != nil {
		return nil, err
	}
	var known []monitor.Known
	machine, err := host.Look("/")
	if err != nil {
		return nil, err
	}
	for _, n := range machine.Neighbours {
		if insidePrefix(p.Scope, netip.PrefixFrom(n.Addr, n.Addr.BitLen())) && !n.Router {
			known = append(known, monitor.Known{Addr: n.Addr, MAC: n.MAC})
		}
	}
	return monitor.Endpoints(&p, d.evidence, d.classes, known), nil
}

func (d *Daemon) coverage(ctx context.Context, c caller, in None) (api.Coverage, error) {
	p, err := d.needPlan()
	if err != nil {
		return api.Coverage{}, err
	}
	out := api.Coverage{}
	spans := d.evidence.Spans()
	if len(spans) == 0 {
		return out, nil
	}
	out.From = spans[0].From
	out.Observed = d.evidence.ObservedTime(out.From, c.now)
	for _, g := range d.evidence.Gaps(out.From, c.now) {
		if c.now.Sub(g.To) < 2*tick && g.Cause == "not running" && g.Lost == 0 && g.Duration() < 2*tick {
			continue // the heartbeat that is due now
		}
		out.Gaps = append(out.Gaps, api.GapText{From: g.From, To: g.To, Cause: g.Cause, Lost: g.Lost})
		out.Lost += g.Lost
	}
	var occasions []monitor.Occasion
	for _, name := range p.Monitor.Covers {
		ev := p.Event(name)
		if ev == nil {
			continue
		}
		for _, s := range plans.Spans(ev.Window, p.Timezone, out.From, c.now) {
			occasions = append(occasions, monitor.Occasion{Name: name, Span: monitor.Span{From: s.From, To: s.To}})
		}
	}
	for _, e := range d.evidence.Coverage(occasions) {
		out.Events = append(out.Events, api.EventCover{Name: e.Name, From: e.From, To: e.To, Share: e.Share})
	}
	if w, ok := d.evidence.Witnessed(); ok {
		out.Witnessed = &w
	}
	out.Discovered = monitor.Discovery(d.rows(c.now, freshFor))
	return out, nil
}

// exportEvidence writes the evidence as text for "weir plan --evidence".
func (d *Daemon) exportEvidence(ctx context.Context, c caller, in None) (string, error) {
	var b strings.Builder
	if err := d.evidence.Encode(&b); err != nil {
		return "", err
	}
	return b.String(), nil
}

func (d *Daemon) preview(ctx context.Context, c caller, in api.ApplyArgs) (phases.Step, error) {
	p, err := plans.Parse(in.File, in.Text)
	if err != nil {
		return phases.Step{}, exit.Errorf(exit.Invalid, "%w", err)
	}
	return d.machine.Preview(*p)
}

var _ = time.Now
