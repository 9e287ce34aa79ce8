package probe

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
)

// do does a step. Of what it leads to some may still have to be heard.
func (r *roundV2) do(c *clientV2, s StepV2) error {
	switch s.act {
	case doLock, doRelease, doUpgrade, doDowngrade, doTakeBack, doRenew, doUnknown, doRetry, doForgot, doUnwatch:
		r.request(c, r.asked(c, s), s)
		return nil
	case doTimedLock, doTimedUpgrade:
		return r.wait(c, s)
	case doList:
		return r.list(c, s.ask.limit)
	case doInspect:
		return r.inspect(c, s)
	case doWatch:
		return r.watch(c, s)
	case doBoth:
		r.both(c, s)
		return nil
	case doCross:
		return r.cross(c, r.clients[s.other], s)
	case doBye:
		return r.bye(c, s)
	case doStandStill:
		return r.standStill()
	case doPing:
		c.ping(s.payload)
		return c.heardAll()
	}
	return r.doOdd(c, s)
}

// doOdd does what requests don't do.
func (r *roundV2) doOdd(c *clientV2, s StepV2) error {
	switch s.act {
	case doTakeOver:
		return r.takeOver(c, s)
	case doLoseWelcome:
		return r.loseWelcome(c, s)
	case doGuess:
		return r.guess(c, s)
	case doMalformed:
		return r.malformed(c, s)
	case doMisgreet:
		return r.misgreet(c, badHellos[s.fault])
	case doMisframe:
		c.conn.send(framing{}, badFrames[s.fault].bytes)
		return r.ends(c, badFrames[s.fault].codes...)
	case doMisdial:
		return r.target.refusesUpgrade(badUpgradesV2[s.fault], r.space, r.patience)
	case doClose:
		if err := c.close(); err != nil {
			return err
		}
		return r.lost(c)
	case doHangUp, doReset:
		c.drop(s.act == doReset)
		return r.lost(c)
	case doExpire:
		return r.expire(s)
	case doLease:
		return r.leaseOver(c, s)
	}
	panic("probe: a step has no such act")
}

// asked is the request of a step.
func (r *roundV2) asked(c *clientV2, s StepV2) ask {
	sess, a := c.session, s.ask
	a.id = sess.lastID + 1 + uint64(s.pick%8/7) // now and then one is left out
	mine := r.locksOf(sess)
	if len(mine) == 0 && s.act != doRetry && s.act != doForgot && s.act != doUnwatch && s.act != doUnknown {
		return r.lockInstead(a)
	}
	if len(mine) > 0 {
		a.lock = mine[s.pick%len(mine)].id
	}
	switch s.act {
	case doLock:
		a.op, a.lock = "lock", 0
	case doRelease:
		return ask{op: "release", id: a.id, lock: a.lock, wait: -1, lease: -1}
	case doUpgrade:
		a.op, a.lease, a.limit = "upgrade", -1, 0
	case doDowngrade:
		a.op, a.wait, a.lease, a.limit = "downgrade", -1, -1, 0
	case doTakeBack:
		a.op, a.wait, a.lease, a.limit = "downgrade", -1, -1, 0
		if l := r.find(sess, a.lock); l.upgrade != 0 {
			a.upgradeID = l.upgrade
		}
	case doRenew:
		a.op, a.wait, a.limit = "renew", -1, 0
		if s.pick%3 == 0 {
			a.lock, a.lease = 0, -1
		}
	case doUnknown:
		a = newAsk([]string{"release", "renew", "upgrade", "downgrade"}[s.pick%4])
		a.id, a.lock = sess.lastID+1, 1<<52
		if len(sess.asked) > 0 && s.pick%3 > 0 { // one that is over, perhaps, or never was one
			a.lock = sess.asked[s.pick%len(sess.asked)].id
		}
	case doUnwatch:
		a = newAsk("unwatch")
		a.id, a.watch = sess.lastID+1, 1<<52
		if n := len(c.watches); n > 0 {
			a.watch = c.watches[s.pick%n].id
			c.watches = slices.Delete(c.watches, s.pick%n, s.pick%n+1)
		}
	case doRetry:
		return r.retried(sess, s.pick, a)
	case doForgot:
		return r.forgotten(sess, a)
	}
	return a
}

