// Package netns makes throw-away network namespaces and the links between
// them, for the demo, the rehearsal and the tests.
//
// Each namespace belongs to one goroutine whose operating system thread is
// locked and never unlocked: the thread dies with the namespace, so no other
// goroutine can find itself on a thread in a foreign network. Sockets stay in
// the namespace in which they were created; they may be used from anywhere.
//
// The package never touches the network that the process was started in, nor
// that of process 1: every function that reads or changes anything compares
// the namespace first and refuses. Namespaces have no names in the file
// system; when the process dies, however it dies, the kernel removes them with
// their links, rules and connections.
package netns
