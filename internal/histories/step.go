package histories

import "slices"

// step is what a lock service without concurrency does.
func (m *model) step(q queue, h happening) (bool, queue) {
	s := m.open(q)
	if !s.take(h) {
		return false, q
	}
	if h.kind == begins || h.kind == rises || h.kind == unable || h.kind == overlaps {
		return true, q
	}
	return true, s.close()
}

// blame is whose request it is that something can't happen now for.
func (m *model) blame(q queue, h happening) int {
	s := m.open(q)
	s.blamed = h.r
	s.take(h)
	return s.blamed
}

// take does what happened. False: it can't have happened now.
func (s *state) take(h happening) bool {
	r, at := s.history[h.r], s.find(h.r)
	switch there := at >= 0; h.kind {
	case asks, obtains, queues, fails, misfits:
		return !there && s.join(h)
	case begins:
		return there && s.there[at].is&granted != 0
	case ends:
		return there && (r.Token == 0 || s.there[at].is&granted != 0) && s.leave(at)
	case leaves:
		return there && s.leave(at)
	default:
		if !there {
			return h.maybe
		}
		return s.there[at].is&granted != 0 && s.change(at, h, r.Changes[h.change])
	}
}

// join puts a request behind the others.
func (s *state) join(h happening) bool {
	r := s.history[h.r]
	other := s.otherLimit(h.r)
	if h.kind == misfits {
		return other
	}
	if other && (r.Answer != Unknown || r.Token != 0) {
		return false // of one about which nothing is known, nobody knows whether it came
	}
	at := len(s.there)
	s.there = append(s.there, entry{number: h.r})
	free := s.free(at)
	switch {
	case free && (h.kind == queues || h.kind == fails), !free && h.kind == obtains:
		return false
	case h.kind == fails:
		s.there = s.there[:at]
		return true
	}
	return s.number(at, r) && s.advance()
}

// number gives a request its number, if anybody knows it: its token, unless upgrades get numbers while it waits.
func (s *state) number(at int, r *Record) bool {
	switch {
	case r.Number != 0:
		if !s.give(r.Number) {
			return false
		}
		if r.Token != 0 && r.Token != r.Number {
			s.there[at].is |= late
		}
	case r.Token != 0 && !s.give(r.Token):
		s.there[at].is |= late
	}
	return s.there[at].is&late == 0 || s.late[s.there[at].number]
}

// give gives a number: of those that are known, the next one.
func (s *state) give(n uint64) bool {
	next := s.before[n] == s.last
	if next {
		s.last = n
	}
	return next
}

// leave takes a request out of the queue.
func (s *state) leave(at int) bool {
	s.there = slices.Delete(s.there, at, at+1)
	return s.advance()
}

// change does what happened to a lock that is granted.
func (s *state) change(at int, h happening, c *Change) bool {
	e := &s.there[at]
	switch h.kind {
	case lowers: // an upgrade that waits is taken back first
		e.is &^= claiming
		if !s.advance() {
			return false
		}
		e.is = e.is&^raised | fallen
		e.changes = max(e.changes, h.change+1)
		return s.advance()
	case claims:
		return s.claim(at, h, c)
	case rises:
		return e.changes == h.change+1 && e.is&claiming == 0 && e.is&raised != 0
	case yields:
		waits := e.changes == h.change+1 && e.is&claiming != 0
		if waits {
			e.is &^= claiming
		}
		return (waits || h.maybe) && s.advance()
	case unable:
		return e.is&claiming == 0 && !s.overlapping(at) && s.opposed(at)
	case overlaps:
		return e.is&claiming == 0 && s.overlapping(at)
	}
	panic("histories: something unknown happened")
}

// claim begins an upgrade.
func (s *state) claim(at int, h happening, c *Change) bool {
	e := &s.there[at]
	if e.is&claiming != 0 || e.changes > h.change {
		return false
	}
	e.changes = h.change + 1
	if s.adds(*e) == 0 { // there is nothing to upgrade, and no new token
		e.is |= raised
		return c.Answer != Enqueued && (c.Token == 0 || c.Token == s.history[h.r].tokenBefore(h.change))
	}
	if s.overlapping(at) {
		return h.maybe // it was refused, and nobody was told
	}
	e.is |= claiming
	if !s.advance() {
		return false
	}
	waits := s.there[at].is&claiming != 0
	return !(waits && c.Answer == Granted || !waits && c.Answer == Enqueued)
}

// tokenBefore is a lock's token before one of its changes.
func (r *Record) tokenBefore(change int) uint64 {
	for _, c := range slices.Backward(r.Changes[:change]) {
		if c.Token != 0 {
			return c.Token
		}
	}
	return r.Token
}

// advance grants what nobody is in the way of, and upgrades. It is false if that can't be, as a client knows that
// it had to wait until later, or has a slot that is taken, or a token that is too low.
func (s *state) advance() bool {
	var out outOfTurn
	for i := range s.there {
		if e := &s.there[i]; e.is&granted == 0 && s.free(i) && !s.grant(e, &out) {
			return false
		}
	}
	for i := range s.there {
		e := &s.there[i]
		if e.is&claiming == 0 || s.opposed(i) {
			continue
		}
		c := s.history[e.number].Changes[e.changes-1]
		if c.Waiting {
			s.blamed = e.number
			return false
		}
		e.is = granted | raised
		out.add(c.Token)
	}
	return s.pass(&out)
}

// grant grants a request.
func (s *state) grant(e *entry, out *outOfTurn) bool {
	r := s.history[e.number]
	if r.Waiting || s.taken(e.number) {
		s.blamed = e.number
		return false
	}
	switch {
	case e.is&late != 0:
		if e.is&(passed|perhaps) == 0 {
			return false // nothing has happened since it came that would give it another token
		}
		out.add(r.Token)
	case e.is&passed != 0:
		if r.Token != 0 {
			return false // its token is too low
		}
		out.untold = true
	case e.is&perhaps != 0:
		out.untold = true
	}
	e.is = granted
	return true
}

// taken says whether a slot that a request is known to get belongs to somebody.
func (s *state) taken(r int) bool {
	for _, p := range s.wants[r].places {
		for _, o := range s.there {
			if o.is&granted != 0 && slices.Contains(s.wants[o.number].places, p) {
				return true
			}
		}
	}
	return false
}

// outOfTurn are numbers that are given to upgrades, and to those that an upgrade has passed.
type outOfTurn struct {
	tokens []uint64
	untold bool // there is one of which nobody was told, perhaps
}

func (o *outOfTurn) add(token uint64) {
	if token == 0 {
		o.untold = true
		return
	}
	o.tokens = append(o.tokens, token)
}

// pass gives numbers out of turn. Those that wait have come before them.
func (s *state) pass(out *outOfTurn) bool {
	slices.Sort(out.tokens)
	for _, n := range out.tokens {
		if !s.give(n) {
			return false
		}
	}
	for i := range s.there {
		switch e := &s.there[i]; {
		case e.is&granted != 0:
		case len(out.tokens) > 0:
			e.is |= passed
		case out.untold:
			e.is |= perhaps
		}
	}
	return true
}
