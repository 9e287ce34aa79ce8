package session

import (
	"errors"
	"slices"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// Reads appends to dst what an upgrade would turn into writes: for whoever has to judge that before it is
// done. There is nothing to judge of a retry, or of a lock that isn't there. The paths are copies. Between
// this and Do only requests of the same attachment change a lock's reads.
func (sp *Space) Reads(s *Session, attachment uint64, r *wire.V2Request, dst []engine.Resource) []engine.Resource {
	if s.attachment != attachment || s.state != living || r.ID <= s.lastID {
		return dst
	}
	i := s.roster.find(r.Lock)
	if i == 0 {
		return dst
	}
	reads, err := sp.engine.Reads(sp.locks.at(i).handle)
	if err != nil {
		panic("session: a lock is not in its engine: " + err.Error())
	}
	for _, x := range reads {
		path := make([][]byte, len(x.Path))
		for k, segment := range x.Path {
			path[k] = slices.Clone(segment)
		}
		dst = append(dst, engine.Resource{Mode: engine.Read, Path: path})
	}
	return dst
}

// upgrade makes writes of a lock's reads, now or later.
func (sp *Space) upgrade(s *Session, r *Request, retry bool) {
	i := s.roster.find(r.Lock)
	if i == 0 {
		sp.gone(s, r, retry)
		return
	}
	l := sp.locks.at(i)
	if retry {
		sp.changedAgain(s, r, l)
		return
	}
	until := sp.limits.wait(sp.now, r.WaitMS)
	changed, refused, err := sp.engine.UpgradeUnless(l.handle, func() bool {
		return sp.refuseUpgrade(s, r, l, until > sp.now)
	})
	if err != nil {
		sp.noUpgrade(s, r, err)
		return
	}
	if refused {
		sp.grant(changed.Grants, changed.More)
		return
	}
	l.upgrade = r.ID
	if !changed.Pending {
		sp.upgraded(i, l, changed.Token)
		sp.fx.answer(r.ID, r.Lock, wire.V2Upgraded).Token = l.token
		sp.changed(wire.V2WasUpgraded, l.handle, wire.V2NoState)
		sp.grant(changed.Grants, changed.More)
		return
	}
	sp.move(s, i, l, wire.V2Upgrading)
	l.waitEnd = until
	sp.grant(changed.Grants, changed.More)
	if l.waitEnd <= sp.now {
		m := sp.no(s, r.ID, wire.V2NotNow, "the upgrade can't be had now; the lock is what it was")
		m.Lock, m.Blockers = r.Lock, sp.inTheWay(l, &sp.fx.copies)
		sp.takeBack(s, i, l, l.changed)
		return
	}
	sp.setTimer(i, l)
	sp.fx.answer(r.ID, r.Lock, wire.V2Upgrading)
	sp.changed(wire.V2WasUpgrading, l.handle, wire.V2NoState)
}

// noUpgrade answers an upgrade that the engine refuses.
func (sp *Space) noUpgrade(s *Session, r *Request, err error) {
	var overlap *engine.OverlapError
	switch {
	case errors.Is(err, engine.ErrNotAcquired):
		sp.no(s, r.ID, wire.V2NotAcquired, "lock %d waits: only what is acquired can be upgraded", r.Lock)
	case errors.Is(err, engine.ErrUpgrading):
		sp.no(s, r.ID, wire.V2UpgradeConflict, "an upgrade of lock %d waits already: take it back first (downgrade)", r.Lock)
	case errors.As(err, &overlap):
		sp.no(s, r.ID, wire.V2UpgradeConflict, "another lock waits for an upgrade that conflicts with this one, and each would wait for the other: release this lock, or go on without an upgrade")
	default:
		sp.engineRefused(s, r, err)
	}
}

// upgraded makes a lock one whose upgrade has come true.
func (sp *Space) upgraded(i uint32, l *lock, token uint64) {
	l.state, l.token, l.waitEnd, l.changed = wire.V2Acquired, token, never, wire.V2Upgraded
	sp.setTimer(i, l)
}

// takeBack ends an upgrade that waits. The lock stays as it was.
func (sp *Space) takeBack(s *Session, i uint32, l *lock, how wire.V2State) {
	sp.move(s, i, l, wire.V2Acquired)
	l.waitEnd, l.changed = never, how
	sp.setTimer(i, l)
	changed, err := sp.engine.CancelUpgrade(l.handle)
	if err != nil {
		panic("session: an upgrade that waits is none of the engine's: " + err.Error())
	}
	sp.grant(changed.Grants, changed.More)
}

// downgrade makes reads of a lock's writes. An upgrade that waits is taken back; if the request names the
// upgrade, nothing else is done, and nothing at all if that one doesn't wait any more.
func (sp *Space) downgrade(s *Session, r *Request, retry bool) {
	i := s.roster.find(r.Lock)
	if i == 0 {
		sp.gone(s, r, retry)
		return
	}
	l := sp.locks.at(i)
	switch {
	case retry:
		sp.changedAgain(s, r, l)
	case l.state == wire.V2Enqueued:
		sp.no(s, r.ID, wire.V2NotAcquired, "lock %d waits: only what is acquired can be downgraded", r.Lock)
	case r.Upgrade != 0:
		sp.describe(sp.fx.answer(r.ID, r.Lock, 0), l)
		if l.state == wire.V2Upgrading && l.upgrade == r.Upgrade {
			sp.changed(wire.V2WasAcquired, l.handle, wire.V2Acquired)
			sp.takeBack(s, i, l, wire.V2Acquired)
		}
	default:
		sp.fx.answer(r.ID, r.Lock, wire.V2Downgraded)
		if l.state == wire.V2Upgrading {
			sp.changed(wire.V2WasAcquired, l.handle, wire.V2Acquired)
			sp.takeBack(s, i, l, wire.V2Downgraded)
		}
		changed, err := sp.engine.Downgrade(l.handle)
		if err != nil {
			panic("session: what is acquired can't be downgraded: " + err.Error())
		}
		l.changed = wire.V2Downgraded
		sp.changed(wire.V2WasDowngraded, l.handle, wire.V2NoState)
		sp.grant(changed.Grants, changed.More)
	}
}

// changedAgain answers a retry of an upgrade or a downgrade with how the lock is now.
func (sp *Space) changedAgain(s *Session, r *Request, l *lock) {
	x, kept := s.kept.find(r.ID)
	switch {
	case kept && x.code != wire.V2NoError, l.changed == wire.V2NoState && l.state != wire.V2Upgrading:
		sp.recall(s, r.ID, r.ID, r.Lock)
	case l.state == wire.V2Upgrading:
		sp.fx.answer(r.ID, r.Lock, wire.V2Upgrading)
	case l.changed == wire.V2Upgraded:
		sp.fx.answer(r.ID, r.Lock, wire.V2Upgraded).Token = l.token
	case l.changed == wire.V2Acquired:
		sp.describe(sp.fx.answer(r.ID, r.Lock, 0), l)
	default:
		sp.fx.answer(r.ID, r.Lock, l.changed)
	}
}
