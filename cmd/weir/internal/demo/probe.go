package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Variable is in the environment of the shells of "weir demo --keep": where the
// office is asked to send packets.
const Variable = "WEIR_DEMO"

// probes is the socket of the office's traffic.
func (s *stage) probes() string { return filepath.Join(s.dir, "office.sock") }

// Asked is one packet that a person wants to be sent.
type Asked struct{ From, Service, To string }

// sent is what became of it.
type sent struct {
	Denied string // why, "" when the answer came back
	Error  string // it could not be sent at all
}

// serveProbes sends what it is asked to send until the listener closes.
func (s *stage) serveProbes() (net.Listener, error) {
	l, err := net.Listen("unix", s.probes())
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				var a Asked
				if json.NewDecoder(c).Decode(&a) != nil {
					return
				}
				json.NewEncoder(c).Encode(s.probe(a)) //nolint:errcheck // the one who asked has gone
			}()
		}
	}()
	return l, nil
}

func (s *stage) probe(a Asked) sent {
	var out sent
	switch err := s.net.try(a.From, a.Service, a.To); {
	case errors.Is(err, errProbe):
		out.Error = err.Error()
	case err != nil:
		out.Denied = err.Error()
	}
	return out
}

// ErrNoOffice is returned by Probe where no demo stands.
var ErrNoOffice = errors.New("no demo's office is here")

// Probe has a host of the office send a packet, and says whether an answer came
// back; if not, why.
func Probe(a Asked) (passes bool, why string, err error) {
	path := os.Getenv(Variable)
	if path == "" {
		return false, "", ErrNoOffice
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return false, "", fmt.Errorf("%w: %w", ErrNoOffice, err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(3 * patience)); err != nil {
		return false, "", err
	}
	var back sent
	if err = json.NewEncoder(c).Encode(a); err == nil {
		err = json.NewDecoder(c).Decode(&back)
	}
	switch {
	case err != nil:
		return false, "", fmt.Errorf("cannot ask the office: %w", err)
	case back.Error != "":
		return false, "", errors.New(back.Error)
	}
	return back.Denied == "", back.Denied, nil
}
