package session

import "github.com/locktopus-project/locktopus/v2/internal/wire"

// event is what happened to a lock. Its number is its place among the session's.
type event struct {
	lock, token uint64
	state       wire.V2State
}

// extra is what few events have besides.
type extra struct{ text string }

// events are the last ones of a session, in a ring that grows and shrinks with what is in it. As long as
// there is an attachment none is dropped that it hasn't been told.
type events struct {
	ring   []event // a power of two long, or nil
	last   uint64  // number of the last one; the first one has 1
	count  int     // that are kept
	extras map[uint64]*extra
	crowds map[uint64][]wire.V2Blocker // who was in the way: they are told once
}

func (e *events) at(n uint64) *event { return &e.ring[n&uint64(len(e.ring)-1)] }

// first is the number of the oldest that is kept; last+1 if none is.
func (e *events) first() uint64 { return e.last + 1 - uint64(e.count) }

// add puts an event behind the others. Those up to told may be dropped where there are more than most.
func (e *events) add(x event, more *extra, told uint64, most int) {
	for e.count >= most && e.count > 0 && e.first() <= told {
		e.drop()
	}
	if e.count == len(e.ring) {
		e.resize(max(4, 2*len(e.ring)))
	}
	e.last++
	e.count++
	*e.at(e.last) = x
	if more != nil {
		if e.extras == nil {
			e.extras = map[uint64]*extra{}
		}
		e.extras[e.last] = more
	}
}

// beside adds to the last event who was in the way.
func (e *events) beside(crowd []wire.V2Blocker) {
	if e.crowds == nil {
		e.crowds = map[uint64][]wire.V2Blocker{}
	}
	e.crowds[e.last] = crowd
}

// takeCrowd is what was added to an event, if it is told for the first time.
func (e *events) takeCrowd(n uint64) []wire.V2Blocker {
	crowd := e.crowds[n]
	if crowd == nil {
		return nil
	}
	if delete(e.crowds, n); len(e.crowds) == 0 {
		e.crowds = nil
	}
	return crowd
}

// drop forgets the oldest one.
func (e *events) drop() {
	delete(e.extras, e.first())
	delete(e.crowds, e.first())
	e.count--
}

// trim drops what is over the most that are kept, and memory with it.
func (e *events) trim(most int) {
	for e.count > most {
		e.drop()
	}
	if n := len(e.ring); n > 4*max(most, 1) || n > 4 && e.count == 0 {
		e.resize(room(e.count))
	}
}

// room is the least power of two that isn't below n, if that is anything.
func room(n int) int {
	if n == 0 {
		return 0
	}
	size := 4
	for size < n {
		size *= 2
	}
	return size
}

func (e *events) resize(n int) {
	old := *e
	e.ring = make([]event, n)
	for i := old.first(); i <= old.last; i++ {
		*e.at(i) = *old.at(i)
	}
}

// record is what is kept of a request that is over: how a lock ended, by its id, or why another request
// was refused.
type record struct {
	id    uint64
	state wire.V2State
	code  wire.V2Code
}

// records are the last ones, in a ring of its most.
type records struct {
	ring []record
	next int // place of the next one, once the ring is full
}

func (r *records) add(x record, most int) {
	switch {
	case len(r.ring) < most:
		if r.next != 0 { // the limit was lower before
			r.turn()
		}
		r.ring = append(r.ring, x)
	case most > 0:
		if len(r.ring) > most { // the limit was higher before
			r.turn()
			r.ring = append([]record(nil), r.ring[len(r.ring)-most:]...)
		}
		r.ring[r.next] = x
		r.next = (r.next + 1) % most
	}
}

// turn puts the oldest first.
func (r *records) turn() {
	r.ring = append(append([]record(nil), r.ring[r.next:]...), r.ring[:r.next]...)
	r.next = 0
}

// find looks for the newest one of an id.
func (r *records) find(id uint64) (x record, ok bool) {
	for i := range r.ring {
		if k := (r.next + len(r.ring) - 1 - i) % len(r.ring); r.ring[k].id == id {
			return r.ring[k], true
		}
	}
	return x, false
}
