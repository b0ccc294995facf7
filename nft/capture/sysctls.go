package capture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Sysctl is a kernel setting of one network namespace, with the value that it
// had and the value that weir wants.
type Sysctl struct {
	Name string `json:"name"` // "net.netfilter.nf_conntrack_acct"
	Old  string `json:"old"`
	New  string `json:"new"`
}

// Sysctls is what weir changes, as plain data for the journal. It is written
// down before Set and given to Restore by "weir remove".
type Sysctls []Sysctl

// wanted are the settings without which bytes, times and the ends of older
// connections are missing.
var wanted = Sysctls{
	{Name: "net.netfilter.nf_conntrack_acct", New: "1"},
	{Name: "net.netfilter.nf_conntrack_timestamp", New: "1"},
	{Name: "net.netfilter.nf_conntrack_events", New: "1"},
}

// ReadSysctls says what Prepare would change, and changes nothing. Settings
// that are right already are left out.
func ReadSysctls(opt Options) (Sysctls, error) {
	var out Sysctls
	err := opt.within(func() error {
		for _, s := range wanted {
			old, err := readSysctl(opt, s.Name)
			if errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("cannot read %s: connection tracking is not loaded; run: modprobe nf_conntrack_netlink: %w", s.Name, err)
			}
			if err != nil {
				return fmt.Errorf("cannot read %s: %w", s.Name, err)
			}
			if old != s.New {
				s.Old = old
				out = append(out, s)
			}
		}
		return nil
	})
	return out, err
}

// Set writes the new values.
func (s Sysctls) Set(opt Options) error {
	return opt.within(func() error {
		for _, c := range s {
			if err := writeSysctl(opt, c.Name, c.New); err != nil {
				return fmt.Errorf("cannot set %s to %s: %w", c.Name, c.New, err)
			}
		}
		return nil
	})
}

// Restore writes the old values back. A setting that has neither weir's value
// nor the old one was changed by somebody else: it is left alone and returned.
func (s Sysctls) Restore(opt Options) (changed Sysctls, err error) {
	err = opt.within(func() error {
		var errs []error
		for _, c := range s {
			now, err := readSysctl(opt, c.Name)
			switch {
			case err != nil:
				errs = append(errs, fmt.Errorf("cannot read %s: %w", c.Name, err))
			case now == c.Old:
			case now != c.New:
				changed = append(changed, Sysctl{Name: c.Name, Old: c.Old, New: now})
			default:
				if err := writeSysctl(opt, c.Name, c.Old); err != nil {
					errs = append(errs, fmt.Errorf("cannot set %s back to %s: %w", c.Name, c.Old, err))
				}
			}
		}
		return errors.Join(errs...)
	})
	return changed, err
}

// Prepare reads the old values and sets the new ones. A caller that journals
// before it acts calls ReadSysctls, writes them down, and then Set.
func Prepare(ctx context.Context, opt Options) (Sysctls, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, err := ReadSysctls(opt)
	if err != nil {
		return nil, err
	}
	if err := s.Set(opt); err != nil {
		_, back := s.Restore(opt)
		return nil, errors.Join(err, back)
	}
	return s, nil
}

// HeadRoom is how full the connection table is. Count is this namespace's;
// Max is the whole machine's limit for each namespace.
type HeadRoom struct{ Count, Max uint64 }

// Left is the share of the table that is free, from 0 to 1. A table without a
// limit is free.
func (h HeadRoom) Left() float64 {
	if h.Max == 0 {
		return 1
	}
	return 1 - min(1, float64(h.Count)/float64(h.Max))
}

// ReadHeadRoom reads the connection table's count and limit.
func ReadHeadRoom(opt Options) (h HeadRoom, err error) {
	err = opt.within(func() error {
		for name, to := range map[string]*uint64{
			"net.netfilter.nf_conntrack_count": &h.Count, "net.netfilter.nf_conntrack_max": &h.Max,
		} {
			text, err := readSysctl(opt, name)
			if err != nil {
				return fmt.Errorf("cannot read %s: %w", name, err)
			}
			if *to, err = strconv.ParseUint(text, 10, 64); err != nil {
				return fmt.Errorf("cannot read %s: %w", name, err)
			}
		}
		return nil
	})
	return h, err
}

func sysctlPath(opt Options, name string) string {
	return opt.path("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
}

func readSysctl(opt Options, name string) (string, error) {
	b, err := os.ReadFile(sysctlPath(opt, name))
	return strings.TrimSpace(string(b)), err
}

func writeSysctl(opt Options, name, value string) error {
	return os.WriteFile(sysctlPath(opt, name), []byte(value), 0o644)
}
