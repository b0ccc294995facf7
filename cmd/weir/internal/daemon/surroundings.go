package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/exit"
	"weir/nft"
	"weir/nft/capture"
	"weir/nft/host"
	"weir/nft/kernel"
	"weir/phases"
	"weir/phases/finding"
	"weir/plans"
)

// roomLow and roomGone are the shares of the connection table below which it is
// told, and below which no step that denies is armed: a full table drops new
// connections whoever they are, and nothing of that is a verdict of weir.
const (
	roomLow  = 0.3
	roomGone = 0.1
)

// around is the part of the machine that Surroundings looks at.
type around struct {
	machine  host.Machine
	hiding   host.Hiding
	bypasses []kernel.Bypass
	room     *capture.HeadRoom // nil: not known
}

// Surroundings looks for what takes traffic past weir, shows it changed or says
// that another machine carries a part of it. scope is the plan's; nil: no plan
// is known. It changes nothing.
func Surroundings(ctx context.Context, k *kernel.Kernel, scope *plans.Scope) ([]phases.Surrounding, error) {
	var a around
	var err error
	if a.machine, err = host.Look("/"); err != nil {
		return nil, err
	}
	if a.hiding, err = (host.Options{}).Hiding(); err != nil {
		return nil, err
	}
	if a.bypasses, err = k.Bypasses(ctx); err != nil {
		return nil, err
	}
	// Without connection tracking there is no table yet.
	if room, err := capture.ReadHeadRoom(capture.Options{}); err == nil {
		a.room = &room
	}
	return a.list(scope), nil
}

// list puts into words what was found.
func (a around) list(scope *plans.Scope) []phases.Surrounding {
	out := []phases.Surrounding{}
	say := func(holds phases.Verdict, name, format string, args ...any) {
		out = append(out, phases.Surrounding{Name: name, Words: fmt.Sprintf(format, args...), Holds: holds})
	}
	if r := a.room; r != nil && r.Left() < roomLow {
		holds := phases.Pass
		if r.Left() < roomGone {
			holds = phases.Fail
		}
		say(holds, "conntrack", "the connection table holds %d of at most %d: when it is full new connections are dropped; raise net.netfilter.nf_conntrack_max", r.Count, r.Max)
	}
	for _, d := range a.machine.Daemons {
		if d == "keepalived" || d == "conntrackd" {
			say(phases.CannotTell, d, "%s runs here: another gateway may carry a part of the same traffic, and its evidence belongs to this", d)
		}
	}
	for _, r := range a.machine.DefaultRoutes() {
		if len(r.Hops) > 1 {
			say(phases.CannotTell, "equal-cost:"+r.Dst.String(), "the default route %s has %d ways: replies, or a part of the traffic, may take another", r.Dst, len(r.Hops))
		}
		for _, h := range r.Hops {
			if scope != nil && len(scope.OutsideIfaces) > 0 && h.Iface != "" && h.Iface != "lo" && !slices.Contains(scope.OutsideIfaces, h.Iface) {
				say(phases.CannotTell, "default-route:"+h.Iface, "the default route %s leaves by %s, which scope.outside.interfaces does not name: what leaves there is not judged", r.Dst, h.Iface)
			}
		}
	}
	for _, b := range a.bypasses {
		words := map[string]string{
			"flowtable": "connections in it pass no chain any more: neither seen nor ended by a step",
			"notrack":   "weir passes what is not tracked",
			"redirect":  "a program of this machine goes out in its clients' stead",
			"tproxy":    "a program of this machine goes out in its clients' stead",
		}[b.Kind]
		say(phases.CannotTell, fmt.Sprintf("%s:%s/%s/%s", b.Kind, b.Family, b.Table, b.Name), "%s: %s", b, words)
	}
	for _, c := range a.machine.Chains {
		if c.Drops && (c.Hook == "forward" || c.Hook == "output") && c.Family != "bridge" && (c.Family != "inet" || c.Table != nft.TableName) {
			say(phases.Pass, fmt.Sprintf("chain:%s/%s/%s", c.Family, c.Table, c.Name), "chain %s of table %s %s hooks %s at priority %d and its policy is drop: what it denies weir cannot open",
				c.Name, c.Family, c.Table, c.Hook, c.Priority)
		}
	}
	for _, b := range a.hiding.Bridges {
		holds := phases.Pass
		if scope != nil && slices.ContainsFunc(b.Ports, func(p string) bool { return slices.Contains(scope.OutsideIfaces, p) }) {
			holds = phases.CannotTell
		}
		words := "what goes from one port to another is switched and never judged"
		if a.hiding.Filtered {
			words = "what goes from one port to another passes the chains of IP too (br_netfilter)"
		}
		say(holds, "bridge:"+b.Name, "bridge %s joins %s: %s", b.Name, strings.Join(b.Ports, ", "), words)
	}
	for _, v := range a.hiding.VRFs {
		say(phases.CannotTell, "vrf:"+v, "VRF %s: weir sees its packets twice or by another interface, and connections of two VRFs as one", v)
	}
	if n := a.hiding.Policies; n > 0 {
		say(phases.CannotTell, "ipsec", "%d policies of IPsec: what they take is judged before it is encrypted, and leaves as ESP to another destination", n)
	}
	return out
}

