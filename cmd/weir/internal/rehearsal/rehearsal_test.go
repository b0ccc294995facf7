package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/nft"
	"weir/nft/lab"
	"weir/phases"
	"weir/phases/compile"
	"weir/phases/flow"
	"weir/phases/policy"
	"weir/phases/rehearse"
)

// asWhom, in the environment, makes the test program rehearse once and say how
// it went.
const asWhom = "WEIR_REHEARSE_TEST"

// init keeps the main thread for TestMain.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == lab.Command {
		if err := lab.Serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	switch os.Getenv(asWhom) {
	case "":
		os.Exit(m.Run())
	case "forbidden":
		// Both values are of this user namespace alone.
		for _, f := range []string{"user", "net"} {
			if err := os.WriteFile("/proc/sys/user/max_"+f+"_namespaces", []byte("0"), 0); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
		}
	}
	r, err := Run(context.Background(), step(block), frozen(alert, nil), flows(), lab.Run)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(r)
	os.Exit(0)
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func single(text string) flow.Service {
	s, err := flow.ParseService(text)
	if err != nil {
		panic(err)
	}
	return s
}

// office is a gateway that also judges its own output.
func office(desks compile.Treatment) compile.Input {
	return compile.Input{
		Scope: compile.Scope{Hooks: []string{"forward", "output"}, Inside: prefixes("10.20.0.0/16", "fd20::/48"), OutsideIfaces: []string{"wan0"}, Inbound: "observe"},
		Groups: []compile.Group{
			{Name: "desks", Members: prefixes("10.20.16.0/24", "fd20:0:0:16::/64"), Treatment: desks},
			{Name: "doorbell", MACs: []string{"02:00:5e:10:00:07"}, Treatment: desks},
			{Name: "guests", Ifaces: []string{"guest0"}, Treatment: compile.Alert},
			{Name: "gateway", Self: true, Treatment: desks},
			{Name: "unassigned", Treatment: compile.Alert},
		},
		Links: prefixes("10.20.40.0/24", "fd20:0:0:40::/64"),
		Policy: policy.Policy{Rules: []policy.Rule{
			{Group: "desks", Services: []flow.Service{single("tcp/443"), single("icmp/8"), single("icmpv6/128")}},
			{Group: "desks", To: prefixes("198.51.100.53/32"), Services: []flow.Service{single("udp/53"), single("esp")}},
			{Group: "doorbell", To: prefixes("198.51.100.8/32", "2001:db8::8/128"), Services: []flow.Service{single("tcp/8883")}},
		}},
		Lifelines: []compile.Lifeline{{Name: "resolvers", To: prefixes("198.51.100.9/32", "2001:db8::9/128"), Services: []flow.Service{single("udp/53"), single("tcp/53")}}},
	}
}

var alert, block = office(compile.Alert), office(compile.Reject)

func flows() []rehearse.Flow {
	var out []rehearse.Flow
	for _, x := range []struct{ group, client, server, service string }{
		{"desks", "10.20.16.10", "198.51.100.7", "tcp/443"}, {"desks", "fd20:0:0:16::10", "2001:db8::7", "tcp/443"},
		{"desks", "10.20.16.10", "198.51.100.7", "tcp/3389"}, {"desks", "10.20.16.11", "198.51.100.53", "udp/53"},
		{"desks", "10.20.16.11", "198.51.100.53", "esp"}, {"desks", "10.20.16.11", "198.51.100.54", "gre"},
		{"desks", "10.20.16.11", "198.51.100.54", "icmp/8"}, {"desks", "fd20:0:0:16::10", "2001:db8::7", "icmpv6/128"},
		{"doorbell", "10.20.40.7", "198.51.100.8", "tcp/8883"}, {"doorbell", "fd20:0:0:40::7", "2001:db8::8", "tcp/8883"},
		{"doorbell", "10.20.40.7", "198.51.100.8", "tcp/22"}, {"guests", "10.20.99.7", "198.51.100.8", "sctp/5000"},
	} {
		s := single(x.service)
		out = append(out, rehearse.Flow{Group: x.group, Flow: flow.Flow{Client: netip.MustParseAddr(x.client), Server: netip.MustParseAddr(x.server), Proto: s.Proto, Port: s.Lo}})
	}
	return append(out,
		rehearse.Flow{Group: "desks", Inbound: true, Flow: flow.Flow{Client: netip.MustParseAddr("198.51.100.99"), Server: netip.MustParseAddr("10.20.16.10"), Proto: flow.TCP, Port: 22}},
		rehearse.Flow{Group: "gateway", Self: true, Flow: flow.Flow{Client: netip.MustParseAddr("198.51.100.1"), Server: netip.MustParseAddr("198.51.100.9"), Proto: flow.UDP, Port: 53}},
		rehearse.Flow{Group: "gateway", Self: true, Flow: flow.Flow{Client: netip.MustParseAddr("2001:db8::1"), Server: netip.MustParseAddr("2001:db8::10"), Proto: flow.UDP, Port: 123}})
}

