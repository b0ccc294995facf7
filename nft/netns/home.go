package netns

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrHome is returned when a function would have touched the network that the
// process was started in, or that of process 1.
var ErrHome = errors.New("refused: this is the machine's own network namespace")

// inode identifies a namespace.
type inode struct{ dev, ino uint64 }

const threadNS = "/proc/thread-self/ns/net"

func inodeOf(path string) (inode, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return inode{}, fmt.Errorf("cannot read %s: %w", path, err)
	}
	return inode{st.Dev, st.Ino}, nil
}

// home is what no function may touch, read before any thread can have entered
// a namespace of ours. /proc/1 is unreadable without root; then the namespace
// that the process was started in stands alone.
var home, homeErr = func() ([]inode, error) {
	self, err := inodeOf("/proc/self/ns/net")
	if err != nil {
		return nil, err
	}
	all := []inode{self}
	if one, err := inodeOf("/proc/1/ns/net"); err == nil && one != self {
		all = append(all, one)
	}
	return all, nil
}()

// here returns the calling thread's namespace, or ErrHome where it is one that
// nobody may touch.
func here() (inode, error) {
	if homeErr != nil {
		return inode{}, homeErr
	}
	at, err := inodeOf(threadNS)
	if err != nil {
		return inode{}, err
	}
	for _, h := range home {
		if at == h {
			return at, ErrHome
		}
	}
	return at, nil
}
