// Package wire turns protocol messages into requests and answers into bytes. It does no I/O and
// knows neither sockets nor locks.
//
// Terms: a request is what a client asks; it names resources, each a path of segments and the type
// of access wanted. An answer is what the server says to it.
//
// Version 1 is read in two ways that must agree. A strict scanner takes the shapes that clients
// really send, straight from the message's own bytes. Whatever it doesn't recognize goes the
// general way: a check proves that the message is well-formed JSON within all bounds, and only then
// does fastjson see it, because fastjson accepts what is no JSON, keeps the first of two equal
// members, never shrinks, and spends hundreds of megabytes on wording an error. All refusals are
// worded by this package.
//
// What holds:
//   - Parsing allocates nothing in a steady state, however a valid message is written. A refused
//     message allocates its error.
//   - Time is linear in the message; memory is at most a small multiple of it (see V1Parser).
//   - No input makes it panic.
//   - What parses, prints canonically (AppendV1Request) and parses again to the same.
//
// A parser belongs to one goroutine at a time. Limits of the engine (segments in a path, bytes in a
// segment, resources in a request) are not checked here, only what parsing itself needs.
package wire

import "github.com/valyala/fastjson"

// The bounds of version 1's parser. The size of a message is bounded by the caller.
const (
	// V1Depth is how deep arrays and objects may be nested in a message, unknown members included.
	V1Depth = 64
	// V1Values is how many values a message may hold where v1 looks, unless the parser says otherwise:
	// members of the message and of its resources, resources, and segments, counted together. What
	// is inside unknown members doesn't count.
	V1Values = 4096
)

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
)

// String is the type's name in the canonical form.
func (t Type) String() string {
	switch t {
	case Read:
		return "read"
	case Write:
		return "write"
	}
	panic("wire: a Type is Read or Write")
}

// Resource is one thing that a request wants.
type Resource struct {
	Type Type
	// Path is valid UTF-8 without NUL in each segment. Empty: the whole namespace. A segment may be empty.
	Path [][]byte
}

// V1Action is what a v1 client asks for.
type V1Action uint8

// The actions of version 1.
const (
	V1Lock V1Action = iota
	V1Release
)

// String is the action's name on the wire.
func (a V1Action) String() string {
	switch a {
	case V1Lock:
		return "lock"
	case V1Release:
		return "release"
	}
	panic("wire: a V1Action is V1Lock or V1Release")
}

// V1State is the state that a v1 connection is in, as answers tell it.
type V1State uint8

// The states of version 1.
const (
	V1Ready V1State = iota
	V1Enqueued
	V1Acquired
)

// String is the state's name on the wire.
func (s V1State) String() string {
	switch s {
	case V1Ready:
		return "ready"
	case V1Enqueued:
		return "enqueued"
	case V1Acquired:
		return "acquired"
	}
	panic("wire: a V1State is V1Ready, V1Enqueued or V1Acquired")
}

// V1Request is a message of a v1 client. A lock has at least one resource, a release none. Its
// memory belongs to the parser and to the message: it is valid until the parser's next Parse and as
// long as the message isn't touched.
type V1Request struct {
	Action    V1Action
	Resources []Resource
}

// V1Parser parses messages of v1 clients. The zero value is ready. It is for one goroutine at a
// time: one per event loop.
//
// It keeps what it needs to parse the next message without allocating: a few kilobytes after
// ordinary messages, at most some megabytes after many of the largest that are allowed (V1Values),
// and nothing of a message over 256 KiB. A message of more than 256 values in an unusual shape may
// still allocate now and then, when what such messages left behind is dropped.
type V1Parser struct {
	// Values replaces V1Values if it isn't zero.
	Values int

	resources []Resource
	segments  [][]byte // the paths of all resources, one behind the other
	json      fastjson.Parser
	grown     int // values in messages of more than smallValues since json was last dropped
}

// Parse reads one message. It may modify msg, also when it fails. An error is worded for the person
// who wrote the client: what is wrong, and where.
//
// Rules beyond JSON's own: the message is valid UTF-8; known members (action and resources; type and
// path in a resource) are given once at most; nesting and the number of values are bounded; a
// segment has no NUL and no half of a surrogate pair. Unknown members are ignored, and so are the
// resources of a release as far as they keep to the rules just named.
func (p *V1Parser) Parse(msg []byte) (V1Request, error) {
	r, ok := p.scan(msg)
	if ok {
		p.forget(len(msg))
		return r, nil
	}
	r, err := p.parse(msg)
	p.forget(len(msg))
	return r, err
}

// most is how many values a message may hold.
func (p *V1Parser) most() int {
	if p.Values > 0 {
		return p.Values
	}
	return V1Values
}

// forget gives up the memory that a huge message left behind. The request already returned keeps
// alive what it points to.
func (p *V1Parser) forget(bytes int) {
	if bytes > keptBytes {
		*p = V1Parser{Values: p.Values}
	}
}
