package engine

// special is what few requests have: a token of their own, a pending upgrade, a place in a line.
type special struct {
	permits    uint32 // what the request's own field would say
	request    uint32
	line       uint32 // of those that wait for this request's upgrade, or for its release; zero: none
	in         uint32 // the line that it stands in itself; zero: none
	next, prev uint32 // its neighbours there
	claims     uint32 // of a pending upgrade: the first of its claims that somebody may be in the way of
	base       uint32 // the entry behind the last of them: those before are claims
	token      uint64 // zero: the sequence number
}

// line is a FIFO of requests that have all they want, but for one thing: that an upgrade they
// conflict with comes to an end, or, for an upgrade, that somebody who is in its way does; or that a
// number is reserved for their token. When that has happened, the line is ready: each of them is
// looked at again.
type line struct {
	head, tail uint32 // specials
	next       uint32 // line that is ready
	of         uint32 // the special of the request that is waited for; zero: it isn't that any more, or never was
}

// firstPermit is the first of a request's permits.
func (e *Engine) firstPermit(q *request) uint32 {
	if q.flags&isSpecial != 0 {
		return e.specials.at(q.permits).permits
	}
	return q.permits
}

// specialOf makes a request special, if it isn't.
func (e *Engine) specialOf(r uint32, q *request) *special {
	if q.flags&isSpecial == 0 {
		i := e.specials.alloc()
		*e.specials.at(i) = special{permits: q.permits, request: r}
		q.permits = i
		q.flags |= isSpecial
	}
	return e.specials.at(q.permits)
}

// settleSpecial makes a request an ordinary one, if nothing is special about it any more.
func (e *Engine) settleSpecial(q *request) {
	s := e.specials.at(q.permits)
	if s.line|s.in == 0 && s.token == 0 && q.flags&upgrading == 0 {
		i := q.permits
		q.permits = s.permits
		q.flags &^= isSpecial
		e.specials.free(i)
	}
}

// endSpecial forgets what is special about a request that is released.
func (e *Engine) endSpecial(q *request) {
	if q.flags&upgrading != 0 {
		q.flags &^= upgrading
		e.countUpgrades(-1)
	}
	e.stepOut(q.permits)
	e.wake(q.permits)
	e.specials.at(q.permits).token = 0
	e.settleSpecial(q)
}

// lineOf is the line of those that wait for a request.
func (e *Engine) lineOf(r uint32) uint32 {
	q := e.requests.at(r)
	if s := e.specialOf(r, q); s.line == 0 {
		s.line = e.lines.alloc()
		*e.lines.at(s.line) = line{of: q.permits}
	}
	return e.specials.at(q.permits).line
}

// shortLine is the line of those that wait for numbers.
func (e *Engine) shortLine() uint32 {
	if e.short == 0 {
		e.short = e.lines.alloc()
		*e.lines.at(e.short) = line{}
	}
	return e.short
}

// hold puts a request at the end of a line. One that isn't acquired has that pending, too.
func (e *Engine) hold(r uint32, q *request, in uint32) {
	if q.flags&upgrading == 0 {
		q.pending++
	}
	s := e.specialOf(r, q)
	l := e.lines.at(in)
	s.in, s.next, s.prev = in, 0, l.tail
	if l.tail == 0 {
		l.head = q.permits
	} else {
		e.specials.at(l.tail).next = q.permits
	}
	l.tail = q.permits
}

// stepOut takes a special out of the line it stands in. A line that is ready may stay behind empty.
func (e *Engine) stepOut(i uint32) {
	s := e.specials.at(i)
	if s.in == 0 {
		return
	}
	l := e.lines.at(s.in)
	if s.prev == 0 {
		l.head = s.next
	} else {
		e.specials.at(s.prev).next = s.next
	}
	if s.next == 0 {
		l.tail = s.prev
	} else {
		e.specials.at(s.next).prev = s.prev
	}
	if l.head == 0 {
		e.endLine(s.in, l)
	}
	s.in = 0
}

// endLine frees an empty line, unless it is ready: then settle does.
func (e *Engine) endLine(i uint32, l *line) {
	switch {
	case i == e.short:
		e.short = 0
	case l.of != 0:
		s := e.specials.at(l.of)
		s.line = 0
		e.settleSpecial(e.requests.at(s.request))
	default:
		return
	}
	e.lines.free(i)
}

// wake makes the line ready that waits for a request.
func (e *Engine) wake(special uint32) {
	s := e.specials.at(special)
	if s.line != 0 {
		e.lines.at(s.line).of = 0
		e.makeReady(s.line)
		s.line = 0
	}
}

// makeReady puts a line behind those that are ready.
func (e *Engine) makeReady(i uint32) {
	e.lines.at(i).next = 0
	if e.ready.tail == 0 {
		e.ready.head = i
	} else {
		e.lines.at(e.ready.tail).next = i
	}
	e.ready.tail = i
}

// settle looks again at the requests of lines that are ready, until the call's budget is used up.
func (e *Engine) settle() {
	for e.ready.head != 0 {
		i := e.ready.head
		l := e.lines.at(i)
		if l.head == 0 {
			if e.ready.head = l.next; l.next == 0 {
				e.ready.tail = 0
			}
			e.lines.free(i)
			continue
		}
		if e.budget == 0 {
			return
		}
		r := e.specials.at(l.head).request
		e.stepOut(l.head)
		e.resume(r, e.requests.at(r))
		e.budget -= min(e.budget, 1) // only now, so that each call gets on
	}
}

// resume looks again at a request that has left its line.
func (e *Engine) resume(r uint32, q *request) {
	if q.flags&upgrading != 0 {
		e.tryUpgrade(r, q)
	} else {
		e.granted(r)
	}
	e.settleSpecial(q)
}
