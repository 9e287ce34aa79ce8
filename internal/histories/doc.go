// Package histories judges what many clients of both versions saw, whose connections were bad: is there an order
// of all that happened, each thing within the time in which it must have happened, that a lock service without
// concurrency could have gone through? If there is none, something was granted that others held, or believed
// to hold; or out of turn; or with a token that is too low.
//
// # Terms
//
// A Record is one request for a lock as its client saw it: when it was asked for and answered, granted, and when
// it ended, the latter two as times between which it must have happened. A client that believes by its
// own clock that it still holds a lock puts the end behind that. A Change is an upgrade or a downgrade of a lock. A
// ghost is a request that nobody knows the answer to, as its session or its connection was lost first: it may have stood in
// others' way, or not. A change can be such a one, too.
//
// The model is the queue of a namespace, by the rules of docs/PROTOCOL.md, and by them alone: requests in the order in
// which they came, of which each is granted as soon as no earlier one that is still there conflicts with it, nor one
// that is granted, and as its permits have room behind those that came before. Permits have slots that nobody else has.
// An upgrade comes true as soon as nobody has what it conflicts with, and until then nobody gets that. Tokens
// increase in the order of the queue; upgrades, and those that they pass, have new ones, above all before.
//
// # How it searches
//
// First without ghosts, as an order without them is one with them, too: each may have been over at once. Where there is
// none, or none is found in a short time, the ghosts that can explain what couldn't happen there are brought in, one after
// the other: first one with which the order goes further, and as if it had been there until then. Only when there is none with
// all of them, whenever they ended, there is no order. If a short time isn't enough for that, it begins anew with a longer
// one. So most histories are decided in milliseconds, though they have dozens of ghosts.
//
// # What it doesn't judge
//
// Whether everybody is served in the end: clients that wait for ever do not finish. Which slot one gets of those that are
// free. Whether an upgrade that was refused as a deadlock would have been one.
//
// Messages of one connection are never reordered: TCP can't do that to them, and so no client has to bear it. What can change
// places are messages of two connections, an old one that still brings what was on its way and the one that follows; and a
// hello is repeated at a time when the client has gone on.
//
// The clients, the wire that cuts, delays, repeats and falls silent, and the servers that are killed, are in the tests. A
// server that follows a killed one is in the model by its own lock on everything, whenever that ends: what clients of the
// one before believed to hold, they held.
package histories
