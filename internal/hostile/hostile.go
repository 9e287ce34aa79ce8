// Package hostile holds plugins that mean harm, for tests: of the host by itself, and of the whole server.
//
// A Deed is what Guest does when it is asked anything in a certain namespace. A Module is a file that can't be
// a plugin, or one that misbehaves before it is asked anything. Each comes with the reason for which it must be
// ended or refused.
package hostile

import (
	_ "embed" // for the guests
	"encoding/hex"
	"fmt"
)

// Guest does what the namespace of a question says; guest.wat has all that it can do.
//
//go:embed guest.wasm
var Guest []byte

// Allows is the namespace in which Guest allows everything.
const Allows = "o"

// Reasons that clients are told.
const (
	Slow   = "it took too long"
	Failed = "it failed"
	Breach = "it broke the rules of plugins"
)

// A Deed is one way in which a call has no answer that counts.
type Deed struct {
	About     string
	Namespace string // in which Guest does it, printable
	Reason    string // that the client is told
	Log       string // a part of what the log says, without quotes
}

// Endless deeds are ended by the limit of a call, whatever the guest is busy with.
var Endless = []Deed{
	{"an empty loop", "l", Slow, "longer than call_timeout"},
	{"a loop that counts", "L", Slow, ""},
	{"recursion without loops", "r", Slow, ""},
	{"recursion through a table", "I", Slow, ""},
	{"divisions", "d", Slow, ""},
	{"square roots of tiny numbers", "f", Slow, ""},
	{"filling memory", "F", Slow, ""},
	{"copying memory", "C", Slow, ""},
	{"loads that depend on each other", "c", Slow, ""},
	{"stores to pages never touched", "t", Slow, ""},
	{"growing memory", "M", Slow, ""},
	{"growing tables", "T", Slow, ""},
	{"filling and copying tables", "S", Slow, ""},
	{"references", "n", Slow, ""},
	{"random bytes, many", "R", Slow, ""},
	{"random bytes, one at a time", "1", Slow, ""},
	{"the time", "2", Slow, ""},
	{"the clock's resolution", "3", Slow, ""},
	{"log lines", "4", Slow, ""},
	{"empty log lines", "5", Slow, ""},
	{"writing", "6", Slow, ""},
	{"writing nothing", "7", Slow, ""},
	{"writing from outside of the memory", "8", Slow, ""},
	{"yielding", "9", Slow, ""},
}

// Deep deeds end when their calls nest too deep, unless they take too long until then.
var Deep = []Deed{
	{"too deep", "a", Failed, "its calls nest too deep"},
	{"too deep in two functions", "b", Failed, "its calls nest too deep"},
	{"too deep through a table", "e", Failed, "its calls nest too deep"},
	{"too deep with much on the stack", "h", Failed, "its calls nest too deep"},
}

// Trapping deeds end by themselves, or where the guest leaves what it is given.
var Trapping = []Deed{
	{"unreachable", "A", Failed, "unreachable"},
	{"division by zero", "B", Failed, "integer divide by zero"},
	{"overflow", "D", Failed, "integer overflow"},
	{"a load across the end of memory", "E", Failed, "out of bounds memory access"},
	{"a store far outside", "G", Failed, "out of bounds memory access"},
	{"filling outside", "H", Failed, "out of bounds memory access"},
	{"a call outside of the table", "J", Failed, "invalid table access"},
	{"a call of null", "K", Failed, "invalid table access"},
	{"nothing is selected", "~", Failed, "invalid table access"},
	{"a call of another type", "N", Failed, "indirect call type mismatch"},
	{"a conversion of NaN", "O", Failed, "invalid conversion to integer"},
	{"a conversion of what is too large", "P", Failed, "integer overflow"},
	{"setting outside of the table", "Q", Failed, "invalid table access"},
	{"abort", "U", Failed, "it called abort"},
	{"exit 0", "V0", Failed, "it called proc_exit"},
	{"exit 1", "V1", Failed, "it called proc_exit"},
	{"a log line from outside", "W", Failed, "log with memory that it doesn't have"},
}

// Statuses of answers.
const (
	None = iota
	Allow
	Deny
	Rewritten
	Fault
)

// Where things are in Guest's memory.
const (
	Memory  = 3 * 65536 // its size, until it grows
	Scratch = 4096      // the bytes of an answer
	Buffer  = 65536
)

// Answer is the namespace in which Guest answers so. The bytes of said lie at Scratch then.
func Answer(status, code byte, length uint16, at uint32, said string) string {
	result := uint64(status) | uint64(code)<<8 | uint64(length)<<16 | uint64(at)<<32
	return fmt.Sprintf("=%016x%s", result, hex.EncodeToString([]byte(said)))
}

// Saying is the namespace in which Guest answers with these bytes.
func Saying(status, code byte, said string) string {
	return Answer(status, code, uint16(len(said)), Scratch, said)
}

// GoesBad is the namespace in which an instance of Guest allows so many times, and then never returns.
func GoesBad(calls uint32) string { return fmt.Sprintf("g%08x", calls) }

func wrong(about, namespace, log string) Deed { return Deed{about, namespace, Breach, log} }

