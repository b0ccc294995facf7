package hostile

import "testing"

func TestLeaks(t *testing.T) {
	for _, s := range []string{"\x1b[2J", "\r", "\x00", "\x7f", "\u009b", "\x9b", "\u202e", "\u200b", "\ufeff", "\u2028", "\u0085", "\U000e0041", "\u00ad", "\xff"} {
		if Leaks("a"+s+"b") == nil {
			t.Errorf("%q is harmless", s)
		}
	}
	if got := Leaks("plain, Grüße, 日本, \"=1\" <b>\n\tnext \ufffd"); got != nil {
		t.Errorf("it leaks %v", got)
	}
	leaking := 0
	for _, s := range Strings {
		if Leaks(s) != nil {
			leaking++
		}
	}
	if leaking < 20 {
		t.Errorf("only %d of the strings are for a terminal", leaking)
	}
}
