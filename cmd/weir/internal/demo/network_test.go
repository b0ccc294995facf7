package demo

import (
	"net"
	"testing"
	"time"
)

func TestNetwork(t *testing.T) {
	n := &network{}
	defer n.close()
	if err := n.build(); err != nil {
		t.Fatal(err)
	}
	for name, h := range n.hosts {
		for _, to := range []string{webV4, webV6} {
			if err := h.ns.Try("tcp", net.JoinHostPort(to, "443"), 2*time.Second); err != nil {
				t.Errorf("%s to %s: %v", name, to, err)
			}
			if err := h.ns.Try("udp", net.JoinHostPort(to, "53"), 2*time.Second); err != nil {
				t.Errorf("%s to %s udp: %v", name, to, err)
			}
		}
	}
}
