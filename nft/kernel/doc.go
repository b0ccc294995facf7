// Package kernel owns all contact with nftables: it reads what the kernel
// holds, loads revisions, puts them on trial, confirms them, rolls back, and
// adds and ends exceptions, compares the table with what was recorded and puts
// it right, and hears who changes the ruleset, over netlink. It changes the
// table "inet weir" and, while it probes, "inet weir_probe"; it never names
// another table and never flushes a ruleset.
//
// No reply of the kernel is believed. A write is one batch that also writes a
// transaction id into the table; after it the id and the maps are read back,
// and only what was read is reported. A lost reply (ENOBUFS, EINTR, a cancelled
// context) means that the outcome is unknown until it was looked at.
//
// A revision is loaded unreferenced, in as many transactions as the socket
// needs, and entered in the marker map when it was read back complete. A crash
// leaves either nothing, or sets and chains that no packet reaches and the
// marker does not name; the next Load removes and loads them again. Arm,
// Confirm and Rollback are one transaction each: a crash leaves the state
// before or after it.
//
// Needs CAP_NET_ADMIN in the network namespace, and Linux 5.10.
package kernel
