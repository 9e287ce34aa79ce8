package session

import (
	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// lock is one request for a set of paths, from when it is in the engine until it has ended.
type lock struct {
	id, token uint64 // the token is zero while it waits
	handle    engine.Handle
	seq       uint64 // the engine's
	since     int64  // when it came into its state
	lease     int64  // in milliseconds; wire.V2None: it has none
	leaseEnd  int64  // while it is acquired; never: it has no lease
	waitEnd   int64  // while it waits, or its upgrade
	upgrade   uint64 // id of the request for its last upgrade
	session   uint32 // slot
	timer     uint32 // place in timers
	party     uint32
	inParty   links // among those that are held or those that wait
	inLeavers links // while it waits
	note      uint32
	state     wire.V2State // V2Enqueued, V2Acquired or V2Upgrading
	changed   wire.V2State // what became of its last upgrade, or of its last downgrade
	leave     bool         // it leaves the queue when the attachment is gone
	permits   bool         // it has slots once it is acquired
}

// Sessions' locks are owners with an empty lower half.
func owner(i uint32) uint64         { return uint64(i) << 32 }
func owned(o uint64) (uint32, bool) { return uint32(o >> 32), uint32(o) == 0 }

// setTimer gives a lock the timer of what ends first: its wait, its lease.
func (sp *Space) setTimer(i uint32, l *lock) {
	t := timer{due: l.end(), what: ref(i)}
	if l.waitEnd < l.leaseEnd {
		t.rank = rankWait
	}
	sp.timers.set(t)
}

// acquired makes a lock one that is held, from now on.
func (sp *Space) acquired(i uint32, l *lock, token uint64) {
	l.state, l.token, l.since = wire.V2Acquired, token, sp.now
	l.waitEnd, l.leaseEnd = never, never
	if l.lease != wire.V2None {
		l.leaseEnd = after(sp.now, l.lease)
	}
	sp.setTimer(i, l)
}

// grant takes up what the engine has granted, to sessions' locks and to others.
func (sp *Space) grant(grants []engine.Grant, more bool) {
	sp.behind = more
	for k := range grants {
		g := &grants[k]
		sp.takeUp(g)
		_, change := namesOf(g)
		sp.changed(change, g.Handle, wire.V2NoState)
	}
	sp.granted += len(grants)
}

// namesOf is what a grant is called for its session, and for those who watch.
func namesOf(g *engine.Grant) (wire.V2State, wire.V2ChangeKind) {
	if g.Upgrade {
		return wire.V2Upgraded, wire.V2WasUpgraded
	}
	return wire.V2Acquired, wire.V2WasAcquired
}

// takeUp makes a grant the lock of its session, which is told, or leaves it to the caller: see Effects.Grants.
func (sp *Space) takeUp(g *engine.Grant) {
	i, ours := owned(g.Owner)
	if !ours {
		sp.fx.Grants = append(sp.fx.Grants, *g)
		return
	}
	l := sp.locks.at(i)
	s := sp.table[l.session]
	if s.state != living || s.goes(l) {
		return // its end is only a matter of time, and nobody is told that it has begun
	}
	sp.delist(s, l)
	if g.Upgrade {
		sp.upgraded(i, l, g.Token)
	} else {
		sp.acquired(i, l, g.Token)
	}
	sp.enlist(s, i, l)
	state, _ := namesOf(g)
	sp.tell(s, event{lock: l.id, token: l.token, state: state}, nil)
}

// drop ends a lock, and its record is kept for retries.
func (sp *Space) drop(s *Session, i uint32, l *lock, end wire.V2State) {
	s.kept.add(record{id: l.id, state: end}, sp.limits.Answers)
	if end != wire.V2Unavailable && end != wire.V2Deadlock { // nobody was told that it had begun
		sp.changed(wire.V2HasEnded, l.handle, end)
	}
	sp.undo(s, i, l)
}

// undo takes a lock out of the engine, which may grant others.
func (sp *Space) undo(s *Session, i uint32, l *lock) {
	released, err := sp.engine.Release(l.handle)
	if err != nil {
		panic("session: a lock is not in its engine: " + err.Error())
	}
	sp.forget(s, i, l)
	sp.grant(released.Grants, released.More)
}

// forget takes a lock's record away.
func (sp *Space) forget(s *Session, i uint32, l *lock) {
	sp.delist(s, l)
	sp.timers.set(timer{due: never, what: ref(i)})
	s.roster.remove(l.id)
	sp.unjoin(s, l)
	sp.dropNote(l.note)
	sp.locks.free(i)
}

// end ends a lock that nobody asked to end, and tells its session.
func (sp *Space) end(s *Session, i uint32, l *lock, how wire.V2State, more *extra) {
	sp.tell(s, event{lock: l.id, state: how}, more)
	sp.drop(s, i, l, how)
}

// end is when a lock ends, or its wait, whichever is first.
func (l *lock) end() int64 { return min(l.waitEnd, l.leaseEnd) }

// due ends what is over of a lock: its wait, that of its upgrade, or its lease.
func (sp *Space) due(s *Session, i uint32, l *lock) {
	switch {
	case l.state == wire.V2Enqueued:
		sp.tellInTheWay(s, l, wire.V2Timeout)
		sp.drop(s, i, l, wire.V2Timeout)
	case l.waitEnd < l.leaseEnd:
		sp.tellInTheWay(s, l, wire.V2UpgradeTimeout)
		sp.changed(wire.V2WasAcquired, l.handle, wire.V2Acquired)
		sp.takeBack(s, i, l, wire.V2UpgradeTimeout)
	default:
		sp.end(s, i, l, wire.V2Expired, nil)
	}
}

// slots appends the slots of a lock's permits to the effects' and returns them.
func (sp *Space) slots(l *lock) []uint32 {
	if !l.permits || l.state == wire.V2Enqueued {
		return nil
	}
	fx := sp.fx
	from := len(fx.slots)
	fx.slots, _ = sp.engine.Slots(l.handle, fx.slots)
	return fx.slots[from:len(fx.slots):len(fx.slots)]
}

// leaseLeft is how much is left of a lock's lease; 0: it has none.
func (sp *Space) leaseLeft(l *lock) int64 {
	if l.lease == wire.V2None || l.state == wire.V2Enqueued {
		return 0
	}
	return max(1, left(sp.now, l.leaseEnd))
}

// describe fills in what an acquired lock is told with.
func (sp *Space) describe(m *wire.V2Message, l *lock) {
	m.State = wire.V2Acquired
	m.Token, m.Slots, m.LeaseMS = l.token, sp.slots(l), sp.leaseLeft(l)
}
