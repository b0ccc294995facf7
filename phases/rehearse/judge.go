package rehearse

import (
	"fmt"
	"slices"
	"strings"

	"weir/nft"
	"weir/nft/eval"
	"weir/phases/compile"
	"weir/phases/compile/oracle"
)

// Judge says what has to become of packets.
type Judge struct {
	in    compile.Input
	world oracle.World
	m     *eval.Machine // decides shares only: their hash is the kernel's
}

// NewJudge judges by what a revision was compiled from. back are the groups that
// are back in alert.
func NewJudge(in compile.Input, rev nft.Revision, back []string) (*Judge, error) {
	m := eval.NewMachine(rev.Skeleton, rev.Ruleset)
	if err := m.Stable(rev); err != nil {
		return nil, err
	}
	return &Judge{in: in, m: m, world: oracle.World{Back: back, Shares: map[string]string{}}}, nil
}

// Decide says what has to become of one packet.
func (j *Judge) Decide(p eval.Packet) oracle.Decision {
	d := oracle.Judge(j.in, &j.world, p)
	if d.Share == "" {
		return d
	}
	j.world.Shares[d.Share] = "in"
	if t, err := j.m.Eval(p); err == nil && t.Passes() {
		j.world.Shares[d.Share] = "out"
	}
	return oracle.Judge(j.in, &j.world, p)
}

// Check compares what became of packets with what had to: left is the interface
// that each one left by, "" for none; counted is by how much each counter moved.
// nil means that all of it is as it has to be; else the error names the first
// packets that are not.
func (j *Judge) Check(cases []Case, left []string, counted map[string]uint64) error {
	if len(left) != len(cases) {
		return fmt.Errorf("%d packets were played, not %d", len(left), len(cases))
	}
	want := map[string]uint64{}
	var bad []string
	for i, c := range cases {
		d := j.Decide(c.Packet)
		for _, n := range []string{d.Counter, d.Differs} {
			if n != "" {
				want[n]++
			}
		}
		if d.Differs != "" {
			want[d.Differs]++
		}
		passes := d.Verdict == "accept"
		switch {
		case passes && left[i] == c.Packet.Out, !passes && left[i] == "":
		case passes && left[i] == "":
			bad = append(bad, fmt.Sprintf("%s should pass and does not", c))
		case passes:
			bad = append(bad, fmt.Sprintf("%s left by %s, not by %s", c, left[i], c.Packet.Out))
		default:
			bad = append(bad, fmt.Sprintf("%s should be denied (%s) and passes", c, d.Verdict))
		}
	}
	if len(bad) > 0 {
		more := ""
		if len(bad) > 3 {
			more = fmt.Sprintf("; and %d more", len(bad)-3)
		}
		return fmt.Errorf("%s%s", strings.Join(bad[:min(3, len(bad))], "; "), more)
	}
	var names []string
	for n := range want {
		names = append(names, n)
	}
	for n := range counted {
		if want[n] == 0 {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	for _, n := range names {
		// The others count what the gateway itself answers, too, or a candidate.
		total := strings.HasSuffix(n, "_allowed") || strings.HasSuffix(n, "_would") || strings.HasSuffix(n, "_denied")
		if strings.HasPrefix(n, "w_c_") && total && counted[n] != want[n] {
			return fmt.Errorf("%s counted %d packets, and %d of those that were sent belong there", n, counted[n], want[n])
		}
	}
	return nil
}

// String names a packet for a person.
func (c Case) String() string {
	p := c.Packet
	what := p.Proto.String()
	switch {
	case p.Proto.HasPorts():
		what = fmt.Sprintf("%s/%d", p.Proto, p.Port)
	case p.Proto.IsICMP():
		what = fmt.Sprintf("%s type %d", p.Proto, p.Port)
	}
	of := string(c.Of)
	switch {
	case c.Lifeline != "":
		of = "lifeline " + c.Lifeline
	case c.Group != "":
		of += ", group " + c.Group
	}
	return fmt.Sprintf("%s -> %s %s (%s)", p.Src, p.Dst, what, of)
}
