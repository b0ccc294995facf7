package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/exit"
	"weir/cmd/weir/internal/notify"
)

// testFor is how long a test message is waited for.
const testFor = 12 * time.Second

var _ = register(func(e *env) *cobra.Command {
	var test bool
	c := &cobra.Command{
		Use:   "notify",
		Short: "show how the plan's webhooks do, or test them",
		Long: `Lists the webhooks of the plan: what was sent, what waits, what was lost, and why
the last attempt failed. With --test a page is sent to each, and the command
waits for it to arrive.

  weir notify
  weir notify --test`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var out []notify.State
			if err := e.call(c.Context(), "notify", api.NotifyArgs{Test: test}, &out); err != nil {
				return err
			}
			waiting := func(s notify.State) bool { return s.Waiting > 0 && s.Failing == "" }
			for end := time.Now().Add(testFor); test && slices.ContainsFunc(out, waiting) && time.Now().Before(end); {
				time.Sleep(100 * time.Millisecond)
				if err := e.call(c.Context(), "notify", api.NotifyArgs{}, &out); err != nil {
					return err
				}
			}
			if e.output == "json" {
				if err := e.json("Webhooks", out); err != nil {
					return err
				}
			} else if err := e.showWebhooks(out); err != nil {
				return err
			}
			if i := slices.IndexFunc(out, func(s notify.State) bool { return s.Waiting > 0 || s.Failing != "" }); test && i >= 0 {
				return exit.Errorf(exit.Failed, "the webhook %s did not take the test: %s", out[i].Name, safe(out[i].Failing))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&test, "test", false, "send a page to each webhook and wait for it to arrive")
	e.outputFlag(c)
	return c
})

func (e *env) showWebhooks(all []notify.State) error {
	if len(all) == 0 {
		fmt.Fprintln(e.out, "the plan names no webhook: only the daemon's own journal is told")
		return nil
	}
	t := newTable(e.out, "WEBHOOK", "FROM", "SENT", "WAITING", "LOST", "LAST", "FAILING")
	for _, s := range all {
		last := "never"
		if !s.Last.IsZero() {
			last = when(s.Last, time.Now())
		}
		t.row(s.Name, s.Least, s.Sent, s.Waiting, s.Lost, last, safe(s.Failing))
	}
	return t.flush()
}
