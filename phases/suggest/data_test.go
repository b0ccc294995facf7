//go:build data

package suggest

import (
	"bufio"
	"compress/gzip"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"weir/phases/flow"
	"weir/plans"
)

const zeekPlan = `apiVersion: weir/v1
kind: RolloutPlan
metadata: {name: real, owner: a@b}
scope: {hooks: [forward], inside: {prefixes: [192.168.0.0/16, 64.225.56.0/24]}}
groups:
  all: {members: [192.168.0.0/16, 64.225.56.0/24]}
enforce:
  waves: [{name: all, groups: [all]}]
  leaveOpen: [unassigned]
`

// zeekFlows reads what was answered from inside to outside in real logs.
func zeekFlows(t *testing.T, p *plans.Plan) (out []Observation) {
	files, err := filepath.Glob(filepath.Join(os.Getenv("WEIR_DATA"), "flows/zeek/missing_host/*/conn.*.log.gz"))
	if err != nil || len(files) < 60 {
		t.Fatalf("WEIR_DATA must name the folder of test data: %d logs (%v)", len(files), err)
	}
	protos := map[string]flow.Proto{"tcp": flow.TCP, "udp": flow.UDP}
	in := func(a netip.Addr) bool {
		for _, x := range p.Scope.Inside {
			if x.Contains(a) {
				return true
			}
		}
		return false
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		at := map[string]int{}
		lines := bufio.NewScanner(z)
		for lines.Scan() {
			cols := strings.Split(lines.Text(), "\t")
			if cols[0] == "#fields" {
				for i, c := range cols[1:] {
					at[c] = i
				}
			}
			if strings.HasPrefix(cols[0], "#") {
				continue
			}
			client, err1 := netip.ParseAddr(cols[at["id.orig_h"]])
			server, err2 := netip.ParseAddr(cols[at["id.resp_h"]])
			port, err3 := strconv.ParseUint(cols[at["id.resp_p"]], 10, 16)
			proto := protos[cols[at["proto"]]]
			if err1 != nil || err2 != nil || err3 != nil || proto == 0 || cols[at["conn_state"]] != "SF" {
				continue
			}
			if in(client) && !in(server) && !server.IsMulticast() && server.Is4() {
				out = append(out, Observation{"all", client, server, flow.Single(proto, uint16(port))})
			}
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestRealFlows proposes from the real flows of a server: the proposal fits the
// plan and denies nothing that was seen.
func TestRealFlows(t *testing.T) {
	p, err := plans.Parse("plan.yaml", []byte(zeekPlan))
	if err != nil {
		t.Fatal(err)
	}
	all := zeekFlows(t, p)
	if len(all) < 3000 {
		t.Fatalf("only %d flows", len(all))
	}
	for _, level := range []int{1, Default, 9} {
		in := &Input{}
		for _, o := range all {
			add(t, in, o)
		}
		s, err := Suggest(p, in, Options{Level: level})
		if err != nil {
			t.Fatal(err)
		}
		q := merge(t, zeekPlan, s)
		for _, o := range denied(t, q, all) {
			t.Errorf("level %d: %s -> %s %s was seen and is denied", level, o.Client, o.Server, o.Service)
		}
		t.Logf("%+v", s.Curve[level-1])
		for _, c := range s.Classes {
			t.Logf("  %s: %d endpoints, purity %.2f, %d rules", c.Name, c.Seen, c.Purity, len(c.Rules))
		}
	}
}
