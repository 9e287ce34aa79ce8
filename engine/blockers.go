package engine

import (
	"cmp"
	"slices"
)

// Blocker is a request that directly holds up another one, and why.
type Blocker struct {
	Handle     Handle
	Owner, Seq uint64
	Acquired   bool // it holds what it has; false: it waits itself, and comes first
	// Wants is a resource of the request that is held up, and Has one of the blocker's: they conflict,
	// or are permits of one path. Both may be writes that a pending upgrade asks for.
	Wants, Has Resource
}

const (
	// scanSteps is how many entries and permits Blockers and Ahead look at.
	scanSteps = 1 << 14
	// elsewhereSteps is what it costs of these to find that a blocker's path doesn't count: see BlockersWithin.
	elsewhereSteps = 256
)

// Blockers finds the requests that directly hold up one that waits, or whose upgrade is pending: at
// most so many, by sequence number. If there are others, or there may be, more is true. The slice and
// its paths are the engine's memory and good until the next call of any method. The only error is
// ErrStale.
func (e *Engine) Blockers(h Handle, most int) (found []Blocker, more bool, err error) {
	looks := scanSteps
	return e.BlockersWithin(h, most, &looks, nil)
}

// BlockersWithin is Blockers for who asks about many requests and has a budget for all of them: looks is how many
// entries and permits may be looked at, and is lowered by what was, perhaps below zero. If where isn't nil it says
// which paths count: a blocker is shown with one of its paths that does, or not at all.
func (e *Engine) BlockersWithin(h Handle, most int, looks *int, where func(path [][]byte) bool) (found []Blocker, more bool, err error) {
	q := e.living(h)
	if q == nil {
		return nil, false, ErrStale
	}
	v := e.look()
	complete := e.others(h.index(), q, most, looks, func(o obstacle) bool {
		segments, text := len(v.segments), len(v.text)
		b := e.blocker(o)
		if where != nil && !where(b.Has.Path) {
			v.segments, v.text = v.segments[:segments], v.text[:text]
			*looks -= elsewhereSteps
			return false
		}
		v.blockers = append(v.blockers, b)
		return true
	})
	slices.SortFunc(v.blockers, func(a, b Blocker) int { return cmp.Compare(a.Seq, b.Seq) })
	return v.blockers, !complete, nil
}

// Ahead counts the requests that Blockers finds: it counts as far as to most. If there are others, or
// there may be, more is true. The only error is ErrStale.
func (e *Engine) Ahead(h Handle, most int) (n int, more bool, err error) {
	q := e.living(h)
	if q == nil {
		return 0, false, ErrStale
	}
	e.look()
	looks := scanSteps
	complete := e.others(h.index(), q, most, &looks, func(obstacle) bool {
		n++
		return true
	})
	return n, !complete, nil
}

// Waited says whether anybody may wait for a request to be released. If it is false, nobody does: that is
// certain, and found out by a look at each of its entries and permits.
func (e *Engine) Waited(h Handle) bool {
	q := e.living(h)
	if q == nil {
		return false
	}
	if e.upgrades > 0 {
		return true // they wait in no list
	}
	for i := q.entries; i != 0; {
		en := e.entries.at(i)
		n := e.nodes.at(en.node)
		for _, c := range conflicts[en.mode()%modes] {
			if n.lists[c%modes].wait != 0 {
				return true
			}
		}
		i = en.sibling
	}
	for i := e.firstPermit(q); i != 0; {
		p := e.permits.at(i)
		if e.extras.at(e.nodes.at(p.node).extra).wait != 0 {
			return true
		}
		i = p.sibling
	}
	return false
}

// others calls f for each request that is in the way of another one, until it counts, and until so many do. False:
// it didn't come to the end.
func (e *Engine) others(r uint32, q *request, most int, looks *int, f func(obstacle) bool) bool {
	v := e.view
	complete := e.ahead(r, q, looks, func(o obstacle) bool {
		b := e.requests.at(o.request)
		if b.flags&seen != 0 {
			return true
		}
		if len(v.marked) == most {
			return false
		}
		if f(o) {
			b.flags |= seen
			v.marked = append(v.marked, o.request)
		}
		return true
	})
	for _, i := range v.marked {
		e.requests.at(i).flags &^= seen
	}
	e.settleView()
	return complete
}

// obstacle is what holds up a request in one place: an entry of another one that conflicts with one
// of its own, or a permit before one of its own.
type obstacle struct {
	request    uint32 // the other one
	own, other uint32 // entries, or permits
	permits    bool
}

