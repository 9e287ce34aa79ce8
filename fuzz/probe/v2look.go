package probe

import (
	"fmt"
	"slices"
	"time"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
)

// sight is a lock as others are to see it, at a moment.
type sight struct {
	lock   *lock
	states []string // one of these it has
	grant  *grant
	wants  []want
	loose  bool // an upgrade may have come true in between: reads may be writes
}

func sightOf(l *lock) sight {
	return sight{lock: l, states: []string{l.state()}, grant: l.grant, wants: l.wants}
}

// shown are what is told of a lock to who looks at a path: each path once, and its strongest kind.
func (x sight) shown(path []string) map[string]string {
	kinds := map[string]string{}
	for _, w := range x.wants {
		key := pathText(w.path, quoteJSON)
		if meets(w.path, path) && (kinds[key] == "" || w.kind == "write" || kinds[key] == "read") {
			kinds[key] = w.kind
		}
	}
	return kinds
}

// sees takes what is told of a lock to who looks at a path, and says of which one.
func (r *roundV2) sees(m *reply, path []string, among []sight) (found int) {
	session, id := take[string](m, "session"), m.number("lock")
	found = slices.IndexFunc(among, func(x sight) bool { return x.lock.session.id == session && x.lock.id == id })
	switch {
	case m.err != nil:
		return -1
	case found < 0:
		m.fail("lock %d of session %q isn't there, or is told twice", id, session)
		return -1
	}
	x := among[found]
	text := func(name string) string {
		if !m.has(name) {
			return ""
		}
		return take[string](m, name)
	}
	if name, note := text("name"), text("note"); name != x.lock.session.name || note != x.lock.note {
		m.fail("lock %d has the note %q, and its session the name %q", id, note, name)
	}
	state := take[string](m, "state")
	if m.err == nil && !slices.Contains(x.states, state) {
		m.fail("the state of lock %d is %q, not one of %q", id, state, x.states)
	}
	m.number("since_ms")
	if x.grant != nil && !x.loose && (state == "acquired" || state == "upgrading") {
		r.tokenOf(m, x.grant, false)
	} else {
		delete(m.members, "token") // it may be told of one that has ended, or that had it for a moment
	}
	if x.loose {
		delete(m.members, "resources")
	} else {
		r.seesWants(m, x.shown(path))
	}
	return found
}

func (r *roundV2) seesWants(m *reply, shown map[string]string) {
	told := map[string]string{}
	m.each("resources", func(w *reply) {
		key := pathText(take[[]string](w, "path"), quoteJSON)
		kind := take[string](w, "type")
		if kind == "permit" {
			w.number("limit")
			w.number("weight")
		}
		if told[key] == "" || kind == "write" {
			told[key] = kind
		}
	})
	for key, kind := range shown {
		if told[key] != kind {
			m.fail("%s is told as %q, and it is %q", key, told[key], kind)
		}
		delete(told, key)
	}
	for key := range told {
		m.fail("there is nothing at %s to be told", key)
	}
}

// sights are those that who looks at a path is to see.
func (t *table) sights(path []string) (all []sight) {
	for _, l := range t.all {
		if x := sightOf(l); len(x.shown(path)) > 0 {
			all = append(all, x)
		}
	}
	return all
}

// surveyed takes a list of the locks at a path, and says which ones are left.
func (r *roundV2) surveyed(m *reply, path []string, left []sight) []sight {
	m.each("locks", func(x *reply) {
		if x.has("waits_for") {
			x.each("waits_for", func(b *reply) { named(b, r.all) })
		}
		if i := r.sees(x, path, left); i >= 0 {
			left = slices.Delete(slices.Clone(left), i, i+1)
		}
	})
	if !m.has("next") && len(left) > 0 {
		m.fail("%v isn't told", left[0].lock)
	}
	return left
}

// inspect looks at a path, at so many locks at a time.
func (r *roundV2) inspect(c *clientV2, s StepV2) error {
	a := newAsk("inspect")
	a.path, a.limit = s.ask.path, s.ask.limit
	left := r.sights(a.path)
	for {
		m, err := r.ask(c, &a)
		if err != nil {
			return err
		}
		is(m, "state", "inspected")
		before := len(left)
		left = r.surveyed(m, a.path, left)
		if n := before - len(left); a.limit > 0 && n > int(a.limit) {
			m.fail("%d are told, and at most %d were asked for", n, a.limit)
		}
		a.after = ""
		if m.has("next") {
			a.after = take[string](m, "next")
		}
		if err := m.done(); err != nil || a.after == "" {
			return c.blame(err)
		}
	}
}

// watchV2 is one that a client has begun.
type watchV2 struct {
	id   uint64
	path []string
	n    uint64 // changes that were told
	due  []change
}

// change is one that a watch is to tell, or may tell.
type change struct {
	kind  string
	sight sight
	may   bool
}

func (w *watchV2) isOwed() bool {
	return slices.ContainsFunc(w.due, func(d change) bool { return !d.may })
}

// next are those that can be the next one of this kind: of each lock the first, but for those that need not be told.
func (w *watchV2) next(kind string) (sights []sight, at []int) {
	for i, d := range w.due {
		if d.may && d.kind != kind {
			continue
		}
		if !slices.ContainsFunc(sights, func(s sight) bool { return s.lock == d.sight.lock }) {
			sights, at = append(sights, d.sight), append(at, i)
		}
	}
	return sights, at
}

