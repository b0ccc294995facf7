package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"weir/cmd/weir/internal/exit"
	"weir/phases/policy/rules"
	"weir/phases/policy/rules/nftjson"
)

// isNft says whether a text is meant for nft -f, whoever wrote it.
var isNft = regexp.MustCompile(`(?m)^\s*(#!.*\bnft\b|table\s+(ip|ip6|inet|arp|bridge|netdev)\s+\S+|(add|create)\s+(table|chain|rule|set)\s|flush\s+ruleset|define\s+\w+\s*=)`)

// readNft lets nft read a text, in a network namespace that is gone afterwards,
// and reads what nft then lists. Nothing of this machine's rules is seen or
// changed: where there is no namespace, nothing is run.
func readNft(ctx context.Context, file, text string) (rules.Ruleset, error) {
	out, err := loadNft(ctx, file, text)
	var notes []rules.Note
	if at := index.FindStringIndex(text); err != nil && at != nil && strings.Contains(err.Error(), "Interface does not exist") {
		if out, err = loadNft(ctx, file, byName(text)); err == nil {
			line := 1 + strings.Count(text[:at[0]], "\n")
			notes = append(notes, rules.Note{File: file, Line: line, Text: "iif and oif are read as iifname and oifname: this machine has not all of the interfaces"})
		}
	}
	if err != nil {
		return rules.Ruleset{}, err
	}
	rs, err := nftjson.Read(file+" (as nft lists it)", out)
	rs.Notes = append(notes, rs.Notes...)
	return rs, err
}

var index = regexp.MustCompile(`\b(?:iif|oif|iface_index)\b`)

// byName writes interfaces by their name where a text has them by number; what
// is quoted stays.
func byName(text string) string {
	parts := strings.Split(text, `"`)
	for i := 0; i < len(parts); i += 2 {
		parts[i] = index.ReplaceAllStringFunc(parts[i], func(w string) string {
			return map[string]string{"iif": "iifname", "oif": "oifname", "iface_index": "ifname"}[w]
		})
	}
	return strings.Join(parts, `"`)
}

func loadNft(ctx context.Context, file, text string) (string, error) {
	c := exec.CommandContext(ctx, "sh", "-c", "nft -I . -f - && exec nft -j list ruleset")
	c.Stdin = strings.NewReader(text)
	if file != "-" {
		c.Dir = filepath.Dir(file) // for what it includes
	}
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	b, err := c.Output()
	if err == nil {
		return string(b), nil
	}
	if x := (*exec.ExitError)(nil); errors.As(err, &x) {
		words := strings.ReplaceAll(strings.TrimSpace(string(x.Stderr)), "/dev/stdin:", file+":")
		if strings.Contains(words, "nft: not found") || strings.Contains(words, "nft: command not found") {
			return "", exit.Errorf(exit.Failed, "cannot read %s: nft is not installed", file).WithHint("where it is: nft -j list ruleset > FILE")
		}
		return "", exit.Errorf(exit.Invalid, "nft cannot read %s:\n%s", file, words)
	}
	return "", fmt.Errorf("cannot read %s: no network namespace can be made for nft: %w; be root, or give what nft -j list ruleset prints", file, err)
}
