// Bench measures the lock server as its users meet it: a process of its own, over real sockets.
//
//	go run ./bench
//
// builds ./cmd/locktopus, starts it on one core, drives it from another, and prints a table.
// README.md says how it measures and what the figures don't show. It runs on Linux only.
//
// # Terms
//
// A load is a pattern of requests. The server is the real one; the ceiling is a server on the same
// event loop that answers the same frames without reading or locking anything, so that the ratio of
// the two is what locks cost. A fleet is a set of connections to one of them, driven by one thread.
// A pair is a lock and its release. A slice is the time for which one of the candidates is measured;
// a repeat is one slice of each.
//
// # Rules
//
//   - Server and generator never share a core where there are two. The generator says how busy it
//     was, and a figure that it bounded is marked.
//   - Candidates take turns within a run, and are compared repeat by repeat.
//   - Every answer is looked at: a load that was answered wrongly is an error and not a figure.
//   - Everything has a limit in time (-stall), and what was started is stopped, by its process id.
//
// It will not measure peers, plot, or keep a history.
package main
