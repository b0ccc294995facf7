package host

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// loginServers are the programs that have a process for each remote login.
var loginServers = []string{"sshd", "sshd-session", "dropbear"}

// clockTick is the unit of times in /proc/PID/stat: USER_HZ, which is 100 on
// every architecture that Go knows.
const clockTick = time.Second / 100

// Login says when the remote login began from which a process was started, as
// time since the machine started. ok is false where there is none: a console, a
// service, or a terminal that lives on without its login.
func Login(pid int) (since time.Duration, ok bool, err error) { return loginIn("/proc", pid) }

func loginIn(proc string, pid int) (time.Duration, bool, error) {
	// A process that ended meanwhile may have lent its number to another one, so
	// the way up is bounded.
	for range 256 {
		if pid <= 1 {
			return 0, false, nil
		}
		text, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "stat"))
		if err != nil {
			return 0, false, fmt.Errorf("cannot look at process %d: %w", pid, err)
		}
		name, parent, began, err := parseOrigin(string(text))
		if err != nil {
			return 0, false, fmt.Errorf("cannot look at process %d: %w", pid, err)
		}
		if slices.Contains(loginServers, name) {
			return began, true, nil
		}
		pid = parent
	}
	return 0, false, fmt.Errorf("cannot find from where process %d was started: too many processes above it", pid)
}

// parseOrigin reads of /proc/PID/stat the name, the parent (field 4) and when the
// process began (field 22).
func parseOrigin(text string) (name string, parent int, began time.Duration, err error) {
	begin, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if begin < 0 || end < begin {
		return "", 0, 0, fmt.Errorf("cannot read its stat %q", text)
	}
	f := strings.Fields(text[end+1:])
	if len(f) < 20 {
		return "", 0, 0, fmt.Errorf("cannot read its stat %q", text)
	}
	if parent, err = strconv.Atoi(f[1]); err != nil {
		return "", 0, 0, fmt.Errorf("cannot read its parent: %w", err)
	}
	ticks, err := strconv.ParseInt(f[19], 10, 64)
	if err != nil || ticks < 0 || ticks > int64(1<<62)/int64(clockTick) {
		return "", 0, 0, fmt.Errorf("cannot read when it began: %q", f[19])
	}
	return text[begin+1 : end], parent, time.Duration(ticks) * clockTick, nil
}
