package netns

import "errors"

// The addresses of the standard lab.
const (
	ClientIP4   = "10.20.16.10"
	ClientIP6   = "fd20:0:0:16::10"
	InsideGW4   = "10.20.16.1"
	InsideGW6   = "fd20:0:0:16::1"
	OutsideGW4  = "198.51.100.1"
	OutsideGW6  = "2001:db8:1::1"
	OutsideIP4  = "198.51.100.7"
	OutsideIP6  = "2001:db8:1::7"
	ClientIf    = "eth0"
	InsideIf    = "lan0"
	OutsideIf   = "wan0"
	OutsideHost = "eth0"
)

// Lab is client – gateway – outside, routed for IPv4 and IPv6. The gateway
// neither masquerades nor filters; its interfaces are lan0 and wan0.
type Lab struct{ Client, Gateway, Outside *NS }

// NewLab makes a lab. Several may exist at once.
func NewLab() (*Lab, error) {
	lab := &Lab{}
	if err := lab.build(); err != nil {
		return nil, errors.Join(err, lab.Close())
	}
	return lab, nil
}

func (l *Lab) build() error {
	var err error
	for _, m := range []struct {
		at   **NS
		name string
	}{{&l.Client, "client"}, {&l.Gateway, "gateway"}, {&l.Outside, "outside"}} {
		if *m.at, err = New(m.name); err != nil {
			return err
		}
	}
	for _, step := range []func() error{
		l.Gateway.Forward,
		func() error { return Link(l.Client, ClientIf, l.Gateway, InsideIf) },
		func() error { return Link(l.Gateway, OutsideIf, l.Outside, OutsideHost) },
		func() error { return l.Client.Addr(ClientIf, ClientIP4+"/24", ClientIP6+"/64") },
		func() error { return l.Gateway.Addr(InsideIf, InsideGW4+"/24", InsideGW6+"/64") },
		func() error { return l.Gateway.Addr(OutsideIf, OutsideGW4+"/24", OutsideGW6+"/64") },
		func() error { return l.Outside.Addr(OutsideHost, OutsideIP4+"/24", OutsideIP6+"/64") },
		func() error { return l.Client.Route("default4", InsideGW4) },
		func() error { return l.Client.Route("default6", InsideGW6) },
		func() error { return l.Outside.Route("default4", OutsideGW4) },
		func() error { return l.Outside.Route("default6", OutsideGW6) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the three namespaces.
func (l *Lab) Close() error {
	var errs []error
	for _, n := range []*NS{l.Client, l.Gateway, l.Outside} {
		if n != nil {
			errs = append(errs, n.Close())
		}
	}
	return errors.Join(errs...)
}
