// Package report writes the audit report: one text file that a stranger can
// check without weir, with ssh-keygen, sha256sum and the tools of a shell.
//
// The file is a list of parts, each after a line "@@ NAME LINES". The part
// manifest has the SHA-256 of each part before it, as sha256sum writes them; the
// last part, signature, is the machine's over the manifest. What the parts say,
// and how to check it, is in docs/audit.md.
//
// It writes what it is given and looks for nothing. Whatever a person or the
// network said is escaped in the part summary and verbatim JSON in the part log.
package report
