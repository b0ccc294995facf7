package netns

import (
	"os"
	"strings"
	"testing"
)

func TestRemedyNamesTheCommand(t *testing.T) {
	for _, c := range []struct{ file, value, want string }{
		{"/proc/sys/user/max_user_namespaces", "0\n", "sysctl -w user.max_user_namespaces=15000"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0\n", "sysctl -w kernel.unprivileged_userns_clone=1"},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "0\n", "run this as root"},
	} {
		got := remedy(func(f string) ([]byte, error) {
			if f == c.file {
				return []byte(c.value), nil
			}
			return nil, os.ErrNotExist
		})
		if !strings.Contains(got, c.want) {
			t.Errorf("%s = %q: %q, want %q", c.file, c.value, got, c.want)
		}
	}
}
