package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Options say where the table is. The zero value means the calling thread's
// network namespace.
type Options struct {
	NetNS   int    // a file descriptor of a network namespace, which the caller keeps open until Open returns
	NetPath string // or its path
}

// Kernel is one connection to nftables in one network namespace. It may be used
// by one goroutine at a time; several Kernels may exist.
type Kernel struct {
	c *conn
}

// ErrDormant is returned by Load, Arm and Confirm while the table is switched
// off: whatever they did would filter nothing.
var ErrDormant = errors.New(`the table inet weir is dormant, nothing in it filters; wake it with: nft add table inet weir`)

// Open makes the connection; it changes nothing in the kernel.
func Open(o Options) (*Kernel, error) {
	fd := o.NetNS
	if o.NetPath != "" {
		f, err := os.Open(o.NetPath)
		if err != nil {
			return nil, fmt.Errorf("cannot open network namespace: %w", err)
		}
		defer f.Close()
		fd = int(f.Fd())
	}
	c, err := dial(fd)
	if err != nil {
		return nil, err
	}
	return &Kernel{c: c}, nil
}

// Close ends the connection; the kernel keeps everything.
func (k *Kernel) Close() error { return k.c.close() }

// Gen returns the generation of the namespace's rulesets. Any commit by anyone
// moves it; expiry of elements does not.
func (k *Kernel) Gen(ctx context.Context) (uint32, error) { return k.c.gen(ctx) }

// bootID reads the kernel's boot id.
func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("cannot read the boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