// told takes a change out, and with it those of the lock that weren't told before.
func (w *watchV2) told(at int) (kind string) {
	d, i := w.due[at], -1
	w.due = slices.DeleteFunc(w.due, func(o change) bool {
		i++
		return i <= at && o.sight.lock == d.sight.lock
	})
	return d.kind
}

// watchesMost bounds those of a client, far below the server's limit.
const watchesMost = 4

// watch begins one.
func (r *roundV2) watch(c *clientV2, s StepV2) error {
	if len(c.watches) == watchesMost {
		return nil
	}
	a := newAsk("watch")
	a.path = s.ask.path
	m, err := r.ask(c, &a)
	if err != nil {
		return err
	}
	is(m, "state", "watching")
	r.surveyed(m, a.path, r.sights(a.path))
	c.watches = append(c.watches, &watchV2{id: a.id, path: a.path})
	return c.blame(m.done())
}

// seen notes that something happens to a lock that watches are to tell.
func (r *roundV2) seen(kind string, l *lock, end string) {
	x := sightOf(l)
	var before []change
	switch end {
	case "":
	case withSession:
		x.states, x.loose = []string{"released", "canceled"}, true
		for _, kind := range []string{"acquired", "upgraded"} {
			before = append(before, change{kind, sight{lock: l, states: []string{"acquired"}, wants: l.wants, loose: true}, true})
		}
	default:
		x.states = []string{end}
	}
	for _, c := range r.clients {
		for _, w := range c.watches {
			if len(x.shown(w.path)) > 0 {
				w.due = append(append(w.due, before...), change{kind, x, false})
			}
		}
	}
}

// watched takes a change. In which order those of different locks come isn't determined.
func (r *roundV2) watched(c *clientV2, m *reply) {
	id := m.number("watch")
	i := slices.IndexFunc(c.watches, func(w *watchV2) bool { return w.id == id })
	if i < 0 {
		m.fail("there is no watch %d", id)
		return
	}
	w := c.watches[i]
	w.n++
	is(m, "n", w.n)
	kind := take[string](m, "change")
	n := m.each("locks", func(x *reply) {
		sights, at := w.next(kind)
		if k := r.sees(x, w.path, sights); k < 0 {
			return
		} else if want := w.told(at[k]); want != kind {
			x.fail("the change is %q, not %q", kind, want)
		}
	})
	if m.err == nil && n != 1 {
		m.fail("a change of %d locks", n)
	}
}

// shortTTL is how long a session lives that is to be over soon: a second, which no server grants less than.
const shortTTL = 1000

// expire begins a session with a lock and says nothing more, with a connection or without, until it is over.
func (r *roundV2) expire(s StepV2) error {
	c := r.join()
	if err := r.open(c); err != nil {
		return err
	}
	if err := r.begin(c, shortTTL); err != nil {
		return err
	}
	a := r.lockInstead(newAsk("lock"))
	a.id = 1
	at := oracle.Now()
	r.request(c, a, s)
	if err := r.settle(); err != nil {
		return err
	}
	over := notBefore(at, c.session.ttl)
	l := r.find(c.session, a.id)
	if l == nil {
		return fmt.Errorf("client %d: its lock is gone before its time", c.n)
	}
	if s.pick%2 == 0 {
		c.drop(true)
		return r.expireAlone(c, l, over)
	}
	r.passes(l, "expired", over)
	time.Sleep(time.Duration(over - oracle.Now())) // what comes too early is found out all the same
	for c.isOwed() {
		if err := r.takeNext(c); err != nil {
			return err
		}
	}
	c.session = nil
	return r.mustFail(c, "expired", 3002)
}

// expireAlone waits for the end of a session that has no connection.
func (r *roundV2) expireAlone(c *clientV2, l *lock, over oracle.Moment) error {
	time.Sleep(max(0, time.Duration(over-oracle.Now())-shortTTL*time.Millisecond/4))
	for ended := false; !ended; {
		seen, err := r.look()
		if err != nil {
			return err
		}
		switch ended = !seen[place{l.session.id, l.id}]; {
		case ended && oracle.Now() < over:
			return fmt.Errorf("%v has ended %v before the time of its session was over", l, time.Duration(over-oracle.Now()))
		case !ended && oracle.Now() > over+oracle.Moment(r.patience):
			return fmt.Errorf("%v is still there %v after the time of its session was over", l, r.patience)
		}
		time.Sleep(lookedFor)
	}
	r.end(l, "expired")
	lost := c.session
	lost.due, c.session = nil, nil
	if err := r.open(c); err != nil {
		return err
	}
	m, err := r.exchange(c, r.hello(lost, lost.secret))
	if err != nil {
		return err
	}
	is(m, "error", "no_session")
	r.sameRun(m)
	m.sentence()
	if err := m.done(); err != nil {
		return c.blame(err)
	}
	return r.greet(c, 0)
}

// leaseOver has a lock with a short lease, and hears of its end.
func (r *roundV2) leaseOver(c *clientV2, s StepV2) error {
	a := r.lockInstead(s.ask)
	a.id, a.wait, a.lease = c.session.lastID+1, 0, shortLease
	at := oracle.Now()
	r.request(c, a, s)
	if err := r.settle(); err != nil {
		return err
	}
	if l := r.find(c.session, a.id); l != nil {
		r.passes(l, "expired", notBefore(at, shortLease*time.Millisecond))
	}
	return nil
}

// shortLease is the shortest that servers must grant, in milliseconds.
const shortLease = 100
