package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"weir/nft"
)

// gen returns the generation of the namespace's rulesets: any commit by
// anyone moves it.
func (c *conn) gen(ctx context.Context) (uint32, error) {
	var gen uint32
	err := c.request(ctx, unix.NFT_MSG_GETGEN, false, nil, func(p []byte) error {
		gen = be32(attr(p, unix.NFTA_GEN_ID))
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("cannot read the generation: %w", err)
	}
	return gen, nil
}

// maxReads bounds how often a reading that a change cut across is begun anew.
const maxReads = 50

// stable reads with f until the generation was the same before and after.
func (c *conn) stable(ctx context.Context, f func() error) (uint32, error) {
	for range maxReads {
		before, err := c.gen(ctx)
		if err != nil {
			return 0, err
		}
		err = f()
		if errors.Is(err, errIntr) {
			continue
		}
		if err != nil {
			return 0, err
		}
		after, err := c.gen(ctx)
		if err != nil {
			return 0, err
		}
		if before == after {
			return after, nil
		}
	}
	return 0, fmt.Errorf("cannot read the ruleset in one piece: it changed %d times meanwhile; stop the program that keeps changing nftables, then try again", maxReads)
}

// tableFlags returns whether the table exists and its flags.
func (c *conn) tableFlags(ctx context.Context, t table) (present bool, flags uint32, err error) {
	err = c.request(ctx, unix.NFT_MSG_GETTABLE, false, func(w *wire) {
		w.str(unix.NFTA_TABLE_NAME, string(t))
	}, func(p []byte) error {
		present = true
		flags = be32(attr(p, unix.NFTA_TABLE_FLAGS))
		return nil
	})
	if errors.Is(err, unix.ENOENT) {
		return false, 0, nil
	}
	if err != nil {
		return false, 0, fmt.Errorf("cannot read table inet %s: %w", t, err)
	}
	return present, flags, nil
}

// tableHandle is NFTA_TABLE_HANDLE of linux/netfilter/nf_tables.h.
const tableHandle = 4

// TableID is a number that the kernel gives the table when it is made: another
// one means that it was made anew, and that its counters began at 0. 0 where
// there is no table.
func (k *Kernel) TableID(ctx context.Context) (id uint64, err error) {
	err = k.c.request(ctx, unix.NFT_MSG_GETTABLE, false, func(w *wire) {
		w.str(unix.NFTA_TABLE_NAME, string(ours))
	}, func(p []byte) error {
		id = be64(attr(p, tableHandle))
		return nil
	})
	if errors.Is(err, unix.ENOENT) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("cannot read table inet %s: %w", ours, err)
	}
	return id, nil
}

// setInfo is what the kernel says of a set.
type setInfo struct {
	name  string
	flags uint32
	key   uint32 // type number
	count int    // elements, -1 where this kernel does not say
}

func (s setInfo) anonymous() bool { return s.flags&unix.NFT_SET_ANONYMOUS != 0 }

// sets lists the table's sets and maps; none where there is no table.
func (c *conn) sets(ctx context.Context, t table) (map[string]setInfo, error) {
	out := map[string]setInfo{}
	err := c.request(ctx, unix.NFT_MSG_GETSET, true, func(w *wire) {
		w.str(unix.NFTA_SET_TABLE, string(t))
	}, func(p []byte) error {
		s := setInfo{count: -1}
		mine := false
		for typ, v := range attrs(p) {
			switch typ {
			case unix.NFTA_SET_TABLE:
				mine = text(v) == string(t)
			case unix.NFTA_SET_NAME:
				s.name = text(v)
			case unix.NFTA_SET_FLAGS:
				s.flags = be32(v)
			case unix.NFTA_SET_KEY_TYPE:
				s.key = be32(v)
			case attrSetCount:
				s.count = int(be32(v))
			}
		}
		if mine {
			out[s.name] = s
		}
		return nil
	})
	return out, dumpErr("the sets", err)
}

// hasSet says whether the table has a set or map of a name.
func (c *conn) hasSet(ctx context.Context, t table, name string) (bool, error) {
	present := false
	err := c.request(ctx, unix.NFT_MSG_GETSET, false, func(w *wire) {
		w.str(unix.NFTA_SET_TABLE, string(t))
		w.str(unix.NFTA_SET_NAME, name)
	}, func([]byte) error {
		present = true
		return nil
	})
	return present, dumpErr("the set "+name, err)
}

// dumpErr: a dump of what does not exist is an empty one.
func dumpErr(what string, err error) error {
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return fmt.Errorf("cannot read %s: %w", what, err)
}

// chains lists the names of the table's chains.
func (c *conn) chains(ctx context.Context, t table) (map[string]bool, error) {
	out := map[string]bool{}
	err := c.request(ctx, unix.NFT_MSG_GETCHAIN, true, func(w *wire) {
		w.str(unix.NFTA_CHAIN_TABLE, string(t))
	}, func(p []byte) error {
		if text(attr(p, unix.NFTA_CHAIN_TABLE)) == string(t) {
			out[text(attr(p, unix.NFTA_CHAIN_NAME))] = true
		}
		return nil
	})
	return out, dumpErr("the chains", err)
}

