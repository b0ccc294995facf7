package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Process is what this machine says of a process at a moment.
type Process struct {
	PID      int
	Name     string // at most 15 bytes
	Command  string // its arguments, "" of a kernel thread
	UID      uint32
	Login    uint32 // login uid, which survives sudo; NoLogin where nobody logged in for it
	Terminal bool   // it has a controlling terminal
}

// NoLogin is the login uid of what no login session started.
const NoLogin = ^uint32(0)

// Person says whether somebody logged in stands behind the process.
func (p Process) Person() bool { return p.Login != NoLogin || p.Terminal }

// ProcessOf looks for a process, or a thread, by its number. A process that has
// ended is an error.
func ProcessOf(pid int) (Process, error) { return processIn("/proc", pid) }

func processIn(proc string, pid int) (Process, error) {
	p := Process{PID: pid, Login: NoLogin}
	dir := filepath.Join(proc, strconv.Itoa(pid))
	fail := func(err error) (Process, error) {
		return Process{}, fmt.Errorf("cannot look at process %d: %w", pid, err)
	}
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return fail(err)
	}
	if p.Name, p.Terminal, err = parseStat(string(stat)); err != nil {
		return fail(err)
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return fail(err)
	}
	if p.UID, err = parseUID(string(status)); err != nil {
		return fail(err)
	}
	// A kernel without auditing has no login uid: nobody is known.
	if text, err := os.ReadFile(filepath.Join(dir, "loginuid")); err == nil {
		n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
		if err != nil {
			return fail(err)
		}
		p.Login = uint32(n)
	}
	line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return fail(err)
	}
	p.Command = strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))
	return p, nil
}

// parseStat reads /proc/PID/stat: number, name in brackets (which may hold any
// character), state, parent, group, session, terminal.
func parseStat(text string) (name string, terminal bool, err error) {
	begin, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if begin < 0 || end < begin {
		return "", false, fmt.Errorf("cannot read its stat %q", text)
	}
	f := strings.Fields(text[end+1:])
	if len(f) < 5 {
		return "", false, fmt.Errorf("cannot read its stat %q", text)
	}
	return text[begin+1 : end], f[4] != "0", nil
}

func parseUID(text string) (uint32, error) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "Uid:"); ok {
			f := strings.Fields(rest)
			if len(f) == 0 {
				break
			}
			n, err := strconv.ParseUint(f[0], 10, 32)
			return uint32(n), err
		}
	}
	return 0, fmt.Errorf("cannot find its uid")
}
