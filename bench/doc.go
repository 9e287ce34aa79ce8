// Bench measures the lock server as its users meet it: a process of its own, over real sockets.
//
//	go run ./bench
//
// builds ./cmd/locktopus, starts it on one core, drives it from another, and prints tables; with -peers
// it does the same with other projects' servers. README.md says how it measures and what the figures
// don't show. It measures on Linux only.
//
// # Terms
//
// A load is a pattern of requests; its cases differ in a number, of connections for example. A
// candidate is a server that is measured. The ceiling is one on the same event loop that answers the
// same frames without reading or locking anything, so that the ratio of the two is what locks cost. A
// fleet is a set of connections to one candidate, driven by one thread, the generator; a driver is a
// process that does so through a Go library. A pair is a lock and its release. A slice is the time for
// which one candidate is measured; a repeat is one slice of each.
//
// # Rules
//
//   - Servers and generators never share a core where there are two. Each generator says how busy it
//     was, and a figure that it bounded is marked.
//   - Candidates take turns within a run, and are compared repeat by repeat.
//   - Every answer is looked at: a load that was answered wrongly is an error and not a figure.
//   - Everything has a limit in time (-stall), and what was started is stopped, by its process id.
//   - Results name no machine, user or directory.
//
// # Where things are
//
// A file for each load or two: closed_linux.go (u, c, r, m, depth, plugins), rate_linux.go,
// flat_linux.go, churn_linux.go, crowd_linux.go (cancel, storm), idle_linux.go, engine_linux.go,
// peers_linux.go. Below them: measure_linux.go takes the turns and reads the counters, fleet_linux.go
// is the generator, process_linux.go starts and stops. What comes out is package report's, in internal.
// The folder tools is a module of its own.
package main
