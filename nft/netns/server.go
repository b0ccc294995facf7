package netns

import (
	"io"
	"net"
	"sync"
)

// server is what serves on one socket; Close ends its connections and waits
// for its goroutines.
type server struct {
	listener io.Closer
	all      sync.WaitGroup

	mu     sync.Mutex // guards what follows
	closed bool
	conns  map[net.Conn]bool
}

func (s *server) accept(serve func(net.Conn)) {
	for {
		c, err := s.listener.(net.Listener).Accept()
		if err != nil {
			return // closed with the namespace
		}
		if !s.keep(c) {
			return
		}
		s.all.Go(func() {
			defer s.drop(c)
			serve(c)
		})
	}
}

func (s *server) keep(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Close()
		return false
	}
	s.conns[c] = true
	return true
}

func (s *server) drop(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	c.Close()
}

// Close ends the server.
func (s *server) Close() error {
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	err := s.listener.Close()
	s.all.Wait()
	return err
}
