// Package histories judges what many clients of version 2 saw, whose connections were bad: is there an order
// of all that happened, each thing within the time in which it must have happened, that a lock service without
// concurrency could have gone through? If there is none, something was granted that others held, or believed
// to hold; or out of turn; or with a token that is too low.
//
// # Terms
//
// A Record is one request for a lock as its client saw it: when it was asked for and answered, granted, and when
// it ended, the latter two as times between which it must have happened. A client that believes by its
// own clock that it still holds a lock puts the end behind that. A ghost is a request that nobody knows the
// answer to, as its session was lost first: it may have stood in others' way, or not.
//
// The model is the queue of a namespace: requests in the order in which they came, of which each is granted as
// soon as no earlier one that is still there conflicts with it. Tokens increase in that order.
//
// # What it doesn't judge
//
// Whether everybody is served in the end: clients that wait for ever do not finish. Upgrades and permits.
//
// The clients, and the wire that cuts, delays, repeats and falls silent, are in the tests.
package histories
