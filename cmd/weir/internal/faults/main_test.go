package faults

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/cmd/weir/internal/daemon"
	stand "weir/nft/lab"
)

// clockFile, in the environment, makes the test program a daemon whose clock is
// off by the duration that the file holds.
const clockFile = "WEIR_FAULTS_CLOCK"

// init keeps the main thread for TestMain: tests that change their thread's
// namespaces must not be on it.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == stand.Command { // a daemon of this program rehearses
		if err := stand.Serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if file := os.Getenv(clockFile); file != "" {
		os.Exit(skewedDaemon(file))
	}
	flag.Parse()
	// Much of a test's time is waiting for leases to end.
	if err := flag.Set("test.parallel", strconv.Itoa(3*runtime.GOMAXPROCS(0))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

func skewedDaemon(file string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	now := func() time.Time {
		text, err := os.ReadFile(file)
		if err != nil {
			return time.Now()
		}
		off, err := time.ParseDuration(strings.TrimSpace(string(text)))
		if err != nil {
			return time.Now()
		}
		return time.Now().Add(off)
	}
	err := daemon.Run(ctx, daemon.Config{State: os.Getenv("WEIR_STATE"), Socket: os.Getenv("WEIR_SOCKET"), Now: now, Log: os.Stderr})
	if err != nil {
		fmt.Fprintln(os.Stderr, "weir:", err)
		return 1
	}
	return 0
}

var built struct {
	sync.Once
	dir string
	err error
}

// weir builds the program, once.
func weir(t testing.TB) string {
	t.Helper()
	built.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "weir-faults-bin-"); built.err != nil {
			return
		}
		out, err := exec.Command("go", "build", "-o", filepath.Join(built.dir, "weir"), "weir/cmd/weir").CombinedOutput()
		if err != nil {
			built.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "weir")
}
