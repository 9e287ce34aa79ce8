package histories

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/gobwas/ws"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
)

// elder is a client of version 1: it has one lock at a time, for as long as its connection lasts, and some time
// more. It pings, and counts that time from the last ping that was answered, so that it stops to believe in its lock
// before the server gives it away.
type elder struct {
	name    string
	address string // with the abandon timeout
	rng     *rand.Rand
	abandon time.Duration

	believes bool // in locks whose time is over: a fault that has to be found

	conn     *conn
	current  *Record       // nil: it has none and asks for none
	released oracle.Moment // when its release was sent; zero: it wasn't
	heard    oracle.Moment // when the newest was sent of what was answered
	history  []*Record
	owed     []*Record // whose end it doesn't know
	witness  *witness
	trace    []string
}

// toldElder is what the server says.
type toldElder struct {
	ID     uint64 `json:"id,string"`
	Action string
	State  string
}

// live does one thing after the other until a time, and hangs up then.
func (c *elder) live(until time.Time) error {
	for time.Now().Before(until) {
		if err := c.act(); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	c.hangUp()
	c.witness.leave()
	return nil
}

// act does something.
func (c *elder) act() error {
	if c.conn == nil {
		conn, err := dialWire(c.address)
		if err != nil {
			pause(10 * time.Millisecond)
			return nil
		}
		c.conn, c.heard = conn, 0
	}
	if err := c.inquire(); err != nil {
		return err
	}
	switch k := c.rng.IntN(100); {
	case k < 30 && c.current == nil:
		c.current, c.released = &Record{Client: c.name, Resources: drawOld(c.rng), Asked: oracle.Now()}, 0
		c.say(`{"action":"lock","resources":` + text(c.current.Resources) + `}`)
	case c.current == nil || c.released != 0:
	case k < 8 && c.current.Answered != 0, k < 20 && c.current.Token != 0:
		c.believe()
		c.released = oracle.Now()
		c.say(`{"action":"release"}`)
	case k < 2, k < 22 && c.current.Answered != 0: // it goes, without a word
		c.hangUp()
		return nil
	case k >= 22 && k < 24: // it stops, as a machine does that has no time for it
		pause(time.Duration(c.rng.Int64N(int64(3 * c.abandon))))
	}
	c.write(ws.OpPing, strconv.FormatInt(int64(oracle.Now()), 10))
	return c.listen(time.Duration(c.rng.IntN(20)) * time.Millisecond)
}

// drawOld draws what there was in version 1.
func drawOld(rng *rand.Rand) (rs []oracle.Resource) {
	for range 1 + rng.IntN(2) {
		rs = append(rs, drawLock(rng))
	}
	return rs
}

func (c *elder) say(text string) {
	c.note("→ %s", text)
	c.write(ws.OpText, text)
}

func (c *elder) write(op ws.OpCode, text string) {
	if c.conn.write(op, []byte(text)) != nil {
		c.conn.drop()
	}
}

func (c *elder) note(format string, args ...any) {
	c.trace = append(c.trace, fmt.Sprintf("%9dµs %s ", time.Duration(oracle.Now()).Microseconds(), c.name)+fmt.Sprintf(format, args...))
}

// believe notes whether the client thinks that it has its lock, as it would before it does something with it.
func (c *elder) believe() {
	if c.conn != nil {
		c.heard = max(c.heard, oracle.Moment(c.conn.ponged.Load()))
	}
	now := oracle.Now()
	if r := c.current; r != nil && r.Token != 0 && c.released == 0 && (c.believes || now < c.until()*98/100+c.since()*2/100) {
		r.Ended = now
	}
}

// since is when the server can have noticed at the earliest that the connection is over, and until is how long a lock
// is there at least.
func (c *elder) since() oracle.Moment { return max(c.heard, c.current.Asked) }
func (c *elder) until() oracle.Moment { return c.since() + oracle.Moment(c.abandon) }

// listen takes up what comes for a while.
func (c *elder) listen(d time.Duration) error {
	for end := time.Now().Add(d); ; {
		c.believe()
		text, ok, err := c.conn.hear(min(max(0, time.Until(end)), 5*time.Millisecond))
		if err != nil {
			c.hangUp()
			return nil
		}
		if ok {
			c.note("← %s", text)
			if err := c.take(text); err != nil {
				return fmt.Errorf("%w: %s", err, text)
			}
		} else if !time.Now().Before(end) {
			return nil
		}
	}
}

// take takes a message up.
func (c *elder) take(text string) error {
	var m toldElder
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return err
	}
	r, now := c.current, oracle.Now()
	if r == nil {
		return fmt.Errorf("a message about nothing")
	}
	if m.State == "ready" {
		r.Ended, r.Gone, r.Waiting = max(r.Ended, c.released), now, r.Token == 0
		c.history = append(c.history, r)
		c.current, c.released = nil, 0
		return nil
	}
	if first := r.Answered == 0; first {
		r.Answered, r.Number = now, m.ID
		c.heard = max(c.heard, r.Asked)
		if r.Answer = Enqueued; m.State == "acquired" {
			r.Answer = Granted
		}
	}
	if m.State == "acquired" {
		r.Token, r.Told = m.ID, now
	}
	return nil
}

