package session

import (
	"net/netip"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// Info is a session as people see it.
type Info struct {
	ID, Name, Principal string
	Remote              netip.AddrPort // of its attachment, or of its last one
	Attached            bool
	TTL                 int64 // in milliseconds, and so are these
	Left                int64 // until it expires if nothing is heard of it
	Age                 int64
	Held, Waiting       int // locks
}

// sliceSessions is how many places one look at the sessions goes through.
const sliceSessions = 1024

// Sessions describes sessions that live, at most so many, from a place on; 0 is the first place. more says
// that there may be others, from next on. A session that is there from the first such call to the last is
// described once, wherever it stands.
func (sp *Space) Sessions(now int64, from, most int) (infos []Info, next int, more bool) {
	now = max(now, sp.now)
	last := min(len(sp.table), from+sliceSessions)
	for next = from; next < last && len(infos) < most; next++ {
		if s := sp.table[next]; s != nil && s.state == living && s.deadline > now {
			infos = append(infos, s.info(now))
		}
	}
	return infos, next, next < len(sp.table)
}

// Info describes a session.
func (sp *Space) Info(now int64, s *Session) Info { return s.info(max(now, sp.now)) }

func (s *Session) info(now int64) Info {
	return Info{
		ID: s.id, Name: string(s.name), Principal: s.principal, Remote: s.remote, Attached: s.attachment != 0,
		TTL: s.ttl, Left: left(now, s.deadline), Age: left(s.born, now),
		Held: s.roster.len() - s.queued, Waiting: s.queued,
	}
}

// Owned is a lock as people see it, but for what the engine knows of it.
type Owned struct {
	Session *Session
	Lock    uint64
	State   wire.V2State // V2Enqueued, V2Acquired or V2Upgrading
	Note    string
	Since   int64 // for how many milliseconds it has been in that state
	LeaseMS int64 // left of its lease; 0: it has none
}

// Owned describes the lock of an owner in the engine. False: that is no session's.
func (sp *Space) Owned(now int64, owner uint64) (o Owned, ok bool) {
	i, ours := owned(owner)
	if !ours {
		return o, false
	}
	now = max(now, sp.now)
	l := sp.locks.at(i)
	o = Owned{
		Session: sp.table[l.session], Lock: l.id, State: l.state, Note: string(sp.appendNote(nil, l.note)),
		Since: left(l.since, now),
	}
	if l.lease != wire.V2None && l.state != wire.V2Enqueued {
		o.LeaseMS = max(1, left(now, l.leaseEnd))
	}
	return o, true
}

// Handle is the engine's name for a lock of a session; false: it has no such lock.
func (sp *Space) Handle(s *Session, lock uint64) (h engine.Handle, ok bool) {
	i := s.roster.find(lock)
	if i == 0 {
		return 0, false
	}
	return sp.locks.at(i).handle, true
}
