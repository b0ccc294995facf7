package suite

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/nft"
)

// walk runs the steps of one row.
type walk struct {
	testing.TB
	Subject
	tx     int
	loaded []string
	now    nft.Look // before the step
}

func (w *walk) run(steps string) {
	w.Helper()
	w.now = w.look()
	for line := range strings.Lines(steps) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		step, want, ok := strings.Cut(line, "=>")
		fails := false
		if !ok {
			if step, want, fails = strings.Cut(line, "=!"); !fails {
				w.Fatalf("%q: want => or =!", line)
			}
		}
		w.step(line, strings.Fields(step), strings.TrimSpace(want), fails)
		if w.Failed() {
			w.Fatalf("after the step %q", line)
		}
	}
}

func (w *walk) look() nft.Look {
	w.Helper()
	l, err := w.K.Look(context.Background())
	if err != nil {
		w.Fatal(err)
	}
	return l
}

var sentinels = map[string]error{"lapsed": nft.ErrLapsed, "changed": nft.ErrChanged, "pending": nft.ErrPending, "not loaded": nft.ErrNotLoaded}

// step runs one step and compares.
func (w *walk) step(line string, f []string, want string, fails bool) {
	w.Helper()
	before := w.now
	kind, err := w.do(f)
	after := w.look()
	w.now = after
	if fails {
		if want != "any" && !errors.Is(err, sentinels[want]) || err == nil {
			w.Errorf("%s: got %v", line, err)
		}
		for other, e := range sentinels {
			if other != want && errors.Is(err, e) && want != "any" {
				w.Errorf("%s: also %v", line, e)
			}
		}
		if a, b := steady(before), steady(after); !reflect.DeepEqual(a, b) {
			w.Errorf("%s: refused, but it changed\n%+v\nto\n%+v", line, a, b)
		}
		return
	}
	if err != nil {
		w.Errorf("%s: %v", line, err)
		return
	}
	if got := state(after); got != want {
		w.Errorf("%s: the kernel holds %q", line, got)
	}
	w.left(line, after)
	if after.Present && after.Layout != nft.LayoutVersion {
		w.Errorf("%s: the layout is %d", line, after.Layout)
	}
	if kind != "" && after.Present && (after.Tx != w.id() || after.Kind != kind) {
		w.Errorf("%s: the last transaction is %s %q, want %s %q", line, after.Kind, after.Tx, kind, w.id())
	}
	if kind == "" && f[0] != "load" && (after.Tx != before.Tx || after.Kind != before.Kind) {
		w.Errorf("%s: wrote transaction %s %q", line, after.Kind, after.Tx)
	}
	slices.Sort(w.loaded)
	w.loaded = slices.Compact(w.loaded)
	if after.Present && !slices.Equal(after.Loaded, w.loaded) {
		w.Errorf("%s: loaded are %v, want %v", line, after.Loaded, w.loaded)
	}
	w.Judge(w, decision(after))
}

// left checks the lease: there is time left exactly while a trial runs.
func (w *walk) left(line string, l nft.Look) {
	w.Helper()
	id, _ := nft.One(l.Trial)
	if (id != "") != (l.Left > 0) || l.Left > Long {
		w.Errorf("%s: %v left, %q on trial", line, l.Left, id)
	}
}

func (w *walk) id() string { return fmt.Sprintf("t%d", w.tx) }

// do runs one step; kind is what the transaction should be.
func (w *walk) do(f []string) (kind nft.TxKind, err error) {
	ctx := context.Background()
	w.tx++
	has := func(word string) bool { return slices.Contains(f, word) }
	arg := ""
	if len(f) > 1 {
		arg = f[1]
	}
	switch f[0] {
	case "look":
		return "", nil
	case "load":
		if err := w.K.Load(ctx, Revision(arg)); err != nil {
			return "", err
		}
		w.loaded = append(w.loaded, ID(arg))
		return "", nil
	case "arm":
		a := nft.Arm{ID: ID(arg), Entry: Revision(arg).Entry, Tx: w.id(), Lease: Long}
		if i := slices.Index(f, "over"); i > 0 {
			a.Over = ID(f[i+1])
		}
		if has("brief") {
			a.Lease = Brief
		}
		if has("spare") {
			a.Spare = []string{Group}
		}
		return nft.TxArm, w.K.Arm(ctx, a)
	case "confirm":
		c := nft.Confirm{ID: ID(arg), Entry: Revision(arg).Entry, Tx: w.id()}
		if has("spare") || has("nospare") {
			c.Spare = []string{Group}
		}
		if has("spare") {
			c.SpareFor = time.Hour
		}
		if has("drop") {
			c.NoBack = []string{Group}
		}
		return nft.TxConfirm, w.K.Confirm(ctx, c)
	case "lapse", "wait":
		w.Wait(Brief + 20*time.Millisecond)
		return "", nil
	case "foreign":
		return "", w.Foreign()
	case "back", "unback":
		return nft.TxGroup, w.K.Back(ctx, arg, f[0] == "back", w.id())
	case "rollback", "send", "hold":
		return w.rollback(ctx, f[0], arg, has("alert"))
	}
	return "", fmt.Errorf("no step is called %q", f[0])
}

func (w *walk) rollback(ctx context.Context, how, to string, alert bool) (nft.TxKind, error) {
	r := nft.Rollback{ID: ID(to), Hooks: Hooks, Tx: w.id(), Kind: nft.TxRollback}
	if to != "-" {
		r.Entry = Revision(to).Entry
	}
	if alert {
		r.Alert = []string{Group}
	}
	switch how {
	case "hold":
		r.Kind = nft.TxHold
		return nft.TxHold, w.ByHand(r)
	case "send":
		raw, err := w.K.EncodeRollback(r)
		if err != nil {
			return "", err
		}
		return nft.TxRollback, w.K.SendRaw(ctx, raw)
	}
	return nft.TxRollback, w.K.Rollback(ctx, r)
}

// steady is what a refused call must leave as it is.
func steady(l nft.Look) nft.Look {
	l.Gen, l.Left = 0, 0
	return l
}

// state is a look in the words of the rows.
func state(l nft.Look) string {
	if !l.Present {
		return "no table"
	}
	stable, ok1 := nft.One(l.Stable)
	trial, ok2 := nft.One(l.Trial)
	if !ok1 || !ok2 || len(l.Stable) != len(Hooks) || len(l.Trial) != len(Hooks) {
		return fmt.Sprintf("hooks or families differ: stable %v, trial %v", l.Stable, l.Trial)
	}
	s := letter(stable)
	if trial != "" {
		s += ", " + letter(trial) + " on trial"
	}
	for _, g := range l.Back {
		s += " back " + g
	}
	for _, g := range l.Spared {
		s += " spared " + g
	}
	return s
}

// decision is how packets are decided when the kernel holds l.
func decision(l nft.Look) Decision {
	id, _ := nft.One(l.Trial)
	if id == "" {
		id, _ = nft.One(l.Stable)
	}
	d := Decision{Revision: letter(id), Back: len(l.Back) > 0}
	if id == "" {
		d.Revision = ""
	}
	return d
}
