package probe

import (
	"slices"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
)

// table is what a namespace of version 2 must be like: who is in the queue, and what its sessions are to be told.
type table struct {
	queue
	changed func(kind string, l *lock, end string) // told of each change; may be nil
}

// verdict checks what a request is answered with.
type verdict func(m *reply)

func (t *table) note(kind string, l *lock, end string) {
	if t.changed != nil {
		t.changed(kind, l, end)
	}
}

func (t *table) find(s *sessionV2, id uint64) *lock {
	for _, l := range t.all {
		if l.session == s && l.id == id {
			return l
		}
	}
	return nil
}

// locksOf are those of a session.
func (t *table) locksOf(s *sessionV2) (ls []*lock) {
	for _, l := range t.all {
		if l.session == s {
			ls = append(ls, l)
		}
	}
	return ls
}

// promote grants what can be granted.
func (t *table) promote() {
	for l := t.due(); l != nil; l = t.due() {
		state := "acquired"
		if l.upgrading {
			state = "upgraded"
		}
		t.hold(l)
		l.session.due = append(l.session.due, &happening{lock: l, state: state, grant: l.grant})
		t.note(state, l, "")
	}
}

// end ends a lock.
func (t *table) end(l *lock, how string) {
	t.note("ended", l, how)
	t.remove(l)
	l.session.ends[l.id] = how
	t.promote()
}

// withSession is how locks end that a client leaves behind when it says bye. In which order isn't determined: those that
// wait may be granted before their turn comes to end.
const withSession = "with its session"

// passes ends a lock that nobody asked to end, which its session is told.
func (t *table) passes(l *lock, how string, notBefore oracle.Moment) {
	l.session.due = append(l.session.due, &happening{lock: l, state: how, notBefore: notBefore, blockers: t.blockers(l)})
	t.end(l, how)
}

// leave takes out of the queue what doesn't wait without a connection, all at once.
func (t *table) leave(s *sessionV2) {
	for _, l := range t.leavers(s) {
		s.due = append(s.due, &happening{lock: l, state: "canceled"})
		s.ends[l.id] = "canceled"
		t.note("ended", l, "canceled")
		t.remove(l)
	}
	t.promote()
}

func (t *table) leavers(s *sessionV2) (ls []*lock) {
	for _, l := range t.locksOf(s) {
		if l.leave && !l.held {
			ls = append(ls, l)
		}
	}
	return ls
}

// refusal is one with one of these errors.
func (s *sessionV2) refusal(a ask, codes ...string) verdict {
	return func(m *reply) {
		code := take[string](m, "error")
		if m.err == nil && !slices.Contains(codes, code) {
			m.fail("the error is %q, not one of %q", code, codes)
		}
		if m.has("lock") {
			is(m, "lock", a.lock)
		}
		m.sentence()
		s.refused[a.id] = code
	}
}

// state is one with a lock and a state, and nothing else.
func stateOf(a ask, state string) verdict {
	return func(m *reply) {
		is(m, "lock", a.lock)
		is(m, "state", state)
	}
}

// do is what a request leads to. What it returns checks the answer.
func (t *table) do(s *sessionV2, a ask) verdict {
	if s.asksFor(&a) {
		return t.again(s, a)
	}
	switch a.op {
	case "lock":
		return t.lock(s, a)
	case "renew":
		if a.lock == 0 {
			return renewed
		}
	case "bye":
		for _, l := range t.locksOf(s) {
			t.note("ended", l, withSession)
			t.remove(l)
		}
		t.promote()
		return func(m *reply) { is(m, "state", "bye") }
	case "unwatch":
		return func(m *reply) { is(m, "state", "unwatched") }
	}
	l := t.find(s, a.lock)
	if l == nil {
		return s.gone(a)
	}
	switch a.op {
	case "release":
		return t.release(l, a)
	case "renew":
		return t.renew(l, a)
	case "upgrade":
		return t.upgrade(l, a)
	case "downgrade":
		return t.downgrade(l, a)
	}
	panic("probe: the model doesn't know " + a.op)
}

