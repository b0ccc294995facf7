package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// may says which of our packages a package may import, and why there are no
// more. A package that is not here may not exist.
var may = map[string][]string{
	"phases/flow":                  {},                                               // the vocabulary: everybody may import it
	"phases/flow/hostile":          {},                                               // strings for tests of what prints
	"plans":                        {},                                               // a plan knows nothing of what is done with it
	"nft":                          {},                                               // values and text
	"nft/eval":                     {"nft"},                                          // interprets values
	"nft/suite":                    {"nft"},                                          // what both kernels must do
	"nft/fake":                     {"nft"},                                          // a kernel in memory
	"nft/netns":                    {},                                               // the lab
	"nft/lab":                      {"nft", "nft/eval", "nft/kernel", "nft/netns"},   // a throw-away gateway; judges nothing
	"nft/host":                     {},                                               // reads this machine
	"nft/kernel":                   {"nft"},                                          // the only one that writes to nftables
	"nft/capture":                  {"nft"},                                          // the only one that listens to it
	"phases/policy":                {},                                               // an algebra
	"phases/policy/rules":          {},                                               // what a filter says, whatever wrote it
	"phases/policy/rules/iptables": {"phases/policy/rules"},                          // text to values
	"phases/policy/rules/nftjson":  {"phases/policy/rules"},                          // text to values
	"phases/policy/rules/nfttext":  {"phases/policy/rules"},                          // values to text, and back
	"phases/policy/rules/sample":   {"phases/policy/rules"},                          // made-up rulesets, for tests
	"phases/policy/diagram":        {"phases/policy/rules"},                          // rules to canonical sets
	"phases/policy/infer":          {"phases/policy/rules", "phases/policy/diagram"}, // what rules amount to
	"phases/compile":               {"phases/policy", "nft"},                         // values to values
	"phases/compile/oracle":        {"phases/compile", "phases/policy", "nft/eval"},  // what tests compare compiled rulesets with
	"phases/finding":               {},                                               // one type
	"phases/monitor":               {"phases/finding", "plans"},                      // records to evidence
	"phases/enforce":               {"phases/monitor", "phases/policy", "phases/finding", "plans"},
	"phases/refactor":              {"phases/policy", "phases/monitor", "plans"},
	"phases/watch":                 {"phases/monitor", "phases/finding", "plans", "phases/policy"},
	"phases/expect":                {"phases/policy", "phases/compile", "phases/enforce", "phases/refactor", "plans"}, // a plan's tests
	"phases/suggest":               {"phases/monitor", "phases/enforce", "plans"},                                     // flows to proposals
	"phases/health":                {"phases/monitor", "phases/policy"},                                               // does a step do harm
	"phases/approval":              {"plans"},                                                                         // what a signer signs
	"phases/audit":                 {},                                                                                // a Merkle tree, and what a machine signs
	"phases/rehearse":              {"phases/compile", "phases/compile/oracle", "phases/policy", "nft", "nft/eval"},   // packets, and what has to become of them
	"phases": {"phases/approval", "phases/policy", "phases/compile", "phases/finding", "phases/monitor", "phases/enforce",
		"phases/refactor", "phases/watch", "phases/expect", "phases/rehearse", "phases/health", "plans", "nft"}, // the machine: no I/O, so no store and no sockets
	"store": {"phases", "phases/audit", "phases/monitor", "phases/enforce", "phases/finding", "phases/policy", "phases/compile", "nft", "plans"},
}

// owner says who alone may import a third-party module.
var owner = map[string][]string{
	"github.com/google/nftables":  {"nft/"},
	"github.com/mdlayher/netlink": {"nft/"},
	"github.com/vishvananda/":     {"nft/"},
	"github.com/ti-mo/":           {"nft/"},
	"github.com/florianl/":        {"nft/"},
	"go.etcd.io/bbolt":            {"store"},
	"github.com/goccy/go-yaml":    {"plans"},
	"github.com/robfig/cron":      {"plans"},
	"github.com/santhosh-tekuri/": {"plans"},
	"github.com/spf13/cobra":      {"cmd/weir"},
	"github.com/hiddeco/sshsig":   {"phases/approval", "phases/audit"},
	"golang.org/x/crypto":         {"phases/approval", "phases/audit", "plans"}, // plans reads public keys
	"golang.org/x/mod":            {"phases/audit"},
}

// pure are packages that may not touch the world.
var pure = []string{"phases", "phases/", "plans", "nft"}
var harmless = map[string]string{"plans": "net"} // net.ParseMAC reads text
var world = []string{"os", "net", "net/http", "syscall", "os/exec", "golang.org/x/sys/unix"}

func TestImportsPointOneWay(t *testing.T) {
	seen := map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		rel, _ := filepath.Rel("../..", path)
		pkg := filepath.ToSlash(filepath.Dir(rel))
		test := strings.HasSuffix(path, "_test.go")
		allowed, listed := may[pkg]
		inCmd := pkg == "cmd/weir" || strings.HasPrefix(pkg, "cmd/weir/")
		if !listed && !inCmd && !test {
			t.Errorf("%s: package %s is not in the import table", rel, pkg)
		}
		seen[pkg] = true
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, im := range f.Imports {
			p, _ := strconv.Unquote(im.Path.Value)
			if ours, ok := strings.CutPrefix(p, "weir/"); ok {
				if inCmd || test || ours == "phases/flow" || slices.Contains(allowed, ours) {
					continue
				}
				t.Errorf("%s imports %s: not allowed", rel, p)
				continue
			}
			if test {
				continue
			}
			for mod, who := range owner {
				if strings.HasPrefix(p, mod) && !slices.ContainsFunc(who, func(w string) bool { return strings.HasPrefix(pkg+"/", w) || strings.HasPrefix(pkg, w) }) {
					t.Errorf("%s imports %s, which only %v may", rel, p, who)
				}
			}
			if isPure(pkg) && slices.Contains(world, p) && harmless[pkg] != p {
				t.Errorf("%s imports %s: %s does no I/O", rel, p, pkg)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range may {
		if !seen[pkg] {
			t.Errorf("the import table has %s, which does not exist", pkg)
		}
	}
}

func isPure(pkg string) bool {
	return slices.ContainsFunc(pure, func(p string) bool {
		return pkg == p || strings.HasSuffix(p, "/") && strings.HasPrefix(pkg, p)
	})
}
