// Package client speaks protocol version 2 to a Locktopus server: locks on sets of paths, held by a
// session that survives lost connections, and a program that is told at once when it no longer holds one.
//
//	c, err := client.Dial(ctx, "ws://127.0.0.1:9009/v2?namespace=shop", nil)
//	defer c.Close()
//	lock, err := c.Lock(ctx, client.Write("orders", "17"), client.Read("prices"))
//	defer lock.Release(ctx)
//	work(lock.Context(), lock.Token())
//
// The lock excludes all others of the same paths, of paths below and of paths above, but for reads that meet reads.
// It is had as a whole or not at all, in the order in which it was asked for. One client serves a whole program.
//
// # Terms
//
// A Client is one session: the server gives its locks up when it has heard nothing from it for the
// session's time to live (Options.TTL). A connection is how the session is reached at the moment; when
// it is lost the client makes another and takes the session up again, with every lock that it had and
// every place in a queue. Requests that were on their way are sent once more and have their effect once.
//
// A Lock is one request that was granted. Its Context ends when it is no longer held, for whatever
// reason; context.Cause tells which. Its Token is larger than that of every conflicting lock before it:
// hand it to what you guard, and let a Guard, or the same rule in your database, refuse what is older.
//
// # Waiting
//
// Lock waits as long as its context says; TryLock doesn't. Who can't have a lock is told who is in the way
// (UnavailableError). Goroutines that share a client wait independently of each other. A task that holds some locks while
// it waits for others gives all of them one Party: where tasks would wait for each other in a circle, the request that
// would close it is refused (DeadlockError). A server that no longer lets the client in ends all waiting (RefusedError;
// see Denied). While there is no connection, waiting goes on.
//
// # When a lock is lost
//
// The server counts a session's time from the moment it received the last message; the client counts from
// the moment it sent the last one that was answered, takes off 2 % for clocks that run differently and
// Options.Margin for the program to react, and ends all its locks when that is over. So as long as the two
// clocks run alike within 2 %, the client knows first. Where the system has a clock that goes on while
// the machine sleeps it is used; a machine that wakes up finds its locks ended within a second.
//
// A server that is told to stop says so ahead (Client.Draining, Options.OnRisk) and leaves holders some time to finish.
// The client takes that time, less 2 % and the margin, for the end of all locks: work that is done before is done, and
// what isn't is told that its lock is lost (LostError, "shutdown") while nobody else can have it yet. Who waits goes on
// waiting, for the next server; where its party holds something it may still be granted by this one, to finish.
//
// A server that was killed and is started again has forgotten its locks, and gives none away until its clients' time is
// over, unless it has no state directory or state.grace is false. A process that is stopped can't be told anything.
// Only fencing helps there.
//
// # Who may call
//
// All methods may be called from any goroutine. A Client has four goroutines at most, and none once
// Close has returned. A lock takes no goroutine and no timer of its own.
package client
