package phases

// NamedGate is a gate with what it asks, for the reference page.
type NamedGate struct{ Name, Words string }

// AllGates lists every gate in the order in which they are asked.
func AllGates() []NamedGate {
	return []NamedGate{
		{GateObserved, "monitor.minimum of observed time has passed"},
		{GateCalendar, "every event of monitor.covers lies in observed time"},
		{GateWitnessed, "the flows that were seen explain monitor.witnessed of the bytes that left"},
		{GateUnseen, "by estimate, no more than monitor.unseen of what a group needs was not seen yet"},
		{GateUnanswered, "most flows were answered, else replies may take another way"},
		{GateLoss, "nothing was missed in the time that counts"},
		{GateAlert, "the groups were in alert for enforce.alert.minimum"},
		{GateQuiet, "nothing new and unanswered would have been denied for enforce.alert.quiet"},
		{GateCensus, "the live connections were judged since the groups are in alert"},
		{GateQuestions, "rare and one-way flows were answered"},
		{GateSurroundings, "nothing takes traffic past weir, shows it changed or shares it with another gateway that a person does not know of"},
		{GateHeartbeat, "the way from a log rule to the daemon was seen to work"},
		{GateProof, "what the refactoring widens and narrows is what was approved, and within its budget"},
		{GateShadow, "old and new rules ran side by side for the refactoring's shadow, and every disagreement was approved"},
		{GateOpen, "no connection that was open at the shadow's beginning, or is open now, would be cut"},
		{GateSoak, "enforce.soak has passed since the last blocking step was confirmed"},
		{GateDrill, "the unblock procedure was exercised on this machine"},
		{GateHealth, "every probe of health.probes is answered"},
		{GateBrownouts, "the brownouts that the plan asks for have run"},
		{GateWindow, "a change window is open"},
		{GateFreeze, "no freeze is on"},
		{GateTests, "the rules that the step would have in force do what the plan's tests expect"},
	}
}
