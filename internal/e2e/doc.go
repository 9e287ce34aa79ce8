// Package e2e tests the program as its users meet it: the real binary, started on a port of its own,
// spoken to over real sockets. It holds tests only.
//
// Its parts: a harness that builds, starts and stops the binary; clients (two Go libraries, and a raw
// one that can misbehave); the examples of docs/PROTOCOL.md, see protocol_test.go; conversations in
// protocol v1; the named regressions; a random workload whose history an oracle judges afterwards, knowing
// nothing but what clients saw; kill -9 under load; hostile clients beside well-behaved ones; ten thousand sessions
// that come back at once; leak checks. The clients that live in Node.js and in a browser are in npm/ and run under the
// build tag "clients".
//
// What clients draw comes from one seed, printed by every run and taken back from LOCKTOPUS_SEED.
// Deadlines only bound how long a broken server can hang a test; no test asserts how fast something
// is. LOCKTOPUS_PROGRAM names a program to test instead of building one.
package e2e
