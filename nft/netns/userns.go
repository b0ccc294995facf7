package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// reexecMark is in the environment of the program that Reexec started.
const reexecMark = "WEIR_NETNS_USERNS"

// Allowed says whether this process may make network namespaces as it is. It
// tries, on a thread that it throws away.
func Allowed() error {
	result := make(chan error, 1)
	var try func()
	try = func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			moved := make(chan struct{})
			go func() { defer close(moved); try() }()
			<-moved
			runtime.UnlockOSThread()
			return
		}
		result <- unix.Unshare(unix.CLONE_NEWNET)
	}
	go try()
	if err := <-result; err != nil {
		return fmt.Errorf("cannot make a network namespace: %w", err)
	}
	return nil
}

// EnsureUserns makes sure that New works. Where it does, done is false and the
// caller goes on. Where it does not, the program is started again with the
// same arguments inside a user namespace in which it is root; EnsureUserns
// waits for it, and the caller exits with code. Where user namespaces are not
// allowed either, the error says which command allows them. Call it before
// anything else that has an effect.
func EnsureUserns() (code int, done bool, err error) {
	return ensure(os.Args[1:])
}

func ensure(args []string) (code int, done bool, err error) {
	first := Allowed()
	if first == nil {
		return 0, false, nil
	}
	if os.Getenv(reexecMark) != "" {
		// AppArmor lets the namespace be made, but takes the rights in it.
		return 1, false, fmt.Errorf("in a user namespace: %w; %s", first, remedy(os.ReadFile))
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), reexecMark+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:                 unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		UidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		GidMappingsEnableSetgroups: false,
		Pdeathsig:                  syscall.SIGTERM,
	}
	// Pdeathsig counts the thread, not the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 1, false, fmt.Errorf("cannot make a network namespace without root: %w; %s", err, remedy(os.ReadFile))
	}
	ended := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-signals:
				if s != os.Interrupt { // a terminal sends it to the child by itself
					cmd.Process.Signal(s) // it may have ended
				}
			case <-ended:
				return
			}
		}
	}()
	err = cmd.Wait()
	close(ended)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if exit.ExitCode() < 0 {
			return 128 + int(exit.Sys().(syscall.WaitStatus).Signal()), true, nil
		}
		return exit.ExitCode(), true, nil
	}
	return 0, true, err
}

// Remedy says which command allows user namespaces here.
func Remedy() string { return remedy(os.ReadFile) }

// remedy says which command allows user namespaces here.
func remedy(read func(string) ([]byte, error)) string {
	for _, x := range []struct{ file, bad, do string }{
		{"/proc/sys/user/max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=15000"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
	} {
		if b, err := read(x.file); err == nil && strings.TrimSpace(string(b)) == x.bad {
			return "user namespaces are switched off here; allow them with: " + x.do + ", or run this as root"
		}
	}
	return "run this as root"
}
