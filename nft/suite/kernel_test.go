package suite_test

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/nft"
	"weir/nft/kernel"
	"weir/nft/netns"
	"weir/nft/suite"
)

func startKernel(t testing.TB) suite.Subject {
	if _, err := exec.LookPath("nft"); err != nil {
		t.Fatal("these tests need nft in PATH; install it with: apt-get install nftables")
	}
	l, err := netns.NewLab()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	var servers []string
	for _, host := range []string{netns.OutsideIP4, "[" + netns.OutsideIP6 + "]"} {
		for _, rev := range []string{"a", "b"} {
			servers = append(servers, fmt.Sprintf("%s:%d", host, suite.Port(rev)))
		}
	}
	if err := l.Outside.EchoTCP(servers...); err != nil {
		t.Fatal(err)
	}
	k, err := kernel.Open(kernel.Options{NetNS: l.Gateway.FD()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	nftRun := func(text string) error {
		c := l.Gateway.Command("nft", "-f", "-")
		c.Stdin = strings.NewReader(text)
		out, err := c.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	return suite.Subject{
		K:    k,
		Wait: time.Sleep,
		Judge: func(t testing.TB, want suite.Decision) {
			t.Helper()
			for _, host := range []string{netns.OutsideIP4, "[" + netns.OutsideIP6 + "]"} {
				for _, rev := range []string{"a", "b"} {
					port := suite.Port(rev)
					for _, from := range []*netns.NS{l.Client, l.Gateway} { // forward, output
						err := from.Try("tcp", fmt.Sprintf("%s:%d", host, port), 2*time.Second)
						if want.Refuses(port) != errors.Is(err, syscall.ECONNREFUSED) || (err != nil) != want.Refuses(port) {
							t.Errorf("%s to %s port %d with %+v: %v", from.Name(), host, port, want, err)
						}
					}
				}
			}
		},
		ByHand:  func(r nft.Rollback) error { return nftRun(r.Text()) },
		Foreign: func() error { return nftRun("table inet other {\n\tcounter c_1 { }\n}\n") },
	}
}

func TestKernel(t *testing.T) { suite.Run(t, startKernel) }
