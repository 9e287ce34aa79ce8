package histories

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
)

// stranger is a client that somebody has written from the page on the protocol, and nothing else. It does one
// thing at a time, so that it can stop doing anything.
type stranger struct {
	name     string
	address  string
	rng      *rand.Rand
	ttl      time.Duration
	believes bool // in locks whose time is over: a fault that has to be found
	kills    *kills

	conn    *conn
	session string
	secret  string
	granted time.Duration // the session's time
	began   oracle.Moment // before that
	event   uint64
	lastID  uint64
	heard   oracle.Moment // when the newest request was sent that has been answered
	open    []*request    // without an answer, in order
	locks   map[uint64]*lock
	history []*Record
	trace   []string // what it sent and received, for people who look for a fault
	lives   int      // sessions
	resumes int
}

// request is one that was sent.
type request struct {
	id          uint64
	text        string
	first, last oracle.Moment // when it was sent
	times       int
	asks        *lock // of a request for a lock
	releases    *lock
	renews      *lock
	changes     *lock // with what follows
	change      *Change
	takesBack   bool // an upgrade that waits, and does nothing else
}

// lock is one that was asked for and is not known to have ended.
type lock struct {
	*Record
	id       uint64
	waits    bool          // with an end
	wait     time.Duration // that one, if it waits at all
	held     bool
	lease    time.Duration // zero: it has none
	left     time.Duration // of it
	leased   oracle.Moment // when that was so, at the latest
	believed oracle.Moment // the last time that the client thought that it has it
	released oracle.Moment // when its release was sent first

	upgrade     *Change       // nil: none is under way
	upgradeID   uint64        // of its request
	upgradeWait time.Duration // how long it waits at most
	takenBack   oracle.Moment // when that was asked for first; zero: it wasn't
	downgrade   *Change       // nil: none is under way
}

// said is anything that the server says.
type said struct {
	text string // all of it

	Op, State, Error, Message, Session, Secret, Notice string

	ID, Event, Lock uint64
	LastID          uint64 `json:"last_id"`
	TTL             int64  `json:"ttl_ms"`
	Lease           int64  `json:"lease_ms"`
	FirstEvent      uint64 `json:"first_event"`
	Token           uint64 `json:"token,string"`
	Slots           []uint32
	Locks           []listed
}

// listed is a lock that a welcome tells of.
type listed struct {
	Lock  uint64
	State string
	Token uint64 `json:"token,string"`
	Slots []uint32
}

// conn is a connection. One goroutine reads from it.
type conn struct {
	net.Conn
	mu sync.Mutex  // held while a frame is written
	in chan string // closed at the end

	ponged atomic.Int64 // what the last pong says: when it was asked for
}

const patience = 30 * time.Second

var errLost = errors.New("the connection is lost")

func dialWire(address string) (*conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	raw, br, _, err := ws.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	if br == nil {
		br = bufio.NewReader(raw)
	}
	c := &conn{Conn: raw, in: make(chan string, 4096)}
	go c.read(br)
	return c, nil
}

func (c *conn) read(br *bufio.Reader) {
	defer close(c.in)
	for {
		h, err := ws.ReadHeader(br)
		if err != nil {
			return
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(br, payload); err != nil {
			return
		}
		switch h.OpCode {
		case ws.OpText:
			c.in <- string(payload)
		case ws.OpPing:
			_ = c.write(ws.OpPong, payload)
		case ws.OpPong:
			if n, err := strconv.ParseInt(string(payload), 10, 64); err == nil {
				c.ponged.Store(n)
			}
		case ws.OpClose:
			return
		}
	}
}

func (c *conn) write(op ws.OpCode, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.SetWriteDeadline(time.Now().Add(2 * time.Second))
	_, err := c.Write(ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(op, true, payload))))
	return err
}

func (c *conn) drop() {
	_ = c.Conn.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// hear is the next text, within a while.
func (c *conn) hear(within time.Duration) (text string, ok bool, err error) {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case text, open := <-c.in:
		if !open {
			return "", false, errLost
		}
		return text, true, nil
	case <-timer.C:
		return "", false, nil
	}
}

