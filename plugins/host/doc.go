// Package host loads WebAssembly plugins and asks them: guests in, verdicts out. It knows nothing of
// sockets or locks.
//
// # Terms
//
// A plugin is a module with its configuration and limits. A guest is what runs inside an instance of
// it: a memory, globals, one call at a time. A hook is a moment at which a plugin is asked. A Gate
// is the chain of all plugins; a generation is what one Load made of them. A Caller asks on behalf
// of one goroutine. docs/PLUGINS.md is the contract that guests are written to.
//
// # What a guest may see and do
//
// It sees its configuration, the question it is asked, the clock, random bytes, and what it kept in
// its own memory from earlier calls of the same instance; of other instances, of the server, of files,
// sockets and the environment it sees nothing. It may compute, for as long as Limits say, log a few
// lines, and answer. While it normalizes, the wall clock stands still at 0 and random bytes are zero,
// because a normalized path must be the same on every server and every time.
//
// # How it is held
//
// The compiler's code can't be preempted: a guest that loops would stop the garbage collector, and
// with it the whole process, for ever. So each module is rewritten when it is loaded (package
// wasm): it pays fuel on its way, and when a slice of it is used up it calls refuel, which looks at
// the clock and hands out another one or ends the call. The clock is read nowhere else, and a call
// within one slice never reads it. A module is checked structurally before wazero sees it, because
// wazero's decoder and compiler can be made to take all memory or time there is.
//
// # Rules
//
//   - Nothing allows but a completed call with the status for it: the zero value of Outcome and of
//     Verdict denies.
//   - An instance belongs to whoever holds the mutex of its slot; two calls at once would crash the
//     process.
//   - After a trap, an overrun or a breach of the contract, an instance is never used again. The
//     plugin's mender makes a new one, and takes a tenth of one core at most in doing so.
//   - A goroutine loses at most about twice the limit of a call to guests that overrun, however many
//     do so in a row: see penalty.
//   - Load is all or nothing. Calls in progress end in the generation in which they began, or begin
//     again in the next.
//   - Instances and memory are given back explicitly, and code by a collection of garbage that is asked for
//     (Gate.retire). Nothing waits until somebody else collects some.
//
// # Following a question
//
// Caller.Judge takes the current generation and asks plugin by plugin. plugin.call takes an instance, has a writer
// (abi.go) put the question into the guest's buffer, calls the hook (instance.ask), and sorts out how that ended
// (plugin.ended). What the answer refers to is read and checked from the guest's memory by Caller.normalized and
// Caller.refused.
//
// # Measuring
//
// What a question costs, each example metered and as it is, and what the host's own part of it is:
//
//	go test -tags toolchains -run '^$' -bench 'Examples|Host$' ./plugins/host
//
// How long guests that mean harm hold the goroutine that asks them, and the same in the whole server, with what
// others notice of it:
//
//	go test -run '^$' -bench Hostile -benchtime 20x ./plugins/host
//	go test -count=1 -v -run Harm ./internal/e2e -args -deaths 20 -good-calls 1000000
//
// The rate of a server with plugins beside one without:
//
//	go run ./bench -loads plugins
package host
