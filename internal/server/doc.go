// Package server joins the parts: connections ↔ sessions ↔ plugins ↔ engine, and with them timers,
// limits, drain and statistics.
//
// # The way of a request
//
// wsnet hands a message to the worker of the connection's loop (Message). The worker parses it
// (internal/wire), has plugins judge it if there are any (plugins/host, through the worker's own Judge), and
// makes one call under the mutex of the connection's namespace: of version 2 Space.Do (internal/session), which
// calls the engine; of version 1, whose connections have one lock at a time and no session, the engine, or
// Space.LockForeign where there are sessions. Then it answers. What the call has left for others is posted to
// their connections as tokens, through wsnet's Post, and taken up on their own loops (Notify): by version 2 with
// Space.Collect, which tells what there is; of version 1 the token is the fencing id of a grant, and the engine's owner is
// the ConnID. docs/ARCHITECTURE.md goes this way step by step.
//
// So only a connection's own calls send to it, and what a client was told is decided in one place. A release of
// version 1 that crosses a grant on its way is seen there: the engine says that the request was acquired, the
// connection says that the client hasn't heard of it, and both answers go out in order. The token that arrives
// later names an id that the connection no longer has, and is dropped. Of version 2 the session has the grant as an
// event, and tells it before it answers the release.
//
// # Plugins
//
// They are asked who a client is (of version 1 before its upgrade is answered, of version 2 at its hello), and about
// each lock, upgrade, inspection and watch before the engine sees it; the engine and the log get the paths that
// plugins have made of those sent. Nothing but the outcome host.Allowed lets anything through: not a new outcome, not a connection that is
// older than the plugins and has no client. A release is never judged, or locks could not be given back.
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
//   - what is known of a connection: its own calls (wsnet never runs two of them at once).
//   - a namespace's engine and its sessions: the namespace's mutex, held for one call and never while
//     something is sent, posted or logged.
//   - which namespaces there are, and who uses them: the registry's mutex. It may be held while a
//     namespace's is taken, never the other way round.
//   - locks of version 1 whose connection is gone, connections whose authentication will end, those that haven't said
//     hello, and namespaces whose sessions have something due: a schedule each, one goroutine and one timer for all
//     that is in it.
//
// The package does no I/O of its own but for the HTTP pages.
package server
