package api

import (
	"time"

	"weir/phases/health"
)

// Health is how the step that is judged now does, with the plan's probes.
type Health struct {
	Step      string            `json:"step,omitempty"` // "" nothing is judged
	Since     time.Time         `json:"since,omitzero"`
	Judgement *health.Judgement `json:"judgement,omitempty"`
	Forecast  health.Forecast   `json:"forecast,omitzero"`
	Probes    []health.Probe    `json:"probes,omitempty"`
}
