package session

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

const ms = int64(time.Millisecond)

// twin gives every call to a space and to the model, and compares what connections are told.
type twin struct {
	t      require.TestingT
	engine *engine.Engine
	space  *Space
	model  *model
	now    int64 // in milliseconds
	lazy   bool  // those that are woken don't come before they must, and events may be told when their locks have ended
	fx     Effects

	conns   []*conn
	foreign map[uint64]engine.Handle
	granted []uint64 // foreign owners
	asleep  []uint64 // woken, and not come yet
	script  []func() string
}

type conn struct {
	number  uint64
	session *Session
	model   *mSession
	told    []string
	gone    bool
	nextID  uint64
	event   uint64 // the last one that it was told
	watches map[uint64]*watcher
}

// testLimits are low, so that they are met.
var testLimits = Limits{
	TTLDefault: 1000 * time.Millisecond, TTLMin: 10 * time.Millisecond, TTLMax: 100_000 * time.Millisecond,
	LeaseMin: 10 * time.Millisecond, Locks: 5, Answers: 6, Events: 4, Watches: 2, NoteBytes: 10, NameBytes: 10,
	AllWatches: 3, AnswerBytes: 64 << 10,
}

func newTwin(t require.TestingT, l Limits) *twin {
	e := engine.New(engine.Limits{}, 0)
	return &twin{t: t, engine: e, space: New(e, l), model: newModel(l), foreign: map[uint64]engine.Handle{}}
}

func (w *twin) log(format string, args ...any) {
	w.script = append(w.script, func() string { return fmt.Sprintf(format, args...) })
}

// String is what was done so far, for failures.
func (w *twin) String() string {
	var b strings.Builder
	for _, line := range w.script {
		b.WriteString(line() + "\n")
	}
	return b.String()
}

// secret is the nth secret of a session.
func secretOf(id string, n int) string { return fmt.Sprintf("secret-%s-%d", id, n) }

func (w *twin) newConn() *conn {
	c := &conn{number: uint64(len(w.conns) + 1)}
	w.conns = append(w.conns, c)
	return c
}

func (w *twin) open(ttl int64) *conn {
	c := w.newConn()
	c.nextID = 1
	id := fmt.Sprintf("s%d", c.number)
	w.log("open %s ttl %d", id, ttl)
	s, err := w.space.Open(w.now*ms, c.number, Hello{ID: id, Secret: []byte(secretOf(id, 0)), TTL: ttl}, &w.fx)
	require.NoError(w.t, err)
	c.session = s
	w.receive(c)
	w.model.open(c.number, id, secretOf(id, 0), ttl)
	c.model = w.model.session(id)
	w.compare()
	return c
}

// resume goes on with the session of another connection, with a secret that may be wrong.
func (w *twin) resume(old *conn, secret, fresh string) *conn {
	w.collectAll()
	c := w.newConn()
	c.nextID, c.event = old.nextID, old.event
	id := old.session.ID()
	w.log("resume %s from %d as %d with %s", id, old.number, c.number, secret)
	r := Resumption{ID: id, Secret: []byte(secret), New: []byte(fresh), Event: old.event}
	s, err := w.space.Resume(w.now*ms, c.number, r, &w.fx)
	w.model.resume(c.number, id, secret, fresh, int(old.event))
	if len(w.model.told[c.number]) == 0 {
		require.ErrorIs(w.t, err, ErrNoSession, "%s", w)
		c.gone = true
		w.receive(nil)
	} else {
		require.NoError(w.t, err, "%s", w)
		c.session, c.model = s, old.model
		w.receive(c)
	}
	w.compare()
	return c
}

func (w *twin) detach(c *conn) {
	w.collectAll()
	w.log("detach %d", c.number)
	w.space.Detach(w.now*ms, c.session, c.number, &w.fx)
	if c.model.conn == c.number {
		w.model.detach(c.model)
	}
	c.gone = true
	w.receive(nil)
	w.compare()
}

