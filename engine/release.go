package engine

// leave removes all that a request placed, from below, and grants what it held back.
func (e *Engine) leave(q *request, acquired bool) {
	q.pending = leaving
	for i := q.permits; i != 0; {
		i = e.leavePermit(i, acquired)
	}
	for i := q.entries; i != 0; {
		en := e.entries.at(i)
		next := en.sibling
		e.remove(i, en)
		i = next
	}
}

// remove takes an entry out of its list. Only a head holds others back: those behind it in its own
// list, and what conflicts with it, wait for the heads of lists and nothing else.
func (e *Engine) remove(i uint32, en *entry) {
	n, mode := e.nodes.at(en.node), en.mode()
	l := &n.lists[mode%modes]
	wasHead := en.prev == 0
	if wasHead && l.tail == i { // alone, as nearly always
		*l = list{}
	} else {
		e.unlink(l, i, en)
	}
	at := en.node
	e.entries.free(i)
	if n.empty() {
		e.drop(at, n)
		return
	}
	if wasHead && n.waited() {
		for _, c := range conflicts[mode%modes] {
			e.promote(at, n, c)
		}
	}
}

// unlink takes an entry out of a list that has others.
func (e *Engine) unlink(l *list, i uint32, en *entry) {
	before := en.prev
	if before == 0 {
		before = l.tail
	}
	if l.wait == i {
		l.wait = l.behind(i, en)
	}
	e.entries.at(before).next = en.next
	if l.tail == i {
		l.tail = en.prev
	} else {
		e.entries.at(en.next).prev = en.prev
	}
}

// behind is the entry behind one of a list; zero: that was the tail.
func (l *list) behind(i uint32, en *entry) uint32 {
	if i == l.tail {
		return 0
	}
	return en.next
}

// promote grants the waiting entries of a list that no older entry of a conflicting mode holds
// back. False: the call's budget was used up before that was done, and the node is in the backlog.
func (e *Engine) promote(at uint32, n *node, mode uint8) bool {
	l := &n.lists[mode%modes]
	if l.wait == 0 {
		return true
	}
	oldest := e.oldestAgainst(n, mode)
	for l.wait != 0 {
		en := e.entries.at(l.wait)
		r := en.request()
		if e.requests.at(r).seq > oldest {
			return true
		}
		if e.budget == 0 {
			e.queue(at, n)
			return false
		}
		e.budget--
		l.wait = l.behind(l.wait, en)
		e.granted(r)
	}
	return true
}

// oldestAgainst is the least sequence number among the entries that conflict with a mode: an entry
// of that mode is granted if its own isn't larger. (It may be equal: a request never waits for
// itself.)
func (e *Engine) oldestAgainst(n *node, mode uint8) uint64 {
	oldest := ^uint64(0)
	for _, c := range conflicts[mode%modes] {
		if tail := n.lists[c%modes].tail; tail != 0 {
			head := e.entries.at(e.entries.at(tail).next)
			oldest = min(oldest, e.requests.at(head.request()).seq)
		}
	}
	return oldest
}

// promoteAll grants what can be granted on a node. False: the budget was used up before.
func (e *Engine) promoteAll(at uint32) bool {
	n := e.nodes.at(at)
	for mode := range uint8(modes) {
		if !e.promote(at, n, mode) {
			return false
		}
	}
	return e.promotePermits(at, n)
}

// queue puts a node at the end of the backlog, unless it is there already.
func (e *Engine) queue(at uint32, n *node) {
	x := e.extraOf(n)
	if x.queued {
		return
	}
	x.queued = true
	x.before, x.after = e.backlog.tail, 0
	if x.before == 0 {
		e.backlog.head = at
	} else {
		e.extras.at(e.nodes.at(x.before).extra).after = at
	}
	e.backlog.tail = at
}

// unqueue takes a node out of the backlog.
func (e *Engine) unqueue(at uint32) {
	n := e.nodes.at(at)
	x := e.extras.at(n.extra)
	x.queued = false
	if x.before == 0 {
		e.backlog.head = x.after
	} else {
		e.extras.at(e.nodes.at(x.before).extra).after = x.after
	}
	if x.after == 0 {
		e.backlog.tail = x.before
	} else {
		e.extras.at(e.nodes.at(x.after).extra).before = x.before
	}
	e.settleExtra(n)
}
