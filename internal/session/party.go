package session

import "github.com/locktopus-project/locktopus/v2/internal/wire"

// party is one who waits, where deadlocks are looked for: the locks of a session that belong together.
type party struct {
	number        uint64 // that its client calls it by
	locks, waits  int    // all, and those that wait
	held, waiting queue  // of its locks; one whose upgrade waits is in the second
}

const (
	bytesOfParty = 24 // in the map of its session, about
	partiesKept  = 64 // places that the map is kept with when no party is left
)

// queue is a list of locks, in the order in which they came.
type queue struct{ head, tail uint32 }

// links are a lock's place in a queue.
type links struct{ next, prev uint32 }

func inParty(l *lock) *links   { return &l.inParty }
func inLeavers(l *lock) *links { return &l.inLeavers }

// push puts a lock behind the others of a queue.
func (sp *Space) push(q *queue, i uint32, of func(*lock) *links) {
	x := of(sp.locks.at(i))
	x.prev, x.next = q.tail, 0
	if x.prev == 0 {
		q.head = i
	} else {
		of(sp.locks.at(x.prev)).next = i
	}
	q.tail = i
}

// unlink takes a lock off.
func (sp *Space) unlink(q *queue, l *lock, of func(*lock) *links) {
	x := of(l)
	if x.prev == 0 {
		q.head = x.next
	} else {
		of(sp.locks.at(x.prev)).next = x.next
	}
	if x.next == 0 {
		q.tail = x.prev
	} else {
		of(sp.locks.at(x.next)).prev = x.prev
	}
	*x = links{}
}

// join makes a lock one of a party of its session.
func (sp *Space) join(s *Session, l *lock, number uint64) {
	i := s.own
	if number != 0 {
		i = s.parties[number]
	}
	if i == 0 {
		i = sp.found(s, number)
	}
	l.party = i
	sp.parties.at(i).locks++
}

// found makes a party.
func (sp *Space) found(s *Session, number uint64) uint32 {
	i := sp.parties.alloc()
	sp.parties.at(i).number = number
	if number == 0 {
		s.own = i // for the session's life
		return i
	}
	if s.parties == nil {
		s.parties = map[uint64]uint32{}
	}
	s.parties[number] = i
	s.crowd = max(s.crowd, len(s.parties))
	return i
}

// unjoin undoes join.
func (sp *Space) unjoin(s *Session, l *lock) {
	p := sp.parties.at(l.party)
	if p.locks--; p.locks == 0 && p.number != 0 {
		delete(s.parties, p.number)
		sp.parties.free(l.party)
		if len(s.parties) == 0 && s.crowd > partiesKept {
			s.parties, s.crowd = nil, 0 // a map doesn't shrink
		}
	}
}

// enlist puts a lock into the lists that it belongs to by its state.
func (sp *Space) enlist(s *Session, i uint32, l *lock) {
	p := sp.parties.at(l.party)
	if l.state == wire.V2Acquired {
		sp.push(&p.held, i, inParty)
		return
	}
	sp.push(&p.waiting, i, inParty)
	p.waits++
	if l.state == wire.V2Enqueued {
		s.queued++
		if l.leave {
			sp.push(&s.leavers, i, inLeavers)
		}
	}
}

// delist undoes enlist, before the state changes.
func (sp *Space) delist(s *Session, l *lock) {
	p := sp.parties.at(l.party)
	if l.state == wire.V2Acquired {
		sp.unlink(&p.held, l, inParty)
		return
	}
	sp.unlink(&p.waiting, l, inParty)
	p.waits--
	if l.state == wire.V2Enqueued {
		s.queued--
		if l.leave {
			sp.unlink(&s.leavers, l, inLeavers)
		}
	}
}

// move gives a lock another state, and its place by that.
func (sp *Space) move(s *Session, i uint32, l *lock, state wire.V2State) {
	sp.delist(s, l)
	l.state = state
	sp.enlist(s, i, l)
}