func (w *twin) do(c *conn, r Request) {
	c.nextID = max(c.nextID, r.ID+1)
	w.log("%d: %s", c.number, asSent(r))
	for again := true; again; again = w.fx.Undone {
		w.space.Do(w.now*ms, c.session, c.number, &r, &w.fx)
		w.receive(c)
	}
	for w.fx.Rest {
		w.space.Collect(w.now*ms, c.session, c.number, &w.fx)
		w.receive(c)
	}
	if c.model.conn == c.number {
		w.model.do(c.model, &r)
	}
	if r.Op == wire.V2Unwatch && !c.gone {
		delete(c.watches, r.Watch)
	}
	w.compare()
}

// revoke has an administrator take a lock.
func (w *twin) revoke(c *conn, lock uint64) {
	if c.model == nil {
		return
	}
	w.collectAll()
	w.log("%s loses %d", c.session.ID(), lock)
	got := w.space.Revoke(w.now*ms, c.session, lock, "why", &w.fx)
	w.receive(nil)
	require.Equal(w.t, w.model.revoke(c.model, lock), got, "%s", w)
	w.compare()
}

// endSession has an administrator end a session.
func (w *twin) endSession(c *conn) {
	if c.model == nil {
		return
	}
	w.collectAll()
	w.log("%s ends", c.session.ID())
	got := w.space.End(w.now*ms, c.session, "why", &w.fx)
	w.receive(nil)
	require.Equal(w.t, w.model.endSession(c.model), got, "%s", w)
	w.compare()
}

// asSent prints a request as it could have been on the wire.
type asSent Request

func (r asSent) String() string {
	for _, x := range r.Wanted {
		r.Resources = append(r.Resources, wire.Resource{Type: wire.Type(x.Mode), Path: x.Path, Limit: x.Limit, Weight: x.Weight})
	}
	return string(wire.AppendV2Request(nil, r.V2Request))
}

// pass lets time pass, with a Tick whenever one is due.
func (w *twin) pass(d int64) {
	w.collectAll()
	w.log("pass %d", d)
	for until := w.now + d; ; {
		at, ok := w.space.Next()
		at = (at + ms - 1) / ms
		if !ok || at > until {
			w.tick(until - w.now)
			return
		}
		w.tick(max(0, at-w.now))
	}
}

// passAtOnce lets time pass, with a Tick at its end only: what is due then is overdue.
func (w *twin) passAtOnce(d int64) {
	w.collectAll()
	w.log("pass %d at once", d)
	w.tick(d)
}

func (w *twin) tick(d int64) {
	w.now += d
	w.space.Tick(w.now*ms, &w.fx)
	w.receive(nil)
	w.model.pass(d)
	w.compare()
	w.collectAll()
	w.compare()
}

// finish does work that is left over.
func (w *twin) finish() {
	for w.fx.More {
		w.space.Tick(w.now*ms, &w.fx)
		w.receive(nil)
	}
}

// receive takes up what a call left to be done. c is the connection whose call it was.
func (w *twin) receive(c *conn) {
	fx := &w.fx
	if c != nil {
		if fx.Welcomed {
			c.hear(string(wire.AppendV2Welcome(nil, &fx.Welcome)), "")
		}
		for i := range fx.Messages {
			last := ""
			if i == len(fx.Messages)-1 && fx.Close != 0 {
				last = fmt.Sprintf(" %d", fx.Close)
			}
			m := fx.Messages[i]
			if m.Watch != 0 {
				w.follow(c, &m)
				continue
			}
			if m.State == wire.V2Watching {
				w.beginWatch(c, &m)
			}
			if m.Event != 0 {
				require.Equal(w.t, max(c.event+1, m.Event), m.Event, "%s", w)
				c.event = m.Event
			}
			if m.Cycle != nil {
				w.checkCycle(c, m.Cycle)
			}
			c.hear(string(wire.AppendV2(nil, unworded(&m))), last)
		}
		c.gone = c.gone || fx.Close != 0
	} else {
		require.Empty(w.t, fx.Messages)
	}
	for _, g := range fx.Grants {
		w.granted = append(w.granted, g.Owner)
	}
	more, rest, undone := fx.More, fx.Rest, fx.Undone
	woken := slices.Clone(fx.Wake)
	if w.lazy {
		w.asleep = append(w.asleep, woken...)
	} else {
		for _, number := range woken {
			w.collect(number)
		}
	}
	fx.More, fx.Rest, fx.Undone = more, rest, undone
}

