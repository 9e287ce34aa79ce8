package session

import (
	"bytes"
	"unsafe"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// How much is told of those in a request's way.
const (
	mostAhead    = 100     // as far as they are counted
	mostBlockers = 8       // that one message tells of
	mostPaths    = 4 << 10 // bytes of their paths, in memory; who has no room is left out
	mostCrowds   = 16      // events of a session with such lists, until they are told
)

// ahead counts those that a lock waits for.
func (sp *Space) ahead(l *lock) int {
	n, _, err := sp.engine.Ahead(l.handle, mostAhead)
	if err != nil {
		panic("session: a lock is not in its engine: " + err.Error())
	}
	return n
}

// inTheWay describes those that a lock waits for, or its upgrade, the first ones.
func (sp *Space) inTheWay(l *lock, c *copies) []wire.V2Blocker {
	found, _, err := sp.engine.Blockers(l.handle, mostBlockers)
	if err != nil {
		panic("session: a lock is not in its engine: " + err.Error())
	}
	return sp.crowd(c, len(found), func(i int) *engine.Blocker { return &found[i] })
}

// crowd describes n blockers, as far as there is room for their paths.
func (sp *Space) crowd(c *copies, n int, at func(int) *engine.Blocker) []wire.V2Blocker {
	if c.blockers == nil {
		c.blockers = make([]wire.V2Blocker, 0, n) // an empty list is one, too
	}
	from, room := len(c.blockers), mostPaths
	for i := range n {
		b := at(i)
		for _, segment := range b.Has.Path {
			room -= len(segment) + int(unsafe.Sizeof(segment))
		}
		if room < 0 {
			break
		}
		c.blockers = append(c.blockers, sp.blocker(b, c))
	}
	return c.blockers[from:len(c.blockers):len(c.blockers)]
}

// blocker describes who is in the way, and with what.
func (sp *Space) blocker(b *engine.Blocker, c *copies) wire.V2Blocker {
	x := wire.V2Blocker{Type: typeOf(b.Has.Mode), Path: c.path(b.Has.Path), State: wire.V2Enqueued, SinceMS: wire.V2None}
	i, ours := owned(b.Owner)
	switch {
	case b.Owner == Server:
		x.Session, x.Lock, x.Note, x.House = server, ServerLock, sp.house.note, true
		x.State, x.SinceMS = wire.V2Acquired, left(sp.house.since, sp.now)
		return x
	case !ours:
		if x.Session, x.Lock = foreign, b.Seq; b.Acquired {
			x.State = wire.V2Acquired
		}
		return x
	}
	l := sp.locks.at(i)
	if s := sp.table[l.session]; len(s.name) > 0 && !bytes.Equal(s.name, foreign) && !bytes.Equal(s.name, server) {
		x.Session = s.name
	} else {
		x.Session = c.string(s.id)
	}
	x.Lock, x.Note, x.State, x.SinceMS = l.id, c.note(sp, l), l.state, left(l.since, sp.now)
	return x
}

// tellInTheWay tells a session that a wait is over, and for whom it was. Who isn't there to hear of it is told
// the first of that only, and so is one that has much of the kind to hear.
func (sp *Space) tellInTheWay(s *Session, l *lock, how wire.V2State) {
	var crowd []wire.V2Blocker
	if s.attachment != 0 && len(s.events.crowds) < mostCrowds {
		crowd = sp.inTheWay(l, &copies{})
	}
	sp.tell(s, event{lock: l.id, state: how}, nil)
	if crowd != nil {
		s.events.beside(crowd)
	}
}