// hangUp ends the connection. A lock is left behind for the abandon timeout, a request leaves the queue.
func (c *elder) hangUp() {
	c.believe()
	if c.conn != nil {
		c.conn.drop()
		c.conn = nil
	}
	r := c.current
	if r == nil {
		return
	}
	switch {
	case r.Answered == 0:
		r.Ended = r.Asked
	case r.Token == 0:
		r.Ended = c.since()
	default:
		r.Ended = max(r.Ended, c.until())
	}
	if c.released != 0 {
		r.Ended = min(r.Ended, c.released)
	}
	c.note("ended behind %v", time.Duration(r.Ended))
	c.owed = append(c.owed, r)
	c.current, c.released = nil, 0
}

// inquire asks the witness for what the client left behind.
func (c *elder) inquire() error {
	if len(c.owed) == 0 {
		return nil
	}
	there, err := c.witness.numbers()
	if err != nil {
		return err
	}
	now := oracle.Now()
	c.owed = slices.DeleteFunc(c.owed, func(r *Record) bool {
		over := r.Number != 0 && !there[r.Number]
		if over {
			r.Gone = now
			c.history = append(c.history, r)
		}
		return over
	})
	return nil
}

// paid ends all that are owed: nobody is there any more.
func (c *elder) paid(now oracle.Moment) {
	for _, r := range c.owed {
		r.Gone = now
	}
	c.history = append(c.history, c.owed...)
	c.owed = nil
}

// witness looks at the locks of a namespace, over a connection that nothing is wrong with. It holds none.
type witness struct {
	address string
	conn    *conn
	id      uint64
}

// numbers are those of the requests of version 1 that are there, as their clients were told when they came.
func (w *witness) numbers() (there map[uint64]bool, err error) {
	if w.conn == nil {
		if w.conn, err = dialWire(w.address); err != nil {
			return nil, err
		}
		if _, err := w.ask(`{"op":"hello"}`); err != nil {
			return nil, err
		}
	}
	w.id++
	answer, err := w.ask(fmt.Sprintf(`{"op":"inspect","id":%d,"path":[],"limit":1000}`, w.id))
	if err != nil {
		return nil, err
	}
	var m struct {
		State string
		Next  string
		Locks []struct {
			Session string
			Lock    uint64
		}
	}
	if err := json.Unmarshal([]byte(answer), &m); err != nil || m.State != "inspected" || m.Next != "" {
		return nil, fmt.Errorf("the witness is told %s: %w", answer, err)
	}
	there = map[uint64]bool{}
	for _, l := range m.Locks {
		if l.Session == "v1" {
			there[l.Lock] = true
		}
	}
	return there, nil
}

func (w *witness) ask(question string) (string, error) {
	if err := w.conn.write(ws.OpText, []byte(question)); err != nil {
		return "", err
	}
	answer, ok, err := w.conn.hear(patience)
	if err == nil && !ok {
		err = fmt.Errorf("the witness has no answer to %s", question)
	}
	return answer, err
}

// leave ends the witness's session.
func (w *witness) leave() {
	if w.conn == nil {
		return
	}
	w.id++
	_, _ = w.ask(fmt.Sprintf(`{"op":"bye","id":%d}`, w.id))
	w.conn.drop()
}