// unworded leaves out what is for people, and what the model doesn't know.
func unworded(m *wire.V2Message) *wire.V2Message {
	if m.ID != 0 && m.Error != 0 {
		m.Message = nil
	}
	m.Limit = 0
	for i := range m.Blockers {
		m.Blockers[i].Type, m.Blockers[i].Path = 0, nil // one of several, perhaps
	}
	if m.Cycle != nil {
		m.Cycle = m.Cycle[:0]
	}
	if len(m.Blockers) == mostBlockers {
		m.Blockers = m.Blockers[:0] // and these, too
	}
	for i := range m.Locks {
		m.Locks[i].WaitsFor = nil
		slices.SortFunc(m.Locks[i].Resources, compareShown)
	}
	return m
}

// checkCycle checks that a cycle is one of living locks, the last of which is the client's own.
func (w *twin) checkCycle(c *conn, cycle []wire.V2Blocker) {
	require.GreaterOrEqual(w.t, len(cycle), 2, "%s", w)
	for i, b := range cycle {
		if string(b.Session) == "v1" {
			require.Less(w.t, i, len(cycle)-1, "%s", w)
			continue
		}
		s := w.space.Find(string(b.Session))
		require.NotNil(w.t, s, "%s\n%s", b.Session, w)
		_, ok := w.space.Handle(s, b.Lock)
		require.True(w.t, ok, "%d\n%s", b.Lock, w)
		require.True(w.t, i < len(cycle)-1 || s == c.session, "%s", w)
	}
}

func (c *conn) hear(text, last string) {
	c.told = append(c.told, text+last)
}

var details = regexp.MustCompile(`,"(slots":\[[0-9,]*\]|lease_ms":[0-9]+)`)

// strip takes out of events what they don't have when their lock has ended.
func strip(told []string) {
	for i, text := range told {
		if strings.HasPrefix(text, `{"event"`) {
			told[i] = details.ReplaceAllString(text, "")
		}
	}
}

func (w *twin) collect(number uint64) {
	c := w.conns[number-1]
	if c.gone {
		return
	}
	for again := true; again; again = w.fx.Rest {
		w.space.Collect(w.now*ms, c.session, number, &w.fx)
		w.receive(c)
	}
}

func (w *twin) collectAll() {
	for len(w.asleep) > 0 {
		woken := w.asleep
		w.asleep = nil
		for _, number := range woken {
			w.collect(number)
		}
	}
}

// compare compares what all connections were told so far.
func (w *twin) compare() {
	w.finish()
	if w.lazy && len(w.asleep) > 0 {
		return
	}
	w.model.word(0)
	for _, c := range w.conns {
		want := w.model.told[c.number]
		if w.lazy {
			strip(want)
			strip(c.told)
		}
		if !slices.Equal(want, c.told) {
			require.Equal(w.t, want, c.told, "connection %d\n%s", c.number, w)
		}
		c.told = nil
		delete(w.model.told, c.number)
	}
	slices.Sort(w.granted)
	slices.Sort(w.model.granted)
	if !slices.Equal(w.model.granted, w.granted) {
		require.Equal(w.t, w.model.granted, w.granted, "%s", w)
	}
	w.check()
	for _, c := range w.conns {
		w.checkWatches(c)
	}
}

