package exit

import (
	"os"

	"weir/cmd/weir/internal/rehearsal"
	"weir/nft"
	"weir/nft/capture"
	"weir/nft/kernel"
	"weir/nft/lab"
	"weir/phases"
	"weir/phases/approval"
	"weir/store"
)

// rows is the table; the first row whose error is in the chain decides, so an
// outcome that is unknown comes before everything else, and what is missing of
// an approval before what the state refuses.
var rows = []row{
	{phases.ErrUnknown, Unknown, "weir status says what is in force"},
	{nft.ErrUnknown, Unknown, "weir status says what is in force"},

	{phases.ErrUnwell, NotInForce, "find out what broke, then: weir resume"},
	{phases.ErrLapsed, NotInForce, "weir advance arms it again"},
	{nft.ErrLapsed, NotInForce, "weir advance arms it again"},

	{phases.ErrTrustFile, Approval, "weir trust says what is in force"},
	{phases.ErrTrustChanged, Approval, "put it back, or have it signed: weir trust --statement"},
	{phases.ErrSameTrust, Refused, ""},
	{phases.ErrNoTrust, Approval, "weir approve"},
	{phases.ErrUnsigned, Approval, "weir approve --sign KEYFILE, or --statement to sign elsewhere"},
	{phases.ErrWindow, Approval, "ask for another time: weir request --not-after TIME"},
	{store.ErrAudit, Approval, "weir audit verify names what is not as it was"},
	{approval.ErrSpent, Approval, "ask again: weir request"},
	{approval.ErrLate, Approval, "ask again: weir request"},
	{approval.ErrEarly, Approval, "wait until then"},
	{approval.ErrTrust, Approval, "ask again: weir request"},
	{approval.ErrMachine, Approval, "sign what this machine asks for: weir approve --statement"},
	{approval.ErrPlan, Approval, "sign what is asked for: weir approve --statement"},
	{approval.ErrStep, Approval, "sign what is asked for: weir approve --statement"},
	{approval.ErrUpon, Approval, "sign what is asked for: weir approve --statement"},
	{approval.ErrDigest, Approval, "sign what is asked for: weir approve --statement"},
	{approval.ErrHashes, Approval, "sign what is asked for: weir approve --statement"},
	{phases.ErrNotOfSet, Approval, "freeze it here: weir request"},
	{phases.ErrTicket, Invalid, "weir request --ticket GROUP=ACCOUNT --ticket-for 2d"},
	{phases.ErrNoTicket, Approval, "ask an operator: weir rollback --group GROUP"},
	{phases.ErrAlone, Approval, "have the quorum sign: weir approve, or weir unblock --signed"},
	{approval.ErrTicket, Approval, "sign what is asked for: weir approve --statement"},
	{approval.ErrNonce, Approval, "sign what is asked for: weir approve --statement"},
	{approval.ErrLog, Approval, "ask again: weir request"},
	{approval.ErrWindow, Approval, "sign what is asked for: weir approve --statement"},
	{approval.ErrSubject, Approval, "sign what is asked for: weir approve --statement"},
	{approval.ErrForm, Approval, "sign what is asked for: weir approve --statement"},
	{approval.ErrSignature, Approval, "sign exactly what weir approve --statement prints"},
	{approval.ErrArmour, Approval, "ssh-keygen -Y sign -n weir-approval-v1 -f KEY STATEMENT"},
	{approval.ErrNamespace, Approval, "ssh-keygen -Y sign -n weir-approval-v1 -f KEY STATEMENT"},
	{approval.ErrSigner, Approval, "weir trust lists the signers"},
	{approval.ErrRole, Approval, "weir trust lists the signers"},

	{phases.ErrNotApproved, Approval, "weir approve"},
	{phases.ErrSelfApproval, Approval, "somebody else approves: weir approve"},
	{phases.ErrApprovedOnce, Approval, "somebody else approves: weir approve"},
	{phases.ErrIndistinct, Approval, ""},
	{phases.ErrExpired, Approval, "ask again: weir request"},
	{phases.ErrUsed, Approval, "ask again: weir request"},
	{phases.ErrDenied, Approval, "ask again: weir request"},
	{phases.ErrReplanned, Approval, "ask again: weir request"},
	{phases.ErrOverChanged, Approval, "ask again: weir request"},
	{phases.ErrReplaced, Approval, "weir status names the newer one"},

	{phases.ErrOff, Refused, "remove what switches it off, then: weir status"},
	{phases.ErrGate, Refused, "weir status shows every gate"},
	{phases.ErrUnsure, Refused, "weir status shows the probes; without a confirm the step lapses"},
	{phases.ErrPending, Refused, ""},
	{nft.ErrPending, Refused, "confirm it or roll it back first"},
	{phases.ErrNoTrial, Refused, "weir status"},
	{phases.ErrPaused, Refused, "weir resume"},
	{phases.ErrNotPaused, Refused, ""},
	{phases.ErrDrift, Refused, "weir status; weir rollback makes the maps one again"},
	{nft.ErrChanged, Refused, "weir status; ask again: weir request"},
	{nft.ErrNotLoaded, Refused, "weir status"},
	{phases.ErrLifeline, Refused, "weir request"},
	{phases.ErrCuts, Refused, "nothing was changed; narrow the never rule, or write what passes all the same into the plan as a lifeline"},
	{phases.ErrFloor, Refused, "weir request"},
	{phases.ErrUnrehearsed, Refused, "weir request"},
	{rehearsal.ErrFailed, Refused, "nothing was changed; the step cannot be armed as it is"},
	{rehearsal.ErrHole, Refused, "nothing was changed; the step cannot be armed as it is"},
	{lab.ErrNotAllowed, Refused, "allow it, then ask again: weir request"},
	{phases.ErrNoPlan, Refused, ""},
	{phases.ErrNoNext, Refused, ""},
	{phases.ErrNotNext, Refused, ""},
	{phases.ErrNoRequest, Refused, ""},
	{phases.ErrNoSuchStep, Refused, "weir status; weir backout lists the ways back"},
	{phases.ErrBrownout, Refused, ""},
	{phases.ErrNothing, Refused, ""},
	{phases.ErrSamePlan, Refused, ""},
	{kernel.ErrDormant, Refused, ""},
	{capture.ErrGroupTaken, Refused, "name other groups in the plan: capture: {logGroup: …, verdictGroup: …}"},

	{store.ErrLocked, Refused, "another daemon runs: weir status"},
	{store.ErrDamaged, Failed, "keep the file, put a copy back or move it away; the kernel is unchanged"},
	{store.ErrVersion, Failed, "use the weir that wrote it, or a newer one"},
	{phases.ErrCorrupt, Failed, "weir request freezes the step again"},
	{phases.ErrNotDone, Failed, "weir status says what is in force"},
	{store.ErrWritable, NoPerm, ""},
	{os.ErrPermission, NoPerm, "be root"},
}

type row struct {
	err  error
	code Code
	hint string
}
