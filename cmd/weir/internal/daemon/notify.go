package daemon

import (
	"context"
	"os"
	"time"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/exit"
	"weir/cmd/weir/internal/notify"
)

// lastWords is how long a daemon that ends goes on sending what waits.
const lastWords = 3 * time.Second

func (d *Daemon) newNotifier() *notify.Notifier {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return notify.New(d.log, host)
}

func (d *Daemon) closeNotifier() {
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	d.notify.Close(ctx)
}

// notified lists the webhooks, with a message sent to each before where that is
// asked for.
func (d *Daemon) notified(ctx context.Context, c caller, in api.NotifyArgs) ([]notify.State, error) {
	p, err := d.needPlan()
	if err != nil {
		return nil, err
	}
	if in.Test {
		if len(p.Notify.Webhooks) == 0 {
			return nil, exit.Errorf(exit.Refused, "the plan names no webhook").WithHint("write notify: {webhooks: [{name: oncall, url: https://…}]} and register it: weir apply")
		}
		d.notify.Tell(notify.Message{Severity: notify.Page, Kind: notify.Test, At: c.now, Words: "a test by " + c.Name + ": nothing is wrong"})
	}
	return d.notify.States(), nil
}
