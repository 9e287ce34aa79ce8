package probe

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
)

// storm is a round in which all clients act at once. What they do is drawn from a seed, in what order it
// reaches the server isn't.
type storm struct {
	target   *Target
	patience time.Duration
	space    string

	mu      sync.Mutex // guards what follows, and the records
	history []*oracle.Record
	err     error // the first that a client met
}

// Storms.
const (
	stormClients = 8
	stormLocks   = 40 // of each client
	stormHold    = time.Millisecond
)

// Storm has clients lock and release at once, and judges what they saw. An error is a finding, unless it is
// a *Refused or the context's; the history tells what was seen.
func Storm(ctx context.Context, t *Target, space string, seed uint64, patience time.Duration) (history string, err error) {
	s := &storm{target: t, patience: patience, space: space}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	for n := range stormClients {
		m := &member{storm: s, n: n, rng: rand.New(rand.NewPCG(seed, uint64(n)))}
		all.Go(func() {
			defer m.part()
			if err := m.work(ctx); err != nil {
				s.fail(err)
				cancel()
			}
		})
	}
	all.Wait()
	if err = s.err; err == nil {
		err = s.judge()
	}
	return s.text(), err
}

func (s *storm) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil || errors.Is(s.err, context.Canceled) {
		s.err = err
	}
}

// judge looks at the whole, and whether anything is left in the namespace.
func (s *storm) judge() error {
	if verdicts := oracle.Judge(s.history); len(verdicts) > 0 {
		return errors.New(verdicts[0])
	}
	last := newRound(s.target, s.space, 0, s.patience)
	defer last.dropAll()
	for _, r := range s.history { // any of them may be a ghost now
		last.queue = append(last.queue, &request{id: r.ID, client: r.Member, resources: r.Resources, ghost: true, until: r.Held})
	}
	return last.finish()
}

func (s *storm) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for i, r := range s.history {
		if i >= len(s.history)-transcriptLines {
			fmt.Fprintln(&b, r)
		}
	}
	return b.String()
}

// member is a client of a storm.
type member struct {
	*storm
	n       int
	rng     *rand.Rand
	conn    *conn // nil: not connected
	abandon time.Duration
	record  *oracle.Record // alive
}

// note changes the member's record.
func (m *member) note(change func(r *oracle.Record)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(m.record)
}

func (m *member) work(ctx context.Context) error {
	for range stormLocks {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := m.lock(); err != nil {
			return fmt.Errorf("client %d: %w", m.n, err)
		}
	}
	return nil
}

// part ends the connection, without a finding.
func (m *member) part() {
	if m.conn != nil {
		m.conn.drop(true)
	}
}

// lock asks for something, and in the end gives it back or goes.
func (m *member) lock() error {
	if err := m.connect(); err != nil {
		return err
	}
	s := m.source()
	rs := s.resources()
	m.record = &oracle.Record{Space: m.space, Member: m.n, Resources: rs, Asked: oracle.Now()}
	m.mu.Lock()
	m.history = append(m.history, m.record)
	m.mu.Unlock()
	framing := s.framing()
	framing.between = false // who locks looks for answers, not for pongs
	frames, _ := framing.frames(s.write(rs))
	m.conn.send(framing, frames)
	a, at, err := m.hear()
	switch {
	case err != nil:
		return err
	case a.action != "lock":
		return fmt.Errorf("the answer to a lock is %v", a)
	}
	m.note(func(r *oracle.Record) { r.ID, r.Answered = a.id, at })
	if a.state == "acquired" {
		m.note(func(r *oracle.Record) { r.Acquired = at })
		return m.hold()
	}
	return m.wait()
}

// source draws from what the member's seed gives.
func (m *member) source() *source {
	data := make([]byte, 64)
	for i := range data {
		data[i] = byte(m.rng.Uint32())
	}
	return &source{data: data}
}

func (m *member) connect() (err error) {
	if m.conn != nil {
		return nil
	}
	m.abandon = abandonTimeouts[m.rng.IntN(len(abandonTimeouts))]
	m.conn, err = m.target.open(m.space, m.abandon, m.patience)
	return err
}

// hear is the next answer.
func (m *member) hear() (a answer, at oracle.Moment, err error) {
	e := m.conn.next(m.patience)
	switch {
	case e.end != nil:
		return a, e.at, fmt.Errorf("waits for an answer: %v", e.end)
	case e.pong != nil:
		return a, e.at, errors.New("got a pong that it didn't ask for")
	}
	if a, err = parseAnswer(e.text); err != nil {
		if refusal := refusalOf(e.text); refusal != nil {
			err = refusal
		}
	}
	return a, e.at, err
}

// wait waits for the news that the lock is acquired, or loses patience.
func (m *member) wait() error {
	switch fate := m.rng.IntN(100); {
	case fate < 15:
		return m.release() // may cross the news
	case fate < 25:
		return m.leave()
	}
	a, at, err := m.hear()
	if err != nil {
		return err
	}
	if want := (answer{m.record.ID, "lock", "acquired"}); a != want {
		return fmt.Errorf("waits for %v, and gets %v", want, a)
	}
	m.note(func(r *oracle.Record) { r.Acquired = at })
	return m.hold()
}

// hold keeps what is acquired for a little, or not at all.
func (m *member) hold() error {
	if m.rng.IntN(2) == 0 {
		time.Sleep(time.Duration(m.rng.Int64N(int64(stormHold))))
	}
	if m.rng.IntN(20) == 0 {
		return m.leave()
	}
	return m.release()
}

func (m *member) release() error {
	m.note(func(r *oracle.Record) { r.How, r.Ended = oracle.Released, oracle.Now() })
	m.conn.send(framing{}, frame(ws.OpText, true, []byte(releaseText)))
	a, _, err := m.hear()
	if m.record.Acquired == 0 && a == (answer{m.record.ID, "lock", "acquired"}) {
		a, _, err = m.hear()
	}
	if err != nil {
		return err
	}
	if want := (answer{m.record.ID, "release", "ready"}); a != want {
		return fmt.Errorf("waits for %v, and gets %v", want, a)
	}
	return nil
}

// leave goes in one of the ways in which connections go.
func (m *member) leave() error {
	m.note(func(r *oracle.Record) {
		if r.How, r.Ended = oracle.Dropped, oracle.Now(); r.Acquired != 0 {
			r.Held = r.Ended + oracle.Moment(m.abandon)
		}
	})
	c := m.conn
	m.conn = nil
	if m.rng.IntN(3) > 0 {
		c.drop(m.rng.IntN(2) == 0)
		return nil
	}
	c.closing.Store(true)
	c.send(framing{}, frame(ws.OpClose, true, ws.NewCloseFrameBody(ws.StatusNormalClosure, "")))
	for e := range c.events { // a grant may be on its way
		if e.end != nil && (e.end.err != nil || e.end.code != int(ws.StatusNormalClosure)) {
			return fmt.Errorf("closes, and waits for the answer to that: %v", e.end)
		}
	}
	return nil
}
