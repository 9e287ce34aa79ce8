// Package engine decides who holds which locks in one namespace. It is a state machine: no clock,
// no goroutine, no I/O, no logging, and the same calls in the same order give the same answers on
// every machine. Timers, sessions and the network live outside and reach it as calls.
//
// # Terms
//
// A path is a list of segments, which are opaque bytes; the empty path is the whole namespace.
// A resource is a path and a mode: read, write or permit. A request is a list of resources; it is
// alive from Lock to Release, and either waits or is acquired, as a whole. An entry stands for a
// request on one node of the tree of paths, in one mode.
//
// # What it promises
//
//   - Two resources of two requests conflict if one path is a prefix of the other, or equal, and
//     one of them at least is a write. Resources of one request never conflict.
//   - Requests get increasing sequence numbers; a refused one gets none.
//   - A request is acquired exactly when no older request that is alive conflicts with it, nor one
//     that is acquired, and each of its permits has room. Nothing else delays it, and nothing
//     overtakes it but upgrades.
//   - An upgrade turns the reads of an acquired request into writes. It comes true exactly when no
//     other acquired request conflicts with the new writes; until then nothing is acquired that does,
//     as if they were held already. One that conflicts with the new writes of a pending upgrade is
//     refused. A downgrade turns writes into reads, at once. Both leave permits alone.
//   - A permit is a read towards everything else. It has room when its weight and the weights of
//     all permits before it on the same path, acquired or waiting, add up to the limit at most;
//     those of one request count in the order of its resources. So those that have room are the
//     first of a queue: a light one never overtakes a heavy one.
//   - All living permits of a path have the same limit.
//   - A permit gets a slot when its request is acquired, and keeps it until the release: the lowest
//     number that no acquired permit of the path has. It is below the limit, as all weigh one at
//     least. Requests acquired by one call get theirs in the order of their sequence numbers.
//   - A refused request leaves no trace.
//   - An acquired request has a fencing token: of two that conflict, the one that was acquired, or
//     upgraded, later has the higher one. It is the sequence number, as long as nobody upgrades in
//     this engine. An upgrade gets a new number as its token, and so does a request that is acquired
//     with a sequence number below any such token. A downgrade changes no token.
//   - No number is given twice, as a sequence number or as a token, nor one above what SetReserved
//     allows. A grant that would need one waits until more are allowed.
//   - A deadlock is a set of parties none of which gets on even if everybody else gives up what he has
//     and wants; a party that waits is taken to give up nothing. Cycle misses none that a party is in a
//     cycle of, and invents none; it may say that it doesn't know, after as many steps as it is allowed.
//     There can be none as long as each party has one request at a time.
//   - When no request is alive, no node and no entry is held.
//
// One call grants a bounded number of entries, or takes back as many (see below). When it gives way to
// more, the rest is a backlog that Advance works off, first come first served; call it until it says
// that there is no more. Until then some requests wait that the rule would have acquired. The engine
// is only ever behind the rule, never ahead of it: none is acquired that the rule doesn't acquire, a
// new request may have to wait behind the backlog, and one that waits in it can be released like any
// other. When there is no more, exactly those requests are acquired that the rule acquires, but for
// those that wait for numbers.
//
// # How it works
//
// This is multi-granularity locking (J. Gray et al., 1975) on a tree of paths. A request on /a/b/c
// has an intention entry on /, /a and /a/b, and a read or write entry on /a/b/c. Two intentions
// never conflict; an intention to read conflicts with a write, one to write with reads and writes,
// a read with writes and intentions to write, and a write with all. Each node keeps a FIFO of
// entries for each of these four modes: first the granted ones, then those that wait. An entry is
// granted when no list that conflicts with its mode has a granted entry of another request, or an
// older one that waits; and a request is acquired when all its entries are granted.
//
// Looking at single nodes is the same as looking at all pairs of requests. If two resources
// conflict, let p be the shorter path, the prefix. Both have an entry on p's node: that of p is a
// read or a write; that of the other is the same when the paths are equal, else an intention of
// its mode. One of them is for a write, so they conflict there by the table, whichever is which.
// The other way round, entries that conflict on a node are never two intentions; one is a read or
// write of a resource that ends there, the other belongs to a resource that ends there or passes
// through, so that one path is a prefix of the other; and the table has no pair without a write.
// Of each list two entries are enough: a request has one at most, so that of two granted ones one is
// another's; and those that wait are in the order of sequence numbers, so that the first tells whether
// there is an older one.
//
// An upgrade gives the request write entries beside its read entries, its claims. They count as
// granted at once, at the heads of their lists, which keeps others out. The order of granted entries
// doesn't matter: whatever conflicts with them waits behind all of them. The upgrade comes true when
// the lists that its claims conflict with have no granted entries of others. Those of acquired requests
// have to go by themselves: the upgrade stands in the line of one of those, and looks on when that one
// is released. What it has seen to be clear stays so. Those of requests that wait, for something else,
// are taken back: they are the youngest of their list, and become the first of those that wait there. As
// that begins from the end of a list and stops at an acquired one, some stay granted until later;
// should such a request have all it wants meanwhile, it stands in the upgrade's line until that has
// come to its end. So an upgrade costs a step per entry that it adds, one per entry that it takes back,
// and one per request that was in its way.
//
// A downgrade turns write entries into read entries, in place, or drops them where the request has both.
//
// Who is in a request's way stands in the lists that its entries conflict with, before its own place.
// Blockers and Ahead read them from the front. Cycle goes on from each that it finds to what that one's
// party waits for, and remembers how far it has read each list, so that a queue is read once and not once
// for each that stands in it. As long as nobody waits for room in a pool of permits, coming back to the
// party that it began with is a deadlock. A permit waits for room and not for somebody: there all whom
// the party depends on are taken to be stuck, and then those are let go, again and again, whom the others
// don't hold up. Inspect finds all who have something below a node by their intentions on it, and all who
// cover it by the reads and writes on the nodes above.
//
// # Invariants
//
//   - In each list the granted entries are the first ones. The sequence numbers of the others increase,
//     and so do those of all entries of requests that wait. The first one that waits is held back by
//     some list, unless the node is in the backlog. Only requests that wait have entries that wait.
//   - Of two granted entries on a node that conflict, one is a claim of a pending upgrade, and the
//     other isn't; its request is acquired, or waits and won't be acquired before the upgrade ends.
//   - A request has one entry at most per node and mode, and with an entry it has an intention on
//     every node above. Entries are removed from below, so that a node outlives its children. A
//     request's entries are strung together so that behind a read or write follow the intentions that
//     it brought along, and the claims of a pending upgrade come first.
//   - A request's pending count is that of its entries and permits that aren't granted, and one if it
//     stands in a line. A pending upgrade stands in one, too.
//   - Those in a line wait for one thing: the release of a request, or the end of its upgrade; or a
//     number; or, in a line that is ready, for Advance.
//   - The permits of a path that have room are the first ones, and their weights add up to what
//     is used, never above the limit. The slots taken are those of acquired requests.
//   - Nodes, entries and the like live in slabs of chunks without Go pointers; a chunk without items
//     is given back, but for one.
//
// # What it costs
//
// Lock and Release take constant time per path segment, however long the queues are and however
// much else is held: only the removal of a head can give way, or of the second of two that are granted;
// each entry is granted once, but for those that upgrades take back; and the tree's edges are in a hash
// table that grows and shrinks by a bucket at a time. So do upgrades and downgrades, but for what upgrades
// take back. Slots take a step per bit of the limit. Nothing is allocated in a steady state. The hash is
// seeded at random, and nothing that can be observed depends on it.
//
// Answers about requests have a bound, too. Blockers and Ahead look at 2^14 entries of others at most,
// Inspect at 2^10 and eight for each request that it may show, until what it shows has a size, and Cycle at as
// many as it is allowed. Besides, each of them goes through the resources of the requests that it is asked
// about and that it tells of.
//
// # What it won't do
//
// It doesn't time out or renew; patterns mean nothing to it; a request never gets or loses a path; it
// finds a deadlock only when it is asked, and does nothing about it; it isn't safe for concurrent use:
// whoever owns an engine makes one call at a time.
package engine
