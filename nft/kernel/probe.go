package kernel

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"weir/nft"
)

// Probe finds out whether this kernel has what weir needs. What has to be seen
// working is written into the temporary table weir_probe, which no packet
// reaches, and read back; what only has to be accepted is sent as a transaction
// without an end, which the kernel checks and forgets. The error is a sentence
// for the operator.
func (k *Kernel) Probe(ctx context.Context) error {
	err := k.probe(ctx)
	b := newBatch(false)
	b.deleteTable(probe)
	gone := k.c.transact(ctx, b.finish(true))
	if present, _, perr := k.c.tableFlags(ctx, probe); perr != nil || present {
		err = errors.Join(err, fmt.Errorf("cannot remove the temporary table inet weir_probe, remove it with: nft delete table inet weir_probe: %w", errors.Join(gone, perr)))
	}
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("cannot change nftables: weir needs the capability CAP_NET_ADMIN in this network namespace; run it as root: %w", err)
	}
	return err
}

func (k *Kernel) probe(ctx context.Context) error {
	if err := k.probeTimes(ctx); err != nil {
		return fmt.Errorf("this kernel does not keep verdict maps with timeouts, which weir's leases are made of; it needs Linux 5.10 or newer with nf_tables: %w", err)
	}
	if err := k.probeRanges(ctx); err != nil {
		return fmt.Errorf("this kernel does not keep sets of concatenated ranges with timeouts, which exceptions are made of; it needs Linux 5.10 or newer: %w", err)
	}
	for _, p := range accepted {
		b := newBatch(false)
		err := b.addChain(probe, p.chain)
		if err == nil {
			err = b.addRule(probe, p.chain.Name, nft.Rule{Stmts: p.stmts})
		}
		if err == nil {
			err = k.c.transact(ctx, b.finish(false))
		}
		if err != nil {
			return fmt.Errorf("this kernel does not take %s: %w", p.what, err)
		}
	}
	return nil
}

// probeTimes writes a timed element that goes to a chain, reads its time back
// and sees it end.
func (k *Kernel) probeTimes(ctx context.Context) error {
	const lease = 30 * time.Millisecond
	m := familyMap("trial")
	m.HasTimeout = true
	b := newBatch(false)
	b.addTable(probe)
	if err := b.addChain(probe, nft.Chain{Name: "target"}); err != nil {
		return err
	}
	b.addSet(probe, m)
	for i, t := range []time.Duration{lease, time.Hour} {
		v := nft.Verdict{Kind: "goto", Chain: "target"}
		b.put(probe, m, newElem, create, nft.Element{Key: families[i].key, Verdict: &v, Timeout: t})
	}
	if err := k.c.transact(ctx, b.finish(true)); err != nil {
		return err
	}
	read := func() (n int, left time.Duration, err error) {
		err = k.c.elements(ctx, probe, m.Name, func(e *elemInfo) {
			n++
			left = max(left, e.left)
			if e.verdict != (nft.Verdict{Kind: "goto", Chain: "target"}) {
				left = -time.Hour
			}
		})
		return n, left, err
	}
	n, left, err := read()
	if err != nil {
		return err
	}
	if n != 2 || left <= time.Hour-time.Minute || left > time.Hour {
		return fmt.Errorf("read back, %d of 2 elements, %v of 1h left", n, left)
	}
	timer := time.NewTimer(lease + 20*time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if n, _, err = read(); err == nil && n != 1 {
		err = fmt.Errorf("an element of %v has not ended", lease)
	}
	return err
}

func (k *Kernel) probeRanges(ctx context.Context) error {
	s, err := newSet(nft.Set{Name: "ranges", Key: []nft.Type{nft.IPv4Addr, nft.InetProto, nft.InetService},
		Interval: true, HasTimeout: true, Counter: true})
	if err != nil {
		return err
	}
	b := newBatch(false)
	b.addSet(probe, &s)
	b.put(probe, &s, newElem, create, nft.Element{
		Key: []byte{10, 0, 0, 0, 6, 0, 0, 0, 0, 80, 0, 0}, KeyEnd: []byte{10, 0, 0, 255, 6, 0, 0, 0, 0, 90, 0, 0}, Timeout: time.Hour})
	if err := k.c.transact(ctx, b.finish(true)); err != nil {
		return err
	}
	n, err := k.c.count(ctx, probe, s.Name)
	if err == nil && n != 1 {
		err = fmt.Errorf("read back, %d elements instead of 1", n)
	}
	return err
}

// accepted is what every revision may contain.
var accepted = []struct {
	what  string
	chain nft.Chain
	stmts []nft.Stmt
}{
	{"a filter chain in the forward hook with connection tracking, logs to user space and rejects (modules nft_ct, nft_log, nft_limit, nft_reject_inet)",
		nft.Chain{Name: "f", Type: "filter", Hook: "forward", Priority: 10},
		[]nft.Stmt{nft.State("established"), nft.Limit{Rate: 1, Unit: "second"}, nft.Log{Prefix: "weir", Group: 100, Snaplen: 96}, nft.Count{}, nft.Reject{With: "icmpx admin-prohibited"}}},
	{"a filter chain in the output hook that matches the socket's owner",
		nft.Chain{Name: "o", Type: "filter", Hook: "output", Priority: 10},
		[]nft.Stmt{nft.Is(nft.SkUID, nft.MarkKey(0)), nft.Verdict{Kind: "accept"}}},
	{"a stable share of addresses (module nft_hash)", nft.Chain{Name: "h"},
		[]nft.Stmt{nft.Jhash{Field: nft.IPSaddr, Mod: 100, Seed: 1, Below: 5}, nft.Verdict{Kind: "return"}}},
	{"a nat chain for both families with a redirect (modules nft_chain_nat, nft_redir)",
		nft.Chain{Name: "n", Type: "nat", Hook: "prerouting", Priority: -90},
		[]nft.Stmt{nft.Is(nft.L4Proto, []byte{6}), nft.Redirect{Port: 2323}}},
	{"a lookup of whether an address is this machine's (module nft_fib_inet)",
		nft.Chain{Name: "a", Type: "filter", Hook: "prerouting", Priority: 10},
		[]nft.Stmt{nft.Match{Fields: []nft.Field{nft.FibDaddr}, Values: []nft.Value{{Lo: nft.MarkKey(unix.RTN_LOCAL)}}}, nft.Verdict{Kind: "accept"}}},
}
