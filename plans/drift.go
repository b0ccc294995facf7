package plans

// What becomes of what somebody else changes in the kernel.
const (
	DriftAlert  = "alert"
	DriftRepair = "repair" // and what a person opened is left alone for an hour
)
