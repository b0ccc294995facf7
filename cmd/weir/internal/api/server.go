package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"weir/cmd/weir/internal/exit"
)

// Peer is who called, as the kernel says.
type Peer struct {
	PID      int32
	UID      uint32
	GID      uint32
	Groups   []uint32 // supplementary ones
	LoginUID uint32   // the audit login uid, which survives sudo; ^0 where unset
	Name     string   // of the login uid where set, else of the uid
	Exe      string   // the program; "" where the kernel does not tell
}

// NoLogin is the audit login uid of a process that nobody logged in to start.
const NoLogin = ^uint32(0)

type peerKey struct{}

// Handler answers one verb.
type Handler func(ctx context.Context, peer Peer, args json.RawMessage) (any, error)

// Server answers verbs.
type Server struct {
	Verbs map[string]Handler
	Allow func(p Peer, verb string) error // asked before anything of a call is read; nil: all may

	limit limiter
}

// Listen makes the socket with mode 0660. A socket that nobody answers on is
// replaced; one that answers is an error.
func Listen(path string) (net.Listener, error) {
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, exit.Errorf(exit.Refused, "another daemon answers on %s", path).
			WithHint("weir status speaks to it")
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cannot replace the old socket: %w", err)
	}
	old := unix.Umask(0o117)
	l, err := net.Listen("unix", path)
	unix.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	return l, nil
}

// Serve answers on l until ctx is done.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			p, err := peerOf(c)
			if err != nil {
				return ctx
			}
			return context.WithValue(ctx, peerKey{}, p)
		},
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-ctx.Done()
		srv.Close()
	}()
	err := srv.Serve(l)
	if ctx.Err() != nil {
		<-done
		return nil
	}
	return err
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fail := func(err error) {
		e := exit.From(err)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(e.Code.Status())
		json.NewEncoder(w).Encode(e)
	}
	peer, ok := r.Context().Value(peerKey{}).(Peer)
	if !ok {
		fail(exit.Errorf(exit.NoPerm, "cannot tell who is calling"))
		return
	}
	verb, found := strings.CutPrefix(r.URL.Path, "/v1/")
	h := s.Verbs[verb]
	if !found || h == nil || r.Method != http.MethodPost {
		fail(exit.Errorf(exit.Usage, "the daemon knows no %s %s", r.Method, r.URL.Path).
			WithHint("the command and the daemon may be of different versions: weir version"))
		return
	}
	if !s.limit.take(peer.UID, time.Now()) {
		fail(exit.Errorf(exit.Refused, "too many calls by %s", peer.Name).WithHint("wait a second"))
		return
	}
	if s.Allow != nil {
		if err := s.Allow(peer, verb); err != nil {
			fail(err)
			return
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if err != nil {
		fail(exit.Errorf(exit.Invalid, "cannot read the request: %w", err))
		return
	}
	out, err := h(r.Context(), peer, body)
	if err != nil {
		fail(err)
		return
	}
	answer, err := json.Marshal(out)
	if err != nil {
		fail(fmt.Errorf("cannot write the answer: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(answer, '\n')) // a caller that has gone wants none
}

func peerOf(c net.Conn) (Peer, error) {
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return Peer{}, errors.New("not a unix socket")
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var cred *unix.Ucred
	var cerr error
	var groups []uint32
	if err := raw.Control(func(fd uintptr) {
		if cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); cerr == nil {
			groups, cerr = peerGroups(fd)
		}
	}); err != nil {
		return Peer{}, err
	}
	if cerr != nil {
		return Peer{}, cerr
	}
	p := PeerOf(cred.Pid, cred.Uid, cred.Gid)
	p.Groups = groups
	return p, nil
}

// PeerOf names a process's user.
func PeerOf(pid int32, uid, gid uint32) Peer {
	p := Peer{PID: pid, UID: uid, GID: gid, LoginUID: NoLogin}
	p.Exe = program(pid)
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/loginuid", pid)); err == nil {
		if v, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32); err == nil {
			p.LoginUID = uint32(v)
		}
	}
	id := p.UID
	if p.LoginUID != NoLogin {
		id = p.LoginUID
	}
	p.Name = strconv.FormatUint(uint64(id), 10)
	if u, err := user.LookupId(p.Name); err == nil {
		p.Name = u.Username
	}
	return p
}

// program is the path of a process's program; where the kernel does not tell
// that to a daemon with few rights, its name in brackets; "" for one that is gone.
func program(pid int32) string {
	if path, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil {
		return path
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return ""
	}
	return "[" + strings.TrimSuffix(string(name), "\n") + "]"
}
