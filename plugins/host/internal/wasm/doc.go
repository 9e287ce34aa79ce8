// Package wasm reads WebAssembly binaries that nobody vouches for, and rewrites them so that whoever runs them
// stays in control. It imports nothing but the standard library, and runs nothing.
//
// # Check
//
// Check comes first. It reads a whole module structurally and believes no number that the bytes present don't
// bear out, so that its time is linear and its memory a small multiple of the file's size. It accepts version 2
// of the core specification as wazero has it by default, less imported memories, tables and globals, and less
// what needs disproportionately much to decode or compile (Limits). It is no validation: whether types match is
// the compiler's to judge. It does refuse the numbers of functions, types, labels, globals and local variables
// that aren't there, so that Meter can add some of its own.
//
// # Meter
//
// Native code that wazero makes can't be interrupted, and while it runs Go can't collect garbage. So Meter
// rewrites a checked module: its code takes fuel from a global, and when none is left calls an imported function,
// refuel, which looks at the clock and grants another slice or panics. What it may have run until then is
// bounded on every way through the code. With slices of 4096 units that is a tenth of a millisecond of
// arithmetic and two milliseconds of loads that miss every cache.
//
// The user sets the fuel global to Fill before each call. Refuel has to look at Stack too, and to set the global
// to Refill. After a panic or a trap the instance must be discarded, for then the global's depth is wrong as well.
//
// The rewritten module is valid if and only if the original is, except that it may take references to functions
// that the original forgot to declare. So it is enough to have the rewritten one validated.
//
// # What is charged
//
// The cost of code is estimated in bytes of simple instructions (cost.go). Charges stand
//
//   - where the code since the last charge may cost maxRun, on any way that leads there;
//   - at branches back to the beginning of a loop, or at the beginning;
//   - around calls that may recur: all indirect ones, and those that close a circle of calls;
//   - before a call, if what has run and what the callee may do before its first charge are too much together;
//   - before calls of the host; before operations on ranges of memories and tables, by their length; and before
//     their growth, by a slice and more.
//
// A function has no charges of its own as long as it is short: then its callers reckon with what it costs. That
// is known of every function before its callers are rewritten, because the calls that aren't charged form no
// circles, and functions are rewritten callees first (plan.go).
//
// # The bound
//
// On every way, through calls and returns, at most maxStretch runs between two charges. For, with R = maxRun and
// S = maxStep, the most that an instruction costs or the entry into a function:
//
//   - In a function, a charge follows as soon as R is reached, so what has run is below R between instructions.
//     Branches forward bring less than R+S to the ends of blocks, where it is again charged from R on. A branch
//     back is charged, or its loop is. Since every circle in a function leads through a loop's beginning, and no
//     circle of calls is without a charge, there are no others.
//   - So a function returns with less than R+S (maxTail).
//   - What a function does before its first charge is at most 2R: below R+S by itself; and with calls, by the
//     rule for these.
//   - A call that isn't charged begins only if what has run, its own cost and what the callee does before a charge
//     are 2R together at most. If they are more, a charge stands before the call, and what runs is the call's cost
//     and the callee's part, S+2R.
//   - A call that is charged begins with nothing run, so that S+2R may run; and is followed by a charge.
//
// maxStretch is the largest of these, S+2R. Units pay for unitRun each, so a slice of n units ends after
// n*unitRun, and another maxStretch. The tests have a second opinion: a walk along all ways through metered code
// that knows only where the fuel global is set.
//
// Not bounded are host functions, and single operations on ranges, which a memory's and a table's size bound.
//
// # The stack
//
// Accounted calls also tell how deep the stack is, in the fuel global's lower bits, and take it back when they
// return. Each counts for the most that may be called before the next accounted one, by estimates of frames that
// real compilers' code keeps within a factor of three. So Stack is no less than a third of the truth and at
// least 32 KiB must be granted; it is more than the truth where most of what could be called isn't.
package wasm
