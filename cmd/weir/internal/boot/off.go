package boot

import (
	"errors"
	"os"
	"slices"
	"strings"
)

// The two ways to switch weir off that need nothing of weir.
const (
	OffWord = "weir=off"      // on the kernel's command line
	OffFile = "/etc/weir/off" // a file, whatever is in it
)

const cmdline = "/proc/cmdline"

// Off says by what weir is switched off, "" that it is not. Then nothing is
// loaded into the kernel: not by a boot, and not by the daemon.
func Off() string { return off(cmdline, OffFile) }

func off(cmdline, file string) string {
	// A command line that cannot be read switches nothing off: the file is the
	// other way, and the kernel's is always there where /proc is.
	if text, err := os.ReadFile(cmdline); err == nil && slices.Contains(strings.Fields(string(text)), OffWord) {
		return OffWord + " on the kernel's command line"
	}
	if _, err := os.Lstat(file); err == nil || !errors.Is(err, os.ErrNotExist) {
		return "the file " + file
	}
	return ""
}
