package probe

import (
	"fmt"
	"slices"
	"time"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
)

// sessionV2 is what must be true of a session of version 2.
type sessionV2 struct {
	name, id string
	secret   string // the newest that its client knows
	before   string // the one before, while it is still good
	stale    string // one that isn't good any more; empty: there is none
	ttl      time.Duration

	lastID  uint64
	asked   []ask             // its requests, for retries
	refused map[uint64]string // why some of them were
	ends    map[uint64]string // of its locks

	due    []*happening // not told yet
	events []*happening // told at least once, by their numbers from 1 on
	seen   uint64       // the last event that its client knows
}

// happening is an event.
type happening struct {
	lock      *lock
	state     string
	grant     *grant        // what it grants; nil: nothing
	notBefore oracle.Moment // it can't be told earlier
	blockers  []*lock       // who was in the way of what has waited too long
}

func (h *happening) String() string { return fmt.Sprintf("%q of %v", h.state, h.lock) }

// confirm notes that the server knows that the newest secret has arrived.
func (s *sessionV2) confirm() {
	if s.before != "" {
		s.stale, s.before = s.before, ""
	}
}

// title is what blockers call it.
func (s *sessionV2) title() string {
	if s.name != "" {
		return s.name
	}
	return s.id
}

// last is the number of the last event.
func (s *sessionV2) last() uint64 { return uint64(len(s.events) + len(s.due)) }

// hears takes an event, which must be the next one. Which of several that are due comes first isn't determined, but
// those of a lock have an order.
func (s *sessionV2) hears(m *reply, lock uint64) (h *happening, again bool) {
	n := m.number("event")
	switch {
	case m.err != nil:
		return nil, false
	case n != s.seen+1:
		m.fail("it is told event %d, and the last one was %d", n, s.seen)
		return nil, false
	}
	s.seen = n
	if n <= uint64(len(s.events)) {
		return s.events[n-1], true
	}
	i := slices.IndexFunc(s.due, func(h *happening) bool { return h.lock.id == lock })
	if i < 0 {
		m.fail("nothing has happened to lock %d", lock)
		return nil, false
	}
	h = s.due[i]
	s.due = slices.Delete(s.due, i, i+1)
	s.events = append(s.events, h)
	return h, false
}

// asksFor notes a request, and says whether it is a retry.
func (s *sessionV2) asksFor(a *ask) (retry bool) {
	if a.id <= s.lastID {
		return true
	}
	s.lastID = a.id
	s.asked = append(s.asked, *a)
	return false
}

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

// Answers.

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

// mostAhead is how far requests in the way are counted, mostBlockers how many are named.
const (
	mostAhead    = 100
	mostBlockers = 8
)

// holds checks what is told of a lock that is held: the token of a grant, slots and a lease.
func (t *table) holds(m *reply, l *lock, g *grant, newest bool) {
	t.tokenOf(m, g, newest)
	alive := slices.Contains(t.all, l)
	permits := slices.DeleteFunc(slices.Clone(l.wants), func(w want) bool { return w.kind != "permit" })
	if m.has("slots") || alive && len(permits) > 0 {
		t.slots(m, l, permits, alive)
	}
	if m.has("lease_ms") || alive && l.lease {
		lease(m, l)
	}
}

// tokenOf checks the token of a grant.
func (t *table) tokenOf(m *reply, g *grant, newest bool) {
	if token := m.token("token"); m.err == nil {
		if err := t.told(g, token, newest); err != nil {
			m.fail("%v", err)
		}
	}
}

func lease(m *reply, l *lock) {
	if left := m.number("lease_ms"); m.err == nil && (!l.lease || left == 0 || left > longLease) {
		m.fail("lock %d has a lease of %d ms", l.id, left)
	}
}

// slots checks the numbers of a lock's permits.
func (t *table) slots(m *reply, l *lock, permits []want, alive bool) {
	slots := take[[]int](m, "slots")
	if m.err != nil {
		return
	}
	if l.slots != nil && !slices.Equal(slots, l.slots) {
		m.fail("lock %d has other slots than before: %v", l.id, l.slots)
	}
	if len(slots) != len(permits) {
		m.fail("lock %d has %d permits", l.id, len(permits))
		return
	}
	for i, n := range slots {
		if n < 0 || n >= permits[i].limit {
			m.fail("%d is no slot of %v", n, permits[i])
		}
		if alive && t.slotTaken(l, permits[i], n) || slices.ContainsFunc(permits[:i], permits[i].samePool) && slices.Contains(slots[:i], n) && samePoolSlot(permits, slots, i) {
			m.fail("slot %d of %v is somebody else's", n, permits[i])
		}
	}
	l.slots = slots
}

