// Package honeypot takes the connections that the kernel redirects to this
// machine, writes down who came and what it said first, and closes them.
//
// It never answers a visitor with a byte, never connects to anybody, and never
// serves a connection that was not redirected. It holds no state that matters:
// killed, its connections end with it, and the kernel's lease on the redirect
// runs out because nobody renews it.
package honeypot
