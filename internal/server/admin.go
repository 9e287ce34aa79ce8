package server

import (
	"container/heap"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/session"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
	"github.com/locktopus-project/locktopus/v2/wsnet"
)

// What administrators ask for. These methods may be called from any goroutine, as long as the server
// lives. Each holds a namespace's mutex for a bounded time, again and again if need be: so a page isn't one
// moment's, but what is there from the first page to the last is on one of them.

// Errors of administration. Their texts are for people.
var (
	ErrNoNamespace = errors.New("nobody uses a namespace of this name")
	ErrNoSession   = errors.New("there is no such session: it has expired or ended, or never was")
	ErrManyMeant   = errors.New("several sessions begin like this: give more of the id")
	ErrNoLock      = errors.New("there is no such lock: it was released, or never was")
	ErrPlace       = errors.New("after: this is no place to go on from: give back what next said")
)

// NamespaceInfo is a namespace in numbers.
type NamespaceInfo struct {
	Name          string
	Users         int // connections, abandoned locks, and one if there are sessions
	Sessions      int
	Held, Waiting int // lock requests
	Bytes         int64
	LastID        uint64 // the highest fencing id so far
}

// sliceNames is how many names one look at the registry goes through.
const sliceNames = 256

// AdminNamespaces describes namespaces that somebody uses, in the order of their names, at most so many,
// behind a name. There may be fewer, or none, and still others; next is the name to go on behind, "" if there are
// none.
func (s *Server) AdminNamespaces(after string, most int) (infos []NamespaceInfo, next string) {
	names, more := s.spaces.names(after, most)
	if more {
		next = names[len(names)-1]
	}
	for _, name := range names {
		ns, users := s.spaces.find(name)
		if ns == nil {
			continue // it has gone meanwhile
		}
		ns.mu.Lock()
		st := ns.engine.Stats()
		info := NamespaceInfo{
			Name: name, Users: users, Held: st.Acquired, Waiting: st.Waiting, Bytes: st.Bytes, LastID: ns.engine.Last(),
		}
		if ns.space != nil {
			info.Sessions = ns.space.Stats().Sessions
		}
		ns.mu.Unlock()
		s.spaces.leave(ns)
		infos = append(infos, info)
	}
	return infos, next
}

// names are the lowest names behind one. The registry is held for a slice of them at a time: Go lets a map
// change while it is gone through.
func (r *registry) names(after string, most int) (names []string, more bool) {
	var lowest nameHeap
	r.mu.Lock()
	defer r.mu.Unlock()
	looks := 0
	for name := range r.byName {
		if looks++; looks%sliceNames == 0 {
			r.mu.Unlock()
			r.mu.Lock()
		}
		if name <= after {
			continue
		}
		if len(lowest) <= most {
			heap.Push(&lowest, name)
		} else if name < lowest[0] {
			lowest[0] = name
			heap.Fix(&lowest, 0)
		}
	}
	names = slices.Sorted(slices.Values(lowest))
	if len(names) > most {
		return names[:most], true
	}
	return names, false
}

// nameHeap has the highest name first.
type nameHeap []string

func (h nameHeap) Len() int           { return len(h) }
func (h nameHeap) Less(i, j int) bool { return h[i] > h[j] }
func (h nameHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *nameHeap) Push(x any)        { *h = append(*h, x.(string)) }
func (h *nameHeap) Pop() any          { panic("server: only pushed") }

// AdminSessions describes a namespace's sessions, at most so many, from a place on, which is what next was
// before, or "". next is "" when there are no others.
func (s *Server) AdminSessions(name, after string, most int) (infos []session.Info, next string, err error) {
	from, err := strconv.ParseUint("0"+after, 10, 31)
	if err != nil {
		return nil, "", ErrPlace
	}
	err = s.visit(name, func(ns *namespace) error {
		at := int(from)
		for more := true; more && len(infos) < most; {
			var found []session.Info
			more = false
			ns.mu.Lock()
			if ns.space != nil {
				found, at, more = ns.space.Sessions(s.now(), at, most-len(infos))
			}
			ns.mu.Unlock()
			if infos = append(infos, found...); more {
				next = strconv.Itoa(at)
			} else {
				next = ""
			}
		}
		return nil
	})
	return infos, next, err
}

