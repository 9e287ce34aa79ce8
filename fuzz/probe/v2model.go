package probe

import (
	"fmt"
	"slices"
	"strings"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
)

// want is one resource of a request of version 2.
type want struct {
	kind          string // read, write or permit
	path          []string
	limit, weight int // of a permit
}

func (w want) resource() oracle.Resource {
	return oracle.Resource{Write: w.kind == "write", Path: w.path}
}

func (w want) String() string {
	if w.kind != "permit" {
		return oracle.Text([]oracle.Resource{w.resource()})
	}
	_, path, _ := strings.Cut(oracle.Text([]oracle.Resource{w.resource()}), " ")
	return fmt.Sprintf("permit %s (%d of %d)", path, w.weight, w.limit)
}

func (w want) samePool(o want) bool {
	return w.kind == "permit" && o.kind == "permit" && slices.Equal(w.path, o.path)
}

// meets says whether one path is the other, or lies above it.
func meets(a, b []string) bool {
	n := min(len(a), len(b))
	return slices.Equal(a[:n], b[:n])
}

func conflicts(as, bs []want) bool {
	for _, a := range as {
		for _, b := range bs {
			if (a.kind == "write" || b.kind == "write") && meets(a.path, b.path) {
				return true
			}
		}
	}
	return false
}

// lock is one of a session of version 2, from its request to its end.
type lock struct {
	session *sessionV2
	id      uint64
	place   int // in the queue
	wants   []want
	held    bool

	upgrading bool   // held, and an upgrade waits
	upgrade   uint64 // the request for that
	changed   string // what the last upgrade or downgrade came to

	grant *grant // the last one; nil: none
	slots []int  // as they were told
	leave bool   // it doesn't wait without a connection
	party uint64
	note  string
	lease bool
}

func (l *lock) String() string {
	state := "waits"
	switch {
	case l.upgrading:
		state = "holds, and waits for an upgrade"
	case l.held:
		state = "holds"
	}
	text := fmt.Sprintf("lock %d of %s (", l.id, l.session.title())
	for _, w := range l.wants {
		text += w.String() + ", "
	}
	return text + state + ")"
}

// state is what the protocol calls it.
func (l *lock) state() string {
	switch {
	case l.upgrading:
		return "upgrading"
	case l.held:
		return "acquired"
	}
	return "enqueued"
}

// newWrites are those that an upgrade adds: of all that it reads and doesn't write already.
func (l *lock) newWrites() (ws []want) {
	for _, a := range l.wants {
		written := slices.ContainsFunc(l.wants, func(b want) bool { return b.kind == "write" && slices.Equal(a.path, b.path) })
		if a.kind == "read" && !written {
			ws = append(ws, want{kind: "write", path: a.path})
		}
	}
	return ws
}

// target is what it stands in the way with.
func (l *lock) target() []want {
	if l.upgrading {
		return append(l.newWrites(), l.wants...)
	}
	return l.wants
}

func (l *lock) turn(from, to string) {
	l.wants = slices.Clone(l.wants)
	for i := range l.wants {
		if l.wants[i].kind == from {
			l.wants[i].kind = to
		}
	}
}

// grant is a moment from which a lock is held, or held with more than before.
type grant struct {
	lock  string // in words
	place int    // of the lock in the queue
	wants []want
	token uint64 // 0: nobody was told yet

	upgrade bool // its token is higher than all before
}

// queue is that of a namespace: who holds and who waits, by the rules of the protocol and nothing else.
type queue struct {
	all      []*lock // in order of arrival
	arrivals int
	grants   []*grant // in the order in which they came true
	upgrades int      // that were asked for: with them the order of tokens is no longer that of arrival
	highest  uint64   // token that anybody was told
}

func (q *queue) arrive(l *lock) {
	q.arrivals++
	l.place = q.arrivals
	q.all = append(q.all, l)
}

func (q *queue) remove(l *lock) {
	q.all = slices.DeleteFunc(q.all, func(o *lock) bool { return o == l })
}

// weightBefore adds up the permits of a pool that come before one of a lock's.
func (q *queue) weightBefore(l *lock, at int, counts func(*lock) bool) (sum int) {
	for _, o := range q.all {
		for k, w := range o.wants {
			if w.samePool(l.wants[at]) && (o.place < l.place && counts(o) || o == l && k < at) {
				sum += w.weight
			}
		}
	}
	return sum
}

// full says whether there is no room for a permit behind those that count.
func (q *queue) full(l *lock, at int, counts func(*lock) bool) bool {
	w := l.wants[at]
	return w.kind == "permit" && q.weightBefore(l, at, counts)+w.weight > w.limit
}

func everybody(*lock) bool { return true }

// inTheWay says whether one lock waits for another one, because of a conflict, or of permits: of those it gives the
// places among its wants.
func (q *queue) inTheWay(o, l *lock) (conflict bool, permits []int) {
	switch {
	case o == l:
		return false, nil
	case l.upgrading:
		return o.held && conflicts(o.wants, l.newWrites()), nil
	case l.held:
		return false, nil
	}
	for i, w := range l.wants {
		if o.place < l.place && slices.ContainsFunc(o.wants, w.samePool) && q.full(l, i, everybody) {
			permits = append(permits, i)
		}
	}
	return (o.held || o.place < l.place) && conflicts(o.target(), l.wants), permits
}