// Wrong deeds are completed calls with answers that no hook may give.
var Wrong = []Deed{
	wrong("no status", Answer(None, 0, 0, 0, ""), "status 0"),
	wrong("no status, and all else", Answer(None, 255, 65535, 1<<32-1, ""), "status 0"),
	wrong("status 5", Answer(5, 0, 0, 0, ""), "status 5"),
	wrong("status 129", Answer(129, 0, 0, 0, ""), "status 129"), // 1 and a bit
	wrong("all ones", Answer(255, 255, 65535, 1<<32-1, ""), "status 255"),
	wrong("a text behind the memory", Answer(Deny, 0, 1, Memory, ""), "status 2"),
	wrong("a text across the end of memory", Answer(Deny, 0, 2, Memory-1, ""), ""),
	wrong("a text across the end of addresses", Answer(Fault, 0, 2, 1<<32-1, ""), "status 4"),
	wrong("a text longer than there is room", Answer(Deny, 0, 65535, Memory-65534, ""), ""),
	wrong("a text that is no UTF-8", Saying(Deny, 0, "caf\xe9"), ""),
	wrong("a fault that is no UTF-8", Saying(Fault, 0, "\xff"), ""),
	wrong("a text that ends within a rune", Saying(Deny, 0, "\xe6\xbc"), ""),
	wrong("a text with half a surrogate pair", Saying(Deny, 0, "\xed\xa0\x80"), ""),
}

// WrongFor are those that this hook may not give: "authenticate", "authorize" or "normalize".
func WrongFor(hook string) []Deed {
	switch hook {
	case "authenticate":
		return wrongIdentities
	case "normalize":
		return wrongPaths
	}
	return []Deed{wrong("rewritten, by who may not", Saying(Rewritten, 0, "a\x00\x00"), "status 3")}
}

// Identity is the answer of authenticate: what the lengths say may be wrong.
func Identity(ttl uint32, principalLength, contextLength uint16, rest string) string {
	return string([]byte{
		byte(ttl), byte(ttl >> 8), byte(ttl >> 16), byte(ttl >> 24),
		byte(principalLength), byte(principalLength >> 8), byte(contextLength), byte(contextLength >> 8),
	}) + rest
}

var wrongIdentities = []Deed{
	wrong("rewritten, by who may not", Saying(Rewritten, 0, "a\x00\x00"), "status 3"),
	wrong("an identity of a byte", Saying(Allow, 0, "a"), "status 1"),
	wrong("an identity without an end", Saying(Allow, 0, Identity(0, 1, 0, "")), ""),
	wrong("nobody's identity", Saying(Allow, 0, Identity(0, 0, 0, "")), ""),
	wrong("nobody, with a context", Saying(Allow, 0, Identity(0, 0, 1, "c")), ""),
	wrong("lengths that lie: less", Saying(Allow, 0, Identity(0, 1, 1, "abc")), ""),
	wrong("lengths that lie: more", Saying(Allow, 0, Identity(0, 2, 2, "abc")), ""),
	wrong("lengths that lie: much more", Saying(Allow, 0, Identity(0, 65535, 65535, "abc")), ""),
	wrong("a principal of 257 bytes", Answer(Allow, 0, 265, Scratch, Identity(0, 257, 0, "")), ""),
	wrong("a context of 4097 bytes", Answer(Allow, 0, 4106, Scratch, Identity(0, 1, 4097, "a")), ""),
	wrong("a principal that is no UTF-8", Saying(Allow, 0, Identity(0, 2, 0, "a\xff")), ""),
	wrong("a principal with NUL", Saying(Allow, 0, Identity(0, 3, 0, "a\x00b")), ""),
	wrong("a principal of two lines", Saying(Allow, 0, Identity(0, 3, 0, "a\nb")), ""),
	wrong("a principal with a C1 control", Saying(Allow, 0, Identity(0, 2, 0, "\u0085")), ""),
	wrong("an identity behind the memory", Answer(Allow, 0, 9, Memory, ""), ""),
	wrong("an identity across the end", Answer(Allow, 0, 9, Memory-8, ""), ""),
	wrong("an identity across all addresses", Answer(Allow, 0, 65535, 1<<32-1, ""), ""),
}

// wrongPaths are answers to a question with one resource.
var wrongPaths = []Deed{
	wrong("no paths", Answer(Rewritten, 0, 0, 0, ""), "status 3"),
	wrong("a path without an end", Saying(Rewritten, 0, "a\x00"), ""),
	wrong("a segment without an end", Saying(Rewritten, 0, "a"), ""),
	wrong("a path too many", Saying(Rewritten, 0, "a\x00\x00b\x00\x00"), ""),
	wrong("a byte too many", Saying(Rewritten, 0, "a\x00\x00b"), ""),
	wrong("an empty path too many", Saying(Rewritten, 0, "a\x00\x00\x00"), ""),
	wrong("a segment that is no UTF-8", Saying(Rewritten, 0, "a\xff\x00\x00"), ""),
	wrong("a rune across two segments", Saying(Rewritten, 0, "\xc3\x00\xa9\x00\x00"), ""),
	wrong("paths behind the memory", Answer(Rewritten, 0, 3, Memory, ""), ""),
	wrong("paths across the end", Answer(Rewritten, 0, 3, Memory-2, ""), ""),
	wrong("65535 bytes of nothing", Answer(Rewritten, 0, 65535, Scratch, "a\x00\x00"), ""),
	wrong("what lies in the buffer", Answer(Rewritten, 0, 60000, Buffer, ""), ""),
}
