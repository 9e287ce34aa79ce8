package probe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// clientV2 is one of a round of version 2. It goes on with its session until it has ended that.
type clientV2 struct {
	line
	session *sessionV2
	owed    []owed  // answers, in order
	peeked  []event // heard already, and still to be taken
	watches []*watchV2
	began   int // sessions
}

// owed is an answer that is to come.
type owed struct {
	id    uint64
	check verdict
}

// roundV2 plays a script of version 2. Its errors are findings, but for Refused and the context's.
type roundV2 struct {
	target   *Target
	patience time.Duration
	space    string
	clients  []*clientV2
	eye      *clientV2 // looks on; nil: there was nothing to look at yet
	table
	secrets map[string]bool // that were told
	epoch   string
	log     *transcript
	steps   int // that were begun
}

// PlayV2 plays a script of version 2, as Play does one of version 1.
func PlayV2(ctx context.Context, t *Target, space string, script ScriptV2, patience time.Duration) (Played, error) {
	r := &roundV2{target: t, patience: patience, space: space, log: newTranscript(), secrets: map[string]bool{}}
	r.table.changed = r.seen
	for range script.Clients {
		r.join()
	}
	defer r.dropAll()
	err := r.play(ctx, script)
	return Played{r.steps, r.log.String()}, err
}

// join adds a client, which isn't connected yet.
func (r *roundV2) join() *clientV2 {
	c := &clientV2{line: line{n: len(r.clients), log: r.log, patience: r.patience}}
	r.clients = append(r.clients, c)
	return c
}

func (r *roundV2) play(ctx context.Context, script ScriptV2) error {
	if err := playAll(ctx, script.Steps, &r.steps, r.step); err != nil {
		return err
	}
	return r.finish()
}

// step has a client do something, and waits until everybody knows what that has led to.
func (r *roundV2) step(s StepV2) error {
	r.log.add("%v", s)
	c := r.clients[s.client]
	if err := r.connect(c, s.back); err != nil {
		return err
	}
	if err := r.settle(); err != nil { // what it has missed comes behind the welcome
		return err
	}
	if err := r.do(c, s); err != nil {
		return err
	}
	return r.settle()
}

// connect gives a client a connection and a session, if it has none.
func (r *roundV2) connect(c *clientV2, back int) error {
	if c.conn != nil {
		return nil
	}
	if err := r.open(c); err != nil {
		return err
	}
	return r.greet(c, back)
}

// answerBytesMaxV2 bounds what a server of version 2 may say at once: an inspection is a quarter of a MiB long at most.
const answerBytesMaxV2 = 1<<18 + 1<<12

// open gives a client a connection, which nobody has said hello on. Every second one names the subprotocol.
func (r *roundV2) open(c *clientV2) (err error) {
	subprotocol := ""
	if c.n%2 == 0 {
		subprotocol = "locktopus.v2"
	}
	c.pings, c.owed, c.watches = nil, nil, nil
	c.conn, err = r.target.connect(r.target.query(r.space), subprotocol, answerBytesMaxV2, r.patience)
	r.log.note(c.n, "connects")
	return err
}

// greet says hello, and goes on with the client's session, if it has one.
func (r *roundV2) greet(c *clientV2, back int) error {
	if c.session == nil {
		return r.begin(c, roundTTL)
	}
	s := c.session
	s.seen -= min(s.seen, uint64(back))
	return r.resume(c, s.secret)
}

// roundTTL outlives a round, in milliseconds.
const roundTTL = 600_000

// begin begins a session.
func (r *roundV2) begin(c *clientV2, ttl int) error {
	s := &sessionV2{refused: map[uint64]string{}, ends: map[uint64]string{}}
	hello := fmt.Sprintf(`{"op":"hello","ttl_ms":%d,"credentials":{"probe":""}}`, ttl)
	if c.began++; c.n%3 != 2 {
		s.name = fmt.Sprintf("client %d-%d", c.n, c.began)
		hello = fmt.Sprintf(`{"op":"hello","ttl_ms":%d,"name":%q}`, ttl, s.name)
	}
	m, err := r.exchange(c, hello)
	if err != nil {
		return err
	}
	s.id, s.secret = take[string](m, "session"), take[string](m, "secret")
	if m.err == nil && (s.id == "" || s.secret == "" || r.secrets[s.secret] || r.secrets[s.id]) {
		m.fail("the session or its secret isn't new")
	}
	r.secrets[s.id], r.secrets[s.secret] = true, true
	c.session = s
	return r.welcomed(c, m)
}

