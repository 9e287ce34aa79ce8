// Package server joins the parts: connections ↔ sessions ↔ plugins ↔ engine, and with them timers,
// limits, drain and statistics.
//
// # The way of a request
//
// wsnet hands a message to the worker of the connection's loop (Message). The worker parses it
// (internal/wire), checks it against the state of the connection's session, has plugins judge it if
// there are any (plugins/host, through the worker's own Judge), calls the engine of the session's
// namespace under that namespace's mutex, and answers. A release may acquire other
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
// # Plugins
//
// They are asked who a client is before its upgrade is answered, and about each lock before the
// engine sees it; the engine and the log get the paths that plugins have made of those sent. Nothing
// but the outcome host.Allowed lets anything through: not a new outcome, not a session that is older
// than the plugins and has no client. A release is never judged, or locks could not be given back.
// Reasons are strangers' texts, made one line before they go anywhere; queries, headers and contexts
// hold credentials and go nowhere.
//
// # Administrators
//
// Their calls come from any goroutine (internal/admin). What they take from a session the space tells its
// attachment. What they take from a connection of version 1 is out of the engine at once; the connection's
// worker finds out by a token, or when it next needs the lock, whichever is first.
//
// # A server that was killed
//
// Its clients may believe in locks that nobody knows of any more. So a session begins only when the disk knows for how
// long one may live (park.go), and the next server has a lock of its own on all of each namespace until that time is
// over (grace.go). A server that is stopped leaves word of who may not have heard of it (Owed).
//
// # State and its owners
//
//   - a session: its connection's calls (wsnet never runs two of them at once).
//   - a namespace's engine: the namespace's mutex, held for a call of the engine and never while
//     something is sent, posted or logged.
//   - which namespaces there are, and who uses them: the registry's mutex. It may be held while a
//     namespace's is taken, never the other way round.
//   - locks whose connection is gone, and connections whose authentication will end: a schedule each,
//     one goroutine and one timer for all that is in it.
//
// The package does no I/O of its own but for the HTTP pages.
package server
