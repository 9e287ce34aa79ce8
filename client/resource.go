package client

import (
	"math"
	"sync/atomic"
	"time"
)

// Item is a part of a lock request: a Resource, or an option such as Lease.
type Item interface{ add(*request) }

// Resource is a path and how it is wanted. A path stands for its whole subtree.
type Resource struct {
	Type   string   `json:"type"` // "read", "write" or "permit"
	Path   []string `json:"path"` // empty: the whole namespace
	Limit  uint32   `json:"limit,omitempty"`
	Weight uint32   `json:"weight,omitempty"`
}

func (r Resource) add(q *request) {
	r.Path = orEmpty(r.Path)
	q.Resources = append(q.Resources, r)
}

// Read wants a path together with other readers.
func Read(path ...string) Resource { return Resource{Type: "read", Path: orEmpty(path)} }

// Write wants a path for itself.
func Write(path ...string) Resource { return Resource{Type: "write", Path: orEmpty(path)} }

// Permit wants one of limit places at a path: a counting semaphore in the order of arrival. All who
// want permits of a path at a time must name the same limit. Towards reads and writes it is a read.
func Permit(limit uint32, path ...string) Resource {
	return Resource{Type: "permit", Path: orEmpty(path), Limit: limit, Weight: 1}
}

// Weighing is a permit that counts as so many; 1 to its limit.
func (r Resource) Weighing(weight uint32) Resource {
	r.Weight = weight
	return r
}

func orEmpty(path []string) []string {
	if path == nil {
		return []string{}
	}
	return path
}

type option func(*request)

func (o option) add(q *request) { o(q) }

// Lease ends the lock so long after it was granted, unless Lock.Renew is called before. Without one a
// lock lasts as long as its session. It is above zero and counts in whole milliseconds.
func Lease(d time.Duration) Item {
	return option(func(q *request) { q.lease, q.leased, q.LeaseMS = d, true, milliseconds(d) })
}

// Wait is how long Lock waits at most. Unlike a deadline of its context it leaves the server time to say who was in the
// way: its word may come a second later, and only then does the client go without. It counts in whole milliseconds;
// none is TryLock's.
func Wait(d time.Duration) Item {
	return option(func(q *request) { q.WaitMS = milliseconds(d) })
}

// Note is shown to people who look at the lock, or wait for it.
func Note(text string) Item { return option(func(q *request) { q.Note = text }) }

// Impatient takes the request out of the queue when the connection is lost. Without it a request
// keeps its place for as long as the session lives.
func Impatient() Item { return option(func(q *request) { q.Leave = true }) }

// Party is whose a lock is, where deadlocks are looked for; see NewParty. The zero Party is nobody's.
type Party struct{ number uint64 }

var parties atomic.Uint64

// NewParty is for locks that belong together, as those of one task that holds some while it waits for others. Given
// to each of their requests, it lets the server see when tasks would wait for each other in a circle: the request
// that would close it is refused with a *DeadlockError that names the others. Without a party each lock stands for
// itself, so that goroutines which share a client never seem to wait for each other; nor are they told when they do.
//
// What a party has already isn't free for it: whoever asks twice for the same waits for itself.
func NewParty() Party { return Party{parties.Add(1)} }

func (p Party) add(q *request) { q.Party = p.number }

// milliseconds rounds up: a limit never ends early.
func milliseconds(d time.Duration) *int64 {
	d = min(d, math.MaxInt64-time.Millisecond) // so that it is a duration again
	ms := max(0, int64((d+time.Millisecond-1)/time.Millisecond))
	return &ms
}