// ahead calls f for each obstacle of a request, until f says no more, or it has looked at so many
// entries: then it is false. Another request comes once for each place where it is in the way.
func (e *Engine) ahead(r uint32, q *request, looks *int, f func(obstacle) bool) bool {
	for i, end := q.entries, e.endOfWanted(q); i != end; {
		en := e.entries.at(i)
		n := e.nodes.at(en.node)
		for _, c := range conflicts[en.mode()%modes] {
			l := &n.lists[c%modes]
			for j := e.inFront(l, 0, q); j != 0; j = e.inFront(l, j, q) {
				if *looks <= 0 {
					return false
				}
				*looks--
				o := e.entries.at(j).request()
				if e.holdsUp(o, r, q) && !f(obstacle{request: o, own: i, other: j}) {
					return false
				}
			}
		}
		i = en.sibling
	}
	for i := e.firstWaitingPermit(q); i != 0; i = e.nextWaitingPermit(i) {
		for j := e.permitBefore(i, 0); j != 0; j = e.permitBefore(i, j) {
			if *looks <= 0 {
				return false
			}
			*looks--
			o := e.permits.at(j).request
			if o != r && !f(obstacle{request: o, own: i, other: j, permits: true}) {
				return false
			}
		}
	}
	return true
}

// endOfWanted is the entry behind those that a request waits for: all of one that isn't acquired, the
// claims of a pending upgrade, none of others.
func (e *Engine) endOfWanted(q *request) uint32 {
	switch {
	case q.pending > 0:
		return 0
	case q.flags&upgrading != 0:
		return e.specials.at(q.permits).base
	}
	return q.entries
}

// inFront is the next entry of a list that may hold up a request, behind another one (zero: from the
// head): one of an acquired request, or an older one; zero: there is none. What waits is in no upgrade's
// way. It may be one of the request itself.
func (e *Engine) inFront(l *list, after uint32, q *request) (i uint32) {
	switch {
	case after != 0:
		i = l.behind(after, e.entries.at(after))
	case l.tail != 0:
		i = e.entries.at(l.tail).next
	}
	if i == 0 {
		return 0
	}
	if q.pending == 0 {
		if i == l.wait {
			return 0
		}
		return i
	}
	if o := e.requests.at(e.entries.at(i).request()); o.pending > 0 && o.seq > q.seq {
		return 0
	}
	return i
}

// holdsUp says whether a request in front of another one is really in its way: it isn't the same, and
// an upgrade waits for acquired ones only.
func (e *Engine) holdsUp(o, r uint32, q *request) bool {
	return o != r && (q.pending > 0 || e.requests.at(o).pending == 0)
}

// firstWaitingPermit is the first of a request's permits that has no room.
func (e *Engine) firstWaitingPermit(q *request) uint32 {
	i := uint32(0)
	if q.pending > 0 {
		i = e.firstPermit(q)
	}
	if i != 0 && e.permits.at(i).granted {
		return e.nextWaitingPermit(i)
	}
	return i
}

func (e *Engine) nextWaitingPermit(i uint32) uint32 {
	for i = e.permits.at(i).sibling; i != 0 && e.permits.at(i).granted; {
		i = e.permits.at(i).sibling
	}
	return i
}

// permitBefore is the next permit before one on its path, behind another one (zero: the first); zero:
// there is none.
func (e *Engine) permitBefore(i, after uint32) (j uint32) {
	if after != 0 {
		j = e.permits.at(after).next
	} else {
		j = e.extras.at(e.nodes.at(e.permits.at(i).node).extra).head
	}
	if j == i {
		return 0
	}
	return j
}

// blocker describes an obstacle.
func (e *Engine) blocker(o obstacle) Blocker {
	q := e.requests.at(o.request)
	b := Blocker{Handle: handleOf(o.request, q.seq), Owner: q.owner, Seq: q.seq, Acquired: q.pending == 0}
	if o.permits {
		b.Wants, b.Has = e.permitResource(e.permits.at(o.own)), e.permitResource(e.permits.at(o.other))
	} else {
		b.Wants, b.Has = e.resourceOf(o.own), e.resourceOf(o.other)
	}
	return b
}

// resourceOf is what an entry stands for. An intention stands for the read or write that comes before
// it in its request's list.
func (e *Engine) resourceOf(i uint32) Resource {
	q := e.requests.at(e.entries.at(i).request())
	leaf := i
	if m := e.entries.at(i).mode(); m == intendRead || m == intendWrite {
		for j := q.entries; j != i; j = e.entries.at(j).sibling {
			if m := e.entries.at(j).mode(); m == read || m == write {
				leaf = j
			}
		}
	}
	en := e.entries.at(leaf)
	switch {
	case en.mode() == write:
		return Resource{Mode: Write, Path: e.pathOf(en.node)}
	case en.owner&forPermits == 0:
		mode := Read
		if l := &e.nodes.at(en.node).lists[write]; q.pending == 0 && e.own(l, en.request()) != 0 {
			mode = Write // an upgrade leaves the read where it was
		}
		return Resource{Mode: mode, Path: e.pathOf(en.node)}
	}
	k := e.firstPermit(q)
	for e.permits.at(k).node != en.node {
		k = e.permits.at(k).sibling
	}
	return e.permitResource(e.permits.at(k))
}
