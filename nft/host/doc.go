// Package host looks at the machine: its interfaces, neighbours and routes,
// what it depends on (resolvers, time servers, DHCP), who manages it now, and
// which firewall rules others have. Lifelines says what of this no step may
// cut.
//
// It only reads. It asks no name server and sends nothing but netlink requests
// to the kernel. Files are read below a root directory, so a test or a rescue
// system can point it elsewhere; what cannot be read is listed, never guessed.
package host
