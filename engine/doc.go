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
//   - A request is acquired exactly when no older request that is alive conflicts with it, and each
//     of its permits has room. Nothing else delays it, and nothing overtakes it.
//   - A permit is a read towards everything else. It has room when its weight and the weights of
//     all permits before it on the same path, acquired or waiting, add up to the limit at most;
//     those of one request count in the order of its resources. So those that have room are the
//     first of a queue: a light one never overtakes a heavy one.
//   - All living permits of a path have the same limit.
//   - A permit gets a slot when its request is acquired, and keeps it until the release: the lowest
//     number that no acquired permit of the path has. It is below the limit, as all weigh one at
//     least. Requests acquired by one call get theirs in the order of their sequence numbers.
//   - A refused request leaves no trace.
//   - Conflicting requests are acquired in the order of their sequence numbers, so that the number
//     is a fencing token.
//   - When no request is alive, no node and no entry is held.
//
// One call grants a bounded number of entries. When a release gives way to more, the rest is a
// backlog that Advance works off, first come first served; call it until it says that there is no
// more. Until then some requests wait that the rule would have acquired. The engine is only ever
// behind the rule, never ahead of it: none is acquired that the rule doesn't acquire, a new request
// may have to wait behind the backlog, and one that waits in it can be released like any other.
// When there is no more, exactly those requests are acquired that the rule acquires.
//
// # How it works
//
// This is multi-granularity locking (J. Gray et al., 1975) on a tree of paths. A request on /a/b/c
// has an intention entry on /, /a and /a/b, and a read or write entry on /a/b/c. Two intentions
// never conflict; an intention to read conflicts with a write, one to write with reads and writes,
// a read with writes and intentions to write, and a write with all. Each node keeps a FIFO of
// entries for each of these four modes. An entry is granted when its sequence number isn't larger
// than that of the head of any list that conflicts with its mode, and a request is acquired when
// all its entries are granted.
//
// Looking at single nodes is the same as looking at all pairs of requests. If two resources
// conflict, let p be the shorter path, the prefix. Both have an entry on p's node: that of p is a
// read or a write; that of the other is the same when the paths are equal, else an intention of
// its mode. One of them is for a write, so they conflict there by the table, whichever is which.
// The other way round, entries that conflict on a node are never two intentions; one is a read or
// write of a resource that ends there, the other belongs to a resource that ends there or passes
// through, so that one path is a prefix of the other; and the table has no pair without a write.
// That the heads are enough: a list is in order of sequence numbers, so that an older conflicting
// entry exists exactly if the head is one. Entries of a request share its number and are thus never
// older than one another.
//
// # Invariants
//
//   - In each list sequence numbers increase, and the granted entries are the first ones. The
//     boundary moves forward only, and entries at the boundary are held back by some head, unless
//     the node is in the backlog.
//   - A request has one entry at most per node and mode, and with an entry it has an intention on
//     every node above. Entries are removed from below, so that a node outlives its children.
//   - A request's pending count is that of its entries and permits that aren't granted.
//   - The permits of a path that have room are the first ones, and their weights add up to what
//     is used, never above the limit. The slots taken are those of acquired requests.
//   - Nodes, entries and the like live in slabs of chunks without Go pointers; a chunk without items
//     is given back, but for one.
//
// # What it costs
//
// Lock and Release take constant time per path segment, however long the queues are and however
// much else is held: only the removal of a head can give way, each entry is granted once, and the
// tree's edges are in a hash table that grows and shrinks by a bucket at a time. Slots take a step
// per bit of the limit. Nothing is allocated in a steady state. The hash is seeded at random, and
// nothing that can be observed depends on it.
//
// # What it won't do
//
// It doesn't time out, renew, upgrade or downgrade; patterns mean nothing to it; requests never
// change; it detects no deadlock (there is none while each party has one request at a time); it
// isn't safe for concurrent use: whoever owns an engine makes one call at a time.
package engine