// aroundAge is how old surroundings may be where they are only shown.
const aroundAge = 15 * time.Second

// surroundings are those of this machine under the registered plan, at most so
// old; nil where they could not be read.
func (d *Daemon) surroundings(ctx context.Context, age time.Duration) []phases.Surrounding {
	p := d.machine.Plan()
	if c := &d.around; c.list == nil || c.plan != p.Hash || age == 0 || time.Since(c.at) > age {
		list, err := Surroundings(ctx, d.kernel, &p.Scope)
		if err != nil {
			d.complain("cannot look for what hides traffic", err)
		}
		*c = surveyed{time.Now(), p.Hash, list}
	}
	return d.around.list
}

// surroundingsAge is how old they may be for facts of an age.
func surroundingsAge(age time.Duration) time.Duration {
	if age == 0 {
		return time.Second
	}
	return aroundAge
}

// surveyed is the last look at the surroundings.
type surveyed struct {
	at   time.Time
	plan string
	list []phases.Surrounding
}

// listSurroundings says what there is, and what people said of it.
func (d *Daemon) listSurroundings(ctx context.Context, c caller, in None) ([]phases.Surrounding, error) {
	return d.machine.State().With(d.surroundings(ctx, 0)), nil
}

// accept is a person's word that they know of a surrounding.
func (d *Daemon) accept(ctx context.Context, c caller, in api.AcceptArgs) (None, error) {
	var names []string
	for _, x := range d.surroundings(ctx, 0) {
		if x.Holds == phases.CannotTell {
			names = append(names, x.Name)
		}
		if x.Name == in.Name && x.Holds == phases.Fail {
			return None{}, exit.Errorf(exit.Refused, "%s is nothing that a word helps against: %s", x.Name, x.Words)
		}
	}
	if !slices.Contains(names, in.Name) {
		return None{}, exit.Errorf(exit.Invalid, "nothing here is named %q", in.Name).WithHint("weir doctor lists them")
	}
	if strings.TrimSpace(in.Reason) == "" {
		return None{}, exit.Errorf(exit.Usage, "%w", phases.ErrNoReason).WithHint("weir doctor --accept %s --reason …", in.Name)
	}
	return None{}, d.machine.Accept(ctx, c.now, c.Actor, in.Name, in.Reason)
}

// hidingFindings are those of what nobody has accepted.
func (d *Daemon) hidingFindings(ctx context.Context, now time.Time) []finding.Finding {
	var out []finding.Finding
	for _, x := range d.machine.State().With(d.surroundings(ctx, aroundAge)) {
		if x.By != "" {
			continue
		}
		f := finding.Finding{Fingerprint: finding.Fingerprint("hiding", x.Name), Kind: finding.Hidden, Severity: finding.Notice,
			First: now, Last: now, Count: 1, State: finding.New, Words: x.Words}
		if x.Holds != phases.Pass {
			f.Severity = finding.Warning
		}
		if x.Holds == phases.CannotTell {
			f.Words += "; say that you know: weir doctor --accept " + x.Name + " --reason …"
		}
		out = append(out, f)
	}
	return out
}
