// Package conformance tries a plugin SDK: it puts golden requests to the SDK's conformance guest
// and compares the answers. README.md says what such a guest has to do, and golden.toml holds the
// same cases for other languages.
//
// The requests are encoded here a second time, from the ABI's text alone, so that a mistake of
// plugins/host doesn't become the rule. The expected answers come from what was encoded, not from
// reading the bytes.
//
// It is for tests and for the program's subcommands that judge plugins. It is no sandbox: nothing
// but its context ends a guest that loops.
package conformance

// Case is one question and its answer.
type Case struct {
	Name    string
	About   string
	Hook    string // what follows "locktopus_" in the name of the export
	Config  []byte // for locktopus_init before; empty: none
	Request []byte
	Notes   []Note // what the bytes of Request mean, in order and without holes
	Want    Answer
}

// Note says what Bytes of a request, from the end of the note before, mean. Notes without a text go
// on with the one before.
type Note struct {
	Bytes int
	Text  string
}

// Answer is all that a call brings forth.
type Answer struct {
	Trap   bool // the call ended in a trap; then the rest means nothing
	Status uint8
	Code   uint8
	Bytes  []byte
	Logs   []Line
}

// Line is a line of the guest's log.
type Line struct {
	Level int32
	Text  string
}

// The statuses of an answer.
const (
	allow     = 1
	deny      = 2
	rewritten = 3
	fault     = 4
)

// bufferBytes is the size of the buffer, and so of the largest request.
const bufferBytes = 65536

// Cases are all cases: the same in each call, and the caller's own.
func Cases() []Case {
	var all []Case
	for _, some := range [][]Case{initCases(), authorizeCases(), answerCases(), authenticateCases(), identityCases(), normalizeCases()} {
		all = append(all, some...)
	}
	return all
}
