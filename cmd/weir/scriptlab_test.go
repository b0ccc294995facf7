package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"weir/nft/capture"
	"weir/nft/netns"
	"weir/phases/flow"
)

// Where packets come from and go to. A source is one of
//
//	(none)        the client
//	-gw           the gateway itself
//	-outside      the outside host
//	-c NAME       another client, made by "client NAME N"
//
// and a destination is a port of the outside host, or "v4 address:port" where
// the packet goes somewhere else.

// client NAME N makes one more inside machine, on a link of its own: 10.20.N.10
// and fd20:0:0:N::10 behind the gateway's interface lanN, with the link address
// 02:00:5e:10:00 and N in hex.
func cmdClient(ts *testscript.TestScript, neg bool, args []string) {
	w := stageOf(ts)
	name, number := args[0], args[1]
	n, err := netns.New(name)
	ts.Check(err)
	if w.more == nil {
		w.more = map[string]*netns.NS{}
	}
	w.more[name] = n
	gw := w.lab.Gateway
	last, err := strconv.ParseUint(number, 10, 8)
	ts.Check(err)
	mac := net.HardwareAddr{2, 0, 0x5e, 0x10, 0, byte(last)}
	ts.Check(netns.Link(n, netns.ClientIf, gw, "lan"+number, mac))
	ts.Check(gw.Addr("lan"+number, "10.20."+number+".1/24", "fd20:0:0:"+number+"::1/64"))
	ts.Check(n.Addr(netns.ClientIf, "10.20."+number+".10/24", "fd20:0:0:"+number+"::10/64"))
	ts.Check(n.Route("default4", "10.20."+number+".1"))
	ts.Check(n.Route("default6", "fd20:0:0:"+number+"::1"))
}

// fromWhere takes the words off that say where a packet comes from.
func fromWhere(ts *testscript.TestScript, args []string) (*netns.NS, []string) {
	w := stageOf(ts)
	if len(args) == 0 {
		ts.Fatalf("what?")
	}
	switch args[0] {
	case "-gw":
		return w.lab.Gateway, args[1:]
	case "-outside":
		return w.lab.Outside, args[1:]
	case "-c":
		if n := w.more[args[1]]; n != nil {
			return n, args[2:]
		}
		ts.Fatalf("no client %s", args[1])
	}
	return w.lab.Client, args
}

// labHost is a machine of the lab with its addresses.
func labHost(ts *testscript.TestScript, name string) (at *netns.NS, v4, v6 string) {
	lab := stageOf(ts).lab
	switch name {
	case "client":
		return lab.Client, netns.ClientIP4, netns.ClientIP6
	case "gw":
		return lab.Gateway, netns.OutsideGW4, netns.OutsideGW6
	case "outside":
		return lab.Outside, netns.OutsideIP4, netns.OutsideIP6
	}
	ts.Fatalf("no host %s: client, gw or outside", name)
	return nil, "", ""
}

// addr HOST PREFIX …: more addresses on the client's, or the outside host's, link.
func cmdAddr(ts *testscript.TestScript, neg bool, args []string) {
	at, _, _ := labHost(ts, args[0])
	iface := netns.ClientIf
	if args[0] == "gw" {
		iface = netns.OutsideIf
	}
	ts.Check(at.Addr(iface, args[1:]...))
}

// serve HOST PROTO PORT|ADDRESS:PORT …: an echo server on client, gw or outside;
// PROTO "clock" is a TCP one that also speaks by itself, many times a second.
func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	at, v4, v6 := labHost(ts, args[0])
	both := args[2:]
	if !strings.Contains(args[2], ":") {
		both = []string{net.JoinHostPort(v4, args[2]), net.JoinHostPort(v6, args[2])}
	}
	switch args[1] {
	case "udp":
		ts.Check(at.EchoUDP(both...))
		return
	case "clock":
		for _, a := range both {
			ts.Check(at.ServeTCP(a, tick))
		}
		return
	}
	ts.Check(at.EchoTCP(both...))
}

// sshd is a program of that name: it serves a clock on port 22.
func sshd() {
	l, err := net.Listen("tcp", ":22")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go tick(c)
	}
}

