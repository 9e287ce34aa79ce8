package session

import (
	"math"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// Space is the sessions of one namespace. Make it with New. It isn't safe for concurrent use: whoever owns
// the namespace makes one call at a time.
type Space struct {
	engine *engine.Engine
	limits Limits

	byID  map[string]*Session // those that live
	table []*Session          // by slot, also those whose locks are still given up; nil: free
	seats []uint32            // free slots
	born  uint64              // sessions so far
	count int                 // in the table
	peak  int                 // of count, since byID and table were made

	locks   slab[lock]
	notes   slab[block]
	parties slab[party]
	timers  timers
	watched watched
	ending  []*Session // their locks are given up, first come first served
	// Their attachment is gone, and they have requests that don't wait without.
	leaving []*Session

	// Of the call that is being made.
	now     int64
	fx      *Effects
	caller  *Session // whose attachment it is; nil: nobody's
	granted int      // by the engine
	waiters waiters

	house house

	behind bool  // the engine has work left over
	size   int64 // of what sessions keep, see Bytes
}

// What one call does before it leaves the rest to Tick.
const (
	sliceLocks  = 512  // that are given up
	sliceTimers = 256  // that are due
	sliceGrants = 1024 // that follow
	sliceEvents = 1024 // that are told
)

// New makes a space of an engine, which may have other locks in it.
func New(e *engine.Engine, l Limits) *Space {
	sp := &Space{engine: e, limits: l}
	sp.timers.at = func(what ref) *uint32 {
		if what&sessionRef != 0 {
			return &sp.table[what&^sessionRef].timer
		}
		return &sp.locks.at(uint32(what)).timer
	}
	sp.timers.age = func(what ref) uint64 {
		if what&sessionRef != 0 {
			return sp.table[what&^sessionRef].number
		}
		return sp.locks.at(uint32(what)).seq
	}
	return sp
}

// SetLimits replaces the limits for what is to come.
func (sp *Space) SetLimits(l Limits) { sp.limits = l }

// begin begins a call.
func (sp *Space) begin(now int64, s *Session, fx *Effects) {
	fx.reset()
	sp.now, sp.fx, sp.caller, sp.granted = max(now, sp.now), fx, s, 0
}

// finish ends it.
func (sp *Space) finish() {
	if len(sp.watched.pending) > 0 {
		sp.spread()
	}
	if sp.behind || len(sp.ending)+len(sp.leaving)+len(sp.watched.pending) > 0 || sp.overdue() {
		sp.fx.More = true
	}
	sp.fx, sp.caller = nil, nil
}

// overdue says whether something's time has come.
func (sp *Space) overdue() bool {
	t := sp.timers.first()
	return t != nil && t.due <= sp.now
}

// Next is when Tick is to be called next; ok is false if there is nothing to wait for.
func (sp *Space) Next() (at int64, ok bool) {
	if t := sp.timers.first(); t != nil {
		return t.due, true
	}
	return 0, false
}

// Tick does what is due, and some of what was left over.
func (sp *Space) Tick(now int64, fx *Effects) {
	sp.begin(now, nil, fx)
	if sp.behind || sp.engine.More() {
		sp.grant(sp.engine.Advance())
	}
	sp.giveUp()
	sp.leaveMore()
	sp.runTimers(sliceTimers)
	sp.finish()
}

// runTimers does what is due, some of it.
func (sp *Space) runTimers(most int) {
	for n := 0; n < most && sp.granted < sliceGrants && sp.overdue(); n++ {
		sp.runTimer(*sp.timers.first())
	}
}

// runTimer does what is due, unless its time was put off: then the timer is moved, and comes again in its
// turn.
func (sp *Space) runTimer(t timer) {
	if t.what&sessionRef != 0 {
		if s := sp.table[t.what&^sessionRef]; s.deadline > t.due {
			sp.setSessionTimer(s)
		} else {
			sp.expire(s)
		}
		return
	}
	i := uint32(t.what)
	if l := sp.locks.at(i); l.end() > t.due {
		sp.setTimer(i, l)
	} else {
		sp.due(sp.table[l.session], i, l)
	}
}

// LockForeign is engine.Lock for an owner that isn't a session. The owner has a bit in its lower half.
func (sp *Space) LockForeign(now int64, owner uint64, rs []engine.Resource, fx *Effects) (engine.Placed, error) {
	sp.begin(now, nil, fx)
	defer sp.finish()
	placed, err := sp.engine.Lock(owner, rs)
	switch {
	case err != nil:
	case placed.Acquired:
		sp.changed(wire.V2WasAcquired, placed.Handle, wire.V2NoState)
	default:
		sp.changed(wire.V2WasEnqueued, placed.Handle, wire.V2NoState)
	}
	return placed, err
}

// ReleaseForeign is engine.Release for a lock that isn't a session's. What it grants is in the effects.
func (sp *Space) ReleaseForeign(now int64, h engine.Handle, fx *Effects) (engine.Released, error) {
	return sp.endForeign(now, h, wire.V2Released, fx)
}

// RevokeForeign is the same for an administrator. Whoever the lock belongs to must be told by the caller.
func (sp *Space) RevokeForeign(now int64, h engine.Handle, fx *Effects) (engine.Released, error) {
	return sp.endForeign(now, h, wire.V2Revoked, fx)
}

func (sp *Space) endForeign(now int64, h engine.Handle, end wire.V2State, fx *Effects) (engine.Released, error) {
	sp.begin(now, nil, fx)
	defer sp.finish()
	sp.changed(wire.V2HasEnded, h, end)
	released, err := sp.engine.Release(h)
	if err == nil {
		sp.grant(released.Grants, released.More)
	}
	released.Grants = nil
	return released, err
}

// Server is the owner of locks that are the server's own. Such a lock is nobody's in a deadlock.
const Server = math.MaxUint64

// house is what people are told of the server's own locks.
type house struct {
	since int64
	note  []byte // never changed
}

// SetHouse says since when the server has its own locks, and what for.
func (sp *Space) SetHouse(since int64, note string) { sp.house = house{since, []byte(note)} }

// Find is a session that lives; nil if there is none of this id.
func (sp *Space) Find(id string) *Session { return sp.byID[id] }

// Revoke takes a lock from a session, which is told why. False: it has no such lock.
func (sp *Space) Revoke(now int64, s *Session, lock uint64, why string, fx *Effects) bool {
	sp.begin(now, nil, fx)
	defer sp.finish()
	sp.runTimers(sliceTimers)
	for i := s.roster.find(lock); i != 0 && sp.locks.at(i).end() <= sp.now; i = s.roster.find(lock) {
		sp.due(s, i, sp.locks.at(i))
	}
	i := s.roster.find(lock)
	if i == 0 || s.state != living || s.deadline <= sp.now {
		return false
	}
	sp.end(s, i, sp.locks.at(i), wire.V2Revoked, &extra{text: why})
	return true
}

// End ends a session, whose client is told why. False: it had ended before.
func (sp *Space) End(now int64, s *Session, why string, fx *Effects) bool {
	sp.begin(now, nil, fx)
	defer sp.finish()
	sp.runTimers(sliceTimers)
	if s.state != living || s.deadline <= sp.now {
		return false
	}
	sp.close(s, last{code: wire.V2EndedByAdmin, text: why, closing: CloseEnded, how: wire.V2Revoked, more: &extra{text: why}})
	return true
}

// Stats are numbers of the present.
type Stats struct {
	Sessions int // that live
	Locks    int // of sessions, also those that are being given up
	Bytes    int64
}

// Stats counts without looking at sessions.
func (sp *Space) Stats() Stats {
	return Stats{Sessions: len(sp.byID), Locks: sp.locks.live, Bytes: sp.Bytes()}
}

// Empty says whether no session is left, not even one whose locks are being given up.
func (sp *Space) Empty() bool { return sp.count == 0 }
