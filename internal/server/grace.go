package server

import (
	"fmt"
	"time"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/session"
)

// Sessions are kept in memory. A server that was killed has forgotten them, but their clients may believe in their
// locks until their time to live is over. So for as long as that can be the next server grants nothing: each
// namespace that comes has a lock on all of it first, which is the server's own. Everybody waits for it as for any
// other, and it is released when the time is over, or by an administrator who knows that no client is left.

// grace is that time.
type grace struct {
	until time.Time // zero: there is none
	note  string    // what people are told
}

func newGrace(d time.Duration, now time.Time) (g grace) {
	if d <= 0 {
		return g
	}
	g.until = now.Add(d)
	g.note = "grace period after a restart, until " + g.until.UTC().Format(time.TimeOnly) + " UTC"
	return g
}

// left is how much of it is left.
func (g *grace) left() time.Duration {
	if g.until.IsZero() {
		return 0
	}
	return max(0, time.Until(g.until))
}

// inVain says whether nobody who waits in a namespace can be granted anything any more: the grace lasts for longer than the
// drain. Nobody holds anything there, so that nobody needs the drain either.
func (s *Server) inVain(ns *namespace) bool {
	end := s.drainEnd.Load()
	if end == 0 || !s.grace.until.After(time.Unix(0, end)) {
		return false
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return ns.guard != 0
}

// allPaths is the resource of the server's own lock.
var allPaths = []engine.Resource{{Mode: engine.Write}}

// guard takes the server's own lock in a namespace that has just come, and that nobody else knows yet.
func (s *Server) guard(ns *namespace) error {
	if !s.mayDraw(ns) {
		return errNoIDs
	}
	placed, err := ns.engine.Lock(session.Server, allPaths)
	if err != nil {
		return fmt.Errorf("server: its own lock: %w", err)
	}
	ns.guard, ns.guardBytes = placed.Handle, ns.engine.Bytes()
	return nil
}

// bound sets the limits of a namespace. The server's own lock takes nothing from those of clients. ns.mu is held.
func (ns *namespace) bound(l engine.Limits) {
	if ns.guard != 0 && l.Requests > 0 {
		l.Requests++
	}
	if ns.guard != 0 && l.Bytes > 0 {
		l.Bytes += ns.guardBytes
	}
	ns.engine.SetLimits(l)
}

// unguard releases the server's own lock, for an administrator or as its time is over. False: it is released already.
// The caller is a user of the namespace.
func (s *Server) unguard(ns *namespace, revoke bool) bool {
	var fx session.Effects
	ns.mu.Lock()
	h := ns.guard
	if h == 0 {
		ns.mu.Unlock()
		return false
	}
	ns.guard, ns.guardBytes = 0, 0
	ns.bound(s.settings.Load().Engine)
	end := ns.releaseV1
	if revoke && ns.space != nil {
		end = ns.space.RevokeForeign
	}
	if _, err := end(s.now(), h, &fx); err != nil {
		panic("server: its own lock is not in the engine: " + err.Error())
	}
	s.finish(ns, &fx)
	return true
}

// endGrace releases the server's own locks when the time is over, one namespace after the other.
func (s *Server) endGrace() {
	if !s.pause(s.grace.left()) {
		return
	}
	for _, ns := range s.spaces.unguarded() {
		s.unguard(ns, false)
		s.spaces.leave(ns)
	}
	s.log.Info("the grace period after the restart is over: locks are granted")
}

// unguarded says that namespaces to come have no lock of the server's, and gives those that are there. The caller is a
// user of each from then on.
func (r *registry) unguarded() (present []*namespace) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.guard, r.excused = nil, nil
	for _, ns := range r.byName {
		ns.users++
		present = append(present, ns)
	}
	return present
}

// excuse says that a namespace has no lock of the server's any more, also if it comes again.
func (r *registry) excuse(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.guard == nil {
		return
	}
	if r.excused == nil {
		r.excused = map[string]bool{}
	}
	r.excused[name] = true
}

// sessionOfServer is what people know the owner of the server's own locks by.
const sessionOfServer = "server"

// releaseOwn ends the grace in one namespace: an administrator knows that nobody there believes in a lock.
func (s *Server) releaseOwn(ns *namespace, lock uint64) (info LockInfo, err error) {
	ns.mu.Lock()
	v, err := ns.engine.Look(ns.guard)
	if err == nil {
		info = s.describe(ns, &v)
	}
	ns.mu.Unlock()
	if err != nil || lock != session.ServerLock {
		return info, ErrNoLock
	}
	s.spaces.excuse(ns.name)
	if !s.unguard(ns, true) {
		return info, ErrNoLock
	}
	return info, nil
}

// Owed is for how long clients may go on to believe in locks of this server, or of one before, that has ended: for
// how long the next one must not grant any. It is asked once the server is closed.
func (s *Server) Owed() time.Duration {
	owed := s.grace.left()
	for _, ns := range s.spaces.all() {
		ns.mu.Lock()
		if ns.space != nil {
			owed = max(owed, time.Duration(ns.space.Believed(s.now()))*time.Millisecond)
		}
		ns.mu.Unlock()
	}
	return owed
}