// visit calls f with a namespace that stays for the time of the call.
func (s *Server) visit(name string, f func(*namespace) error) error {
	ns, _ := s.spaces.find(name)
	if ns == nil {
		return ErrNoNamespace
	}
	defer s.spaces.leave(ns)
	return f(ns)
}

// LockInfo is a lock request as administrators see it. Session and Lock together name it.
type LockInfo struct {
	Session   string // the id; "v1" for a client of version 1, "server" for the server
	Name      string
	Principal string
	Lock      uint64 // its id in the session; of version 1 what its client was told when it enqueued
	Conn      uint64 // of version 1
	Token     uint64 // 0: it waits
	State     string
	Resources []engine.Resource // those that meet the path that was asked for
	Note      string
	Since     int64 // for how many milliseconds it is in that state; -1: nobody knows
	LeaseMS   int64 // left of its lease; 0: it has none
	WaitsFor  []Obstacle
	More      bool // there are more of those

	handle engine.Handle
}

// Obstacle is who is in the way of a request.
type Obstacle struct {
	Session string
	Name    string
	Lock    uint64
	State   string
	Note    string
	Since   int64
	Has     engine.Resource // of its resources
	Wants   engine.Resource // of those of the request that it is in the way of
}

const (
	sliceLocks    = 32        // that one look at a namespace shows
	sliceBytes    = 256 << 10 // of paths, at which one look ends
	bytesOfLocks  = 1 << 20   // of paths, at which a page ends; and of those in the way, from which on nobody is told of
	mostObstacles = 8         // that are told of a request
	sessionOfV1   = "v1"
	unknownSince  = -1
)

// AdminLocks describes the lock requests that have something at a path, below it, or above it: at most so
// many, from a place on, which is what next was before, or "". There may be fewer, or none, and still others;
// next is "" when there are none.
func (s *Server) AdminLocks(name string, path [][]byte, after string, most int) (locks []LockInfo, next string, err error) {
	from, err := engine.ParseCursor(after)
	if err != nil {
		return nil, "", ErrPlace
	}
	err = s.visit(name, func(ns *namespace) error {
		bytes, more := 0, true
		for more && len(locks) < most && bytes < bytesOfLocks {
			begun := len(locks)
			locks, from, more = s.inspect(ns, path, from, min(sliceLocks, most-begun), locks)
			for _, l := range locks[begun:] {
				bytes += bytesOf(l.Resources...)
			}
		}
		if more {
			next = from.Text()
		}
		room := bytesOfLocks
		for i := range locks {
			s.obstacles(ns, &locks[i], &room)
		}
		return nil
	})
	return locks, next, err
}

// inspect adds a slice of a page.
func (s *Server) inspect(ns *namespace, path [][]byte, from engine.Cursor, most int, locks []LockInfo) (_ []LockInfo, next engine.Cursor, more bool) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	views, next, more := ns.engine.InspectWithin(path, from, most, sliceBytes)
	for i := range views {
		locks = append(locks, s.describe(ns, &views[i]))
	}
	return locks, next, more
}

// bytesOf is about what resources take.
func bytesOf(rs ...engine.Resource) (n int) {
	for _, r := range rs {
		for _, seg := range r.Path {
			n += len(seg) + 4
		}
	}
	return n
}

// describe copies what there is to know of a request. ns.mu is held.
func (s *Server) describe(ns *namespace, v *engine.View) LockInfo {
	l := LockInfo{
		handle: v.Handle, Token: v.Token, State: stateOf(v.Acquired, v.Upgrading),
		Resources: make([]engine.Resource, len(v.Resources)),
	}
	for i, r := range v.Resources {
		l.Resources[i] = copied(r)
	}
	o, ours := s.ownedBy(ns, v.Owner)
	switch {
	case v.Owner == session.Server:
		l.Session, l.Lock, l.Note, l.Since = sessionOfServer, session.ServerLock, s.grace.note(ns.name), s.sinceBirth()
		return l
	case !ours:
		l.Session, l.Lock, l.Conn, l.Since = sessionOfV1, v.Seq, v.Owner, unknownSince
		return l
	}
	l.Session, l.Name, l.Principal = o.Session.ID(), o.Session.Name(), o.Session.Principal()
	l.Lock, l.Note, l.Since, l.LeaseMS = o.Lock, o.Note, o.Since, o.LeaseMS
	return l
}

