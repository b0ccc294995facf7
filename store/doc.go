// Package store keeps what must outlive the process: the journal, frozen steps
// and backouts, and the evidence. The journal and the evidence are bbolt files;
// frozen steps and backouts are plain files, so that a person can roll back
// when no database can be read. Every file carries a format version.
//
// It decides nothing, and it never opens a damaged or emptied file as if it
// were new. What a method wrote is on the disk when it returns; a crash leaves
// a file as it was before or after, never between.
package store