func tick(c net.Conn) {
	go func() {
		for {
			if _, err := c.Write([]byte("tick;")); err != nil {
				return // the peer has gone
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	if _, err := io.Copy(c, c); err != nil {
		return
	}
}

// cmpout FILE: the last command's stdout is the file.
func cmdCmpout(ts *testscript.TestScript, neg bool, args []string) {
	if got, want := stageOf(ts).out, ts.ReadFile(args[0]); got != want {
		ts.Fatalf("stdout is\n%s\nnot\n%s", got, want)
	}
}

// recur [SOURCE] PROTO PORT [v4|v6]: the same exchange again and again, until the
// script ends.
func cmdRecur(ts *testscript.TestScript, neg bool, args []string) {
	from, args := fromWhere(ts, args)
	to := addresses(args)
	end := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for {
			for _, a := range to {
				if try(from, args[0], a) != nil {
					continue // it is denied now
				}
			}
			select {
			case <-end:
				return
			case <-time.After(300 * time.Millisecond):
			}
		}
	})
	ts.Defer(func() { close(end); all.Wait() })
}

// signal NAME STOP|CONT to what "start NAME" started.
func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	w := stageOf(ts)
	w.mu.Lock()
	c := w.procs[args[0]]
	w.mu.Unlock()
	if c == nil {
		ts.Fatalf("nothing was started as %s", args[0])
	}
	ts.Check(c.Process.Signal(map[string]os.Signal{"STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT}[args[1]]))
}

// upto STEP [NAME]: advance and confirm until the step is in force. With a name,
// what decides and what passes is written down at each confirm, as NAME.STEP
// with ".rules" and ".probes" ("/" and ":" become "+").
func cmdUpto(ts *testscript.TestScript, neg bool, args []string) {
	drilled := false
	end := time.Now().Add(30 * time.Second)
	for {
		var s struct {
			Data struct {
				Step  string          `json:"step"`
				Next  string          `json:"next"`
				Trial json.RawMessage `json:"trial"`
			} `json:"data"`
		}
		ts.Check(quietGW(ts, []string{"weir", "status", "-o", "json"}))
		ts.Check(json.Unmarshal([]byte(stageOf(ts).out), &s))
		if s.Data.Step == args[0] {
			return
		}
		if !drilled && s.Data.Step != "off" {
			ts.Check(quietGW(ts, []string{"weir", "unblock", "--drill"}))
			drilled = true
		}
		err := quietGW(ts, []string{"weir", "advance", "--yes"})
		if err == nil {
			err = quietGW(ts, []string{"weir", "confirm"})
		}
		if err == nil && len(args) > 1 {
			at := strings.NewReplacer("/", "+", ":", "+").Replace(strings.TrimSpace(strings.TrimPrefix(stageOf(ts).out, "confirmed")))
			cmdRules(ts, false, []string{args[1] + "." + at + ".rules"})
			if at != "monitor" { // what is probed there would be evidence
				cmdProbes(ts, false, []string{args[1] + "." + at + ".probes"})
			}
		}
		if err != nil && time.Now().After(end) {
			ts.Fatalf("not at %s in time but at %s: %v: %s", args[0], s.Data.Step, err, stageOf(ts).errs)
		}
		if err != nil {
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// garbage FILE overwrites a file in place with what no program can read.
func cmdGarbage(ts *testscript.TestScript, neg bool, args []string) {
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_WRONLY, 0)
	ts.Check(err)
	defer f.Close()
	_, err = f.WriteAt(bytes.Repeat([]byte("garbage "), 4096), 0)
	ts.Check(err)
}

// nftText runs nft in the gateway.
func nftText(ts *testscript.TestScript, args ...string) string {
	out, err := stageOf(ts).lab.Gateway.Command("nft", args...).Output()
	ts.Check(err)
	return string(out)
}

// foreign FILE writes every table but weir's, as nft lists it.
func cmdForeign(ts *testscript.TestScript, neg bool, args []string) {
	var b strings.Builder
	for t := range strings.Lines(nftText(ts, "list", "tables")) {
		if t = strings.TrimSpace(t); t != "table inet weir" && t != "" {
			b.WriteString(nftText(ts, append([]string{"-s", "list"}, strings.Fields(t)...)...))
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o644))
}

// ruleset FILE writes all that nft lists, without counters and times.
func cmdRuleset(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(timeLeft.ReplaceAllString(nftText(ts, "-s", "list", "ruleset"), "")), 0o644))
}

var (
	blockHead = regexp.MustCompile(`^\t(map|set|chain|counter) (\S+) \{`)
	refName   = regexp.MustCompile(`@([a-z0-9_-]+)|(?:jump|goto) ([a-z0-9_-]+)`)
	timeLeft  = regexp.MustCompile(` (timeout|expires) [0-9a-z]+`)
)

// rules FILE writes what decides now: everything of weir's table that is reached
// from the base chains, without the marker, memories of logs, and times.
func cmdRules(ts *testscript.TestScript, neg bool, args []string) {
	blocks := map[string]string{}
	name, text := "", ""
	for line := range strings.Lines(nftText(ts, "-s", "list", "table", "inet", "weir")) {
		if m := blockHead.FindStringSubmatch(line); m != nil {
			name, text = m[2], ""
		}
		text += line
		if strings.TrimRight(line, "\n") == "\t}" && name != "" {
			blocks[name], name = text, ""
		}
	}
	var seen []string
	var walk func(string)
	walk = func(n string) {
		if slices.Contains(seen, n) || blocks[n] == "" {
			return
		}
		seen = append(seen, n)
		for _, m := range refName.FindAllStringSubmatch(blocks[n], -1) {
			walk(m[1] + m[2])
		}
	}
	for n, t := range blocks {
		if strings.Contains(t, "type filter hook") || strings.Contains(t, "type nat hook") {
			walk(n)
		}
	}
	slices.Sort(seen)
	var b strings.Builder
	for _, n := range seen {
		t := timeLeft.ReplaceAllString(blocks[n], "")
		if memory.MatchString(n) {
			t = n + " (memory)\n"
		}
		b.WriteString(t)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o644))
}

// memory are the sets in which the kernel remembers what it logged.
var memory = regexp.MustCompile(`^w_(seen|pick|a|d|w|c|ls|sup)[bi]?[46]`)

// sysctls FILE writes every net.* value of the gateway.
func cmdSysctls(ts *testscript.TestScript, neg bool, args []string) {
	var b bytes.Buffer
	gw := stageOf(ts).lab.Gateway
	ts.Check(gw.Do(func() error {
		return filepath.WalkDir("/proc/sys/net", func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil || movesByItself.MatchString(path) {
				return nil // written only, or no setting but a reading
			}
			fmt.Fprintf(&b, "%s = %s\n", strings.TrimPrefix(path, "/proc/sys/"), bytes.TrimSpace(data))
			return nil
		})
	}))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b.Bytes(), 0o644))
}