func samePoolSlot(permits []want, slots []int, i int) bool {
	for k := range i {
		if slots[k] == slots[i] && permits[k].samePool(permits[i]) {
			return true
		}
	}
	return false
}

// slotTaken says whether another lock that is held was told a slot.
func (t *table) slotTaken(l *lock, pool want, n int) bool {
	for _, o := range t.all {
		if o == l || o.slots == nil {
			continue
		}
		k := 0
		for _, w := range o.wants {
			if w.kind != "permit" {
				continue
			}
			if w.samePool(pool) && o.slots[k] == n {
				return true
			}
			k++
		}
	}
	return false
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

func renewed(m *reply) {
	is(m, "state", "renewed")
	if ttl := m.number("ttl_ms"); m.err == nil && ttl == 0 {
		m.fail("the session has no time")
	}
}

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

func (t *table) renewedLock(m *reply, l *lock, a ask) {
	is(m, "lock", a.lock)
	renewed(m)
	if l.lease {
		lease(m, l)
	}
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

// stillHeld checks an answer that says how a held lock is, in one of these states.
func (t *table) stillHeld(m *reply, l *lock, a ask, g *grant, states ...string) {
	is(m, "lock", a.lock)
	state := take[string](m, "state")
	if m.err == nil && !slices.Contains(states, state) {
		m.fail("the state is %q, not one of %q", state, states)
	}
	switch {
	case state == "acquired":
		t.holds(m, l, g, false)
	case m.has("token"):
		t.tokenOf(m, g, false)
	}
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

// checkBlockers checks who is named to be in a lock's way.
func checkBlockers(m *reply, l *lock, blockers []*lock) {
	n := m.each("blockers", func(b *reply) { named(b, blockers) })
	if m.err == nil && n != min(mostBlockers, len(blockers)) {
		m.fail("%d are named of %d that are in the way of lock %d", n, len(blockers), l.id)
	}
}

// named checks what is told of a blocker, which must be one of these, and takes it.
func named(b *reply, candidates []*lock) *lock {
	title, id, kind, path := take[string](b, "session"), b.number("lock"), take[string](b, "type"), take[[]string](b, "path")
	b.number("since_ms")
	note := ""
	if b.has("note") {
		note = take[string](b, "note")
	}
	state := take[string](b, "state")
	i := slices.IndexFunc(candidates, func(l *lock) bool { return l.id == id && l.session.title() == title })
	switch {
	case b.err != nil:
		return nil
	case i < 0:
		b.fail("lock %d of %q isn't in the way", id, title)
		return nil
	}
	l := candidates[i]
	if note != l.note {
		b.fail("the note on lock %d is %q", id, l.note)
	}
	has := func(w want) bool { return w.kind == kind && slices.Equal(w.path, path) }
	if !slices.ContainsFunc(l.target(), has) && !slices.ContainsFunc(l.wants, has) {
		b.fail("lock %d has no %s of %q", id, kind, path)
	}
	if !slices.Contains([]string{"enqueued", "acquired", "upgrading"}, state) {
		b.fail("%q is no state of a blocker", state)
	}
	return l
}

// circle checks the cycle of a deadlock that a lock would close. It isn't in the queue any more, or not upgrading.
func (t *table) circle(m *reply, l *lock) {
	if !slices.Contains(t.all, l) {
		t.all = append(t.all, l)
		defer t.remove(l)
	}
	var cycle []*lock
	n := m.each("cycle", func(b *reply) {
		if x := named(b, t.all); x != nil {
			cycle = append(cycle, x)
		}
	})
	if m.err != nil || n > mostCycle/2 {
		return
	}
	for i, x := range cycle {
		before := l.owner()
		if i > 0 {
			before = cycle[i-1].owner()
		}
		holdsUp := slices.ContainsFunc(t.all, func(w *lock) bool {
			return w.owner() == before && (i > 0 || w == l || l.upgrading) && slices.Contains(t.blockers(w), x)
		})
		if !holdsUp {
			m.fail("%v is named in a cycle, and the one before doesn't wait for it", x)
		}
	}
	if n < 2 || cycle[n-1].owner() != l.owner() {
		m.fail("the cycle doesn't end where it began")
	}
}

// mostCycle is how many locks are named of a cycle.
const mostCycle = 32
