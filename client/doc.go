// Package client speaks protocol version 2 to a Locktopus server: locks on sets of paths, held by a
// session that survives lost connections, and a program that is told at once when it no longer holds one.
//
//	c, err := client.Dial(ctx, "ws://127.0.0.1:9009/v2?namespace=shop", nil)
//	lock, err := c.Lock(ctx, client.Write("orders", "17"), client.Read("prices"))
//	defer lock.Release(ctx)
//	work(lock.Context(), lock.Token())
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
// # When a lock is lost
//
// The server counts a session's time from the moment it received the last message; the client counts from
// the moment it sent the last one that was answered, takes off 2 % for clocks that run differently and
// Options.Margin for the program to react, and ends all its locks when that is over. So as long as the two
// clocks run alike within 2 %, the client knows first. Where the system has a clock that goes on while
// the machine sleeps it is used; a machine that wakes up finds its locks ended within a second.
//
// A process that is stopped can't be told anything. Only fencing helps there.
//
// # Who may call
//
// All methods may be called from any goroutine. A Client has three goroutines at most, and none once
// Close has returned.
package client