// lockInstead is a request for a lock where there is none to do anything with.
func (r *roundV2) lockInstead(a ask) ask {
	a.op, a.lock, a.limit = "lock", 0, 0
	if a.wants == nil {
		a.lease = -1
		a.wants = []want{{kind: "read", path: []string{"a"}}}
	}
	return a
}

// retried is a request that was sent before, or a new one if there was none.
func (r *roundV2) retried(s *sessionV2, pick int, a ask) ask {
	if len(s.asked) == 0 {
		return r.lockInstead(a)
	}
	old := s.asked[pick%len(s.asked)]
	if old.op == "lock" && pick%2 == 0 { // nothing but its id counts
		old.wants = []want{{kind: "write", path: []string{"somewhere else"}}}
	}
	return old
}

// forgotten is a request with an id that was left out.
func (r *roundV2) forgotten(s *sessionV2, a ask) ask {
	a = r.lockInstead(a)
	for id := uint64(1); id < s.lastID; id++ {
		if !slices.ContainsFunc(s.asked, func(x ask) bool { return x.id == id }) {
			a.id = id
		}
	}
	return a
}

// shortWait is how long those wait that don't wait for long.
const shortWait = 3 * time.Millisecond

// wait asks for something and waits for it, and hears that it has waited too long, or has it.
func (r *roundV2) wait(c *clientV2, s StepV2) error {
	s.ask.wait = int(shortWait.Milliseconds())
	act := s.act
	if s.act = doLock; act == doTimedUpgrade {
		s.act = doUpgrade
	}
	a := r.asked(c, s)
	at := oracle.Now()
	r.request(c, a, s)
	if err := r.settle(); err != nil {
		return err
	}
	over := notBefore(at, shortWait)
	if a.op == "lock" {
		if l := r.find(c.session, a.id); l != nil && !l.held {
			r.passes(l, "timeout", over)
		}
		return nil
	}
	if l := r.find(c.session, a.lock); l != nil && l.upgrading && l.upgrade == a.id {
		c.session.due = append(c.session.due, &happening{lock: l, state: "upgrade_timeout", notBefore: over, blockers: r.blockers(l)})
		r.takeBack(l, "upgrade_timeout")
	}
	return nil
}

// notBefore is when a time can be over that began after a moment, by a clock that may go 2 % faster than this one.
func notBefore(at oracle.Moment, d time.Duration) oracle.Moment { return at + oracle.Moment(d*98/100) }

