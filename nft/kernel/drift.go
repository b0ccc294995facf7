package kernel

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"

	"golang.org/x/sys/unix"

	"weir/nft"
)

// Fingerprints returns a digest of each chain ("chain NAME") and of each
// content set and map ("set NAME") of the table: 16 hex digits that stay the
// same across reloads, namespaces and boots while nobody changes the object.
// Counters, timeouts, exceptions and what the maps of the skeleton hold are not
// in it. Compare with those taken after a load to find what drifted.
//
// Without elements a set's digest is of its type, flags and number of elements,
// where the kernel says it (since Linux 6.17); with them every element is read.
func (k *Kernel) Fingerprints(ctx context.Context, elements bool) (map[string]string, error) {
	var out map[string]string
	_, err := k.c.stable(ctx, func() error {
		out = map[string]string{}
		sets, err := k.c.sets(ctx, ours)
		if err != nil {
			return err
		}
		anonymous := map[string][]byte{}
		for name, info := range sets {
			if strings.HasPrefix(name, "w_") {
				continue
			}
			sum, err := k.setSum(ctx, info, elements || info.anonymous())
			if err != nil {
				return err
			}
			if info.anonymous() {
				anonymous[name] = sum
			} else {
				out["set "+name] = hex.EncodeToString(sum[:8])
			}
		}
		chains, err := k.chainSums(ctx)
		if err != nil {
			return err
		}
		if err := k.ruleSums(ctx, chains, anonymous); err != nil {
			return err
		}
		for name, h := range chains {
			out["chain "+name] = hex.EncodeToString(h.Sum(nil)[:8])
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot take fingerprints of table inet weir: %w", err)
	}
	return out, nil
}

// chainSums begins each chain's digest with its hook, priority and policy.
func (k *Kernel) chainSums(ctx context.Context) (map[string]hash.Hash, error) {
	out := map[string]hash.Hash{}
	err := k.c.request(ctx, unix.NFT_MSG_GETCHAIN, true, func(w *wire) {
		w.str(unix.NFTA_CHAIN_TABLE, string(ours))
	}, func(p []byte) error {
		if text(attr(p, unix.NFTA_CHAIN_TABLE)) != string(ours) {
			return nil
		}
		h := sha256.New()
		hook := attr(p, unix.NFTA_CHAIN_HOOK)
		for _, b := range [][]byte{
			attr(hook, unix.NFTA_HOOK_HOOKNUM), attr(hook, unix.NFTA_HOOK_PRIORITY),
			attr(p, unix.NFTA_CHAIN_POLICY), attr(p, unix.NFTA_CHAIN_TYPE),
		} {
			field(h, b)
		}
		out[text(attr(p, unix.NFTA_CHAIN_NAME))] = h
		return nil
	})
	return out, dumpErr("the chains", err)
}

// field writes a value with its length, so that two never run into one.
func field(h hash.Hash, b []byte) {
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(b))))
	h.Write(b)
}

// ruleSums adds each rule's expressions to its chain's digest: of a counter
// only that it is there, of an anonymous set its content.
func (k *Kernel) ruleSums(ctx context.Context, chains map[string]hash.Hash, anonymous map[string][]byte) error {
	err := k.c.request(ctx, unix.NFT_MSG_GETRULE, true, func(w *wire) {
		w.str(unix.NFTA_RULE_TABLE, string(ours))
	}, func(p []byte) error {
		h := chains[text(attr(p, unix.NFTA_RULE_CHAIN))]
		name := text(attr(p, unix.NFTA_RULE_CHAIN))
		if h == nil || text(attr(p, unix.NFTA_RULE_TABLE)) != string(ours) || name == nft.UnblockChain {
			return nil
		}
		field(h, []byte("rule"))
		for _, e := range attrs(attr(p, unix.NFTA_RULE_EXPRESSIONS)) {
			kind, data := text(attr(e, unix.NFTA_EXPR_NAME)), attr(e, unix.NFTA_EXPR_DATA)
			field(h, []byte(kind))
			switch sum, ok := anonymous[text(attr(data, unix.NFTA_LOOKUP_SET))]; {
			case kind == "counter":
			case kind == "lookup" && ok:
				field(h, sum)
				for typ, v := range attrs(data) {
					if typ != unix.NFTA_LOOKUP_SET {
						field(h, v)
					}
				}
			default:
				field(h, data)
			}
		}
		return nil
	})
	return dumpErr("the rules", err)
}

// setSum digests a set; its elements in any order.
func (k *Kernel) setSum(ctx context.Context, s setInfo, elements bool) ([]byte, error) {
	h := sha256.New()
	for _, v := range []uint32{s.flags, s.key} {
		h.Write(binary.BigEndian.AppendUint32(nil, v))
	}
	if !elements {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(s.count)))
		return h.Sum(nil), nil
	}
	var hi, lo uint64
	e := sha256.New()
	var sum [sha256.Size]byte
	err := k.c.elements(ctx, ours, s.name, func(x *elemInfo) {
		e.Reset()
		field(e, x.key)
		field(e, x.keyEnd)
		field(e, []byte(x.verdict.Kind))
		field(e, []byte(x.verdict.Chain))
		e.Write(binary.BigEndian.AppendUint32(nil, x.mark))
		if x.end {
			e.Write([]byte{1})
		}
		e.Sum(sum[:0])
		hi += binary.BigEndian.Uint64(sum[0:])
		lo += binary.BigEndian.Uint64(sum[8:])
	})
	if err != nil {
		return nil, err
	}
	h.Write(binary.BigEndian.AppendUint64(nil, hi))
	h.Write(binary.BigEndian.AppendUint64(nil, lo))
	return h.Sum(nil), nil
}

// BaseChain is a chain of another table that packets pass through as well. An
// accept of weir's does not override its drop, nor the reverse.
type BaseChain struct {
	Family, Table, Name string
	Type, Hook          string
	Priority            int32
	Drops               bool // its policy is drop
}

var familyNames = map[byte]string{1: "inet", 2: "ip", 5: "netdev", 7: "bridge", 10: "ip6"}

// Others lists the base chains of all other tables in the inet, ip and ip6
// families.
func (k *Kernel) Others(ctx context.Context) ([]BaseChain, error) {
	var out []BaseChain
	_, err := k.c.stable(ctx, func() error {
		out = nil
		for _, f := range []byte{1, 2, 10} {
			if err := k.c.requestFamily(ctx, f, unix.NFT_MSG_GETCHAIN, func(p []byte) error {
				hook := attr(p, unix.NFTA_CHAIN_HOOK)
				c := BaseChain{Family: familyNames[f], Table: text(attr(p, unix.NFTA_CHAIN_TABLE)), Name: text(attr(p, unix.NFTA_CHAIN_NAME)),
					Type: text(attr(p, unix.NFTA_CHAIN_TYPE)), Priority: int32(be32(attr(hook, unix.NFTA_HOOK_PRIORITY)))}
				if hook == nil || f == familyInet && c.Table == nft.TableName {
					return nil
				}
				for name, n := range hookNumbers {
					if n == be32(attr(hook, unix.NFTA_HOOK_HOOKNUM)) {
						c.Hook = name
					}
				}
				c.Drops = be32(attr(p, unix.NFTA_CHAIN_POLICY)) == uint32(verdictCodes["drop"]) && attr(p, unix.NFTA_CHAIN_POLICY) != nil
				out = append(out, c)
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list the chains of other tables: %w", err)
	}
	return out, nil
}
