package server

import (
	"crypto/rand"
	"encoding/hex"
	"time"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/session"
	"github.com/locktopus-project/locktopus/v2/wsnet"
)

// now is the time of sessions.
func (s *Server) now() int64 { return int64(time.Since(s.born)) }

// randomText is 128 bits that nobody can guess.
func randomText() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: see its documentation
	return hex.EncodeToString(b[:])
}

// releaseV1 releases a lock of v1. ns.mu is held.
func (ns *namespace) releaseV1(now int64, lock engine.Handle, fx *session.Effects) (engine.Released, error) {
	if ns.space != nil {
		return ns.space.ReleaseForeign(now, lock, fx)
	}
	r, err := ns.engine.Release(lock)
	fx.Grants = append(fx.Grants[:0], r.Grants...)
	fx.Wake, fx.More = fx.Wake[:0], r.More
	r.Grants = nil // the engine's, and the mutex will be gone
	return r, err
}

// lockV1 places a request of v1. ns.mu is held.
func (ns *namespace) lockV1(now int64, owner uint64, rs []engine.Resource, fx *session.Effects) (engine.Placed, error) {
	if ns.space != nil {
		return ns.space.LockForeign(now, owner, rs, fx)
	}
	fx.Grants, fx.Wake, fx.More = fx.Grants[:0], fx.Wake[:0], false
	return ns.engine.Lock(owner, rs)
}

// work is one slice of what is left over. ns.mu is held.
func (ns *namespace) work(now int64, fx *session.Effects) {
	if ns.space != nil {
		ns.space.Tick(now, fx)
		return
	}
	grants, more := ns.engine.Advance()
	fx.Grants = append(fx.Grants[:0], grants...)
	fx.Wake, fx.More = fx.Wake[:0], more
}

// finish ends a call on a namespace: it gives the mutex back and then does for others what the call left to
// be done. What is for the caller's own connection stays in the effects. Users that have come are counted before
// the mutex is given back, as somebody else may have them leave at once.
func (s *Server) finish(ns *namespace, fx *session.Effects) {
	s.account(ns)
	if ns.engine.Draws() > 0 {
		s.reserve(ns)
	}
	behind := fx.More && !ns.advancing
	ns.advancing = ns.advancing || behind
	hungry := ns.engine.Starved() && !ns.starved
	ns.starved = ns.starved || hungry
	joins, leaves := false, false
	if ns.space != nil {
		busy := !ns.space.Empty()
		joins, leaves = busy && !ns.kept, !busy && ns.kept
		ns.kept = busy
		living := int64(ns.space.Stats().Sessions)
		s.living.Add(living - ns.living)
		ns.living = living
		if s.plan(ns); leaves {
			ns.due = time.Time{}
			s.ticks.remove(ns.tick) // which would keep the memory of a namespace that is gone
		}
	}
	for _, comes := range [...]bool{joins, behind, hungry} {
		if comes {
			s.spaces.share(ns)
		}
	}
	ns.mu.Unlock()
	for i := range fx.Grants {
		s.net.Post(wsnet.ConnID(fx.Grants[i].Owner), fx.Grants[i].Token)
	}
	for _, id := range fx.Wake {
		s.net.Post(wsnet.ConnID(id), tokenCollect)
	}
	for _, l := range fx.Left {
		s.homes.add(origin(l.Home), -1)
		s.spans.add(time.Duration(l.Span), -1)
	}
	fx.Left = fx.Left[:0]
	if fx.Deadlocks > 0 {
		s.stuck.Add(uint64(fx.Deadlocks))
		fx.Deadlocks = 0
	}
	if behind {
		s.work.Go(func() { s.advance(ns) })
	}
	if hungry {
		s.work.Go(func() { s.feed(ns) })
	}
	if leaves {
		s.spaces.leave(ns)
	}
}

// mayDraw says whether a lock or an upgrade can have an id. ns.mu is held.
func (s *Server) mayDraw(ns *namespace) bool {
	if s.reserve(ns) {
		return true
	}
	s.noID.Store(ns.engine.Last() + 1)
	return false
}

// reserve has a namespace's engine draw no number that isn't durably reserved: none may ever be given
// twice, also over a crash. The engine gets as many as its next call may draw, or at least one; false:
// none. ns.mu is held.
func (s *Server) reserve(ns *namespace) bool {
	last := ns.engine.Last()
	for _, n := range [...]uint64{ns.engine.Draws() + 1, 1} {
		if last+n <= ns.engine.Reserved() {
			return true
		}
		if s.fence.Allows(last + n) {
			ns.engine.SetReserved(last + n)
			return true
		}
	}
	return false
}

// spaceOf makes a namespace one that has sessions. ns.mu is held.
func (s *Server) spaceOf(ns *namespace) {
	if ns.space == nil {
		ns.space = session.New(ns.engine, s.settings.Load().Sessions)
		ns.space.SetHouse(0, s.grace.note(ns.name))
	}
}

// plan has the space called when its next time has come. ns.mu is held.
func (s *Server) plan(ns *namespace) {
	at, ok := ns.space.Next()
	if !ok {
		return // a tick too many does no harm
	}
	due := s.born.Add(time.Duration(at))
	if ns.due.IsZero() || due.Before(ns.due) {
		ns.due = due
		s.ticks.move(ns.tick, due)
	}
}

// tickDue does what is due in a namespace. It may have nobody any more who uses it: then there is nothing
// to do.
func (s *Server) tickDue(ns *namespace) {
	var fx session.Effects
	ns.mu.Lock()
	ns.due = time.Time{}
	if ns.space == nil || ns.space.Empty() {
		ns.mu.Unlock()
		return
	}
	ns.work(s.now(), &fx)
	s.finish(ns, &fx)
}

// retryReserve is how long grants wait for ids before the fence is asked again.
const retryReserve = 100 * time.Millisecond

// feed asks for ids as long as grants wait for them.
func (s *Server) feed(ns *namespace) {
	var fx session.Effects
	for starved := true; starved && s.pause(retryReserve); {
		ns.mu.Lock()
		s.reserve(ns)
		ns.work(s.now(), &fx)
		starved = ns.engine.Starved()
		ns.starved = starved
		s.finish(ns, &fx)
	}
	s.spaces.leave(ns)
}

// pause waits; false: the server has ended.
func (s *Server) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.stop:
		return false
	case <-timer.C:
		return true
	}
}

// advance does what was left over, a slice at a time, so that others get at the namespace in between. One
// goroutine does so for a namespace, however many calls leave something over meanwhile.
func (s *Server) advance(ns *namespace) {
	var fx session.Effects
	for more := true; more; {
		ns.mu.Lock()
		ns.work(s.now(), &fx)
		more, fx.More = fx.More, false
		ns.advancing = more
		s.finish(ns, &fx)
	}
	s.spaces.leave(ns)
}
