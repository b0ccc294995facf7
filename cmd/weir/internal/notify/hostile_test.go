package notify

import (
	"encoding/json"
	"testing"

	"weir/phases/flow/hostile"
)

func TestHostileMessages(t *testing.T) {
	for _, s := range hostile.Strings {
		e := envelope{Message: Message{Words: s, Group: s, Step: s, Command: s, Lines: []string{s, s}}.clean()}
		e.Text = e.text()
		body, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if got := hostile.Leaks(string(body)); got != nil {
			t.Errorf("%q leaks %v", s, got)
		}
		var back envelope
		if err := json.Unmarshal(body, &back); err != nil || hostile.Leaks(back.Text+back.Words) != nil {
			t.Errorf("%q is read back as %q, %v", s, back.Text, err)
		}
	}
}