// exchange says something and hears the very next message.
func (r *roundV2) exchange(c *clientV2, text string) (*reply, error) {
	r.log.note(c.n, "→ %s", shorten(text))
	c.send(framing{}, text)
	return r.hear(c)
}

// hear is the next message that a client gets.
func (r *roundV2) hear(c *clientV2) (*reply, error) {
	e, err := c.taken()
	switch {
	case err != nil:
		return nil, err
	case e.end != nil:
		return nil, fmt.Errorf("client %d waits for a message: %v", c.n, e.end)
	}
	m, err := parseReply(e.text)
	if err != nil {
		return nil, fmt.Errorf("client %d: %w", c.n, err)
	}
	m.at = e.at
	return m, refusalOfV2(m)
}

// taken is the next event that a client gets, or has got already.
func (c *clientV2) taken() (event, error) {
	if len(c.peeked) == 0 {
		return c.next()
	}
	e := c.peeked[0]
	c.peeked = c.peeked[1:]
	return e, nil
}

// resume goes on with a client's session.
func (r *roundV2) resume(c *clientV2, secret string) error {
	s := c.session
	m, err := r.exchange(c, r.hello(s, secret))
	if err != nil {
		return err
	}
	is(m, "session", s.id)
	fresh := take[string](m, "secret")
	switch again := secret == s.before; {
	case m.err != nil:
	case again && fresh != s.secret:
		m.fail("a hello with the secret before is welcomed with another new one than the last time, %q", s.secret)
	case !again && r.secrets[fresh]:
		m.fail("the secret isn't new")
	case !again:
		s.confirm()
		s.before, s.secret = secret, fresh
	}
	r.secrets[fresh] = true
	return r.welcomed(c, m)
}

func (r *roundV2) hello(s *sessionV2, secret string) string {
	return fmt.Sprintf(`{"op":"hello","resume":{"session":%q,"secret":%q,"event":%d}}`, s.id, secret, s.seen)
}

// welcomed checks a welcome.
func (r *roundV2) welcomed(c *clientV2, m *reply) error {
	s := c.session
	is(m, "op", "welcome")
	s.ttl = time.Duration(m.number("ttl_ms")) * time.Millisecond
	if m.err == nil && s.ttl == 0 {
		m.fail("the session has no time")
	}
	take[bool](m, "durable")
	if bytes, values := m.number("message_bytes"), m.number("message_values"); m.err == nil && (bytes == 0 || values == 0) {
		m.fail("no message would be small enough")
	}
	r.sameRun(m)
	is(m, "last_id", s.lastID)
	is(m, "event", s.last())
	r.listed(m, s, r.locksOf(s))
	return c.blame(m.done())
}

// sameRun checks of which run of the server a message says it is: there is one.
func (r *roundV2) sameRun(m *reply) {
	epoch := take[string](m, "epoch")
	if r.epoch == "" {
		r.epoch = epoch
	}
	if m.err == nil && (epoch != r.epoch || epoch == "") {
		m.fail("the epoch was %q before", r.epoch)
	}
}

// blame says whose finding it is.
func (c *clientV2) blame(err error) error {
	if err != nil {
		return fmt.Errorf("client %d: %w", c.n, err)
	}
	return nil
}

// listed checks a list of a session's locks.
func (r *roundV2) listed(m *reply, s *sessionV2, left []*lock) (rest []*lock) {
	m.each("locks", func(x *reply) {
		id := x.number("lock")
		i := slices.IndexFunc(left, func(l *lock) bool { return l.id == id })
		if i < 0 {
			x.fail("lock %d is none of this session's, or is listed twice", id)
			return
		}
		l := left[i]
		left = slices.Delete(slices.Clone(left), i, i+1)
		if is(x, "state", l.state()); l.held {
			r.holds(x, l, l.grant, false)
		}
	})
	if !m.has("next") && len(left) > 0 {
		m.fail("%v isn't listed", left[0])
	}
	return left
}

// request sends a request, and owes its client the answer.
func (r *roundV2) request(c *clientV2, a ask, s StepV2) {
	text := r.prepare(c, a, s.form)
	c.send(s.framing, text)
}

// prepare does what a request does in the model, and says how it is written.
func (r *roundV2) prepare(c *clientV2, a ask, form int) string {
	text := a.write(form)
	r.log.note(c.n, "→ %s", shorten(text))
	c.session.confirm()
	c.owed = append(c.owed, owed{a.id, r.table.do(c.session, a)})
	return text
}

