package plans

import (
	"fmt"
	"net/url"
	"path"
	"strings"
	"time"
)

// The severities of what is told, the least first.
const (
	SeverityInfo    = "info"
	SeverityWarning = "warning"
	SeverityPage    = "page" // somebody is to be woken
)

// Notify says who is told beside the daemon's own journal.
type Notify struct {
	Every    time.Duration // what goes on is told again this often
	Webhooks []Webhook
}

// Webhook is an address that is sent a POST for each message.
type Webhook struct {
	Name       string
	URL        string // http or https, without user and password
	SecretFile string // absolute path; what is in it signs each message; "": not signed
	Least      string // severity of the least that is sent
	Pos        Pos
}

func (d *decoder) notify(n *node) {
	d.p.Notify.Every = d.duration(n.get("every"), time.Hour, oneSecond, day)
	seen := map[string]*node{}
	for _, v := range items(n.get("webhooks"), mapping) {
		w := Webhook{Name: d.named(v, seen), SecretFile: d.filePath(v.get("secretFile")), Least: strOr(v.get("least"), SeverityWarning), Pos: d.pos(v)}
		if u := d.address(v.get("url")); u != nil {
			w.URL = u.String()
		}
		d.p.Notify.Webhooks = append(d.p.Notify.Webhooks, w)
	}
}

// address reads the URL of a web server.
func (d *decoder) address(n *node) *url.URL {
	s := str(n)
	if s == "" {
		return nil
	}
	const hint = "write https://HOST/PATH"
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }):
		d.add(n, "this is not a URL", hint)
	case u.Scheme != "http" && u.Scheme != "https":
		d.add(n, fmt.Sprintf("the URL begins with %q", clip(u.Scheme)), hint)
	case u.User != nil:
		d.add(n, "the URL holds a password, and everybody may read a plan", "take it out")
	default:
		return u
	}
	return nil
}

// filePath reads the absolute path of a file.
func (d *decoder) filePath(n *node) string {
	s := str(n)
	if s != "" && (!path.IsAbs(s) || path.Clean(s) != s) {
		d.add(n, fmt.Sprintf("%q is not an absolute path", clip(s)), "write it from the root on, as /etc/weir/webhook.secret")
		return ""
	}
	return s
}
