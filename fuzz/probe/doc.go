// Package probe tests a lock server from outside, by what version 1 or version 2 of the protocol promises: it
// plays several clients of a namespace, good ones and bad ones, and checks all that such clients can check.
//
// # Terms
//
// A script is a list of steps; each is something that one of the clients does. A round plays a script in
// a namespace of its own, one step at a time: before the next one, everything that the step must lead
// to has arrived. So the model always knows what the server must answer, and a script finds the same fault
// again when it is played again. A storm is a round in which all clients act at once; what they saw is
// judged afterwards, by internal/oracle. A finding is a promise that was broken. A ghost is a request whose
// client has gone: it may stand in the way for a while, and nobody is told when it doesn't any more.
//
// What is called V2 is for version 2. Its model (sessionV2, table, queue) is made from docs/PROTOCOL.md and shares nothing
// with internal/session: the two are to find each other's faults. The eye is a client that looks on where something
// happens that nobody is told, as when the server notices that a connection is gone.
//
// # What is checked
//
// Of version 1; fuzz/README.md has the list for version 2.
//
//   - Answers are the ones that the protocol has, in the order that it says, each once, on the connection
//     that they are for.
//   - No two conflicting locks are held at once; none is acquired before an earlier request that conflicts
//     has ended, and each is acquired as soon as none is left. A lost connection's lock stays for the abandon
//     timeout, and no longer; a lost waiter leaves at once.
//   - Ids are decimal numbers that increase.
//   - What is no message, no frame or no upgrade is refused, in the form and with the code that the protocol
//     has for it, and the connection that sent it is closed; no other one is.
//   - Frames mean the same however they are cut and fragmented; pings are answered.
//   - After all that, the server still answers, and nothing is left behind in the namespace.
//
// The namespace must be the probe's own, the server's limits no lower than its defaults, and no plugin may
// put other paths in the place of those that are sent. What the server may not be asked at all isn't a
// finding, but an end of the run: see Refused.
//
// A probe's memory and time are bounded by its Options.
package probe
