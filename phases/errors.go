package phases

import "errors"

// Errors that refuse an action because of the state: nothing was changed.
var (
	ErrNoPlan      = errors.New("no plan is registered; run: weir apply PLAN")
	ErrGate        = errors.New("a gate does not let the step through")
	ErrPending     = errors.New("a trial is running; confirm it or roll it back first")
	ErrNoTrial     = errors.New("no trial is running")
	ErrPaused      = errors.New("the rollout is paused; run: weir resume")
	ErrNotPaused   = errors.New("the rollout is not paused")
	ErrDrift       = errors.New("the kernel does not hold what was confirmed")
	ErrLifeline    = errors.New("the machine depends on something that the frozen step would cut; request it again")
	ErrCuts        = errors.New("the step would cut a lifeline")
	ErrFloor       = errors.New("the frozen step holds a way open that this machine does not need any more; request it again")
	ErrUnrehearsed = errors.New("the frozen step was not rehearsed; request it again")
	ErrNoNext      = errors.New("there is no further step; the plan is complete")
	ErrNotNext     = errors.New("this is not the next step")
	ErrNoRequest   = errors.New("nothing is requested; run: weir request")
	ErrNoSuchStep  = errors.New("no such step")
	ErrBrownout    = errors.New("a brownout is meant to lapse and cannot be confirmed")
	ErrNothing     = errors.New("there is nothing to roll back")
	ErrSamePlan    = errors.New("this plan is registered already")
	ErrUnsure      = errors.New("whether the step does harm cannot be told")
)

// Errors of approvals: nothing was changed.
var (
	ErrNotApproved  = errors.New("the frozen step is not approved")
	ErrSelfApproval = errors.New("the one who requested a step may not approve it")
	ErrApprovedOnce = errors.New("this person has approved the step already")
	ErrIndistinct   = errors.New("people who approve cannot be told apart: log in as yourself, not as root")
	ErrExpired      = errors.New("the approval has expired")
	ErrUsed         = errors.New("the approval was used already")
	ErrDenied       = errors.New("the frozen step was denied")
	ErrReplanned    = errors.New("the plan was registered anew since the step was frozen")
	ErrOverChanged  = errors.New("another revision is confirmed than the one the step was frozen upon")
	ErrReplaced     = errors.New("a newer request replaced this one")
	ErrUnsigned     = errors.New("this machine has a trust file: steps are approved by signature; run: weir approve --sign KEY")
	ErrNoTrust      = errors.New("this machine has no trust file: steps are approved by account; run: weir approve")
	ErrTrustFile    = errors.New("the trust file cannot be used")
	ErrTrustChanged = errors.New("the trust file is not the one that was accepted")
	ErrSameTrust    = errors.New("the trust file is the one that was accepted")
	ErrTicket       = errors.New("this ticket cannot be signed")
	ErrNoTicket     = errors.New("no ticket of this account is in force for this group")
	ErrAlone        = errors.New("this signer has acted alone within the last day, and no quorum has signed anything since")
	ErrWindow       = errors.New("an approval cannot hold for that time")
)

// Errors of an outcome that is not the one asked for.
var (
	ErrLapsed  = errors.New("too late: the trial has lapsed")
	ErrUnwell  = errors.New("the trial did harm and was rolled back")
	ErrNotDone = errors.New("sent, but the kernel does not show it")
	ErrUnknown = errors.New("sent, but the kernel could not be read back; run: weir status")
	ErrCorrupt = errors.New("the frozen step's file is not what was frozen")
)
