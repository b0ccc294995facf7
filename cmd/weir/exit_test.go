package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"weir/cmd/weir/internal/exit"
	"weir/nft"
	"weir/phases"
)

func TestExitCodesOfCommandLines(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("WEIR_SOCKET", filepath.Join(dir, "weir.sock"))
	t.Setenv("WEIR_STATE", dir)
	plan := filepath.Join(dir, "plan.yaml")
	if err := os.WriteFile(plan, []byte("a: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want exit.Code
	}{
		{[]string{"version"}, exit.OK},
		{[]string{"--help"}, exit.OK},
		{[]string{"chek"}, exit.Usage},
		{[]string{"check"}, exit.Usage},
		{[]string{"check", "--nope"}, exit.Usage},
		{[]string{"rollback", "--to", "x", "--group", "y"}, exit.Usage},
		{[]string{"flows", "-o", "xml"}, exit.Usage},
		{[]string{"check", filepath.Join(dir, "none.yaml")}, exit.Invalid},
		{[]string{"check", plan}, exit.Invalid},
		{[]string{"policy", "infer", plan}, exit.Invalid},
		{[]string{"policy", "matrix", plan, "--service", "http"}, exit.Usage},
		{[]string{"compare", plan}, exit.Usage},
		{[]string{"flows"}, exit.NoDaemon},
		{[]string{"advance"}, exit.NoDaemon},
		{[]string{"unblock", "--list"}, exit.NoDaemon},
	} {
		if got := Main(c.args); got != int(c.want) {
			t.Errorf("weir %v: exit %d, want %d", c.args, got, c.want)
		}
	}
}

func TestExitCodesOfErrors(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("cannot do it: %w", err) }
	for _, c := range []struct {
		err  error
		want exit.Code
	}{
		{errors.New("anything"), exit.Failed},
		{wrap(phases.ErrGate), exit.Refused},
		{wrap(phases.ErrPaused), exit.Refused},
		{wrap(phases.ErrSelfApproval), exit.Approval},
		{fmt.Errorf("%w (the last request: %w)", phases.ErrNoRequest, phases.ErrUsed), exit.Approval},
		{wrap(phases.ErrLapsed), exit.NotInForce},
		{errors.Join(nft.ErrUnknown, nft.ErrLapsed), exit.Unknown},
		{wrap(os.ErrPermission), exit.NoPerm},
	} {
		if x := exit.From(c.err); x.Code != c.want {
			t.Errorf("%v: exit %d, want %d", c.err, x.Code, c.want)
		} else if x.Text != c.err.Error() {
			t.Errorf("%v: the words became %q", c.err, x.Text)
		}
	}
}
