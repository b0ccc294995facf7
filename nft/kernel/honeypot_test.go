package kernel_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"weir/nft"
	"weir/nft/fake"
	"weir/nft/kernel"
	"weir/phases/compile"
)

// potted compiles a step of one group.
func potted(t *testing.T, treat compile.Treatment, never ...compile.Never) nft.Revision {
	t.Helper()
	rev, err := compile.Compile(compile.Input{
		Scope:  compile.Scope{Hooks: []string{"forward"}, Inside: prefixes("10.20.0.0/16", "fd20::/48")},
		Groups: []compile.Group{{Name: "desks", Members: prefixes("10.20.16.0/24", "fd20:0:0:16::/64"), Treatment: treat}},
		Never:  never,
	})
	must(t, err)
	return rev
}

// switcher is what the kernel and its fake have in common here.
type switcher interface {
	Load(context.Context, nft.Revision) error
	Look(context.Context) (nft.Look, error)
	Arm(context.Context, nft.Arm) error
	Confirm(context.Context, nft.Confirm) error
	Rollback(context.Context, nft.Rollback) error
}

// A rollout gets its honeypot with one step and loses it with another: nat is
// held during every trial, whichever step it is of, and all hooks tell of one
// revision at all times.
func TestHoneypotComesAndGoes(t *testing.T) {
	n, k := newNS(t)
	for name, k := range map[string]switcher{"kernel": k, "fake": fake.New(time.Now)} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			look := func(trial, stable string) {
				t.Helper()
				l, err := k.Look(ctx)
				must(t, err)
				gotTrial, ok1 := nft.One(l.Trial)
				gotStable, ok2 := nft.One(l.Stable)
				if gotTrial != trial || gotStable != stable || !ok1 || !ok2 {
					t.Fatalf("trial %v, stable %v, want %q and %q", l.Trial, l.Stable, trial, stable)
				}
			}
			// nat wants some words in the maps of the nat hook.
			nat := func(m string, want ...string) {
				t.Helper()
				if name == "fake" {
					return
				}
				text := nftIn(t, n, "", "list", "map", "inet", "weir", m)
				for _, w := range want {
					if !strings.Contains(text, w) {
						t.Fatalf("%s without %q:\n%s", m, w, text)
					}
				}
				if len(want) == 0 && strings.Contains(text, "elements") {
					t.Fatalf("%s should be empty:\n%s", m, text)
				}
			}
			alert, pot, plain := potted(t, compile.Alert, compile.Never{Name: "no-rdp", Services: services(t, "tcp/3389"), Deny: compile.Honeypot}),
				potted(t, compile.Honeypot), potted(t, compile.Reject)
			for _, r := range []nft.Revision{alert, plain} {
				if _, has := r.Entry[nft.HookNAT]; has {
					t.Fatal("a step without a honeypot has a nat entry")
				}
			}
			step := func(r nft.Revision, over string) {
				t.Helper()
				must(t, k.Load(ctx, r))
				must(t, k.Arm(ctx, nft.Arm{ID: r.ID, Entry: r.Entry, Tx: "a" + r.ID[8:], Lease: time.Minute, Over: over}))
				look(r.ID, over)
			}
			confirm := func(r nft.Revision) {
				t.Helper()
				must(t, k.Confirm(ctx, nft.Confirm{ID: r.ID, Entry: r.Entry, Tx: "c" + r.ID[8:]}))
				look("", r.ID)
			}
			step(alert, "")
			confirm(alert)
			if name == "kernel" {
				if text := nftIn(t, n, "", "list", "table", "inet", "weir"); strings.Contains(text, "type nat") {
					t.Fatal("a nat chain before the first honeypot")
				}
			}
			step(pot, alert.ID)
			nat("w_trial_n", "ipv4 timeout 1m", "ipv6 timeout 1m", ": accept")
			nat("w_stable_n")
			confirm(pot)
			nat("w_trial_n")
			nat("w_stable_n", "ipv4 : goto "+pot.Entry["n"], "ipv6 : goto "+pot.Entry["n"])
			step(plain, pot.ID)
			nat("w_trial_n", "ipv4 timeout 1m", "ipv6 timeout 1m", ": accept")
			nat("w_stable_n", "ipv4 : goto "+pot.Entry["n"])
			confirm(plain)
			nat("w_trial_n")
			nat("w_stable_n")

			back := func(r nft.Revision) {
				t.Helper()
				must(t, k.Rollback(ctx, nft.Rollback{ID: r.ID, Entry: r.Entry, Hooks: []string{"f", "n"}, Tx: "b" + r.ID[8:], Kind: nft.TxRollback}))
				look("", r.ID)
			}
			back(pot)
			nat("w_stable_n", "ipv6 : goto "+pot.Entry["n"])
			if k, ok := k.(*kernel.Kernel); ok {
				must(t, k.Honeypot(ctx, time.Minute))
			}
			back(alert)
			nat("w_stable_n")
			if name == "kernel" && strings.Contains(nftIn(t, n, "", "list", "set", "inet", "weir", "w_hp"), "elements") {
				t.Error("the rollback left the honeypot's lease")
			}
		})
	}
}