// check compares states, and looks at the invariants of the space.
func (w *twin) check() {
	alive, locks := 0, 0
	for _, s := range w.model.sessions {
		if !s.dead {
			alive++
			locks += len(s.alive)
		}
	}
	rules := broken(w.space)
	if len(rules) == 0 && alive == len(w.space.byID) && locks == w.space.locks.live &&
		locks+len(w.foreign) == w.engine.Stats().Requests {
		return
	}
	require.Empty(w.t, rules, "%s", w)
	require.Equal(w.t, alive, len(w.space.byID), "%s", w)
	require.Equal(w.t, locks, w.space.locks.live, "%s", w)
	require.Equal(w.t, locks+len(w.foreign), w.engine.Stats().Requests, "%s", w)
}

// end ends all and looks for what is left.
func (w *twin) end() {
	w.collectAll()
	w.pass(1_000_000)
	for owner, h := range w.foreign {
		w.releaseForeign(owner, h)
	}
	require.Zero(w.t, len(w.space.byID)+w.space.count+len(w.space.timers.heap)+w.space.notes.live+w.space.locks.live)
	require.Zero(w.t, w.space.Bytes())
	require.Zero(w.t, w.engine.Stats().Requests)
}

func (w *twin) lockForeign(owner uint64, rs []engine.Resource) {
	w.log("foreign %d locks", owner)
	w.model.runTimers()
	w.space.Tick(w.now*ms, &w.fx)
	w.receive(nil)
	placed, err := w.space.LockForeign(w.now*ms, owner, rs, &w.fx)
	w.receive(nil)
	r, refused := w.model.locks.Lock(owner, rs)
	require.Equal(w.t, refused == nil, err == nil)
	if err == nil {
		w.foreign[owner], w.model.foreign[owner] = placed.Handle, r
		require.Equal(w.t, w.model.locks.MayHold(r), placed.Acquired, "%s", w)
		if placed.Acquired {
			w.model.locks.Acquire(r)
			r.Token = r.Seq
		}
	}
	w.compare()
}

func (w *twin) releaseForeign(owner uint64, h engine.Handle) {
	w.log("foreign %d releases", owner)
	_, err := w.space.ReleaseForeign(w.now*ms, h, &w.fx)
	require.NoError(w.t, err)
	w.receive(nil)
	r := w.model.foreign[owner]
	delete(w.foreign, owner)
	delete(w.model.foreign, owner)
	w.model.locks.Release(r)
	w.model.acquire()
	w.compare()
}

// broken looks at what must hold of a space between calls, and names what doesn't.
func broken(sp *Space) (rules []string) {
	must := func(ok bool, rule string) {
		if !ok {
			rules = append(rules, rule)
		}
	}
	seen, timed, known := 0, 0, 0
	for slot, s := range sp.table {
		if s == nil {
			continue
		}
		must(uint32(slot) == s.slot, "a session knows its slot")
		must((s.state == living) == (sp.byID[s.id] == s), "those that live are found")
		last := uint64(0)
		for _, e := range s.roster.list {
			must(e.id > last, "ids increase")
			last = e.id
			if e.lock == 0 {
				continue
			}
			seen++
			l := sp.locks.at(e.lock)
			must(e.id == l.id && s.slot == l.session, "a lock is its session's")
			must((l.state == wire.V2Enqueued) == (l.token == 0), "what is acquired has a token")
			if l.timer != 0 {
				timed++
				t := sp.timers.heap[l.timer-1]
				must(t.what == ref(e.lock) && t.due <= l.end(), "a timer goes off in time")
			} else {
				must(l.end() == never, "what ends has a timer")
			}
		}
		known += brokenParties(sp, s, must)
		must(s.told <= s.events.last, "nothing is told that hasn't happened")
		if s.attachment == 0 || s.told == s.events.last {
			must(s.events.count <= sp.limits.Events, "events are bounded")
		}
		if s.timer != 0 {
			timed++
		}
	}
	must(sp.locks.live == seen, "locks are on rosters")
	must(sp.parties.live == known, "parties are sessions'")
	must(len(sp.timers.heap) == timed, "timers have something to end")
	for i := 1; i < len(sp.timers.heap); i++ {
		must(!sp.timers.before(&sp.timers.heap[i], &sp.timers.heap[(i-1)/4]), "timers are a heap")
	}
	return rules
}