// frozen makes a frozen step as phases.Machine does, over another one or nil.
func frozen(in compile.Input, over *phases.Frozen) *phases.Frozen {
	off := in
	off.Off, off.Policy.Rules = true, nil
	rules, err := compile.Compile(in)
	if err != nil {
		panic(err)
	}
	offRules, err := compile.Compile(off)
	if err != nil {
		panic(err)
	}
	f := &phases.Frozen{Input: in, Rules: rules, OffRev: offRules}
	f.Step.Name = "enforce/alert"
	for h := range rules.Entry {
		f.Hooks = append(f.Hooks, h)
	}
	slices.Sort(f.Hooks)
	f.Revision = rules.ID
	if over != nil {
		f.OverStep = "sha256:over"
		f.Step.Name = "enforce/block:desks"
		f.Backouts = append(f.Backouts, phases.Backout{To: over.Step.Name, Digest: "sha256:over", Nft: nft.Rollback{ID: over.Rules.ID, Entry: over.Rules.Entry,
			Hooks: f.Hooks, Tx: "000000000001", Kind: nft.TxRollback, Alert: phases.Narrower(in, over.Input)}})
	}
	f.Backouts = append(f.Backouts, phases.Backout{To: "off", Nft: nft.Rollback{ID: offRules.ID, Entry: offRules.Entry, Hooks: f.Hooks, Tx: "000000000002", Kind: nft.TxRollback}})
	return f
}

func step(in compile.Input) phases.Frozen { return *frozen(in, frozen(alert, nil)) }

// A whole step passes: every kind of group, both families, both hooks; the first
// step too, which has nothing before it.
func TestRehearse(t *testing.T) {
	r, err := Run(t.Context(), step(block), frozen(alert, nil), flows(), lab.Run)
	if err != nil {
		t.Fatal(err)
	}
	if r.Packets < 100 || r.Recorded != len(flows()) || r.Of != len(flows()) || r.Back != "enforce/alert" || len(r.Hash) != 71 || r.Took <= 0 {
		t.Errorf("rehearsal %+v", r)
	}
	t.Log(r)
	first, err := Run(t.Context(), *frozen(alert, nil), nil, flows(), lab.Run)
	if err != nil {
		t.Fatal(err)
	}
	if first.Back != "off" || first.Hash == r.Hash {
		t.Errorf("rehearsal of the first step %+v", first)
	}
}

