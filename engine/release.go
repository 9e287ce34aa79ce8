package engine

// leave removes all that a request placed, from below, and grants what it held back.
func (e *Engine) leave(q *request, permits uint32, acquired bool) {
	q.pending = leaving
	for i := permits; i != 0; {
		i = e.leavePermit(i, acquired)
	}
	for i := q.entries; i != 0; {
		en := e.entries.at(i)
		next := en.sibling
		e.remove(i, en)
		i = next
	}
}

// remove takes an entry out of its list, frees it, and grants what waited for it.
func (e *Engine) remove(i uint32, en *entry) {
	n, mode := e.nodes.at(en.node), en.mode()
	l := &n.lists[mode%modes]
	opens := true
	if en.prev == 0 && l.tail == i { // alone, as nearly always
		*l = list{}
	} else {
		if opens = en.prev == 0 && en.next == l.wait; !opens { // not just handed on
			opens = n.waited() && e.inTheWay(l, i, en)
		}
		e.unlink(l, i, en)
	}
	at := en.node
	e.entries.free(i)
	if n.empty() {
		e.drop(at, n)
		return
	}
	if opens && n.waited() {
		e.promoteAgainst(at, n, mode)
	}
}

// promoteAgainst grants what no longer has to wait for a list.
func (e *Engine) promoteAgainst(at uint32, n *node, mode uint8) {
	for _, c := range conflicts[mode%modes] {
		e.promote(at, n, c)
	}
}

// inTheWay says whether an entry is all that a list, which has others, has against somebody. It isn't
// if it waits itself behind others, or if two others are granted.
func (e *Engine) inTheWay(l *list, i uint32, en *entry) bool {
	if en.prev == 0 {
		return l.wait == i || en.next == l.wait || en.next == l.tail || e.entries.at(en.next).next == l.wait
	}
	return l.wait != en.prev && l.wait != i && (i == l.tail || en.next == l.wait) && e.entries.at(en.prev).prev == 0
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

// promote grants the waiting entries of a list that nothing of a conflicting mode holds back: no
// granted entry of another request, and no older one. False: the call's budget was used up before
// that was done, and the node is in the backlog.
func (e *Engine) promote(at uint32, n *node, mode uint8) bool {
	l := &n.lists[mode%modes]
	if l.wait == 0 {
		return true
	}
	sole, oldest := e.against(n, mode)
	for l.wait != 0 {
		en := e.entries.at(l.wait)
		r := en.request()
		if sole != 0 && sole != r || e.requests.at(r).seq > oldest {
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

// against is what holds back the waiting entries of a mode: only the request sole has granted entries
// that conflict with it (zero: nobody has; several: more than one have), and oldest is the least
// sequence number of a waiting one. A request never waits for itself. As it has one entry at most in
// a list, looking at two is enough.
func (e *Engine) against(n *node, mode uint8) (sole uint32, oldest uint64) {
	oldest = ^uint64(0)
	for _, c := range conflicts[mode%modes] {
		l := &n.lists[c%modes]
		if l.tail == 0 {
			continue
		}
		i := e.entries.at(l.tail).next
		en := e.entries.at(i)
		if i != l.wait {
			if r := en.request(); sole == 0 {
				sole = r
			} else if sole != r {
				return several, 0
			}
			if i == l.tail {
				continue
			}
			if i = en.next; i != l.wait {
				return several, 0
			}
			en = e.entries.at(i)
		}
		oldest = min(oldest, e.requests.at(en.request()).seq)
	}
	return sole, oldest
}

// several is no request's index.
const several = ^uint32(0)

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