// next is the next message, within a while.
func (c *conn) next(within time.Duration) (m said, ok bool, err error) {
	text, ok, err := c.hear(within)
	if ok {
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			panic(fmt.Sprintf("the server says %s: %v", text, err))
		}
		m.text = text
	}
	return m, ok, err
}

// live does one thing after the other until a time, and ends its session then.
func (c *stranger) live(until time.Time) error {
	for time.Now().Before(until) {
		if err := c.act(); err != nil {
			return err
		}
	}
	for end := time.Now().Add(patience); ; {
		ok, err := c.finish()
		if ok || err != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s cannot end its session", c.name)
		}
	}
}

// act does something.
func (c *stranger) act() error {
	c.believe()
	if c.conn == nil {
		if err := c.connect(); err != nil || c.rng.IntN(2) == 0 {
			return err
		}
		return c.listen(time.Duration(c.rng.IntN(300)) * time.Millisecond) // the new secret isn't confirmed meanwhile
	}
	switch k := c.rng.IntN(100); {
	case k < 30 && len(c.locks) < 2:
		return c.ask()
	case k < 42:
		return c.releaseOne()
	case k < 58:
		return c.changeOne()
	case k < 62:
		return c.send(&request{}, `{"op":"renew","id":%d}`)
	case k < 64: // it stops, as a machine does that has no time for it
		pause(time.Duration(c.rng.Int64N(int64(3 * c.ttl))))
		c.believe()
	case k < 68:
		c.hangUp()
		pause(time.Duration(c.rng.Int64N(int64(c.ttl))))
	case k < 70: // another connection takes the session over
		old := c.conn
		defer old.drop()
		return c.connect()
	}
	return c.listen(time.Duration(c.rng.IntN(20)) * time.Millisecond)
}

func pause(d time.Duration) { <-time.After(d) }

// believe notes which locks the client thinks it has, as it would before it does something with them.
func (c *stranger) believe() {
	now := oracle.Now()
	for _, l := range c.locks {
		if l.held && l.released == 0 && (c.believes || now < c.deadline(l)) {
			l.believed = now
		}
	}
}

// deadline is until when the client counts on a lock.
func (c *stranger) deadline(l *lock) oracle.Moment {
	until := c.heard + oracle.Moment(c.granted*98/100)
	if l.lease > 0 {
		until = min(until, l.leased+oracle.Moment(l.left*98/100))
	}
	return until
}

// ask asks for a lock. Nobody who holds one waits for another without an end.
func (c *stranger) ask() error {
	l, more := &lock{Record: &Record{Client: c.name, Resources: draw(c.rng)}}, ""
	if k := c.rng.IntN(4); k == 0 {
		l.waits, more = true, `,"wait_ms":0`
	} else if k == 1 || len(c.locks) > 0 {
		l.waits, l.wait = true, time.Duration(20+c.rng.IntN(300))*time.Millisecond
		more = `,"wait_ms":` + strconv.FormatInt(l.wait.Milliseconds(), 10)
	}
	if c.rng.IntN(4) == 0 {
		l.lease = time.Duration(100+c.rng.IntN(200)) * time.Millisecond
		more += `,"lease_ms":` + strconv.FormatInt(l.lease.Milliseconds(), 10)
	}
	return c.request(l, more)
}

// request sends a request for a lock.
func (c *stranger) request(l *lock, more string) error {
	l.Asked, l.id = oracle.Now(), c.lastID+1
	c.locks[l.id] = l
	return c.send(&request{asks: l}, `{"op":"lock","id":%d,"resources":`+text(l.Resources)+more+`}`)
}

// releaseOne gives some lock up, or renews one.
func (c *stranger) releaseOne() error {
	for _, l := range c.locks { // in no order
		switch {
		case l.released != 0:
		case l.held && l.lease > 0 && c.rng.IntN(2) == 0:
			return c.send(&request{renews: l}, `{"op":"renew","id":%d,"lock":`+strconv.FormatUint(l.id, 10)+`}`)
		case l.held || c.rng.IntN(8) == 0:
			l.released = oracle.Now()
			return c.send(&request{releases: l}, `{"op":"release","id":%d,"lock":`+strconv.FormatUint(l.id, 10)+`}`)
		}
	}
	return nil
}

