package faults

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/nft"
	"weir/nft/eval"
	"weir/nft/fake"
	"weir/nft/kernel"
	"weir/nft/netns"
	"weir/phases"
	"weir/phases/compile"
	"weir/phases/compile/oracle"
	"weir/phases/flow"
)

var ctx = context.Background()

// ground is the kernel under a rollout: a real one in namespaces of its own, or
// nft/fake. It outlives machines.
type ground interface {
	phases.Kernel
	real() bool
	// passes tells for each probe whether it passes, by packets where there are any.
	passes(w *world) string
	// byHand does what a person does with the backout's nft file.
	byHand(file string) error
	sendRaw(raw []byte) error
	delete() error // the whole table, as somebody else's program does
	close()
}

// A probe is a new TCP connection to the outside host.
type probe struct {
	name string
	from string
	port string
}

// The client has addresses in two groups and in none: what both groups' rules
// allow is port 443.
var sources = map[string]string{
	"desks4": netns.ClientIP4, "desks6": netns.ClientIP6,
	"srv4": "10.20.16.130", "srv6": "fd20:0:0:16::1:10",
	"stray4": "10.20.16.200", "stray6": "fd20:0:0:16::2:10",
}

var ports = []string{"443", "9999"}

func probes() []probe {
	var out []probe
	for name, from := range sources {
		for _, port := range ports {
			out = append(out, probe{name, from, port})
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].name+out[i].port < out[j].name+out[j].port })
	return out
}

func target(from string) string {
	if strings.Contains(from, ":") {
		return netns.OutsideIP6
	}
	return netns.OutsideIP4
}

// denied lists what does not pass, as one line.
func denied(passes func(probe) bool) string {
	var no []string
	for _, p := range probes() {
		if !passes(p) {
			no = append(no, p.name+":"+p.port)
		}
	}
	return strings.Join(no, " ")
}

// lab is the real ground.
type lab struct {
	*kernel.Kernel
	net *netns.Lab
}

// newLab builds namespaces whose client has all sources.
func newLab() (*lab, error) {
	n, err := netns.NewLab()
	if err != nil {
		return nil, err
	}
	l := &lab{net: n}
	err = n.Client.Addr(netns.ClientIf, "10.20.16.130/24", "10.20.16.200/24", "fd20:0:0:16::1:10/64", "fd20:0:0:16::2:10/64")
	for _, port := range ports {
		err = errors.Join(err, n.Outside.EchoTCP(net.JoinHostPort(netns.OutsideIP4, port), net.JoinHostPort(netns.OutsideIP6, port)))
	}
	if err == nil {
		l.Kernel, err = kernel.Open(kernel.Options{NetNS: n.Gateway.FD()})
	}
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return l, nil
}

func (l *lab) real() bool { return true }

// patience is how long a packet may take; denied connections are reset at once.
const patience = 3 * time.Second

func (l *lab) passes(w *world) string {
	all := map[probe]bool{}
	var mu sync.Mutex // guards all
	var wait sync.WaitGroup
	for _, p := range probes() {
		wait.Go(func() {
			ok := l.net.Client.Try("tcp", net.JoinHostPort(target(p.from), p.port)+"@"+net.JoinHostPort(p.from, "0"), patience) == nil
			mu.Lock()
			defer mu.Unlock()
			all[p] = ok
		})
	}
	wait.Wait()
	return denied(func(p probe) bool { return all[p] })
}

func (l *lab) nft(args ...string) error {
	out, err := l.net.Gateway.Command("nft", args...).CombinedOutput()
	if err != nil {
		return errors.Join(err, errors.New(string(out)))
	}
	return nil
}

func (l *lab) byHand(file string) error { return l.nft("-f", file+".nft") }
func (l *lab) sendRaw(raw []byte) error { return l.SendRaw(ctx, raw) }
func (l *lab) delete() error            { return l.nft("delete", "table", "inet", "weir") }

func (l *lab) close() { l.Close(); l.net.Close() }

// imagined is the fake ground: its time is the world's.
type imagined struct {
	*fake.Kernel
}

func (f *imagined) real() bool { return false }

// passes asks what the deciding revision was compiled from.
func (f *imagined) passes(w *world) string {
	l, err := f.Look(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return denied(func(p probe) bool {
		id := f.Decides("f", flow.FamilyOf(netip.MustParseAddr(p.from)))
		return id == "" || w.says(id, l.Back, p)
	})
}

func (f *imagined) byHand(file string) error {
	raw, err := os.ReadFile(file + ".msg")
	if err != nil {
		return err
	}
	r, err := kernel.DecodeRollback(raw)
	if err != nil {
		return err
	}
	r.Kind = nft.TxHold
	return f.Rollback(ctx, r)
}

func (f *imagined) sendRaw(raw []byte) error {
	r, err := kernel.DecodeRollback(raw)
	if err != nil {
		return err
	}
	return f.Rollback(ctx, r)
}

func (f *imagined) EncodeRollback(r nft.Rollback) ([]byte, error) { return kernel.EncodeRollback(r) }
func (f *imagined) delete() error                                 { f.Delete(); return nil }
func (f *imagined) close()                                        {}

// says is the oracle's word on a probe under a revision: the input it was
// compiled from, read as the documents say it.
func (w *world) says(id string, back []string, p probe) bool {
	in, ok := w.input(id)
	if !ok {
		w.t.Errorf("revision %s decides and was never frozen", id)
		return false
	}
	src, dst := netip.MustParseAddr(p.from), netip.MustParseAddr(target(p.from))
	svc, _ := flow.ParseService("tcp/" + p.port)
	pk := eval.NewPacket("f", flow.Flow{Client: src, Server: dst, Proto: flow.TCP, Port: svc.Lo})
	pk.In, pk.Out, pk.TCPFlags = netns.InsideIf, netns.OutsideIf, 2
	return oracle.Judge(in, &oracle.World{Back: back}, pk).Verdict == "accept"
}

// input reads what a revision was compiled from, of the files of frozen steps.
func (w *world) input(id string) (compile.Input, bool) {
	if in, ok := w.inputs[id]; ok {
		return in, true
	}
	files, err := filepath.Glob(filepath.Join(w.dir, "frozen", "*.json"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, file := range files {
		if w.seen[file] {
			continue
		}
		w.seen[file] = true
		data, err := os.ReadFile(file)
		if err != nil {
			w.t.Fatal(err)
		}
		f, err := phases.DecodeFrozen("sha256:"+strings.TrimSuffix(filepath.Base(file), ".json"), data)
		if err != nil {
			w.t.Fatal(err)
		}
		w.inputs[f.Revision] = f.Input
		w.inputs[f.OffID] = compile.Input{Off: true, Scope: f.Input.Scope}
	}
	in, ok := w.inputs[id]
	return in, ok
}

// newGround is called once per worker of a test.
func newGround(t testing.TB, real bool, now func() time.Time) ground {
	t.Helper()
	if !real {
		return &imagined{fake.New(now)}
	}
	l, err := newLab()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l
}
