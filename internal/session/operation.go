package session

import (
	"errors"
	"fmt"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// lock takes a request for a lock on.
func (sp *Space) lock(s *Session, r *Request) {
	switch {
	case s.roster.len() >= sp.limits.Locks:
		sp.no(s, r.ID, wire.V2Limit, "the session has %d locks already, more are not allowed (limits.session_locks): release some first", s.roster.len())
		return
	case len(r.Note) > sp.limits.NoteBytes:
		sp.no(s, r.ID, wire.V2Limit, "note: has %d bytes, at most %d are allowed (limits.note_bytes)", len(r.Note), sp.limits.NoteBytes)
		return
	case r.LeaseMS != wire.V2None && r.LeaseMS < milliseconds(sp.limits.LeaseMin):
		sp.no(s, r.ID, wire.V2Limit, "%s", sp.leaseTooShort(r.LeaseMS))
		return
	}
	i := sp.locks.alloc()
	placed, err := sp.engine.Lock(owner(i), r.Wanted)
	if err != nil {
		sp.locks.free(i)
		sp.engineRefused(s, r, err)
		return
	}
	l := sp.locks.at(i)
	*l = lock{
		id: r.ID, handle: placed.Handle, seq: placed.Seq, since: sp.now, lease: r.LeaseMS, leaseEnd: never,
		session: s.slot, note: sp.keepNote(clean(r.Note)), state: wire.V2Enqueued, leave: r.Leave, permits: hasPermits(r.Wanted),
	}
	s.roster.add(l.id, i)
	sp.join(s, l, r.Party)
	if placed.Acquired {
		sp.acquired(i, l, placed.Token)
		sp.enlist(s, i, l)
		sp.describe(sp.fx.answer(r.ID, 0, 0), l)
		sp.changed(wire.V2WasAcquired, l.handle, wire.V2NoState)
		return
	}
	l.waitEnd = sp.limits.wait(sp.now, r.WaitMS)
	sp.enlist(s, i, l)
	sp.enqueued(s, i, l)
}

// enqueued answers a request that can't be granted now: it waits, unless its time is over at once, or it
// would wait for ever.
func (sp *Space) enqueued(s *Session, i uint32, l *lock) {
	if l.waitEnd <= sp.now {
		sp.fx.answer(l.id, 0, wire.V2Unavailable).Blockers = sp.inTheWay(l, &sp.fx.copies)
		sp.drop(s, i, l, wire.V2Unavailable)
		return
	}
	if sp.refuseDeadlock(s, i, l) {
		return
	}
	sp.setTimer(i, l)
	sp.fx.answer(l.id, 0, wire.V2Enqueued).Ahead = sp.ahead(l)
	sp.changed(wire.V2WasEnqueued, l.handle, wire.V2NoState)
}

func (sp *Space) leaseTooShort(asked int64) string {
	return fmt.Sprintf("lease_ms: is %d, at least %d are needed (sessions.lease_min)", asked, milliseconds(sp.limits.LeaseMin))
}

func hasPermits(rs []engine.Resource) bool {
	for i := range rs {
		if rs[i].Mode == engine.Permit {
			return true
		}
	}
	return false
}

// engineRefused answers a request that the engine hasn't taken.
func (sp *Space) engineRefused(s *Session, r *Request, err error) {
	code, limit := wire.V2TryLater, uint64(0)
	var why *engine.RequestError
	if errors.As(err, &why) {
		switch why.Reason {
		case engine.TooManyRequests, engine.TooManyBytes:
		case engine.OtherLimit:
			code, limit = wire.V2OtherLimit, uint64(why.Allowed)
		default:
			code = wire.V2Limit
		}
	}
	if r.Explain != nil {
		err = r.Explain(err)
	}
	sp.no(s, r.ID, code, "%s", err.Error()).Limit = limit
}

// lockAgain answers a retry of a request for a lock with what has become of it.
func (sp *Space) lockAgain(s *Session, r *Request) {
	if i := s.roster.find(r.ID); i != 0 {
		if l := sp.locks.at(i); l.state == wire.V2Enqueued {
			sp.fx.answer(r.ID, 0, wire.V2Enqueued).Ahead = sp.ahead(l)
		} else {
			sp.describe(sp.fx.answer(r.ID, 0, 0), l)
		}
		return
	}
	sp.recall(s, r.ID, r.ID, 0)
}

// recall answers a request with what is kept of what it was about.
func (sp *Space) recall(s *Session, id, about, lock uint64) {
	switch x, ok := s.kept.find(about); {
	case !ok:
		sp.fx.refuse(id, wire.V2Forgotten, fmt.Sprintf("nothing is known of request %d any more, if it ever came (limits.session_answers)", about))
	case x.code != wire.V2NoError:
		sp.fx.refuse(id, x.code, "this request was refused before; begin another one")
	default:
		sp.fx.answer(id, lock, x.state)
	}
}

// release gives a lock up, or takes it out of the queue.
func (sp *Space) release(s *Session, r *Request, retry bool) {
	i := s.roster.find(r.Lock)
	switch {
	case i != 0 && !retry:
		l, end := sp.locks.at(i), wire.V2Released
		if l.state == wire.V2Enqueued {
			end = wire.V2Canceled
		}
		sp.fx.answer(r.ID, r.Lock, end)
		sp.drop(s, i, l, end)
	case i != 0:
		sp.refusedBefore(s, r)
	default:
		sp.gone(s, r, retry)
	}
}

// refusedBefore answers a retry that is about a living lock, and that can't have had an effect on it.
func (sp *Space) refusedBefore(s *Session, r *Request) { sp.recall(s, r.ID, r.ID, r.Lock) }

// gone answers a request about a lock that isn't there: with its end, if that is kept.
func (sp *Space) gone(s *Session, r *Request, retry bool) {
	x, ok := s.kept.find(r.Lock)
	switch {
	case ok && x.state.End():
		sp.fx.answer(r.ID, r.Lock, x.state)
	case retry:
		sp.recall(s, r.ID, r.ID, r.Lock)
	default:
		sp.no(s, r.ID, wire.V2UnknownLock, "there is no lock %d: it ended long ago, or never was", r.Lock)
	}
}

// renew gives a session its time again, which being heard has done, and a lock its lease.
func (sp *Space) renew(s *Session, r *Request, retry bool) {
	if r.Lock == 0 {
		sp.fx.answer(r.ID, 0, wire.V2Renewed).TTLMS = s.ttl
		return
	}
	i := s.roster.find(r.Lock)
	if i == 0 {
		sp.gone(s, r, retry)
		return
	}
	l := sp.locks.at(i)
	if !retry {
		if !sp.extend(s, i, l, r) {
			return
		}
	} else if x, ok := s.kept.find(r.ID); ok && x.code != wire.V2NoError {
		sp.recall(s, r.ID, r.ID, r.Lock)
		return
	}
	m := sp.fx.answer(r.ID, r.Lock, wire.V2Renewed)
	m.TTLMS, m.LeaseMS = s.ttl, sp.leaseLeft(l)
}

// extend begins a lock's lease anew. False: it was refused, and that is answered.
func (sp *Space) extend(s *Session, i uint32, l *lock, r *Request) bool {
	switch {
	case l.state == wire.V2Enqueued:
		sp.no(s, r.ID, wire.V2NotAcquired, "lock %d waits: its lease begins when it is acquired", r.Lock)
		return false
	case r.LeaseMS == wire.V2None && l.lease == wire.V2None:
		return true
	case r.LeaseMS == wire.V2None:
		r.LeaseMS = l.lease
	case r.LeaseMS < milliseconds(sp.limits.LeaseMin):
		sp.no(s, r.ID, wire.V2Limit, "%s", sp.leaseTooShort(r.LeaseMS))
		return false
	}
	l.lease = r.LeaseMS
	until := after(sp.now, l.lease)
	sooner := until < l.leaseEnd
	if l.leaseEnd = until; sooner {
		sp.setTimer(i, l)
	}
	return true
}

const (
	// mostListed is how many locks one message lists.
	mostListed = 1000
	// heldBytes is the most that a lock is listed with, slotBytes what each of its slots takes besides.
	heldBytes, slotBytes = 128, 11
)

// list describes a session's own locks behind one, by their ids, as far as there is room in an answer, and says how to
// ask for those behind. So a session can be gone on with however many slots it has.
func (sp *Space) list(s *Session, behind, most uint64) (held []wire.V2Held, next uint64) {
	fx := sp.fx
	if most == 0 || most > mostListed {
		most = mostListed
	}
	from, room := len(fx.held), sp.limits.AnswerBytes
	for {
		e, ok := s.roster.first(behind)
		if !ok {
			next = 0
			break
		}
		if uint64(len(fx.held)-from) == most {
			next = behind
			break
		}
		l := sp.locks.at(e.lock)
		h := wire.V2Held{Lock: l.id, State: l.state, Token: l.token, Slots: sp.slots(l), LeaseMS: wire.V2None}
		if left := sp.leaseLeft(l); left > 0 {
			h.LeaseMS = left
		}
		if room -= heldBytes + slotBytes*len(h.Slots); room < 0 && len(fx.held) > from {
			next = behind
			break
		}
		fx.held = append(fx.held, h)
		behind = e.id
	}
	return fx.held[from:len(fx.held):len(fx.held)], next
}
