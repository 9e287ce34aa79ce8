// Package quorum locks on a majority of several independent Locktopus servers, for users who want to
// survive the loss of one and run no cluster.
//
//	q, err := quorum.Dial(ctx, []string{"ws://a:9009/v2?namespace=shop", "ws://b:9009/…", "ws://c:9009/…"}, nil, 0)
//	lock, err := q.Lock(ctx, client.Write("orders", "17"))
//	defer lock.Release(ctx)
//	work(lock.Context(), lock.Tokens())
//
// Every server stands for itself and knows nothing of the others. All clients name the same servers in the same
// order; use an odd number of them. A lock is acquired on one after the other in that order, until it is held on more
// than half; servers that can't be reached are passed over. Then it is taken on the others, too, where nobody else has
// it, so that it outlives the loss of some.
//
// # What it promises
//
// Two locks that conflict are never held at the same time, with clock rates within 2 %: two majorities have a server in
// common, which doesn't grant the same thing twice. A lock that can't be held on a majority any more ends before another
// can be granted, and its Context says so; Err says so even right after the process was stopped. All this holds as long
// as no server grants again what it has forgotten; see below.
//
// With 2n+1 servers, n may be lost, and locks are still granted. A lock that is held outlives the loss of as many
// servers as it is held on beyond a majority: of n, if all could be reached when it was acquired. It isn't taken on
// further servers later.
//
// Clients that each want one lock can't wait for each other in a circle: nobody who waits at a server holds a later one,
// but for spare places, which nobody waits with. Where one who holds a lock waits for another, give both one
// client.Party, and each server finds the circles that it can see; there are circles that no single server sees, so
// give such waits an end.
//
// # What it doesn't
//
// There is no one order of arrival. Each server has its own queue, and a client that has to pass a server over may
// overtake those who wait there. It doesn't enqueue on a majority first, in a fixed order, and wait then: two clients that
// do so at the same time can be enqueued in another order on one server than on the next, and would wait for each other
// for ever, each with a lock that the other needs, and no server to see it.
//
// There is no one fencing token. Each server counts by itself; Guard keeps the rule for all of them.
//
// A server that is restarted has forgotten its locks. One that was stopped has told its clients, and one that was killed
// grants nothing until they must know, so that a restart is a loss like any other. This takes a state directory that
// comes back with the server, and state.grace; where either is missing, let a server wait as long as sessions live (TTL)
// before it takes clients. Upgrades, leases that are renewed, and watching are for single servers.
//
// It costs a round trip for each server of the majority, one after the other, and one more for the rest.
package quorum
