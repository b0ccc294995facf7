package approval

import "errors"

// Why an approval is refused; nothing was changed.
var (
	ErrForm      = errors.New("this is no statement to approve")
	ErrMachine   = errors.New("the approval is for another machine")
	ErrTrust     = errors.New("the approval was asked for under another trust file")
	ErrPlan      = errors.New("the approval is for another plan")
	ErrStep      = errors.New("the approval is for another step")
	ErrUpon      = errors.New("the approval is for a step that was frozen upon another revision")
	ErrDigest    = errors.New("the approval is for another frozen step")
	ErrHashes    = errors.New("the approval names other hashes than the frozen step has")
	ErrTicket    = errors.New("the approval names other tickets than the request")
	ErrNonce     = errors.New("the approval is of another request")
	ErrLog       = errors.New("the approval is over another state of the audit log")
	ErrWindow    = errors.New("the approval names another time than the request")
	ErrSubject   = errors.New("the approval is about something else")
	ErrLate      = errors.New("the approval has expired")
	ErrEarly     = errors.New("the approval is for a later time")
	ErrSpent     = errors.New("the approval was spent already, by a step that the journal does not know: an old database was put back")
	ErrSignature = errors.New("the signature is not one of this statement")
	ErrArmour    = errors.New("this is no OpenSSH signature")
	ErrNamespace = errors.New("the signature was made for another purpose")
	ErrSigner    = errors.New("the trust file names nobody with this key")
	ErrRole      = errors.New("the trust file does not let this signer decide that")
)
