package boot

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// unit is a unit's text by section and key, as systemd reads it.
type unit map[string]map[string][]string

func parse(t *testing.T, u Unit) unit {
	t.Helper()
	out, section := unit{}, ""
	for i, line := range strings.Split(u.Text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
			continue
		case strings.HasPrefix(line, "["):
			section = strings.Trim(line, "[]")
			out[section] = map[string][]string{}
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section == "" || strings.HasSuffix(line, `\`) {
			t.Fatalf("%s:%d: %q", u.Name, i+1, line)
		}
		out[section][key] = append(out[section][key], strings.Fields(value)...)
	}
	return out
}

func TestUnits(t *testing.T) {
	units, err := Units("/usr/local/bin/weir")
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]unit{}
	for _, u := range units {
		byName[u.Name] = parse(t, u)
		if strings.Contains(u.Text, "@") && strings.Contains(u.Text, "@WEIR@") {
			t.Errorf("%s does not name the program", u.Name)
		}
	}
	has := func(name, section, key string, words ...string) {
		t.Helper()
		got := byName[name][section][key]
		for _, w := range words {
			if !slices.Contains(got, w) {
				t.Errorf("%s: %s= is %v, without %s", name, key, got, w)
			}
		}
		if len(words) == 0 && len(got) > 0 {
			t.Errorf("%s: %s= is %v", name, key, got)
		}
	}
	// Before any interface is up, after whoever loads a saved ruleset, and no other
	// unit is needed.
	has("weir-boot.service", "Unit", "Before", "network-pre.target", "weir.service")
	has("weir-boot.service", "Unit", "Wants", "network-pre.target")
	has("weir-boot.service", "Unit", "After", "nftables.service", "netfilter-persistent.service", "local-fs.target")
	has("weir-boot.service", "Unit", "DefaultDependencies", "no")
	has("weir-boot.service", "Unit", "Requires")
	has("weir-boot.service", "Service", "ExecStart", "/usr/local/bin/weir", "restore", "--boot")
	has("weir-boot.service", "Service", "Type", "oneshot")
	has("weir-boot.service", "Service", "DeviceAllow", "/dev/kmsg", "w")
	has("weir-boot.service", "Install", "WantedBy", "sysinit.target")
	has("weir.service", "Unit", "After", "weir-boot.service")
	has("weir.service", "Unit", "Requires") // a boot that failed is told by a daemon that runs
	has("weir.service", "Unit", "BindsTo")
	has("weir.service", "Service", "Type", "notify")
	has("weir.service", "Service", "WatchdogSec", "120")
	has("weir.service", "Service", "Restart", "always")
	// A step that cannot be rehearsed is not armed: the service for that may what the
	// daemon may not.
	has("weir-lab@.service", "Service", "RestrictAddressFamilies", "AF_UNIX", "AF_NETLINK", "AF_PACKET")
	if got := byName["weir.service"]["Service"]["RestrictAddressFamilies"]; slices.Contains(got, "AF_PACKET") {
		t.Errorf("the daemon may open %v", got)
	}
	has("weir.service", "Service", "ExecStart", "/usr/local/bin/weir", "daemon")
	for _, name := range []string{"weir-boot.service", "weir.service"} {
		// What is in force stays in force.
		for _, key := range []string{"ExecStop", "ExecStopPost", "ExecReload", "ExecStartPre"} {
			has(name, "Service", key)
		}
		if got := byName[name]["Service"]["CapabilityBoundingSet"]; !slices.Equal(got, []string{"CAP_NET_ADMIN"}) {
			t.Errorf("%s may do %v", name, got)
		}
		has(name, "Service", "AmbientCapabilities")
		has(name, "Service", "NoNewPrivileges", "yes")
		has(name, "Service", "RestrictNamespaces", "yes")
		has(name, "Service", "ProtectSystem", "strict")
		has(name, "Service", "RuntimeDirectoryPreserve", "yes") // what is spent is there, too
	}
	// The rehearsal has no right but in namespaces of its own.
	has("weir-lab@.service", "Service", "ExecStart", "/usr/local/bin/weir", "lab", "--ask")
	has("weir-lab@.service", "Service", "CapabilityBoundingSet") // none
	has("weir-lab@.service", "Service", "DynamicUser", "yes")
	has("weir-lab@.service", "Service", "NoNewPrivileges", "yes")
	has("weir-lab@.service", "Service", "RestrictNamespaces", "user", "net")
	has("weir-lab@.service", "Service", "StandardInput", "socket")
	has("weir-lab@.service", "Service", "StandardOutput", "socket")
	has("weir-lab.socket", "Socket", "ListenStream", "/run/weir/lab.sock")
	has("weir-lab.socket", "Socket", "SocketMode", "0600")
	has("weir-lab.socket", "Socket", "Accept", "yes")
	has("weir.service", "Unit", "Wants", "weir-lab.socket")
	if _, ok := byName["weir-lab@.service"]["Service"]["CapabilityBoundingSet"]; !ok {
		t.Error("weir-lab@.service does not say that it has no right")
	}
	for _, bad := range []string{"weir", "", "/opt/my tools/weir", "/opt/%h/weir", "/opt/\nExecStop=/bin/false"} {
		if _, err := Units(bad); err == nil {
			t.Errorf("units for %q", bad)
		}
	}
}

func TestWriteUnits(t *testing.T) {
	dir := t.TempDir()
	for range 2 { // again, over what is there
		names, err := WriteUnits(dir, "/usr/sbin/weir")
		if err != nil || len(names) == 0 {
			t.Fatal(names, err)
		}
		for _, n := range names {
			info, err := os.Stat(n)
			if err != nil || info.Mode() != 0o644 {
				t.Errorf("%s: %v %v", n, info.Mode(), err)
			}
		}
	}
	if _, err := WriteUnits(filepath.Join(dir, "nothing"), "/usr/sbin/weir"); err == nil {
		t.Error("wrote into a folder that is not there")
	}
}
