package wire

// The bounds of the parsers. The size of a message is bounded by the caller.
const (
	// V1Depth is how deep arrays and objects may be nested in a message, unknown members included.
	V1Depth = 64
	// V1Values is how many values a message may hold where v1 looks, unless the parser says otherwise:
	// members of the message and of its resources, resources, and segments, counted together. What
	// is inside unknown members doesn't count.
	V1Values = 8192
)

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

	core
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
