package server

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/fence"
	"github.com/locktopus-project/locktopus/v2/internal/session"
)

// Sessions are kept in memory. A server that was killed has forgotten them, but their clients may believe in their
// locks until their time to live is over. So for as long as that can be the next server grants nothing: each
// namespace that comes has a lock on all of it first, which is the server's own. Everybody waits for it as for any
// other, and it is released when the time is over, or by an administrator who knows that no client is left.

// grace is that time.
type grace struct {
	others time.Time // until when, in namespaces that aren't named; zero: there is none

	mu    sync.Mutex           // guards named; a leaf
	named map[string]time.Time // zero: an administrator has ended it
}

// begin begins it, with what is owed to clients of servers before.
func (g *grace) begin(owed fence.Debt, now time.Time) {
	if owed.Longest() <= 0 {
		return
	}
	g.others, g.named = now.Add(owed.Others), map[string]time.Time{}
	for name, named := range owed.Named {
		g.named[name] = now.Add(named)
	}
}

// until is when it ends in a namespace.
func (g *grace) until(name string) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	if named, ok := g.named[name]; ok {
		return named
	}
	return g.others
}

// over says whether it has ended there.
func (g *grace) over(name string) bool { return time.Until(g.until(name)) <= 0 }

// note is what people are told of it.
func (g *grace) note(name string) string {
	until := g.until(name)
	if until.IsZero() {
		return ""
	}
	return "grace period after a restart, until " + until.UTC().Format(time.TimeOnly) + " UTC"
}

// owed is what is left of it.
func (g *grace) owed() (owed fence.Debt) {
	g.mu.Lock()
	defer g.mu.Unlock()
	left := func(until time.Time) time.Duration {
		if until.IsZero() {
			return 0
		}
		return max(0, time.Until(until))
	}
	owed.Others, owed.Named = left(g.others), map[string]time.Duration{}
	for name, until := range g.named {
		owed.Named[name] = left(until)
	}
	return owed
}

// next is when it ends somewhere next; false: it has ended everywhere.
func (g *grace) next() (next time.Time, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	consider := func(until time.Time) {
		if until.After(now) && (!ok || until.Before(next)) {
			next, ok = until, true
		}
	}
	consider(g.others)
	for until := range maps.Values(g.named) {
		consider(until)
	}
	return next, ok
}

// excusedMax is the most namespaces whose grace is kept apart from that of the others.
const excusedMax = 1024

// ErrManyExcused is an error of administration, too.
var ErrManyExcused = errors.New("the grace of as many namespaces as can be has been ended; the others must wait, or be ended all together by a restart with LOCKTOPUS_STATE_GRACE=false")

// excuse ends it in a namespace.
func (g *grace) excuse(name string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, known := g.named[name]; !known && len(g.named) >= excusedMax {
		return ErrManyExcused
	}
	g.named[name] = time.Time{}
	return nil
}

// inVain says whether nobody who waits in a namespace can be granted anything any more: the grace lasts for longer than the
// drain. Nobody holds anything there, so that nobody needs the drain either.
func (s *Server) inVain(ns *namespace) bool {
	end := s.drainEnd.Load()
	if end == 0 || !s.grace.until(ns.name).After(time.Unix(0, end)) {
		return false
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return ns.guard != 0
}

// allPaths is the resource of the server's own lock.
var allPaths = []engine.Resource{{Mode: engine.Write}}

// guard takes the server's own lock in a namespace that has just come, and that nobody else knows yet, if the grace isn't
// over there.
func (s *Server) guard(ns *namespace) error {
	if s.grace.over(ns.name) {
		return nil
	}
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
	for next, ok := s.grace.next(); ok; next, ok = s.grace.next() {
		if !s.pause(time.Until(next)) {
			return
		}
		for _, ns := range s.spaces.shareThose(s.grace.over) {
			s.unguard(ns, false)
			s.spaces.leave(ns)
		}
	}
	s.log.Info("the grace period after the restart is over: locks are granted")
}

// sessionOfServer is what people know the owner of the server's own locks by.
const sessionOfServer = "server"

// releaseOwn ends the grace in one namespace: an administrator knows that nobody there believes in a lock. Whoever
// comes there later finds it ended, too.
func (s *Server) releaseOwn(name string, lock uint64) (info LockInfo, err error) {
	if lock != session.ServerLock || s.grace.over(name) || s.settings.Load().checkNamespace(name) != nil {
		return info, s.visit(name, func(*namespace) error { return ErrNoLock })
	}
	info = s.ownLock(name)
	if err := s.grace.excuse(name); err != nil {
		return info, err
	}
	err = s.visit(name, func(ns *namespace) error {
		ns.mu.Lock()
		v, err := ns.engine.Look(ns.guard)
		if err == nil {
			info.Token = v.Token
		}
		ns.mu.Unlock()
		if err != nil || !s.unguard(ns, true) {
			return ErrNoLock // its time was over at this moment
		}
		return nil
	})
	if errors.Is(err, ErrNoNamespace) {
		info.Note += "; nobody uses the namespace at present"
		return info, nil
	}
	return info, err
}

// ownLock describes the server's own lock in a namespace.
func (s *Server) ownLock(name string) LockInfo {
	return LockInfo{
		Session: sessionOfServer, Lock: session.ServerLock, State: stateOf(true, false), Resources: []engine.Resource{copied(allPaths[0])},
		Note: s.grace.note(name), Since: s.sinceBirth(),
	}
}

// Owed is for how long clients may go on to believe in locks of this server, or of one before, that has ended: for
// how long the next one must not grant any. It is asked once the server is closed.
func (s *Server) Owed() fence.Debt {
	owed := s.grace.owed()
	for _, ns := range s.spaces.all() {
		ns.mu.Lock()
		if ns.space != nil {
			owed.Raise(ns.name, time.Duration(ns.space.Believed(s.now()))*time.Millisecond)
		}
		ns.mu.Unlock()
	}
	return owed
}
