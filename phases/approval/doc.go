// Package approval is what a signer signs and how a signature is judged: a
// canonical statement that binds a decision to one machine, one trust file, one
// frozen step with all its hashes, one time and one use; and OpenSSH signatures
// over it ("ssh-keygen -Y sign -n weir-approval-v1"), in files, in an agent or
// in hardware.
//
// It reads no clock, no disk and no key that could sign. Whether a nonce was
// spent, and how many people a step needs, is its caller's to know.
package approval