// brokenParties looks at a session's parties, and counts them.
func brokenParties(sp *Space, s *Session, must func(bool, string)) (known int) {
	counts, queued, leavers := map[uint32]int{}, 0, 0
	for _, e := range s.roster.list {
		if e.lock == 0 {
			continue
		}
		l := sp.locks.at(e.lock)
		counts[l.party]++
		if l.state == wire.V2Enqueued {
			queued++
			if l.leave {
				leavers++
			}
		}
	}
	must(queued == s.queued, "requests that wait are counted")
	must(leavers == listed(sp, s.leavers, inLeavers, must, func(l *lock) bool { return l.leave && l.state == wire.V2Enqueued }), "leavers are listed")
	for i, count := range counts {
		p := sp.parties.at(i)
		must(i == s.own && p.number == 0 || i == s.parties[p.number] && p.number != 0, "a lock is in a party of its session")
		held := listed(sp, p.held, inParty, must, func(l *lock) bool { return l.party == i && l.state == wire.V2Acquired })
		waits := listed(sp, p.waiting, inParty, must, func(l *lock) bool { return l.party == i && l.state != wire.V2Acquired })
		must(p.locks == count && held+waits == count && waits == p.waits, "parties know their locks")
	}
	for _, i := range s.parties {
		must(counts[i] > 0, "parties have locks")
	}
	if s.own != 0 {
		known++
	}
	return known + len(s.parties)
}

// listed counts the locks of a queue, all of which must fit.
func listed(sp *Space, q queue, of func(*lock) *links, must func(bool, string), fits func(*lock) bool) (n int) {
	before := uint32(0)
	for i := q.head; i != 0; i = of(sp.locks.at(i)).next {
		must(before == of(sp.locks.at(i)).prev, "a queue is linked both ways")
		must(fits(sp.locks.at(i)), "a lock is in the queue where it belongs")
		before = i
		n++
	}
	must(before == q.tail, "a queue knows its tail")
	return n
}

func lockRequest(id uint64, rs ...engine.Resource) Request {
	return Request{V2Request: wire.V2Request{Op: wire.V2Lock, ID: id, WaitMS: wire.V2None, LeaseMS: wire.V2None}, Wanted: rs}
}

func request(op wire.V2Op, id, lock uint64) Request {
	return Request{V2Request: wire.V2Request{Op: op, ID: id, Lock: lock, WaitMS: wire.V2None, LeaseMS: wire.V2None}}
}

func path(names ...string) (p [][]byte) {
	for _, n := range names {
		p = append(p, []byte(n))
	}
	return p
}

func write(names ...string) engine.Resource {
	return engine.Resource{Mode: engine.Write, Path: path(names...)}
}

func read(names ...string) engine.Resource {
	return engine.Resource{Mode: engine.Read, Path: path(names...)}
}

func TestASessionsWay(t *testing.T) {
	w := newTwin(t, testLimits)
	a, b := w.open(wire.V2None), w.open(500)
	w.do(a, lockRequest(1, write("x")))
	w.do(b, lockRequest(1, write("x", "y"), read("z")))
	w.do(b, lockRequest(2, write("z")))
	w.do(a, request(wire.V2Release, 2, 1))
	w.do(b, request(wire.V2Release, 3, 2))
	w.do(b, request(wire.V2Release, 3, 2))
	w.do(b, lockRequest(1, write("x", "y")))
	w.pass(400)
	w.do(b, request(wire.V2Renew, 4, 0))
	w.pass(400)
	w.detach(b)
	w.resume(b, secretOf("s2", 0), secretOf("s2", 1))
	w.pass(500)
	w.end()
}
