// Package server joins the parts: connections ↔ sessions ↔ engine, and with them timers, limits,
// drain and statistics.
//
// # The way of a request
//
// wsnet hands a message to the worker of the connection's loop (Message). The worker parses it
// (internal/wire), checks it against the state of the connection's session, calls the engine of the
// session's namespace under that namespace's mutex, and answers. A release may acquire other
// requests; each of those is a grant that names the connection it belongs to (the engine's owner is
// the ConnID) and its fencing id, and goes there as a token through wsnet's Post. The other
// connection's worker takes it up on its own loop (Notify), compares the id with the session's and
// tells the client.
//
// So a session belongs to its connection alone: only that connection's calls touch it, and what a
// client was told is decided in one place. A release that crosses a grant on its way is seen there
// too: the engine says that the request was acquired, the session says that the client hasn't heard
// of it, and both answers go out in order. The token that arrives later names an id the session no
// longer has, and is dropped.
//
// # State and its owners
//
//   - a session: its connection's calls (wsnet never runs two of them at once).
//   - a namespace's engine: the namespace's mutex, held for a call of the engine and never while
//     something is sent, posted or logged.
//   - which namespaces there are, and who uses them: the registry's mutex. It may be held while a
//     namespace's is taken, never the other way round.
//   - locks whose connection is gone: the abandoned queue, one goroutine and one timer for all.
//
// The package does no I/O of its own but for the HTTP pages.
package server
