package wire

import "fmt"

// The bounds of version 2's parser, as V1Depth and V1Values, and its own.
const (
	V2Depth  = V1Depth
	V2Values = V1Values
	// V2Credentials is how many credentials a hello may hold.
	V2Credentials = 32
	// V2MaxID is the largest id, and the largest number of milliseconds: what every language's JSON
	// can hold exactly.
	V2MaxID = 1<<53 - 1
	// V2None stands for a time that a message doesn't name.
	V2None = -1
)

// V2Op is what a v2 client asks for.
type V2Op uint8

// The operations of version 2.
const (
	V2Hello V2Op = iota
	V2Lock
	V2Release
	V2Renew
	V2Upgrade
	V2Downgrade
	V2Locks
	V2Inspect
	V2Watch
	V2Unwatch
	V2Bye
	v2Ops
)

var v2OpNames = [v2Ops]string{
	"hello", "lock", "release", "renew", "upgrade", "downgrade", "locks", "inspect", "watch", "unwatch", "bye",
}

// String is the operation's name on the wire.
func (o V2Op) String() string {
	if o >= v2Ops {
		panic("wire: there is no such V2Op")
	}
	return v2OpNames[o]
}

// v2OpNamed is the operation of a name.
func v2OpNamed(name []byte) (op V2Op, ok bool) {
	for op, n := range v2OpNames {
		if string(name) == n {
			return V2Op(op), true
		}
	}
	return 0, false
}

// V2Request is a message of a v2 client. What its operation has no use for is zero, or V2None. Its
// memory belongs to the parser and to the message: it is valid until the parser's next Parse and as
// long as the message isn't touched. Texts are valid UTF-8 without NUL.
type V2Request struct {
	Op    V2Op
	Leave bool   // lock: leave the queue when the connection is lost
	ID    uint64 // 1 to V2MaxID; of a hello none
	Lock  uint64 // release, upgrade, downgrade; renew: 0 if it is for the session alone
	Watch uint64 // unwatch: the id of the watch

	Resources []Resource // lock: at least one
	Path      [][]byte   // inspect, watch
	WaitMS    int64      // lock, upgrade: V2None if absent
	Upgrade   uint64     // downgrade: the request whose upgrade is taken back if it waits, and nothing else; 0: absent
	LeaseMS   int64      // lock, renew: V2None if absent
	Note      []byte     // lock
	Party     uint64     // lock: whose it is, where deadlocks are looked for; 0: the session's

	Limit uint64      // locks, inspect: 0 if absent
	After uint64      // locks, inspect: what "next" said; 0: from the beginning
	Hello *V2Greeting // hello; nil for all others
}

// V2Greeting is what a hello says.
type V2Greeting struct {
	TTLMS       int64 // V2None if absent
	Name        []byte
	Credentials []V2Credential // names are distinct

	Resume  bool // to go on with a session
	Session []byte
	Secret  V2Secret
	Event   uint64 // the last one that the client has seen
}

// V2Credential is one of what a client proves itself with.
type V2Credential struct {
	Name  []byte
	Value V2Secret
}

// V2Secret is text that no log and no error may show. However it is printed, it says so instead.
type V2Secret []byte

const hidden = "(secret)"

// Format writes that this is a secret, whatever the verb.
func (V2Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, hidden) }

// MarshalText is for encoders, of which logs make use.
func (V2Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// V2Parser parses messages of v2 clients. The zero value is ready. What is said of V1Parser about
// memory and goroutines is true of it, too.
type V2Parser struct {
	// Values replaces V2Values if it isn't zero.
	Values int

	hello *V2Greeting
	core
}

// Parse reads one message. It may modify msg, also when it fails. An error is worded for the person
// who wrote the client: what is wrong, and where.
//
// Rules beyond JSON's own: the message is valid UTF-8; known members are given once at most, whatever
// the operation, and so is each credential; nesting and the number of values are bounded; no text
// that is known has a NUL or half of a surrogate pair, whatever the operation; a number is written
// with digits alone and in its range. Unknown members are ignored, and so are those that the
// operation has no use for, as far as they keep to the rules just named.
func (p *V2Parser) Parse(msg []byte) (V2Request, error) {
	r, ok := p.scan(msg)
	if ok {
		p.forgetAll(len(msg))
		return r, nil
	}
	r, err := p.parse(msg)
	p.forgetAll(len(msg))
	return r, err
}

func (p *V2Parser) forgetAll(bytes int) {
	if bytes > keptBytes {
		p.forget(bytes)
		p.hello = nil
	}
}