// send sends a request. Without a connection it is sent with the next one.
func (c *stranger) send(r *request, format string) error {
	c.lastID++
	r.id, r.text, r.first = c.lastID, fmt.Sprintf(format, c.lastID), oracle.Now()
	c.open = append(c.open, r)
	c.post(r)
	return nil
}

// note keeps what happened.
func (c *stranger) note(format string, args ...any) {
	c.trace = append(c.trace, fmt.Sprintf("%9dµs %s ", time.Duration(oracle.Now()).Microseconds(), c.name)+fmt.Sprintf(format, args...))
}

func (c *stranger) post(r *request) {
	r.times++
	r.last = oracle.Now()
	c.note("→ %s", r.text)
	if c.conn.write(ws.OpText, []byte(r.text)) != nil {
		c.conn.drop()
	}
}

// listen takes up what comes for a while.
func (c *stranger) listen(d time.Duration) error {
	for end := time.Now().Add(d); c.conn != nil; {
		c.believe()
		m, ok, err := c.conn.next(min(max(0, time.Until(end)), 5*time.Millisecond))
		if err != nil {
			c.hangUp()
			return nil
		}
		if ok {
			c.note("← %s", m.text)
			if err := c.take(&m); err != nil {
				return fmt.Errorf("%s: %w: %+v", c.name, err, m)
			}
		} else if !time.Now().Before(end) {
			return nil
		}
	}
	return nil
}

// connect says hello, and goes on with the session if there is one.
func (c *stranger) connect() error {
	old := c.conn
	conn, err := dialWire(c.address)
	if err != nil {
		pause(10 * time.Millisecond)
		return nil
	}
	for {
		hello := fmt.Sprintf(`{"op":"hello","ttl_ms":%d,"name":%q}`, c.ttl.Milliseconds(), c.name)
		if c.session != "" {
			hello = fmt.Sprintf(`{"op":"hello","resume":{"session":%q,"secret":%q,"event":%d}}`, c.session, c.secret, c.event)
		}
		sent := oracle.Now()
		c.note("→ %s", hello)
		if conn.write(ws.OpText, []byte(hello)) != nil {
			conn.drop()
			return nil
		}
		m, ok, err := conn.next(c.ttl)
		switch {
		case err != nil || !ok:
			conn.drop()
			return nil
		}
		switch c.note("← %s", m.text); {
		case m.Error == "no_session" && c.session != "":
			c.lose(oracle.Now())
			continue
		case m.Op != "welcome":
			return fmt.Errorf("%s: a hello is answered with %+v", c.name, m)
		}
		if old != nil {
			old.drop()
		}
		c.conn = conn
		return c.welcome(&m, sent)
	}
}

// welcome takes a session up. All that the client knows of must be there, unless it hears of an end.
func (c *stranger) welcome(m *said, sent oracle.Moment) error {
	if c.session == "" {
		c.lives++
		c.began = sent
	} else {
		c.resumes++
	}
	c.session, c.secret, c.granted = m.Session, m.Secret, time.Duration(m.TTL)*time.Millisecond
	c.heard = max(c.heard, sent)
	if m.FirstEvent > c.event+1 {
		return fmt.Errorf("%s has seen event %d, and the server keeps those from %d", c.name, c.event, m.FirstEvent)
	}
	for _, r := range c.open {
		c.post(r)
	}
	for id, l := range c.locks {
		if err := l.compare(m, m.Event == c.event); err != nil {
			return fmt.Errorf("%s: lock %d %w", c.name, id, err)
		}
	}
	return nil
}

