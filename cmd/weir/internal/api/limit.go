package api

import (
	"sync"
	"time"
)

// A user other than root may make so many calls at once, and so many a second
// after that: answering takes the loop's time, which the ways back need.
const (
	callsAtOnce    = 60
	callsPerSecond = 20
	usersKnown     = 4096 // beyond, those who have been quiet are forgotten
)

// limiter counts calls by user. Its zero value is ready; it is safe for
// concurrent use.
type limiter struct {
	mu    sync.Mutex // guards users
	users map[uint32]*bucket
}

type bucket struct {
	left float64
	at   time.Time
}

// take says whether a user may make one more call now.
func (l *limiter) take(uid uint32, now time.Time) bool {
	if uid == 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users == nil {
		l.users = map[uint32]*bucket{}
	}
	if len(l.users) > usersKnown {
		for id, b := range l.users {
			if now.Sub(b.at) > callsAtOnce/callsPerSecond*time.Second {
				delete(l.users, id) // its bucket is full again
			}
		}
	}
	b := l.users[uid]
	if b == nil {
		b = &bucket{left: callsAtOnce, at: now}
		l.users[uid] = b
	}
	b.left = min(callsAtOnce, b.left+max(0, now.Sub(b.at).Seconds())*callsPerSecond)
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
