package session

import (
	"unsafe"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// How many locks one answer tells of: where the client doesn't say, and at most.
const (
	usuallyInspected = 100
	mostInspected    = 1000
)

// places are where a session's inspections can go on: the last ones that its client was told. It calls them by
// numbers, so that it can name none that the engine hasn't given.
type places struct {
	last uint64 // number of the last one
	ring *[placesKept]engine.Cursor
}

const placesKept = 8

func (p *places) bytes() int64 {
	if p.ring == nil {
		return 0
	}
	return int64(unsafe.Sizeof(*p.ring))
}

func (p *places) add(c engine.Cursor) (number uint64) {
	if p.ring == nil {
		p.ring = new([placesKept]engine.Cursor)
	}
	p.last++
	p.ring[p.last%placesKept] = c
	return p.last
}

// find is the place of a number; 0 is the beginning.
func (p *places) find(number uint64) (c engine.Cursor, ok bool) {
	switch {
	case number == 0:
		return c, true
	case number > p.last || p.last-number >= placesKept:
		return c, false
	}
	return p.ring[number%placesKept], true
}

// inspect tells who holds and who waits at a path, under it, and above it.
func (sp *Space) inspect(s *Session, r *Request) {
	from, ok := s.places.find(r.After)
	if !ok {
		sp.no(s, r.ID, wire.V2Forgotten, `after: the place %d isn't known any more, or never was: begin anew, without "after"`, r.After)
		return
	}
	most := r.Limit
	if most == 0 {
		most = usuallyInspected
	}
	m := sp.fx.answer(r.ID, 0, wire.V2Inspected)
	m.Locks, m.Next = sp.survey(s, r.Path, from, min(most, mostInspected))
}

// survey describes locks at, under and above a path, from a place on, as far as there is room in an answer. next
// is the number of the place where it ended; 0: that was all.
func (sp *Space) survey(s *Session, path [][]byte, from engine.Cursor, most uint64) (locks []wire.V2Seen, next uint64) {
	fx := sp.fx
	views, at, more := sp.engine.InspectWithin(path, from, int(most), sp.limits.AnswerBytes/2-leastSeen)
	if more {
		next = s.places.add(at)
	}
	start := len(fx.seen)
	fx.handles = fx.handles[:0]
	for i := range views {
		fx.seen = append(fx.seen, sp.see(&views[i], &fx.copies))
		fx.handles = append(fx.handles, views[i].Handle)
	}
	locks = fx.seen[start:len(fx.seen):len(fx.seen)]
	room := fit(locks, sp.limits.AnswerBytes)
	sp.explain(pathKey(appendKey(nil, path)), locks, room)
	return locks, next
}

// explainSteps is how many entries of the engine one answer looks at to say who waits for whom.
const explainSteps = 1 << 16

// explain says of those that wait who is in their way, as far as there is time and room for it: who is at, under
// or above the path. The effects have the handles of these locks.
func (sp *Space) explain(path pathKey, locks []wire.V2Seen, room int) {
	c, steps := &sp.fx.copies, explainSteps
	for i := range locks {
		if locks[i].State == wire.V2Acquired || steps <= 0 {
			continue
		}
		found, _, _ := sp.engine.BlockersWithin(sp.fx.handles[i], mostBlockers, &steps, path.meets)
		from := len(c.blockers)
		for k := range found {
			b := sp.blocker(&found[k], c)
			if room -= b.Size(); room < 0 {
				locks[i].Cut = true
				return
			}
			c.blockers = append(c.blockers, b)
			locks[i].WaitsFor = c.blockers[from:len(c.blockers):len(c.blockers)]
		}
	}
}

// leastSeen is the most that a lock is printed with when all of it is cut that can be. The engine counts half of
// that for each.
const leastSeen = 256

// fit cuts what is told of locks until all of it can be printed in so many bytes, and says how many are left.
func fit(locks []wire.V2Seen, room int) (left int) {
	for i := range locks {
		cut(&locks[i], room-leastSeen*(len(locks)-1-i))
		room -= locks[i].Size()
	}
	return room
}