// sinceBirth is for how many milliseconds the server has been there, and its own locks.
func (s *Server) sinceBirth() int64 { return s.now() / int64(time.Millisecond) }

func (s *Server) ownedBy(ns *namespace, owner uint64) (session.Owned, bool) {
	if ns.space == nil {
		return session.Owned{}, false
	}
	return ns.space.Owned(s.now(), owner)
}

func stateOf(acquired, upgrading bool) string {
	switch {
	case upgrading:
		return wire.V2Upgrading.String()
	case acquired:
		return wire.V2Acquired.String()
	}
	return wire.V2Enqueued.String()
}

// copied is a resource in memory of its own.
func copied(r engine.Resource) engine.Resource {
	path := make([][]byte, len(r.Path))
	for i, seg := range r.Path {
		path[i] = slices.Clone(seg)
	}
	r.Path = path
	return r
}

// obstacles adds who is in a request's way, as long as there is room.
func (s *Server) obstacles(ns *namespace, l *LockInfo, room *int) {
	if l.State == wire.V2Acquired.String() {
		return
	}
	if *room <= 0 {
		l.More = true
		return
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	found, more, err := ns.engine.Blockers(l.handle, mostObstacles)
	if err != nil {
		return // it has gone meanwhile
	}
	l.More = more
	for _, b := range found {
		o := Obstacle{
			Session: sessionOfV1, Lock: b.Seq, State: stateOf(b.Acquired, false), Since: unknownSince,
			Has: copied(b.Has), Wants: copied(b.Wants),
		}
		switch who, ours := s.ownedBy(ns, b.Owner); {
		case b.Owner == session.Server:
			o.Session, o.Lock, o.Note, o.Since = sessionOfServer, session.ServerLock, s.grace.note(ns.name), s.sinceBirth()
		case ours:
			o.Session, o.Name, o.Lock = who.Session.ID(), who.Session.Name(), who.Lock
			o.Note, o.Since = who.Note, who.Since
		}
		l.WaitsFor = append(l.WaitsFor, o)
		*room -= bytesOf(o.Has, o.Wants)
	}
}

// AdminEnd ends a session, named by its id or a beginning of it that no other has. Its client is told why.
func (s *Server) AdminEnd(name, id, why string) (info session.Info, err error) {
	err = s.visit(name, func(ns *namespace) error {
		conn, err := s.sessionOf(ns, id)
		if err != nil {
			return err
		}
		var fx session.Effects
		ns.mu.Lock()
		info = ns.space.Info(s.now(), conn)
		ended := ns.space.End(s.now(), conn, why, &fx)
		s.finish(ns, &fx)
		if !ended {
			return ErrNoSession
		}
		return nil
	})
	return info, err
}

// sessionOf finds a session by its id, or the beginning of one.
func (s *Server) sessionOf(ns *namespace, id string) (found *session.Session, err error) {
	for at, more := 0, true; more; {
		var infos []session.Info
		more = false
		ns.mu.Lock()
		if ns.space == nil || id == "" {
			ns.mu.Unlock()
			return nil, ErrNoSession
		}
		if exact := ns.space.Find(id); exact != nil {
			ns.mu.Unlock()
			return exact, nil
		}
		infos, at, more = ns.space.Sessions(s.now(), at, sliceNames)
		for _, x := range infos {
			switch {
			case !strings.HasPrefix(x.ID, id):
			case found != nil:
				err = ErrManyMeant
			default:
				found = ns.space.Find(x.ID)
			}
		}
		ns.mu.Unlock()
	}
	if found == nil {
		err = ErrNoSession
	}
	return found, err
}

// AdminRelease ends a lock, acquired or waiting. Its client is told why; that of version 1 loses its connection,
// too. The session is named as for AdminEnd, or "v1", or "server" for the lock that the server has during its grace.
func (s *Server) AdminRelease(name, id string, lock uint64, why string) (info LockInfo, err error) {
	find := s.lockOfSession
	switch id {
	case sessionOfServer:
		return s.releaseOwn(name, lock)
	case sessionOfV1:
		find = s.lockOfV1
	}
	err = s.visit(name, func(ns *namespace) error {
		h, err := find(ns, id, lock)
		if err == nil {
			info, err = s.revoke(ns, h, why)
		}
		return err
	})
	return info, err
}

// lockOfSession finds a lock of a session.
func (s *Server) lockOfSession(ns *namespace, id string, lock uint64) (engine.Handle, error) {
	conn, err := s.sessionOf(ns, id)
	if err != nil {
		return 0, err
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	h, ok := ns.space.Handle(conn, lock)
	if !ok {
		return 0, ErrNoLock
	}
	return h, nil
}

// sliceSearch is how many requests one look shows where one of version 1 is searched for.
const sliceSearch = 256

// lockOfV1 finds a lock of version 1 by its place in the order, among all there are: nobody keeps a list of those.
func (s *Server) lockOfV1(ns *namespace, _ string, lock uint64) (engine.Handle, error) {
	var from engine.Cursor
	for more := true; more; {
		var views []engine.View
		ns.mu.Lock()
		views, from, more = ns.engine.InspectWithin(nil, from, sliceSearch, sliceBytes)
		for i := range views {
			if views[i].Seq != lock {
				continue
			}
			h := views[i].Handle
			_, ours := s.ownedBy(ns, views[i].Owner)
			ours = ours || views[i].Owner == session.Server
			ns.mu.Unlock()
			if ours {
				return 0, ErrNoLock
			}
			return h, nil
		}
		ns.mu.Unlock()
	}
	return 0, ErrNoLock
}

// revoke ends a lock.
func (s *Server) revoke(ns *namespace, h engine.Handle, why string) (info LockInfo, err error) {
	var fx session.Effects
	ns.mu.Lock()
	v, err := ns.engine.Look(h)
	if err != nil {
		ns.mu.Unlock()
		return info, ErrNoLock
	}
	info = s.describe(ns, &v)
	if o, ours := s.ownedBy(ns, v.Owner); ours {
		if !ns.space.Revoke(s.now(), o.Session, o.Lock, why, &fx) {
			err = ErrNoLock // it is being given up with its session
		}
		s.finish(ns, &fx)
		return info, err
	}
	end := ns.releaseV1
	if ns.space != nil {
		end = ns.space.RevokeForeign
	}
	if _, err := end(s.now(), h, &fx); err != nil {
		panic("server: a lock that is there can't be released: " + err.Error())
	}
	if ns.revoked == nil {
		ns.revoked = map[engine.Handle]string{}
	}
	ns.revoked[h] = why
	s.finish(ns, &fx)
	s.net.Post(wsnet.ConnID(v.Owner), tokenRevoked)
	return info, nil
}

// taken says whether an administrator has taken a v1 lock, and why. It is asked once by whoever had it.
func (ns *namespace) taken(lock engine.Handle) (why string, ok bool) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if why, ok = ns.revoked[lock]; ok {
		delete(ns.revoked, lock)
	}
	if len(ns.revoked) == 0 {
		ns.revoked = nil
	}
	return why, ok
}

// isRevoked says whether an administrator has taken a v1 lock, and who had it doesn't know. ns.mu is held.
func (ns *namespace) isRevoked(lock engine.Handle) bool {
	_, ok := ns.revoked[lock]
	return ok
}

// revoked is what a v1 client is told whose lock an administrator has taken.
func revoked(why string) *refusal {
	return &refusal{codeFault, fmt.Sprintf("an administrator has released this connection's lock: %s", why)}
}

// bereave takes up that an administrator has taken a connection's lock. nil: nobody has.
func (w *worker) bereave(conn *connection) error {
	why, ok := conn.ns.taken(conn.lock)
	if !ok {
		return nil
	}
	conn.forget()
	return revoked(why)
}
