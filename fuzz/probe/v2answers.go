package probe

import "slices"

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

func renewed(m *reply) {
	is(m, "state", "renewed")
	if ttl := m.number("ttl_ms"); m.err == nil && ttl == 0 {
		m.fail("the session has no time")
	}
}

func (t *table) renewedLock(m *reply, l *lock, a ask) {
	is(m, "lock", a.lock)
	renewed(m)
	if l.lease {
		lease(m, l)
	}
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
