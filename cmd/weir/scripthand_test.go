package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdHand is another program's hand:
//
//	hand WORDS …              nft reads the words; REV stands for the revision in force
//	hand -as UID WORDS …      the same by a process that stays a while, whose login is UID ("-": none)
func cmdHand(ts *testscript.TestScript, neg bool, args []string) {
	as := ""
	if len(args) > 2 && args[0] == "-as" {
		as, args = args[1], args[2:]
	}
	text := strings.Join(args, " ")
	if strings.Contains(text, "REV") {
		var s struct {
			Data struct {
				Revision string                       `json:"revision"`
				Stable   map[string]map[string]string `json:"stable"`
			} `json:"data"`
		}
		ts.Check(quietGW(ts, []string{"weir", "status", "-o", "json"}))
		ts.Check(json.Unmarshal([]byte(stageOf(ts).out), &s))
		for _, id := range s.Data.Stable["f"] { // no daemon: what the kernel holds
			s.Data.Revision = id
		}
		text = strings.ReplaceAll(text, "REV", s.Data.Revision)
	}
	cmd := fmt.Sprintf("echo %q | nft -f -", text)
	if as != "" {
		if as == "-" {
			as = "4294967295"
		}
		// nft would be gone before anybody can look at it: it waits for more.
		cmd = fmt.Sprintf("echo %s > /proc/self/loginuid && (echo %q; sleep 1.5) | setsid nft -i", as, text)
	}
	if err := quietGW(ts, []string{"sh", "-c", cmd}); err != nil {
		ts.Fatalf("nft: %v: %s", err, stageOf(ts).errs)
	}
}