// blockers are those that a lock waits for, in order of arrival.
func (q *queue) blockers(l *lock) (found []*lock) {
	for _, o := range q.all {
		if conflict, permits := q.inTheWay(o, l); conflict || len(permits) > 0 {
			found = append(found, o)
		}
	}
	return found
}

// free says that a lock waits for nobody. (A permit that has no room has others before it.)
func (q *queue) free(l *lock) bool { return len(q.blockers(l)) == 0 }

// hold makes a lock one that is held, or an upgrade true.
func (q *queue) hold(l *lock) {
	upgrade := l.upgrading
	if upgrade {
		l.upgrading, l.changed = false, "upgraded"
		l.turn("read", "write")
	}
	l.held = true
	l.grant = &grant{lock: l.String(), place: l.place, wants: l.wants, upgrade: upgrade}
	q.grants = append(q.grants, l.grant)
}

// due is a lock that is to be granted, or upgraded; nil: there is none.
func (q *queue) due() *lock {
	for _, l := range q.all {
		if (!l.held || l.upgrading) && q.free(l) {
			return l
		}
	}
	return nil
}

// otherLimit is the limit of a pool that a request gets wrong; 0: none.
func (q *queue) otherLimit(wants []want) int {
	for i, w := range wants {
		for _, o := range q.all {
			for _, x := range o.wants {
				if x.samePool(w) && x.limit != w.limit {
					return x.limit
				}
			}
		}
		for _, x := range wants[:i] {
			if x.samePool(w) && x.limit != w.limit {
				return x.limit
			}
		}
	}
	return 0
}

// tooHeavy says that a request wants more of a pool than there is.
func tooHeavy(wants []want) bool {
	for _, w := range wants {
		sum := 0
		for _, x := range wants {
			if x.samePool(w) {
				sum += x.weight
			}
		}
		if sum > w.limit {
			return true
		}
	}
	return false
}

// party is who is taken to release nothing as long as one of its requests waits.
type party struct {
	session *sessionV2
	number  uint64
}

func (l *lock) owner() party { return party{l.session, l.party} }

// deadlocked says whether a party waits for itself in a circle of parties that wait for each other for good.
func (q *queue) deadlocked(p party) bool {
	stuck := map[party]bool{}
	for _, l := range q.all {
		stuck[l.owner()] = true
	}
	for again := true; again; {
		again = false
		for o := range stuck {
			if len(q.waitsFor(o, stuck)) == 0 {
				delete(stuck, o)
				again = true
			}
		}
	}
	reached := q.waitsFor(p, stuck)
	for i := 0; i < len(reached); i++ {
		for _, o := range q.waitsFor(reached[i], stuck) {
			if !slices.Contains(reached, o) {
				reached = append(reached, o)
			}
		}
	}
	return slices.Contains(reached, p)
}

// waitsFor are the stuck parties that one waits for, unless all others going would be enough.
func (q *queue) waitsFor(p party, stuck map[party]bool) (others []party) {
	for _, l := range q.all {
		if l.owner() != p {
			continue
		}
		for _, o := range q.all {
			conflict, permits := q.inTheWay(o, l)
			held := conflict || slices.ContainsFunc(permits, func(i int) bool {
				return q.full(l, i, func(x *lock) bool { return stuck[x.owner()] })
			})
			if other := o.owner(); held && other != p && stuck[other] && !slices.Contains(others, other) {
				others = append(others, other)
			}
		}
	}
	return others
}

// told takes note of a grant's token, which must fit in with the others.
func (q *queue) told(g *grant, token uint64, newest bool) error {
	switch {
	case g.token != 0 && g.token != token:
		return fmt.Errorf("%s has token %d now; it was %d", g.lock, token, g.token)
	case g.token != 0:
		return nil
	case newest && token <= q.highest:
		return fmt.Errorf("%s has token %d, but %d was given before", g.lock, token, q.highest)
	}
	g.token = token
	at := slices.Index(q.grants, g)
	for i, o := range q.grants {
		if o == g || o.token == 0 {
			continue
		}
		later := i > at
		switch {
		case o.token == token:
			return fmt.Errorf("token %d was given twice: to %s, and to %s", token, o.lock, g.lock)
		case (conflicts(o.wants, g.wants) || later && o.upgrade || !later && g.upgrade) && later != (o.token > token):
			return fmt.Errorf("%s has token %d, %s %d, and they were granted in the other order", g.lock, token, o.lock, o.token)
		case q.upgrades == 0 && (o.place > g.place) != (o.token > token):
			return fmt.Errorf("%s has token %d, %s %d, and they arrived in the other order", g.lock, token, o.lock, o.token)
		}
	}
	q.highest = max(q.highest, token)
	return nil
}