// compare looks whether a welcome says of a lock that is held what was told before, and unless there are events to come, whether
// it has it.
func (l *lock) compare(m *said, all bool) error {
	i := slices.IndexFunc(m.Locks, func(x listed) bool { return x.Lock == l.id })
	switch token := l.tokenBefore(len(l.Changes)); {
	case !l.held:
	case i < 0 && all && l.released == 0:
		return errors.New("is lost, and no event says so")
	case i < 0:
	case l.upgrade == nil && m.Locks[i].Token != token:
		return fmt.Errorf("had token %d, and now %d", token, m.Locks[i].Token)
	case l.Slots != nil && !slices.Equal(m.Locks[i].Slots, l.Slots):
		return fmt.Errorf("had the slots %v, and now %v", l.Slots, m.Locks[i].Slots)
	}
	return nil
}

// lose is the end of the session, and of all that it had.
func (c *stranger) lose(now oracle.Moment) {
	for _, l := range c.locks {
		l.loseChanges()
		c.over(l, max(l.believed, min(c.promised(l), c.kills.after(c.began))), now)
	}
	c.session, c.secret, c.event, c.lastID, c.open = "", "", 0, 0, nil
	c.heard = 0
	c.hangUp()
}

// hangUp ends the connection, and what it has brought and nobody has looked at is gone.
func (c *stranger) hangUp() {
	if c.conn != nil {
		c.conn.drop()
	}
	c.conn = nil
}

// promised is until when a lock that was lost must have been there.
func (c *stranger) promised(l *lock) oracle.Moment {
	if l.Answered == 0 || l.held && l.lease > 0 && l.left == 0 { // it was over when the news of it came
		return l.Asked
	}
	until := c.heard + oracle.Moment(c.granted)
	switch {
	case l.lease > 0 && l.held:
		until = min(until, l.leased+oracle.Moment(l.left))
	case l.lease > 0: // it may have begun since
		until = min(until, l.Asked+oracle.Moment(l.lease))
	}
	if l.released != 0 {
		until = min(until, l.released)
	}
	if !l.held && l.waits {
		until = min(until, l.Asked+oracle.Moment(l.wait))
	}
	return until
}

// over notes the end of a lock.
func (c *stranger) over(l *lock, ended, gone oracle.Moment) {
	l.Ended, l.Gone = max(ended, l.Asked), gone
	l.endChanges()
	c.note("lock %d ended between %v and %v", l.id, time.Duration(l.Ended), time.Duration(l.Gone))
	c.history = append(c.history, l.Record)
	delete(c.locks, l.id)
}

// take takes a message up.
func (c *stranger) take(m *said) error {
	now := oracle.Now()
	switch {
	case m.ID != 0:
		return c.answered(m, now)
	case m.Event != 0:
		if m.Event <= c.event {
			return nil
		}
		if m.Event != c.event+1 {
			return errors.New("an event is missing")
		}
		c.event = m.Event
		if l := c.locks[m.Lock]; l != nil {
			return c.happened(l, m, now)
		}
		return errors.New("an event about a lock that has ended")
	case m.Error == "expired":
		if len(c.locks) > 0 && len(c.open) == 0 {
			return errors.New("the session has expired, and its locks have had no end")
		}
		c.lose(now)
	case m.Error == "taken_over":
		c.hangUp()
	case m.Error != "":
		return errors.New("the server has something against it")
	}
	return nil
}

// happened takes an event up.
func (c *stranger) happened(l *lock, m *said, now oracle.Moment) error {
	if l.Answered == 0 {
		l.Answered = now
	}
	switch m.State {
	case "acquired":
		if !l.held {
			c.acquired(l, m, now, c.heard)
		}
	case "timeout":
		l.Waiting = true
		c.over(l, l.Asked+oracle.Moment(l.wait), now)
	case "expired":
		c.over(l, max(l.believed, c.promised(l)), now)
	case "upgraded", "upgrade_timeout":
		return l.upgradeHappened(m, now)
	default:
		return errors.New("an event that there isn't")
	}
	return nil
}

func (c *stranger) acquired(l *lock, m *said, now, counted oracle.Moment) {
	l.held, l.Token, l.Told, l.Slots = true, m.Token, now, m.Slots
	l.leased, l.left = counted, time.Duration(m.Lease)*time.Millisecond
}