// settle waits until everybody knows all that has happened.
func (r *roundV2) settle() error {
	for _, c := range r.clients {
		for c.conn != nil && c.isOwed() {
			if err := r.takeNext(c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *clientV2) isOwed() bool {
	return len(c.owed) > 0 || c.session != nil && c.session.seen < c.session.last() ||
		slices.ContainsFunc(c.watches, func(w *watchV2) bool { return w.isOwed() })
}

// missing says what a client waits for.
func (c *clientV2) missing() string {
	switch s := c.session; {
	case len(c.owed) > 0:
		return fmt.Sprintf("the answer to request %d", c.owed[0].id)
	case s != nil && s.seen < uint64(len(s.events)):
		return fmt.Sprintf("event %d again, which is %v", s.seen+1, s.events[s.seen])
	case s != nil && len(s.due) > 0:
		return fmt.Sprintf("event %d, perhaps %v", s.seen+1, s.due[0])
	}
	return "changes"
}

// takeNext takes the next message of a client to whom something is owed.
func (r *roundV2) takeNext(c *clientV2) error {
	missing := c.missing()
	m, err := r.hear(c)
	var refused *Refused
	switch {
	case errors.As(err, &refused):
		return err
	case err != nil:
		return fmt.Errorf("%w (it waits for %s)", err, missing)
	}
	switch {
	case m.has("id"):
		r.answered(c, m)
	case m.has("event"):
		r.happened(c, m)
	case m.has("watch"):
		r.watched(c, m)
	default:
		m.fail("that is nothing that it waits for, as it does for %s", missing)
	}
	return c.blame(m.done())
}

func (r *roundV2) answered(c *clientV2, m *reply) {
	if len(c.owed) == 0 {
		m.fail("no answer is owed")
		return
	}
	next := c.owed[0]
	c.owed = c.owed[1:]
	is(m, "id", next.id)
	if m.err == nil {
		next.check(m)
	}
}

// happened takes an event.
func (r *roundV2) happened(c *clientV2, m *reply) {
	id := m.number("lock")
	h, again := c.session.hears(m, id)
	if h == nil {
		return
	}
	if m.err == nil && h.lock.id != id {
		m.fail("it was about lock %d", h.lock.id)
	}
	is(m, "state", h.state)
	if m.err == nil && m.at < h.notBefore {
		m.fail("that is %v too early", time.Duration(h.notBefore-m.at))
	}
	switch {
	case h.grant != nil:
		r.holds(m, h.lock, h.grant, false)
	case m.has("blockers") && !again:
		checkBlockers(m, h.lock, h.blockers)
	}
}

// lookedFor is how often the eye looks whether a connection's end has been noticed.
const lookedFor = time.Millisecond

// lost is what becomes of a client whose connection is gone, or will be. When this returns the server has noticed.
func (r *roundV2) lost(c *clientV2) error {
	c.owed, c.watches = nil, nil
	s := c.session
	if s == nil {
		return nil
	}
	gone := r.leavers(s)
	if len(gone) == 0 {
		return nil
	}
	r.leave(s)
	return r.await(gone)
}

// await waits until locks are gone that leave the queue with their connection.
func (r *roundV2) await(gone []*lock) error {
	for deadline := time.Now().Add(r.patience); ; time.Sleep(lookedFor) {
		seen, err := r.look()
		if err != nil {
			return err
		}
		there := slices.IndexFunc(gone, func(l *lock) bool { return seen[place{l.session.id, l.id}] })
		if there < 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%v is still there %v after its client's connection is gone, and wasn't to wait without", gone[there], r.patience)
		}
	}
}

// place is what a lock is called by others.
type place struct {
	session string
	lock    uint64
}

// eyeNumber is no other client's.
const eyeNumber = 99

// look has the eye look at the whole namespace.
func (r *roundV2) look() (seen map[place]bool, err error) {
	if r.eye == nil {
		r.eye = &clientV2{line: line{n: eyeNumber, log: r.log, patience: r.patience}}
	}
	if err := r.connect(r.eye, 0); err != nil {
		return nil, err
	}
	seen = map[place]bool{}
	a := newAsk("inspect")
	for {
		a.id = r.eye.session.lastID + 1
		r.eye.session.lastID++
		m, err := r.exchange(r.eye, a.write(0))
		if err != nil {
			return nil, err
		}
		is(m, "id", a.id)
		is(m, "state", "inspected")
		for _, x := range take[[]struct {
			Session string
			Lock    uint64
		}](m, "locks") {
			seen[place{x.Session, x.Lock}] = true
		}
		if !m.has("next") {
			return seen, r.eye.blame(m.done())
		}
		a.after = take[string](m, "next")
	}
}
