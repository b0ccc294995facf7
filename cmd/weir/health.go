package main

import (
	"fmt"

	"weir/cmd/weir/internal/api"
)

// showHealth prints how the step that is judged now does, and the probes that do
// not answer.
func (e *env) showHealth(h *api.Health) error {
	if h == nil {
		return nil
	}
	if j := h.Judgement; j != nil {
		fmt.Fprintf(e.out, "health    %s", safe(j.String()))
		if h.Step != "" {
			fmt.Fprintf(e.out, " (%s since %s: %s lost what nobody foresaw, %s what was foreseen; %d are)", h.Step, when(h.Since, e.now()),
				many(j.Endpoints, "endpoint"), many(j.Foreseen, "endpoint"), h.Forecast.Endpoints)
		}
		fmt.Fprintln(e.out)
	}
	for _, p := range h.Probes {
		n := len(p.Results)
		switch {
		case n == 0:
			fmt.Fprintf(e.out, "probe     %s has not been tried yet\n", p.Name)
		case p.Results[n-1].Words != "":
			fmt.Fprintf(e.out, "probe     %s %s: %s\n", p.Name, p.Results[n-1].Outcome, safe(p.Results[n-1].Words))
		}
	}
	return nil
}
