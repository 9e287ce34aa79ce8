// Package session is version 2 of the protocol without the network: the sessions of one namespace, their
// locks, and all that happens to them, as a state machine on top of engine.Engine. It has no clock, no
// goroutine, no I/O and no randomness. Time, ids and secrets are handed in with each call, and the same
// calls in the same order have the same effects.
//
// # Terms
//
// A Space holds the sessions of a namespace. A session owns locks and outlives connections; the
// connection that it is reached by at the moment, if any, is its attachment. A lock is one request for
// a set of paths, waiting or acquired, called by the id of the request that asked for it. What happens to a
// lock without a request is an event; a session's events are numbered without a gap. An end is the
// state that a lock has last. A failure is what an attachment is told before it is closed.
//
// A watch is told what happens to locks of anybody, at, below and above a path: these are changes, numbered
// without a gap for each watch.
//
// Times are nanoseconds of a monotonic clock, of whatever beginning.
//
// # Who calls what
//
// Whoever owns the namespace's mutex makes one call at a time; it is meant to be held for that call
// alone. Each call puts what is to be done into Effects that the caller owns, and that hold no memory of
// the space's: they can be read, printed and sent when the mutex is gone.
//
//	Open, Resume   a hello begins a session, or goes on with one
//	Do             a request of an attachment
//	Collect        an attachment was woken: see Effects.Wake
//	Detach         a connection is gone
//	Tick           timers, and work that was left over; see Next and Effects.More
//	Revoke, End    an administrator takes a lock, or a whole session
//	LockForeign, ReleaseForeign, RevokeForeign   locks of others in the same engine, such as v1's
//	Farewell, Believed   the server ends: who knows that, and for how long others may believe in their locks
//
// An attachment is named by the caller's number for the connection, never 0. What is for the calling
// attachment is in Effects.Messages, in the order in which it is to be sent. What is for others waits in
// their sessions: Effects.Wake names the attachments that are to call Collect, on their own loops, so
// that everything an attachment is ever told comes out of its own calls, in order, and no two goroutines
// ever send to one connection. An attachment that was taken over learns of that at its next call.
//
// A v2 lock's owner in the engine is made by this package and never has a bit in its lower half; the
// owners of others must have one. (A wsnet.ConnID has: its generation, from 1 on.) Server is one of those.
//
// # What holds
//
//   - A session's request ids increase. What is not above the highest so far is a retry: it changes
//     nothing, and is answered with what is true now. Only watch, unwatch and bye are done whatever their id.
//   - Each lock request has one answer. Each lock has one end, told once: as the answer to the request
//     that ended it, or as an event. What an attachment wasn't told it is told again after a resume, as
//     far as it is kept.
//   - A session's lock is in the engine exactly as long as it is on the session's roster.
//   - A session ends at the time that its last message allowed and not before, and nothing revives it;
//     one that has ended is on no list by which it could be found.
//   - A lease, a wait or a session that is over at the time of a call is over for that call, whether or
//     not Tick has come to it. Where the ends of a lock and of a wait fall on one moment, the lock's comes first.
//   - What a watch was told at first, and then each change that follows, make up what an inspection of its path
//     tells, once it was given all of them (Effects.More). An attachment is told no change of before it began.
//   - Of a lock nobody is told paths that don't lie at, below or above the one that he looks at.
//   - No party is in a deadlock, as engine.Cycle defines it. One can come about in two ways only. A new request
//     waits: nobody waits for it yet, as it is the youngest, so that it is looked for from there, and not from
//     what else its party waits for. An upgrade begins, which goes ahead of others: they may come to wait for
//     its party, also if it comes true at once, so that it is looked for from all that the party waits for, and
//     before it comes true. Either is refused if it closes one, and also if that isn't found out in so many
//     steps. A lock that is had at once, a grant, an end, or a downgrade makes nobody wait for anybody whom he
//     hasn't waited for before. A lock that is about to end, as its session or attachment is gone, is nobody's
//     any more.
//   - Who is in the way is told once, to the attachment that is there, and as far as the messages have room.
//   - When no session is left, no memory is held for any.
//
// # What it costs
//
// Lock, release and renew cost a search among the session's own locks, some steps per timer, and what the
// engine takes; they allocate nothing in a steady state. A lock that has to wait counts those ahead of it
// besides, up to a hundred; more would cost more than all the rest. A deadlock is looked for only if somebody
// waits for another lock of the same party; that is asked first, and costs a look at each of them, up to a
// bound, and nothing where the party has no other. A session is heard without touching a timer. Long work (a
// session that ends with very many locks, very many timers at once, very many grants) is cut in
// slices: Effects.More asks for another Tick.
//
// Watches cost nothing while there are none, and a look-up per length of a watched path where a lock concerns none.
// A change is given to each watch that it concerns, in slices, too, and told when its attachment collects. What
// waits for that is bounded; with more of it a watch lags. An inspection has a bound on the entries of the
// engine that it looks at, and on how long its answer is printed.
//
// # What it won't do
//
// It doesn't judge who may do what: a request comes with the judgement, as a Refusal. It doesn't limit the
// number of sessions, nor memory: it tells how much there is. It knows nothing of durability. It sees no
// deadlock over what isn't in its engine: other namespaces, or what clients wait for elsewhere.
package session
