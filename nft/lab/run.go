package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"weir/nft/netns"
)

// ErrNotAllowed is returned where this machine lets weir make no namespace; its
// text says how to allow it.
var ErrNotAllowed = errors.New("cannot rehearse: this machine allows no throw-away network namespace")

// Command is the word after the program's name that means: call Serve.
const Command = "lab"

// Run plays a script in a process of its own: this program, started again as
// Command in a new user namespace. That process has no right outside of it and
// needs none; it ends with this one. Only where user namespaces are not allowed
// and this process may make network namespaces itself, the child is one with its
// rights. With an error the outcomes end before the act that could not be done.
func Run(ctx context.Context, s Script) (Result, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return Result{}, fmt.Errorf("cannot write the script: %w", err)
	}
	var refused error
	for _, flags := range []uintptr{unix.CLONE_NEWUSER | unix.CLONE_NEWNET, unix.CLONE_NEWNET} {
		r, err := run(ctx, data, flags)
		switch {
		case ctx.Err() != nil:
			return r, fmt.Errorf("cannot rehearse in time: %w", ctx.Err())
		case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EACCES), errors.Is(err, unix.EUSERS):
			refused = errors.Join(refused, err)
		case err != nil:
			return r, fmt.Errorf("cannot rehearse: %w", err)
		case r.Denied:
			refused = errors.Join(refused, errors.New(r.Error))
		case r.Error != "":
			return r, errors.New(r.Error)
		default:
			return r, nil
		}
	}
	return Result{}, fmt.Errorf("%w; %s (%s)", ErrNotAllowed, netns.Remedy(), strings.ReplaceAll(refused.Error(), "\n", "; "))
}

func run(ctx context.Context, script []byte, flags uintptr) (Result, error) {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", Command)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin = bytes.NewReader(script)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	if flags&unix.CLONE_NEWUSER != 0 {
		// No user is mapped: to map root takes a right that a daemon with
		// CAP_NET_ADMIN alone has not. The rights come as ambient ones instead,
		// and count in the new namespace only.
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_SYS_ADMIN}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	// Pdeathsig counts the thread, not the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		if said := strings.TrimSpace(complaints.String()); said != "" {
			err = fmt.Errorf("%w: %s", err, said)
		}
		return Result{}, err
	}
	var r Result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return Result{}, fmt.Errorf("cannot read what the lab says: %w", err)
	}
	return r, nil
}

// Serve is the child: it reads a script, plays it and writes the result. What
// could not be done is in the result.
func Serve(in io.Reader, out io.Writer) error {
	var s Script
	if err := json.NewDecoder(in).Decode(&s); err != nil {
		return fmt.Errorf("cannot read the script: %w", err)
	}
	// The namespaces end with this process, faster than one by one.
	r, _, err := play(context.Background(), s)
	if err != nil {
		r.Error = err.Error()
		r.Denied = errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)
	}
	return json.NewEncoder(out).Encode(r)
}
