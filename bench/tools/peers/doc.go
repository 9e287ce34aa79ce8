// Peers drives one lock server, ours or another project's, through the Go client that its users have.
//
// It is started by bench, which says how to start the servers and how to read the figures; it is a
// part of a module of its own so that those clients and what they depend on never become dependencies of the
// lock server.
//
//	peers -peer etcd -addr 127.0.0.1:2379 -conns 64 -paths 1
//
// One process drives one server. It opens -conns connections, each with a goroutine of its own that
// locks and unlocks, prints {"ready":true}, and then does nothing until it reads an order from its
// standard input, such as {"warm_up_ns":250000000,"slice_ns":1000000000}. It answers each with an
// outcome, one line of JSON, and ends when its input does.
//
// # Rules
//
//   - With -paths 0 each connection has a path of its own; otherwise connection i uses path i modulo
//     -paths.
//   - Between orders everybody stops where they are, a holder with its lock and waiters in the queue:
//     nobody who waits for long has to be waited for. What spans a pause isn't counted.
//   - At no time two may hold one path. If they do, the run ends with an error: it wasn't locks that
//     were measured.
package main