type ruleInfo struct {
	chain   string
	handle  uint64
	comment string
}

// rules calls each for every rule of a chain, or of the table where chain is "".
func (c *conn) rules(ctx context.Context, t table, chain string, each func(ruleInfo)) error {
	err := c.request(ctx, unix.NFT_MSG_GETRULE, true, func(w *wire) {
		w.str(unix.NFTA_RULE_TABLE, string(t))
		if chain != "" {
			w.str(unix.NFTA_RULE_CHAIN, chain)
		}
	}, func(p []byte) error {
		var r ruleInfo
		mine := false
		for typ, v := range attrs(p) {
			switch typ {
			case unix.NFTA_RULE_TABLE:
				mine = text(v) == string(t)
			case unix.NFTA_RULE_CHAIN:
				r.chain = text(v)
			case unix.NFTA_RULE_HANDLE:
				r.handle = be64(v)
			case unix.NFTA_RULE_USERDATA:
				if len(v) > 2 && v[0] == 0 {
					r.comment = text(v[2:])
				}
			}
		}
		if mine {
			each(r)
		}
		return nil
	})
	return dumpErr("the rules", err)
}

// elemInfo is one element as the kernel returns it. Its slices live until the
// next read.
type elemInfo struct {
	key, keyEnd []byte
	end         bool
	verdict     nft.Verdict
	mark        uint32
	timeout     time.Duration
	left        time.Duration
	packets     uint64
	bytes       uint64
}

// elements calls each for every element of a set; none where there is no such
// set. Expired elements are not among them.
func (c *conn) elements(ctx context.Context, t table, name string, each func(*elemInfo)) error {
	err := c.request(ctx, unix.NFT_MSG_GETSETELEM, true, func(w *wire) {
		w.str(unix.NFTA_SET_ELEM_LIST_TABLE, string(t))
		w.str(unix.NFTA_SET_ELEM_LIST_SET, name)
	}, func(p []byte) error {
		for typ, v := range attrs(p) {
			if typ != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
				continue
			}
			for _, el := range attrs(v) {
				e := readElement(el)
				each(&e)
			}
		}
		return nil
	})
	return dumpErr("the elements of "+name, err)
}

// count returns how many elements a set holds, ranges counted once.
func (c *conn) count(ctx context.Context, t table, name string) (int, error) {
	n := 0
	err := c.request(ctx, unix.NFT_MSG_GETSETELEM, true, func(w *wire) {
		w.str(unix.NFTA_SET_ELEM_LIST_TABLE, string(t))
		w.str(unix.NFTA_SET_ELEM_LIST_SET, name)
	}, func(p []byte) error {
		for typ, v := range attrs(p) {
			if typ != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
				continue
			}
			for _, el := range attrs(v) {
				if be32(attr(el, unix.NFTA_SET_ELEM_FLAGS))&elemIntervalEnd == 0 {
					n++
				}
			}
		}
		return nil
	})
	return n, dumpErr("the elements of "+name, err)
}

func readElement(b []byte) elemInfo {
	var e elemInfo
	for typ, v := range attrs(b) {
		switch typ {
		case unix.NFTA_SET_ELEM_KEY:
			e.key = attr(v, unix.NFTA_DATA_VALUE)
		case attrKeyEnd:
			e.keyEnd = attr(v, unix.NFTA_DATA_VALUE)
		case unix.NFTA_SET_ELEM_FLAGS:
			e.end = be32(v)&elemIntervalEnd != 0
		case unix.NFTA_SET_ELEM_TIMEOUT:
			e.timeout = time.Duration(be64(v)) * time.Millisecond
		case unix.NFTA_SET_ELEM_EXPIRATION:
			e.left = time.Duration(be64(v)) * time.Millisecond
		case unix.NFTA_SET_ELEM_DATA:
			if d := attr(v, unix.NFTA_DATA_VALUE); len(d) >= 4 {
				e.mark = binary.NativeEndian.Uint32(d)
			}
			if d := attr(v, unix.NFTA_DATA_VERDICT); d != nil {
				e.verdict = nft.Verdict{
					Kind:  verdictKind(int32(be32(attr(d, unix.NFTA_VERDICT_CODE)))),
					Chain: text(attr(d, unix.NFTA_VERDICT_CHAIN)),
				}
			}
		case unix.NFTA_SET_ELEM_EXPR:
			if text(attr(v, unix.NFTA_EXPR_NAME)) == "counter" {
				d := attr(v, unix.NFTA_EXPR_DATA)
				e.packets = be64(attr(d, unix.NFTA_COUNTER_PACKETS))
				e.bytes = be64(attr(d, unix.NFTA_COUNTER_BYTES))
			}
		}
	}
	return e
}