// gone answers a request about a lock that isn't there.
func (s *sessionV2) gone(a ask) verdict {
	end := s.ends[a.lock]
	if end == "" || end == "unavailable" || end == "deadlock" {
		unknown := s.refusal(a, "unknown_lock")
		return func(m *reply) {
			if end != "" && m.has("state") {
				stateOf(a, end)(m)
				return
			}
			unknown(m)
		}
	}
	return stateOf(a, end)
}

func (t *table) lock(s *sessionV2, a ask) verdict {
	if no := t.faults(a); len(no) > 0 {
		limit := t.otherLimit(a.wants)
		refusal := s.refusal(a, no...)
		return func(m *reply) {
			if m.has("limit") {
				is(m, "limit", limit)
			}
			refusal(m)
		}
	}
	l := &lock{session: s, id: a.id, wants: a.wants, leave: a.leave, party: a.party, note: a.note, lease: a.lease >= 0}
	t.arrive(l)
	switch blockers := t.blockers(l); {
	case len(blockers) == 0:
		t.hold(l)
		t.note("acquired", l, "")
		return func(m *reply) {
			is(m, "state", "acquired")
			t.holds(m, l, l.grant, true)
		}
	case a.wait == 0:
		t.remove(l)
		s.ends[l.id] = "unavailable"
		return func(m *reply) {
			is(m, "state", "unavailable")
			checkBlockers(m, l, blockers)
		}
	case t.deadlocked(l.owner()):
		t.remove(l)
		s.ends[l.id] = "deadlock"
		return func(m *reply) {
			is(m, "state", "deadlock")
			t.circle(m, l)
		}
	default:
		t.note("enqueued", l, "")
		return func(m *reply) { enqueued(m, len(blockers)) }
	}
}

// faults are the errors with which a request may be refused; one of them it must be, if there are any.
func (t *table) faults(a ask) (codes []string) {
	if len(a.note) > noteBytes || a.lease == 0 || tooHeavy(a.wants) {
		codes = append(codes, "limit")
	}
	if t.otherLimit(a.wants) > 0 {
		codes = append(codes, "other_limit")
	}
	return codes
}

// noteBytes and nameBytes are what no server allows more of.
const (
	noteBytes = 4096
	nameBytes = 4096
)

func enqueued(m *reply, ahead int) {
	is(m, "state", "enqueued")
	is(m, "ahead", min(ahead, mostAhead))
}

func (t *table) release(l *lock, a ask) verdict {
	how := "canceled"
	if l.held {
		how = "released"
	}
	s := l.session
	t.end(l, how)
	return func(m *reply) {
		if stateOf(a, how)(m); m.err == nil && slices.ContainsFunc(s.due, func(h *happening) bool { return h.lock == l }) {
			m.fail("lock %d has ended before it is told that it was acquired", l.id)
		}
	}
}

// longLease outlives a round.
const longLease = 600_000

func (t *table) renew(l *lock, a ask) verdict {
	switch {
	case !l.held:
		return l.session.refusal(a, "not_acquired")
	case a.lease == 0:
		return l.session.refusal(a, "limit")
	}
	l.lease = l.lease || a.lease > 0
	return func(m *reply) { t.renewedLock(m, l, a) }
}

func (t *table) upgrade(l *lock, a ask) verdict {
	ws := l.newWrites()
	switch {
	case !l.held:
		return l.session.refusal(a, "not_acquired")
	case l.upgrading || slices.ContainsFunc(t.all, func(o *lock) bool { return o.upgrading && conflicts(o.newWrites(), ws) }):
		return l.session.refusal(a, "upgrade_conflict")
	case len(ws) == 0:
		l.upgrade, l.changed = a.id, "upgraded"
		reads := slices.ContainsFunc(l.wants, func(w want) bool { return w.kind == "read" })
		l.turn("read", "write")
		t.note("upgraded", l, "")
		return t.keepsToken(l, a, reads)
	}
	l.upgrading = true
	t.upgrades++
	blockers := t.blockers(l)
	if (len(blockers) == 0 || a.wait != 0) && t.deadlocked(l.owner()) {
		refusal := l.session.refusal(a, "deadlock")
		l.upgrading = false
		return func(m *reply) {
			l.upgrading = true
			t.circle(m, l)
			l.upgrading = false
			refusal(m)
		}
	}
	switch {
	case len(blockers) == 0:
		l.upgrade = a.id
		t.hold(l)
		t.note("upgraded", l, "")
		t.promote()
		g := l.grant
		return func(m *reply) { t.upgraded(m, a, g, true) }
	case a.wait == 0:
		l.upgrading = false
		refusal := l.session.refusal(a, "unavailable")
		return func(m *reply) {
			checkBlockers(m, l, blockers)
			refusal(m)
		}
	}
	l.upgrade = a.id
	t.note("upgrading", l, "")
	return stateOf(a, "upgrading")
}

