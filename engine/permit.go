package engine

// extra is what few nodes have: the permits of the path, and a place in the backlog.
type extra struct {
	limit         uint32 // that all living permits agree on
	used          uint32 // by the granted ones
	head, wait    uint32 // FIFO of the permits, circular; wait as in list
	slots         uint32 // root of the tree of slots that are taken
	before, after uint32 // nodes of the backlog
	queued        bool
}

// permit stands for a permit of a request in the FIFO of its path. It comes on top of the read
// entry that it has there.
type permit struct {
	next, prev         uint32
	sibling            uint32 // the permit of the request's next resource that is one
	node               uint32
	request            uint32
	weight             uint32
	slot               uint32 // once the request is acquired
	left, right, count uint32 // in the tree of slots
	granted            bool
}

func (e *Engine) extraOf(n *node) *extra {
	if n.extra == 0 {
		i := e.extras.alloc()
		x := e.extras.at(i)
		*x = extra{}
		n.extra = i
		return x
	}
	return e.extras.at(n.extra)
}

// settleExtra frees a node's extra when nothing is in it.
func (e *Engine) settleExtra(n *node) {
	if x := e.extras.at(n.extra); x.head == 0 && !x.queued {
		e.extras.free(n.extra)
		n.extra = 0
	}
}

// enterPermit puts a permit at the end of its path's FIFO.
func (e *Engine) enterPermit(p *placing, at uint32, n *node, rs *Resource) {
	x := e.extraOf(n)
	i := e.permits.alloc()
	pm := e.permits.at(i)
	*pm = permit{next: i, prev: i, node: at, request: p.r, weight: rs.Weight}
	if p.lastPermit == 0 {
		p.q.permits = i
	} else {
		e.permits.at(p.lastPermit).sibling = i
	}
	p.lastPermit = i
	if x.head == 0 {
		x.head, x.limit, x.used = i, rs.Limit, 0
	} else {
		head := e.permits.at(x.head)
		pm.next, pm.prev = x.head, head.prev
		e.permits.at(head.prev).next, head.prev = i, i
	}
	if x.wait == 0 && rs.Weight <= x.limit-x.used {
		x.used += rs.Weight
		pm.granted = true
		return
	}
	if x.wait == 0 {
		x.wait = i
	}
	p.q.pending++
}

// leavePermit takes a permit out of its path's FIFO, and returns the request's next one. What was
// granted makes room for others, and so does a waiting head: the next may weigh less.
func (e *Engine) leavePermit(i uint32, acquired bool) (sibling uint32) {
	p := e.permits.at(i)
	n := e.nodes.at(p.node)
	x := e.extras.at(n.extra)
	if acquired {
		e.freeSlot(x, p.slot)
	}
	if p.granted {
		x.used -= p.weight
	}
	if x.wait == i {
		x.wait = p.next
		if p.next == x.head {
			x.wait = 0
		}
	}
	if p.next == i {
		x.head = 0
	} else {
		if x.head == i {
			x.head = p.next
		}
		e.permits.at(p.prev).next = p.next
		e.permits.at(p.next).prev = p.prev
	}
	at, sibling := p.node, p.sibling
	e.permits.free(i)
	if x.head == 0 {
		e.settleExtra(n)
	} else {
		e.promotePermits(at, n)
	}
	return sibling
}

// promotePermits grants waiting permits as long as their weights fit. False: the budget was used
// up before that was done, and the node is in the backlog.
func (e *Engine) promotePermits(at uint32, n *node) bool {
	if n.extra == 0 {
		return true
	}
	x := e.extras.at(n.extra)
	for x.wait != 0 {
		p := e.permits.at(x.wait)
		if p.weight > x.limit-x.used {
			return true
		}
		if e.budget == 0 {
			e.queue(at, n)
			return false
		}
		e.budget--
		x.used += p.weight
		p.granted = true
		x.wait = p.next
		if p.next == x.head {
			x.wait = 0
		}
		e.granted(p.request)
	}
	return true
}
