// Package capture reads flows from the kernel: the packet log (NFLOG) for who
// was first seen when and what was denied, connection tracking for exact bytes
// and for what is open now. It gives flow.Record values to a callback.
//
// It never asks for NEW events of connection tracking (they cost a quarter of a
// gateway's connections per second; the packet log says the same), never turns
// on reliable delivery (a stuck reader would fill the connection table) and
// never ends because the kernel dropped messages: a loss becomes a Gap, and the
// connection table is read again.
//
// It changes only what Sysctls.Set, Prepare and the Delete functions say. A
// crash leaves nothing behind but those sysctls; the kernel closes the sockets.
package capture