var movesByItself = regexp.MustCompile(`nf_conntrack_count$|/fs/|/stable_secret$|ip_local_reserved|/random|netdev_budget|nf_log`)

// forget deletes every connection entry of the gateway, as after a reboot or a
// failover without a copy.
func cmdForget(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(stageOf(ts).lab.Gateway.Do(func() error {
		_, err := capture.DeleteConnections(context.Background(), capture.Options{Now: time.Now}, func(flow.Record) bool { return true })
		return err
	}))
}

// probes FILE writes what passes and what does not: from every client, both
// families, to some services.
func cmdProbes(ts *testscript.TestScript, neg bool, args []string) {
	w := stageOf(ts)
	from := maps.Clone(w.more)
	if from == nil {
		from = map[string]*netns.NS{}
	}
	from["client"] = w.lab.Client
	var lines []string
	var mu sync.Mutex // guards lines
	var all sync.WaitGroup
	for name, n := range from {
		for _, what := range [][]string{{"tcp", "443"}, {"tcp", "80"}, {"tcp", "9999"}, {"udp", "53"}, {"udp", "514"}, {"icmp", "8"}} {
			for _, v := range []string{"v4", "v6"} {
				all.Go(func() {
					word := "passes"
					if try(n, what[0], addresses([]string{what[0], what[1], v})[0]) != nil {
						word = "is denied"
					}
					mu.Lock()
					defer mu.Unlock()
					lines = append(lines, fmt.Sprintf("%s %s/%s %s %s\n", name, what[0], what[1], v, word))
				})
			}
		}
	}
	all.Wait()
	slices.Sort(lines)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Join(lines, "")), 0o644))
}

