package wire

// V2State is what an answer or event says of a lock, or of a request that isn't about one.
type V2State uint8

// The states of version 2. Those from V2Released to V2Denied are ends: nothing follows.
const (
	V2NoState V2State = iota // the message is about an error, a change or a notice
	V2Enqueued
	V2Acquired
	V2Upgrading // acquired, and its upgrade waits
	V2Upgraded
	V2UpgradeTimeout // acquired as before
	V2Downgraded
	V2Released
	V2Canceled
	V2Timeout
	V2Unavailable
	V2Expired
	V2Revoked
	V2Deadlock
	V2Denied
	V2Renewed
	V2Listed
	V2Inspected
	V2Watching
	V2Unwatched
	V2Ended // of the session: bye
	v2States
)

var v2StateNames = [v2States]string{
	"", "enqueued", "acquired", "upgrading", "upgraded", "upgrade_timeout", "downgraded", "released", "canceled",
	"timeout", "unavailable", "expired", "revoked", "deadlock", "denied", "renewed", "listed", "inspected",
	"watching", "unwatched", "bye",
}

// String is the state's name on the wire.
func (s V2State) String() string {
	if s >= v2States {
		panic("wire: there is no such V2State")
	}
	return v2StateNames[s]
}

// End tells whether a lock in this state is over.
func (s V2State) End() bool { return V2Released <= s && s <= V2Denied }

// V2Code is why a request was refused, or why a connection is closed.
type V2Code uint8

// The codes of version 2. Requests are refused with those up to V2Forgotten and go on; those behind
// are followed by the connection's end, but for V2NoSession, behind which another hello may come.
const (
	V2NoError V2Code = iota
	V2Limit
	V2OtherLimit
	V2UnknownLock
	V2NotAcquired
	V2UpgradeConflict
	V2WouldDeadlock
	V2NotNow // of an upgrade that doesn't wait
	V2NotAllowed
	V2Draining
	V2TryLater
	V2Forgotten
	V2NoSession
	V2Malformed
	V2TakenOver
	V2SessionExpired
	V2EndedByAdmin
	V2NoHello
	V2GoingDown
	v2Codes
)

var v2CodeNames = [v2Codes]string{
	"", "limit", "other_limit", "unknown_lock", "not_acquired", "upgrade_conflict", "deadlock", "unavailable", "denied",
	"draining", "try_later", "forgotten", "no_session", "malformed", "taken_over", "expired", "ended", "no_hello", "shutdown",
}

// String is the code's name on the wire.
func (c V2Code) String() string {
	if c >= v2Codes {
		panic("wire: there is no such V2Code")
	}
	return v2CodeNames[c]
}

// V2ChangeKind is what a watch tells.
type V2ChangeKind uint8

// The changes of version 2.
const (
	V2NoChange V2ChangeKind = iota
	V2WasEnqueued
	V2WasAcquired // also one whose upgrade was taken back
	V2WasUpgrading
	V2WasUpgraded
	V2WasDowngraded
	V2HasEnded // released, canceled, expired, …: the lock's state says which
	V2Lagged   // changes were lost, the watch is over
	v2Changes
)

var v2ChangeNames = [v2Changes]string{"", "enqueued", "acquired", "upgrading", "upgraded", "downgraded", "ended", "lagged"}

// String is the change's name on the wire.
func (c V2ChangeKind) String() string {
	if c >= v2Changes {
		panic("wire: there is no such V2ChangeKind")
	}
	return v2ChangeNames[c]
}

// V2Message is what the server says, but for its welcome: the answer to a request (ID), the refusal of
// one (ID and Error), an event (Event), a change (Watch), a failure (Error alone) or a notice (Notice).
// Members that aren't there are zero. All its memory is the caller's.
//
// Texts may be anything: what isn't valid UTF-8 is printed as U+FFFD, control characters as escapes.
type V2Message struct {
	ID    uint64 // of the request that is answered
	Event uint64 // number of the event
	Watch uint64 // id of the watch whose change this is
	N     uint64 // number of the change
	Lock  uint64 // id of the lock's request, unless it is ID

	State  V2State
	Error  V2Code
	Change V2ChangeKind

	Notice  string // "draining"
	Millis  int64  // how long that will be
	Message []byte // a sentence for people
	Plugin  []byte // whose verdict it is
	Code    int64  // its own
	Limit   uint64 // V2OtherLimit: the one that is in force
	Epoch   []byte // V2NoSession: of the server's run; nil: it isn't told

	Token    uint64
	Slots    []uint32
	Ahead    int   // V2Enqueued; V2None: nobody has counted
	TTLMS    int64 // V2Renewed
	LeaseMS  int64 // of a lock that has a lease
	Blockers []V2Blocker
	Cycle    []V2Blocker
	Held     []V2Held // V2Listed
	Locks    []V2Seen // V2Inspected, V2Watching; of a change the one that changed
	Next     uint64   // what to ask for after these; 0: that was all
}

// V2Blocker is what stands in the way of a request.
type V2Blocker struct {
	Session []byte // what people know it by
	Note    []byte
	Lock    uint64 // of a client of v1 the id that it was told when it enqueued
	Type    Type
	Path    [][]byte
	State   V2State
	SinceMS int64 // how long it has been held, or has waited; V2None: nobody knows
	House   bool  // it is the server's own, and no secret; it isn't printed
}

// V2Held is a lock of the client's own.
type V2Held struct {
	Lock    uint64
	State   V2State // V2Enqueued, V2Acquired or V2Upgrading
	Token   uint64  // 0: it waits
	Slots   []uint32
	LeaseMS int64 // that is left of its lease; V2None: it has none
}

// V2Seen is anybody's lock, as people see it.
type V2Seen struct {
	Session   []byte
	Name      []byte
	Lock      uint64
	Token     uint64
	State     V2State
	Resources []Resource
	Cut       bool // there is more to it than there was room to tell
	Note      []byte
	SinceMS   int64 // how long it has been held, or has waited; V2None: nobody knows
	WaitsFor  []V2Blocker
}

// V2Welcome is the answer to a hello.
type V2Welcome struct {
	Session    []byte
	Secret     V2Secret
	TTLMS      int64
	Epoch      []byte
	Durable    bool
	LastID     uint64
	Held       []V2Held
	Next       uint64 // there are more locks: see V2Locks
	Event      uint64
	FirstEvent uint64 // 0: nothing was missed

	MessageBytes, MessageValues int // the most that a message may have; 0: not said
}
