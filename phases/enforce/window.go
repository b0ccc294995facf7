package enforce

import (
	"time"

	"weir/plans"
)

// windowAt says whether a window is open at a moment, and when it shuts.
func windowAt(p *plans.Plan, w plans.Window, at time.Time) (end time.Time, open bool) {
	for _, s := range plans.Spans(w, p.Timezone, at, at.Add(time.Nanosecond)) {
		if s.Contains(at) {
			return s.To, true
		}
	}
	return time.Time{}, false
}
