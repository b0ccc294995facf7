package netns

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Sysctl sets a net.* value of this namespace: "net.ipv4.ip_forward" or
// "net/ipv4/conf/wan0.5/rp_filter". Values outside net.* belong to the whole
// machine and are refused.
func (n *NS) Sysctl(name, value string) error {
	return n.Do(func() error { return writeSysctl(name, value) })
}

// ReadSysctl returns a net.* value of this namespace without its line end.
func (n *NS) ReadSysctl(name string) (string, error) {
	var out string
	err := n.Do(func() (err error) {
		out, err = readSysctl(name)
		return err
	})
	return out, err
}

func readSysctl(name string) (string, error) {
	path, err := sysctlPath(name)
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("cannot read sysctl: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// Forward lets the namespace pass on packets of both families.
func (n *NS) Forward() error {
	return n.Do(func() error {
		if err := writeSysctl("net.ipv4.ip_forward", "1"); err != nil {
			return err
		}
		return writeSysctl("net.ipv6.conf.all.forwarding", "1")
	})
}

// writeSysctl runs on a thread inside a namespace: /proc/sys/net shows the
// values of the namespace of the thread that opens the file.
func writeSysctl(name, value string) error {
	path, err := sysctlPath(name)
	if err != nil {
		return err
	}
	if _, err := here(); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		return fmt.Errorf("cannot set sysctl %s to %q: %w", name, value, err)
	}
	return nil
}

func sysctlPath(name string) (string, error) {
	rel := name
	if !strings.Contains(name, "/") {
		rel = strings.ReplaceAll(name, ".", "/")
	}
	if !strings.HasPrefix(rel, "net/") || !filepath.IsLocal(rel) || filepath.Clean(rel) != rel {
		return "", fmt.Errorf("cannot use sysctl %q: only net.* belongs to a namespace", name)
	}
	return filepath.Join("/proc/sys", rel), nil
}