// answered takes an answer up.
func (c *stranger) answered(m *said, now oracle.Moment) error {
	if len(c.open) == 0 || c.open[0].id != m.ID {
		return errors.New("an answer out of turn")
	}
	r := c.open[0]
	c.open = c.open[1:]
	c.heard = max(c.heard, r.last)
	switch {
	case r.asks != nil:
		return c.settled(r, m, now)
	case r.releases != nil:
		l := r.releases
		if c.locks[l.id] == nil {
			return nil // an event said so
		}
		switch m.State {
		case "released":
			if !l.held && r.times == 1 {
				return errors.New("a lock was released of which nobody has said that it is acquired")
			}
		case "canceled":
			l.Waiting = true
		default:
			return errors.New("a release is answered in another way")
		}
		c.over(l, l.released, now)
	case r.changes != nil:
		if c.locks[r.changes.id] != r.changes {
			return nil // an event that came first has told its end
		}
		return r.changes.changeAnswered(r, m, now)
	case r.renews != nil && m.State == "renewed":
		r.renews.leased, r.renews.left = r.last, time.Duration(m.Lease)*time.Millisecond
	case m.State != "renewed" && m.State != "bye" && m.State != "expired" && m.State != "released":
		return errors.New("a renewal is answered in another way")
	}
	return nil
}

// settled takes up what became of a request for a lock.
func (c *stranger) settled(r *request, m *said, now oracle.Moment) error {
	l := r.asks
	if c.locks[l.id] != l {
		return nil // an event that came first has told its end
	}
	known := l.Answered != 0
	if !known {
		l.Answered = now
	}
	if m.Error == "other_limit" {
		l.Answer = Misfit
		c.over(l, l.Asked, now)
		return nil
	}
	switch m.State {
	case "acquired":
		if r.times == 1 && !known {
			l.Answer = Granted
			if len(m.Slots) != l.permits() {
				return errors.New("not a slot for each permit")
			}
		}
		if !l.held {
			c.acquired(l, m, now, r.last)
		}
	case "enqueued":
		if !known {
			l.Answer = Enqueued
		}
	case "unavailable", "deadlock":
		l.Answer = Refused
		c.over(l, l.Asked, now)
	case "released", "canceled":
		if r.times == 1 || l.released == 0 {
			return errors.New("a lock has ended that nobody gave up")
		} // the answer to that is the next one
	default:
		return errors.New("a request for a lock is answered in another way")
	}
	return nil
}

// finish ends the session. False: not yet.
func (c *stranger) finish() (bool, error) {
	if c.session == "" && c.conn == nil {
		return true, nil
	}
	if c.conn == nil {
		return false, c.connect()
	}
	c.believe()
	now := oracle.Now()
	for _, l := range c.locks {
		if l.released == 0 {
			l.released = now
			if err := c.send(&request{releases: l}, `{"op":"release","id":%d,"lock":`+strconv.FormatUint(l.id, 10)+`}`); err != nil {
				return false, err
			}
		}
	}
	if len(c.open) > 0 {
		return false, c.listen(20 * time.Millisecond)
	}
	if len(c.locks) > 0 {
		return false, fmt.Errorf("%s: all requests are answered, and %d locks are neither released nor over", c.name, len(c.locks))
	}
	if err := c.send(&request{}, `{"op":"bye","id":%d}`); err != nil {
		return false, err
	}
	for end := time.Now().Add(time.Second); c.conn != nil && len(c.open) > 0 && time.Now().Before(end); {
		if err := c.listen(10 * time.Millisecond); err != nil {
			return false, err
		}
	}
	c.hangUp()
	return true, nil
}

// text is resources as JSON.
func text(rs []oracle.Resource) string {
	type resource struct {
		Type   string   `json:"type"`
		Path   []string `json:"path"`
		Limit  uint32   `json:"limit,omitempty"`
		Weight uint32   `json:"weight,omitempty"`
	}
	all := make([]resource, len(rs))
	for i, r := range rs {
		all[i] = resource{"read", r.Path, r.Limit, r.Weight}
		switch {
		case r.Limit != 0:
			all[i].Type = "permit"
		case r.Write:
			all[i].Type = "write"
		}
	}
	b, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return string(b)
}
