package session

import (
	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// How much a search for a deadlock looks at, as others wait meanwhile.
const (
	mostSteps  = 1 << 14 // of the engine's
	mostWaited = 256     // locks of a party of which it is asked whether anybody waits for them
	mostCycle  = 32      // parties that are told; of more the last one and the first ones
)

// waiters tell the engine who it is that waits. It asks them only within a call of cycle.
type waiters struct {
	*Space
	seen    int
	first   engine.Handle // the lock that a search begins with
	upgrade bool          // that it is to be upgraded: then others may come to wait for all that its party has
}

// Party is whose lock it is. One that is about to end is nobody's, and so is the server's own. A foreign owner is a
// party by itself: it has one lock, and if that waits it doesn't hold anything, but keeps its place in the queue.
func (w *waiters) Party(o uint64) uint64 {
	i, ours := owned(o)
	switch {
	case o == Server:
		return 0
	case !ours:
		return o
	}
	l := w.locks.at(i)
	if s := w.table[l.session]; s.state != living || s.goes(l) {
		return 0
	}
	return owner(l.party)
}

// Waiting appends a party's locks that wait.
func (w *waiters) Waiting(name uint64, one engine.Handle, dst []engine.Handle) []engine.Handle {
	p, ours := owned(name)
	switch {
	case !ours:
		return append(dst, one)
	case one != 0:
	case w.upgrade:
		dst = append(dst, w.first)
	default:
		return append(dst, w.first) // what else the party waits for was no deadlock before
	}
	for i := w.parties.at(p).waiting.head; i != 0; {
		l := w.locks.at(i)
		if i = l.inParty.next; w.table[l.session].goes(l) {
			continue
		}
		if w.seen++; w.seen > mostSteps {
			break // the engine won't come that far
		}
		dst = append(dst, l.handle)
	}
	return dst
}

// goes says that a lock's end is only a matter of time, as its attachment is gone.
func (s *Session) goes(l *lock) bool {
	return s.leaving && l.leave && l.state == wire.V2Enqueued
}

// mayBeWaitedFor is false if nobody waits for any lock of a party but this one, which is new: then it is in no
// cycle. It is quickly found out, and nearly always so.
func (sp *Space) mayBeWaitedFor(l *lock) bool {
	p := sp.parties.at(l.party)
	switch waiting := sp.engine.Waiting(); {
	case p.locks == 1 || waiting == p.waits:
		return false
	case p.locks > mostWaited:
		return true
	}
	for _, q := range [...]queue{p.held, p.waiting} {
		for i := q.head; i != 0; i = sp.locks.at(i).inParty.next {
			if o := sp.locks.at(i); o != l && sp.engine.Waited(o.handle) {
				return true
			}
		}
	}
	return false
}

// cycle looks for a deadlock that a lock closes by waiting, or by its upgrade. The answer is unknown if there is too
// much to be looked at, or if somebody's time is over who would be in it.
func (sp *Space) cycle(l *lock, upgrade bool) (found []engine.Wait, known bool) {
	w := &sp.waiters
	w.Space, w.seen, w.first, w.upgrade = sp, 0, l.handle, upgrade
	found, done := sp.engine.Cycle(owner(l.party), w, mostSteps)
	if len(found) > 0 {
		return found, !sp.overdue()
	}
	return nil, done
}

// round describes a cycle: each lock in it holds up the party of the one before, the first one that which asks, to
// which the last one belongs.
func (sp *Space) round(found []engine.Wait, c *copies) []wire.V2Blocker {
	n := len(found)
	return sp.crowd(c, min(n, mostCycle), func(i int) *engine.Blocker {
		if i == mostCycle-1 {
			i = n - 1
		}
		return &found[i].For
	})
}

const unknownDeadlock = "it can't be found out whether waiting would be a deadlock, as too many wait: try again later, or without holding what others wait for"

// refuseDeadlock ends a request that would wait for ever, or of which that isn't known. False: it may wait.
func (sp *Space) refuseDeadlock(s *Session, i uint32, l *lock) bool {
	if !sp.mayBeWaitedFor(l) {
		return false
	}
	switch found, known := sp.cycle(l, false); {
	case !known:
		sp.no(s, l.id, wire.V2TryLater, unknownDeadlock)
		sp.undo(s, i, l)
	case len(found) > 0:
		sp.fx.Deadlocks++
		sp.fx.answer(l.id, 0, wire.V2Deadlock).Cycle = sp.round(found, &sp.fx.copies)
		sp.drop(s, i, l, wire.V2Deadlock)
	default:
		return false
	}
	return true
}

// refuseUpgrade answers an upgrade that would wait for ever, or by which others would, or of which that isn't known.
// False: there is nothing against it. One that doesn't wait closes no cycle by waiting.
func (sp *Space) refuseUpgrade(s *Session, r *Request, l *lock, waits bool) bool {
	others := sp.engine.Waiting() - 1 - sp.parties.at(l.party).waits // requests of theirs that wait, besides this
	if others == 0 || !waits && sp.ahead(l) > 0 {
		return false
	}
	var m *wire.V2Message
	switch found, known := sp.cycle(l, true); {
	case !known:
		m = sp.no(s, r.ID, wire.V2TryLater, unknownDeadlock)
	case len(found) > 0:
		sp.fx.Deadlocks++
		m = sp.no(s, r.ID, wire.V2WouldDeadlock, "the upgrade would be a deadlock; the lock is what it was")
		m.Cycle = sp.round(found, &sp.fx.copies)
	default:
		return false
	}
	m.Lock = r.Lock
	return true
}