// What is wrong in the recorded bytes is found, and the packet named.
func TestRehearsalFindsWhatIsWrong(t *testing.T) {
	cases := []struct {
		name  string
		spoil func(t *testing.T, f *phases.Frozen)
		want  string
	}{
		{"a hole", func(t *testing.T, f *phases.Frozen) {
			insert(t, f, "_g_desks", nft.Verdict{Kind: "accept"})
		}, "should be denied"},
		{"a hole in IPv6 only", func(t *testing.T, f *phases.Frozen) {
			insert(t, f, "_g_desks", nft.Match{Fields: []nft.Field{nft.NFProtoF}, Values: []nft.Value{{Lo: []byte{10}}}}, nft.Verdict{Kind: "accept"})
		}, "fd20:0:0:16:"},
		{"a packet too many is denied", func(t *testing.T, f *phases.Frozen) {
			dropRules(t, f, "_p_desks")
		}, "should pass and does not"},
		{"a cut lifeline", func(t *testing.T, f *phases.Frozen) {
			dropRules(t, f, "_lifeports")
		}, "lifeline resolvers"},
		{"the wrong counter", func(t *testing.T, f *phases.Frozen) {
			insert(t, f, "_g_guests", nft.Count{Name: "w_c_guests_allowed"}, nft.Verdict{Kind: "accept"})
		}, "counted"},
		{"story 7: a way back that forgets a hook", func(t *testing.T, f *phases.Frozen) {
			f.Backouts[0].Nft.Hooks = []string{"f"}
			f.Backouts[0].Nft.Entry = map[string]string{"f": f.Backouts[0].Nft.Entry["f"]}
		}, "after the way back to enforce/alert the kernel does not hold what it held before"},
		{"story 7: a way back to what was pruned", func(t *testing.T, f *phases.Frozen) {
			f.Backouts[0].Nft.Entry = map[string]string{"f": "r000000000000_f", "o": "r000000000000_o"}
			f.Backouts[0].Nft.ID = "r000000000000"
		}, "way back"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := step(block)
			c.spoil(t, &f)
			_, err := Run(t.Context(), f, frozen(alert, nil), flows(), lab.Run)
			if !errors.Is(err, ErrFailed) || !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// insert puts a rule before the others of a revision's chain.
func insert(t *testing.T, f *phases.Frozen, chain string, stmts ...nft.Stmt) {
	t.Helper()
	for i := range f.Rules.Ruleset.Chains {
		c := &f.Rules.Ruleset.Chains[i]
		if strings.HasSuffix(c.Name, chain) {
			c.Rules = slices.Insert(slices.Clone(c.Rules), 0, nft.Rule{Stmts: stmts})
			return
		}
	}
	t.Fatalf("no chain %s", chain)
}

func dropRules(t *testing.T, f *phases.Frozen, chain string) {
	t.Helper()
	for i := range f.Rules.Ruleset.Chains {
		c := &f.Rules.Ruleset.Chains[i]
		if strings.HasSuffix(c.Name, chain) {
			c.Rules = nil
			return
		}
	}
	t.Fatalf("no chain %s", chain)
}

func as(t *testing.T, who string, name string, args ...string) (string, error) {
	t.Helper()
	c := exec.Command(name, append(args, "/proc/self/exe")...)
	c.Args[len(c.Args)-1] = os.Args[0]
	c.Env = append(os.Environ(), asWhom+"="+who)
	if who == "forbidden" {
		c = exec.Command(os.Args[0])
		c.Env = append(os.Environ(), asWhom+"="+who)
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{Size: 1}}, GidMappings: []syscall.SysProcIDMap{{Size: 1}}}
	}
	out, err := c.CombinedOutput()
	return string(out), err
}

// A daemon with CAP_NET_ADMIN alone, that can gain nothing, rehearses; so does a
// user without any right.
func TestRehearsalNeedsNoRights(t *testing.T) {
	for name, args := range map[string][]string{
		"CAP_NET_ADMIN": {"--bounding-set=-all,+net_admin", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs"},
		"nobody":        {"--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"},
	} {
		t.Run(name, func(t *testing.T) {
			if out, err := as(t, name, "setpriv", args...); err != nil || !strings.Contains(out, "hash equal") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// Where namespaces are not allowed, that is said with the command that allows
// them, and nothing is taken for rehearsed.
func TestRehearsalForbidden(t *testing.T) {
	out, err := as(t, "forbidden", "")
	if err == nil || !strings.Contains(out, lab.ErrNotAllowed.Error()) || !strings.Contains(out, "sysctl -w user.max_user_namespaces") {
		t.Errorf("%v: %s", err, out)
	}
}

// A rehearsal that hangs ends with its time.
func TestRehearsalEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := Run(ctx, step(block), frozen(alert, nil), flows(), lab.Run); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkRehearse(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("elements=%d", n), func(b *testing.B) {
			in := office(compile.Reject)
			for i := range n {
				a := netip.AddrFrom4([4]byte{198, byte(18 + i>>16&1), byte(i >> 8), byte(i)})
				in.Policy.Rules = append(in.Policy.Rules, policy.Rule{Group: "desks", To: []netip.Prefix{netip.PrefixFrom(a, 32)},
					Endpoints: []netip.Prefix{netip.MustParsePrefix("10.20.16.10/32")}, Services: []flow.Service{flow.Single(flow.TCP, uint16(i%1000+1))}})
			}
			before := in
			before.Groups = office(compile.Alert).Groups
			over := frozen(before, nil)
			f := *frozen(in, over)
			var took time.Duration
			for b.Loop() {
				r, err := Run(b.Context(), f, over, flows(), lab.Run)
				if err != nil {
					b.Fatal(err)
				}
				took += r.Took
			}
			b.ReportMetric(float64(took.Milliseconds())/float64(b.N), "ms-in-lab/op")
		})
	}
}