func (t *table) upgraded(m *reply, a ask, g *grant, newest bool) {
	is(m, "lock", a.lock)
	is(m, "state", "upgraded")
	t.tokenOf(m, g, newest)
}

// keepsToken answers an upgrade of what reads nothing that it doesn't write. Whether one that reads what it also
// writes gets another token isn't said.
func (t *table) keepsToken(l *lock, a ask, either bool) verdict {
	g := l.grant
	return func(m *reply) {
		is(m, "lock", a.lock)
		is(m, "state", "upgraded")
		if token := m.token("token"); m.err == nil && token != g.token && !either {
			m.fail("lock %d reads nothing, and has another token than %d", l.id, g.token)
		}
	}
}

// takeBack ends an upgrade that waits.
func (t *table) takeBack(l *lock, how string) {
	l.upgrading, l.changed = false, how
	t.note("acquired", l, "")
	t.promote()
}

func (t *table) downgrade(l *lock, a ask) verdict {
	if !l.held {
		return l.session.refusal(a, "not_acquired")
	}
	if a.upgradeID != 0 {
		if l.upgrading && l.upgrade == a.upgradeID {
			t.takeBack(l, "acquired")
		}
		g, state := l.grant, l.state()
		return func(m *reply) { t.stillHeld(m, l, a, g, "acquired", state) }
	}
	if l.upgrading {
		t.takeBack(l, "downgraded")
	}
	l.turn("write", "read")
	l.changed = "downgraded"
	t.note("downgraded", l, "")
	t.promote()
	return stateOf(a, "downgraded")
}

// again answers a retry with what is true now.
func (t *table) again(s *sessionV2, a ask) verdict {
	id := a.lock
	if a.op == "lock" {
		id = a.id
	}
	l, end, code := t.find(s, id), s.ends[id], s.refused[a.id]
	known := slices.ContainsFunc(s.asked, func(x ask) bool { return x.id == a.id })
	switch {
	case !known:
		return s.refusal(a, "forgotten")
	case a.op == "renew" && a.lock == 0:
		return renewed
	case a.op == "unwatch":
		return func(m *reply) { is(m, "state", "unwatched") }
	case code != "" && end != "":
		refusal := s.refusal(a, code)
		return func(m *reply) {
			if m.has("error") {
				refusal(m)
			} else {
				stateOf(a, end)(m)
			}
		}
	case code != "":
		return s.refusal(a, code)
	case a.op == "lock" && l == nil:
		return func(m *reply) { is(m, "state", end) }
	case l == nil:
		return stateOf(a, end)
	case a.op == "lock" && !l.held:
		ahead := len(t.blockers(l))
		return func(m *reply) { enqueued(m, ahead) }
	case a.op == "lock":
		g := l.grant
		return func(m *reply) {
			is(m, "state", "acquired")
			t.holds(m, l, g, false)
		}
	case a.op == "renew":
		return func(m *reply) { t.renewedLock(m, l, a) }
	}
	return t.changedAgain(l, a)
}

// changedAgain answers the retry of an upgrade or a downgrade. How exactly isn't said where more has become of the
// lock since.
func (t *table) changedAgain(l *lock, a ask) verdict {
	g := l.grant
	switch {
	case l.upgrading && l.upgrade == a.id:
		return stateOf(a, "upgrading")
	case l.changed == "upgraded" && l.upgrade == a.id && !l.upgrading:
		return func(m *reply) { t.stillHeld(m, l, a, g, "upgraded") }
	}
	return func(m *reply) {
		t.stillHeld(m, l, a, g, "acquired", "upgraded", "upgrading", "upgrade_timeout", "downgraded")
	}
}