// list lists a client's locks, so many at a time.
func (r *roundV2) list(c *clientV2, limit uint64) error {
	left := r.locksOf(c.session)
	a := newAsk("locks")
	a.limit = limit
	for {
		m, err := r.ask(c, &a)
		if err != nil {
			return err
		}
		is(m, "state", "listed")
		before := len(left)
		left = r.listed(m, c.session, left)
		if n := before - len(left); limit > 0 && n > int(limit) {
			m.fail("%d are listed, and at most %d were asked for", n, limit)
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

// ask sends a request that changes nothing, and hears the answer.
func (r *roundV2) ask(c *clientV2, a *ask) (*reply, error) {
	a.id = c.session.lastID + 1
	c.session.lastID = a.id
	c.session.confirm()
	m, err := r.exchange(c, a.write(0))
	if err == nil {
		is(m, "id", a.id)
	}
	return m, err
}

// both asks for a lock and releases it in the same write.
func (r *roundV2) both(c *clientV2, s StepV2) {
	s.act = doLock
	a := r.asked(c, s)
	first := r.prepare(c, a, s.form)
	release := ask{op: "release", id: a.id + 1, lock: a.id, wait: -1, lease: -1}
	second := r.prepare(c, release, 0)
	c.send(s.framing, first, frame(ws.OpText, true, []byte(second))...)
}

// cross has two clients release at the same time, so that what one gives up may cross the other's release.
func (r *roundV2) cross(c, d *clientV2, s StepV2) error {
	if err := r.connect(d, s.back); err != nil {
		return err
	}
	mine, theirs := r.locksOf(c.session), r.locksOf(d.session)
	if len(mine) == 0 || len(theirs) == 0 {
		return nil
	}
	if err := r.settle(); err != nil {
		return err
	}
	l, o := mine[s.pick%len(mine)], theirs[s.pick%len(theirs)]
	a := ask{op: "release", id: c.session.lastID + 1, lock: l.id, wait: -1, lease: -1}
	b := ask{op: "release", id: d.session.lastID + 1, lock: o.id, wait: -1, lease: -1}
	for _, x := range []struct {
		c *clientV2
		a ask
	}{{c, a}, {d, b}} {
		r.log.note(x.c.n, "→ %s", x.a.write(0))
		x.c.session.confirm()
		x.c.send(s.framing, x.a.write(0))
	}
	crossed, err := r.crossed(c, d, l, o)
	if err != nil {
		return err
	}
	if crossed {
		c, d, a, b = d, c, b, a
	}
	c.owed = append(c.owed, owed{a.id, r.table.do(c.session, a)})
	d.owed = append(d.owed, owed{b.id, r.table.do(d.session, b)})
	return nil
}

// crossed says whether what the second one gave up came first, of two who have released a lock each. Where the one's
// end is all that the other one waits for, the events tell. Elsewhere it doesn't matter.
func (r *roundV2) crossed(c, d *clientV2, l, o *lock) (bool, error) {
	granted, err := c.peek(l)
	if err != nil || granted {
		return true, err
	}
	if granted, err = d.peek(o); err != nil || granted {
		return false, err
	}
	return r.freeWithout(o, l), nil
}

// freeWithout says whether a lock waits, and for another one only.
func (q *queue) freeWithout(l, other *lock) bool {
	blockers := q.blockers(l)
	return len(blockers) == 1 && blockers[0] == other
}

// peek says whether a lock is granted before the next answer. All of that stays to be heard.
func (c *clientV2) peek(l *lock) (granted bool, err error) {
	for {
		e, err := c.next()
		if err != nil {
			return false, err
		}
		c.peeked = append(c.peeked, e)
		var m struct{ ID, Event, Lock uint64 }
		if e.end != nil || json.Unmarshal([]byte(e.text), &m) != nil || m.ID != 0 {
			return granted, nil
		}
		granted = granted || m.Event != 0 && m.Lock == l.id
	}
}

// bye ends a client's session.
func (r *roundV2) bye(c *clientV2, s StepV2) error {
	a := newAsk("bye")
	a.id = c.session.lastID + 1
	r.request(c, a, s)
	for len(c.owed) > 0 {
		if err := r.takeNext(c); err != nil {
			return err
		}
	}
	c.session, c.watches = nil, nil
	return c.mustEnd(int(ws.StatusNormalClosure))
}

// ends reads the end of a connection that the server must close. The session lives on.
func (r *roundV2) ends(c *clientV2, codes ...int) error {
	if err := c.mustEnd(codes...); err != nil {
		return err
	}
	return r.lost(c)
}

// mustFail reads the error that ends a connection, and that end.
func (r *roundV2) mustFail(c *clientV2, name string, code int) error {
	m, err := r.hear(c)
	if err != nil {
		return fmt.Errorf("%w; it waits for the error %q", err, name)
	}
	is(m, "error", name)
	if name == "no_session" {
		r.sameRun(m)
	}
	if m.has("message") || name == "malformed" {
		m.sentence()
	}
	if err := m.done(); err != nil {
		return c.blame(err)
	}
	return c.mustEnd(code)
}

func (r *roundV2) malformed(c *clientV2, s StepV2) error {
	text := strings.ReplaceAll(badAsks[s.fault], "ID", strconv.FormatUint(c.session.lastID+1, 10))
	c.send(s.framing, text)
	if err := r.mustFail(c, "malformed", codeFault); err != nil {
		return err
	}
	return r.lost(c)
}

// misgreet opens another connection and doesn't say hello.
func (r *roundV2) misgreet(c *clientV2, text string) error {
	other := &clientV2{line: line{n: c.n, log: r.log, patience: r.patience}}
	if err := r.open(other); err != nil {
		return err
	}
	defer other.drop(true)
	other.send(framing{}, text)
	return r.mustFail(other, "malformed", codeFault)
}

// takeOver goes on with a client's session over another connection.
func (r *roundV2) takeOver(c *clientV2, s StepV2) error {
	old := *c
	if err := r.open(c); err != nil {
		c.conn, old.conn = old.conn, nil
		return err
	}
	defer old.drop(true)
	r.leave(c.session)
	if err := r.greet(c, s.back); err != nil {
		return err
	}
	return r.mustFail(&old, "taken_over", 3001)
}

// loseWelcome comes again, and loses the welcome. The session's secret is the one before then, or the next one.
func (r *roundV2) loseWelcome(c *clientV2, s StepV2) error {
	sess := c.session
	c.drop(s.reset)
	if err := r.lost(c); err != nil {
		return err
	}
	known, seen := sess.secret, sess.seen
	if err := r.connect(c, 0); err != nil {
		return err
	}
	c.drop(s.reset)
	if err := r.lost(c); err != nil {
		return err
	}
	if err := r.open(c); err != nil {
		return err
	}
	if sess.seen = seen; s.pick%4 == 0 {
		known = sess.secret
	}
	return r.resume(c, known)
}

// guess says hellos that fail, and one that doesn't unless there were too many.
func (r *roundV2) guess(c *clientV2, s StepV2) error {
	sess := c.session
	c.drop(s.reset)
	if err := r.lost(c); err != nil {
		return err
	}
	if err := r.open(c); err != nil {
		return err
	}
	stale := sess.stale
	if stale == "" {
		stale = sess.secret + "x"
	}
	bad := []struct{ hello, code string }{
		{r.hello(&sessionV2{id: sess.id, seen: sess.seen}, stale), "no_session"},
		{r.hello(&sessionV2{id: "nobody", seen: 1}, sess.secret), "no_session"},
		{`{"op":"hello","name":` + quoteJSON(longText) + `}`, "limit"},
	}
	n := 1 + s.pick%3
	for i := range n {
		b := bad[(s.pick+i)%len(bad)]
		if i == 2 {
			c.send(framing{}, b.hello)
			return r.mustFail(c, b.code, codeFault)
		}
		m, err := r.exchange(c, b.hello)
		if err != nil {
			return err
		}
		is(m, "error", b.code)
		if b.code == "no_session" {
			r.sameRun(m)
		}
		m.sentence()
		if err := m.done(); err != nil {
			return c.blame(err)
		}
	}
	return r.greet(c, s.back)
}

// standStill looks whether anything has come that nobody expects.
func (r *roundV2) standStill() error {
	var lines []*line
	for _, c := range r.clients {
		lines = append(lines, &c.line)
	}
	return stillHere(lines)
}

// finish has everybody leave, and looks at what is left: one more client must get the whole namespace.
func (r *roundV2) finish() error {
	if err := r.step(StepV2{act: doStandStill}); err != nil { // which may begin a session
		return err
	}
	var steps []StepV2
	for _, c := range r.clients {
		if c.session != nil {
			steps = append(steps, StepV2{client: c.n, act: doBye})
		}
	}
	last := r.join()
	all := newAsk("lock")
	all.wants, all.wait = []want{{kind: "write", path: []string{}}}, 0
	steps = append(steps, StepV2{client: last.n, act: doLock, ask: all}, StepV2{client: last.n, act: doBye})
	for _, s := range steps {
		if err := r.step(s); err != nil {
			return err
		}
	}
	if r.eye != nil && r.eye.conn != nil {
		return r.bye(r.eye, StepV2{})
	}
	return nil
}

// dropAll ends what is left of a round.
func (r *roundV2) dropAll() {
	for _, c := range r.clients {
		c.drop(true)
	}
	if r.eye != nil {
		r.eye.drop(true)
	}
}