// restored NAME.STEP: what decides and what passes is what was written down
// when the step was confirmed.
func cmdRestored(ts *testscript.TestScript, neg bool, args []string) {
	cmdRules(ts, false, []string{"now.rules"})
	cmdProbes(ts, false, []string{"now.probes"})
	for _, kind := range []string{".rules", ".probes"} {
		if was, is := ts.ReadFile(args[0]+kind), ts.ReadFile("now"+kind); was != is {
			ts.Fatalf("%s: was\n%s\nis\n%s", kind, was, is)
		}
	}
}

// arrives [SOURCE] PROTO PORT [v4|v6]: one packet, which nobody answers, reaches
// the outside host; "! arrives" it does not. PROTO is udp, esp or gre; for the
// last two PORT is the number that their header begins with.
func cmdArrives(ts *testscript.TestScript, neg bool, args []string) {
	from, args := fromWhere(ts, args)
	for _, a := range addresses(args) {
		err := oneWay(stageOf(ts), from, args[0], a)
		if neg && err == nil {
			ts.Fatalf("%s to %s arrives", args[0], a)
		}
		if !neg && err != nil {
			ts.Fatalf("%s to %s: %v", args[0], a, err)
		}
	}
}

var bare = map[string]int{"esp": 50, "gre": 47}

func oneWay(w *stage, from *netns.NS, proto, to string) error {
	host, port, err := net.SplitHostPort(to)
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(port, 0, 32)
	if err != nil {
		return err
	}
	word := fmt.Appendf(nil, "%s %d", proto, time.Now().UnixNano())
	network, local := "udp", to
	if p, ok := bare[proto]; ok {
		v := map[bool]string{true: "ip6", false: "ip4"}[strings.Contains(host, ":")]
		network, local = v+":"+strconv.Itoa(p), host
		word = append(binary.BigEndian.AppendUint32(nil, uint32(n)), word...)
	}
	var sink net.PacketConn
	err = w.lab.Outside.Do(func() (err error) { sink, err = net.ListenPacket(network, local); return err })
	if err != nil {
		return err
	}
	defer sink.Close()
	var c net.Conn
	err = from.Do(func() (err error) {
		d := net.Dialer{}
		if proto == "udp" {
			// A sender such as a syslog daemon keeps its socket.
			d.Control = func(_, _ string, r syscall.RawConn) error {
				return r.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1) })
			}
			d.LocalAddr = &net.UDPAddr{Port: 20000 + int(n)}
		}
		c, err = d.Dial(network, local)
		return err
	})
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write(word); err != nil {
		return err
	}
	buf := make([]byte, 2048)
	for {
		if err := sink.SetReadDeadline(time.Now().Add(700 * time.Millisecond)); err != nil {
			return err
		}
		k, _, err := sink.ReadFrom(buf)
		if err != nil {
			return err
		}
		if bytes.HasSuffix(buf[:k], word) {
			return nil
		}
	}
}

// try makes one exchange: tcp and udp with an echo server, icmp by an echo
// request.
func try(from *netns.NS, proto, to string) error {
	const patience = 700 * time.Millisecond
	if proto == "icmp" {
		host, _, err := net.SplitHostPort(to)
		if err != nil {
			return err
		}
		return from.Ping(host, patience)
	}
	c, err := from.Dial(proto, to, patience)
	if err != nil {
		return err
	}
	defer c.Close()
	return answers(c, patience)
}

// answers sends a word on an open connection to an echo server and waits for
// it. What was held back while the connection was cut off comes before it.
func answers(c net.Conn, patience time.Duration) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	word := fmt.Appendf(nil, "%d;", time.Now().UnixNano())
	if _, err := c.Write(word); err != nil {
		return err
	}
	var got []byte
	for buf := make([]byte, 4096); !bytes.Contains(got, word); {
		k, err := c.Read(buf)
		if err != nil {
			return err
		}
		got = append(got, buf[:k]...)
	}
	return nil
}
