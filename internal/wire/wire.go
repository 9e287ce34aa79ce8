// Package wire turns protocol messages into requests and answers into bytes. It does no I/O and
// knows neither sockets nor locks.
//
// Terms: a request is what a client asks; it names resources, each a path of segments and the type
// of access wanted. An answer is what the server says to it. In version 2 a session has many locks:
// a lock is called by the id of the request that asked for it; an event tells of a lock what no
// request asked for; a change is what a watch tells. A message that ends a connection is a failure.
//
// Requests of both versions are read in two ways that must agree. A strict scanner takes the shapes
// that clients really send, straight from the message's own bytes. Whatever it doesn't recognize
// goes the general way: a check proves that the message is well-formed JSON within all bounds, and
// only then does fastjson see it, because fastjson accepts what is no JSON, keeps the first of two
// equal members, never shrinks, and spends hundreds of megabytes on wording an error. All refusals
// are worded by this package. What the versions know of a message's shape is a table (rules).
//
// What holds:
//   - Parsing allocates nothing in a steady state, however a valid message is written (of version 2:
//     but for hello). A refused message allocates its error.
//   - Time is linear in the message; memory is at most a small multiple of it (see V1Parser).
//   - No input makes it panic.
//   - What parses, prints canonically (AppendV1Request, AppendV2Request) and parses again to the same.
//   - Whatever an answer holds, it is printed as valid JSON in UTF-8.
//
// A parser belongs to one goroutine at a time. Limits of the engine (segments in a path, bytes in a
// segment, resources in a request) and of sessions are not checked here, only what parsing itself
// needs.
package wire

import "github.com/valyala/fastjson"

// What a parser keeps for the next message.
const (
	// keptBytes: a message longer than this leaves nothing behind in its parser.
	keptBytes = 256 << 10
	// smallValues: however messages of no more values than this are shaped, fastjson's tree keeps
	// within a few megabytes.
	smallValues = 256
	// keptValues: every place in fastjson's tree keeps the memory of the largest thing that was ever
	// parsed there. Messages of more than smallValues values are therefore added up, and the tree
	// is dropped at this sum, or differently shaped messages could grow it without end.
	keptValues = 1 << 17
)

// Type is the access that a resource is wanted for.
type Type uint8

// The types of access.
const (
	Read Type = iota
	Write
	Permit // of version 2 only
)

// String is the type's name in the canonical form.
func (t Type) String() string {
	switch t {
	case Read:
		return "read"
	case Write:
		return "write"
	case Permit:
		return "permit"
	}
	panic("wire: a Type is Read, Write or Permit")
}

// Resource is one thing that a request wants.
type Resource struct {
	Type Type
	// Limit and Weight are a permit's, at least 1; of no meaning for other types.
	Limit, Weight uint32
	// Path is valid UTF-8 without NUL in each segment. Empty: the whole namespace. A segment may be empty.
	Path [][]byte
}

// core is what the parsers of all versions have: the memory that one message needs and the next one
// finds.
type core struct {
	resources []Resource
	segments  [][]byte // all paths, one behind the other
	json      fastjson.Parser
	number    []byte // one, as written
	grown     int    // values in messages of more than smallValues since json was last dropped
}

// path is the segments from first on. It stays right when p.segments grows and moves: its own array
// is then no longer written to.
func (p *core) path(first int) [][]byte {
	return p.segments[first:len(p.segments):len(p.segments)]
}

// forget gives up the memory that a huge message left behind. The request already returned keeps
// alive what it points to.
func (p *core) forget(bytes int) {
	if bytes > keptBytes {
		*p = core{}
	}
}

// mostValues is how many values a message may hold where a parser's own setting is this.
func mostValues(setting int) int {
	if setting > 0 {
		return setting
	}
	return V1Values
}
