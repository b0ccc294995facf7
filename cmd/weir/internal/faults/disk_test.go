package faults

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/phases"
)

// ownDisk gives the calling test a mount namespace of its own and in it a file
// system of so many bytes. The thread, and with it the mount, ends with the
// test's goroutine. The main thread is never it: TestMain sits there.
func ownDisk(t testing.TB, size string) string {
	t.Helper()
	dir := t.TempDir()
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		t.Fatal("a test on the main thread")
	}
	must(t, unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS))
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	must(t, unix.Mount("weir-faults", dir, "tmpfs", 0, "mode=0700,size="+size))
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// TestFullDisk: with the disk full nothing new is frozen, approved or armed, and
// the answer says so; a rollback works, is seen in the kernel, and comes into
// the journal once there is room.
func TestFullDisk(t *testing.T) {
	for _, row := range []struct {
		name, before, word string
		works              bool
		after              string // denied
	}{
		{"requesting", "to:enforce/alert", "req", false, ""},
		{"arming", "to:enforce/alert req ok", "arm", false, ""},
		{"confirming", "to:enforce/alert req ok arm", "yes", false, "desks4:9999 desks6:9999"},
		{"one step back", "to:enforce/block:desks", "back", true, ""},
		{"ending a trial", "to:enforce/alert req ok arm", "back", true, ""},
		{"one group", "to:enforce/block:desks", "group:desks", true, ""},
		{"restoring", "to:enforce/block:desks delete look", "restore", false, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, newGround(t, false, nil), time.Hour)
			w.stop()
			w.dir = ownDisk(t, "2m")
			w.start()
			w.run("apply drill " + row.before)
			stuffing := filepath.Join(w.dir, "stuffing")
			fillUp(t, stuffing)
			for err := error(nil); err == nil; { // the database has room of its own
				err = w.m.Note(ctx, w.now, anna, phases.Noted, phases.Record{Line: "x"})
			}
			err := w.do(row.word)
			if err == nil {
				t.Fatal("nothing was said of a full disk")
			}
			if !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("the answer does not say what is wrong: %v", err)
			}
			if seen := strings.Contains(err.Error(), "seen in the kernel; but"); seen != row.works {
				t.Errorf("done is %v, want %v: %v", seen, row.works, err)
			}
			if got := w.g.passes(w); got != row.after {
				t.Errorf("denied is %q, want %q", got, row.after)
			}
			w.stop()
			must(t, os.Remove(stuffing))
			w.start()
			w.run("look")
			w.holds()
			if s := w.m.State(); row.works != (s.Pause != nil) {
				t.Errorf("paused %v, want %v", s.Pause, row.works)
			}
			w.goesOn()
			w.stop()
		})
	}
}

// fillUp writes until there is no room for a page.
func fillUp(t testing.TB, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// TestReadOnlyFolder: no daemon starts on a folder that cannot be written, and
// says so; the way back from its files works.
func TestReadOnlyFolder(t *testing.T) {
	t.Run("own mounts", func(t *testing.T) {
		w := newWorld(t, newGround(t, false, nil), time.Hour)
		w.stop()
		w.dir = ownDisk(t, "4m")
		w.start()
		w.run("apply drill to:enforce/block:desks")
		w.stop()
		must(t, unix.Mount("", w.dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		if err := w.open(); !errors.Is(err, syscall.EROFS) {
			t.Fatalf("opened: %v", err)
		}
		w.run("raw:enforce/alert")
		if got := w.g.passes(w); got != "" {
			t.Errorf("denied is %q", got)
		}
		must(t, unix.Mount("", w.dir, "", unix.MS_REMOUNT, ""))
		w.start()
		w.run("look")
		if v := w.view(); v.Step != "enforce/alert" || !v.Paused {
			t.Errorf("afterwards %+v", v)
		}
		w.holds()
		w.stop()
	})
}

// TestErrorsOfTheDisk: each write of journal and files fails once with an errno
// that disks have, and the process goes on. Nothing is half done, the errno
// reaches the caller, and the same word works afterwards.
func TestErrorsOfTheDisk(t *testing.T) {
	t.Parallel()
	errnos := []error{syscall.EIO, syscall.ENOSPC, syscall.EROFS, syscall.EDQUOT}
	for begin := range bound(t, 1) {
		for n := 1; ; n++ {
			errno := errnos[(begin+n)%len(errnos)]
			w := newWorld(t, newGround(t, false, nil), time.Hour)
			w.run("apply drill to:enforce/alert")
			w.p.arm(n, failBefore)
			w.p.err = errno
			words := strings.Fields("req ok arm yes")
			i, err := w.strike(words)
			fired := w.p.fired
			w.p.at = 0
			if fired == "" {
				w.stop()
				break
			}
			if err != nil && !errors.Is(err, errno) {
				t.Errorf("%v at %s: the answer is %v", errno, fired, err)
			}
			w.run("look")
			if i < len(words) && !strings.HasPrefix(fired, "kernel.") {
				// Where the intent was taken, the approval is used up.
				if err := w.do(words[i]); err != nil && !errors.Is(err, phases.ErrUsed) && !errors.Is(err, phases.ErrPending) && !errors.Is(err, phases.ErrNoTrial) {
					t.Errorf("%v at %s: again: %v", errno, fired, err)
				}
			}
			w.holds()
			w.stop()
		}
	}
}
