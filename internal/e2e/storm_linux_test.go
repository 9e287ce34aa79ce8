package e2e

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const stormQueue = 10 // sessions that want one and the same lock

// stormed is a session of version 2 in a crowd that loses all its connections and comes again at once. It
// holds a lock of its own, and holds or waits for one that its queue wants.
type stormed struct {
	srv             *server
	queue           *stormedQueue
	place           int
	conn            *rawClient
	session, secret string
	own, shared     string // tokens; of shared as soon as it is acquired
}

// stormedQueue is what the sessions of a queue have seen of their lock.
type stormedQueue struct {
	number int
	holder atomic.Int32 // one that holds it, plus one

	mu     sync.Mutex // guards what follows
	served int
	last   uint64 // token
}

// stormText is what a server says of a session, as far as it matters here.
type stormText struct {
	Op, State, Error, Session, Secret, Token string

	ID, Event, Lock uint64
	LastID          uint64 `json:"last_id"`
	Locks           []struct {
		Lock         uint64
		State, Token string
	}
}

// TestTenThousandSessionsComeBackAtOnce: with a lock each, and in a thousand queues. Nothing is lost or granted
// twice, and everybody keeps their place.
func TestTenThousandSessionsComeBackAtOnce(t *testing.T) {
	// Clients that the server has no time for within 5 seconds would come again; these don't.
	srv := start(t, setup{config: "[limits]\nhandshake_timeout = \"1m\"\n"})
	var all []*stormed
	var working sync.WaitGroup
	gate := make(chan struct{}, 32) // so many queues form at once
	sessions := crowd(t)
	if raceEnabled {
		sessions /= 4 // it takes that much longer; without the race detector there are all of them
	}
	for n := range sessions / stormQueue {
		q := &stormedQueue{number: n}
		var members []*stormed
		for place := range stormQueue {
			members = append(members, &stormed{srv: srv, queue: q, place: place})
		}
		all = append(all, members...)
		working.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			for _, s := range members {
				if err := s.begin(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	working.Wait()
	require.False(t, t.Failed())
	for _, s := range all {
		s.conn.Drop()
	}
	before := time.Now()
	var broken sync.Once
	for _, s := range all {
		working.Go(func() {
			if err := s.comeBack(); err != nil {
				broken.Do(func() {
					t.Errorf("session %d of queue %d: %v", s.place, s.queue.number, err)
					srv.kill() // or those behind it would wait for ever
				})
			}
		})
	}
	working.Wait()
	require.False(t, t.Failed())
	t.Logf("%d sessions came back, were served in turn and left in %v", len(all), time.Since(before))
	eventually(t, "nothing is left", func() bool { return srv.stats("storm") == statistics{} })
}

// ask sends a message and returns its answer. That the lock of the queue is acquired may be said before.
func (s *stormed) ask(text string) (m stormText, err error) {
	if err := s.conn.Send(text); err != nil {
		return m, err
	}
	if m, err = s.next(); err == nil && m.Event != 0 && m.Op == "" {
		if err = s.granted(&m); err == nil {
			m, err = s.next()
		}
	}
	return m, err
}

// granted takes up the one event that there may be.
func (s *stormed) granted(m *stormText) error {
	if m.Event != 1 || m.Lock != 2 || m.State != "acquired" || s.shared != "" {
		return fmt.Errorf("an event: %+v", m)
	}
	s.shared = m.Token
	return nil
}

func (s *stormed) next() (m stormText, err error) {
	text, err := s.conn.Recv()
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil || m.Error != "" {
		return m, fmt.Errorf("the server says %s: %w", text, err)
	}
	return m, nil
}

// begin makes the session, and asks for both of its locks.
func (s *stormed) begin() error {
	to := s.srv.target("storm")
	to.version = 2
	var err error
	if s.conn, _, err = dialRawFrom("", to); err != nil {
		return err
	}
	m, err := s.ask(`{"op":"hello","ttl_ms":600000}`)
	if err != nil {
		return err
	}
	s.session, s.secret = m.Session, m.Secret
	if m, err = s.ask(s.lock(1)); err != nil || m.State != "acquired" {
		return fmt.Errorf("a lock of its own: %+v: %w", m, err)
	}
	s.own = m.Token
	want := map[bool]string{true: "acquired", false: "enqueued"}[s.place == 0]
	if m, err = s.ask(s.lock(2)); err != nil || m.State != want {
		return fmt.Errorf("the lock of queue %d for place %d: %+v: %w", s.queue.number, s.place, m, err)
	}
	s.shared = m.Token
	return nil
}

// lock is one of the two requests.
func (s *stormed) lock(id int) string {
	path := fmt.Sprintf(`"queues","%d"`, s.queue.number)
	if id == 1 {
		path = fmt.Sprintf(`"own","%d","%d"`, s.queue.number, s.place)
	}
	return fmt.Sprintf(`{"op":"lock","id":%d,"resources":[{"type":"write","path":[%s]}]}`, id, path)
}

// comeBack goes on with the session, waits for the lock if it hasn't got it yet, and ends.
func (s *stormed) comeBack() error {
	if err := s.resume(); err != nil {
		return err
	}
	if s.place%3 == 0 { // those who don't know that the answers came ask once more
		for id, token := range []*string{&s.own, &s.shared} {
			m, err := s.ask(s.lock(id + 1))
			if err != nil || m.ID != uint64(id+1) || m.Token != *token {
				return fmt.Errorf("a retry: %+v: %w", m, err)
			}
		}
	}
	if s.shared == "" {
		m, err := s.next()
		if err != nil {
			return err
		}
		if err := s.granted(&m); err != nil {
			return err
		}
	}
	if err := s.queue.serve(s.place, s.shared); err != nil {
		return err
	}
	s.queue.holder.Store(0)
	for id, text := range []string{`{"op":"release","id":3,"lock":2}`, `{"op":"release","id":4,"lock":1}`, `{"op":"bye","id":5}`} {
		m, err := s.ask(text)
		if err != nil || m.ID != uint64(id+3) || m.State != []string{"released", "released", "bye"}[id] {
			return fmt.Errorf("leaving: %+v: %w", m, err)
		}
	}
	_, err := s.conn.Recv()
	s.conn.Drop()
	return wantClosed(err, 1000)
}

// resume makes a new connection and takes the session up: all must be there, but for what has happened since.
func (s *stormed) resume() (err error) {
	to := s.srv.target("storm")
	to.version = 2
	for end := time.Now().Add(patience); ; { // descriptors of the old connections may still be in use
		if s.conn, _, err = dialRawFrom("", to); err == nil {
			break
		}
		if time.Now().After(end) {
			return err
		}
		<-time.After(10 * time.Millisecond)
	}
	m, err := s.ask(fmt.Sprintf(`{"op":"hello","resume":{"session":%q,"secret":%q,"event":0}}`, s.session, s.secret))
	if err != nil {
		return err
	}
	granted := s.place > 0 && len(m.Locks) == 2 && m.Locks[1].State == "acquired"
	switch {
	case m.Op != "welcome" || m.Session != s.session || m.Secret == s.secret || m.LastID != 2 || len(m.Locks) != 2:
		return fmt.Errorf("the welcome: %+v", m)
	case m.Locks[0].State != "acquired" || m.Locks[0].Token != s.own:
		return fmt.Errorf("its own lock had token %s: %+v", s.own, m)
	case !granted && m.Locks[1].Token != s.shared:
		return fmt.Errorf("the lock of its queue had token %q: %+v", s.shared, m)
	case granted:
		if token := m.Locks[1].Token; token == "" {
			return fmt.Errorf("it is acquired and has no token: %+v", m)
		}
		if m, err = s.next(); err == nil {
			err = s.granted(&m)
		}
	}
	return err
}

// serve notes that a member has the lock: it must be its turn.
func (q *stormedQueue) serve(place int, token string) error {
	if !q.holder.CompareAndSwap(0, int32(place)+1) {
		return fmt.Errorf("place %d holds the lock at the same time", q.holder.Load()-1)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	var number uint64
	if _, err := fmt.Sscan(token, &number); err != nil || number <= q.last {
		return fmt.Errorf("token %q comes after %d: %w", token, q.last, err)
	}
	if q.served != place {
		return fmt.Errorf("it is the turn of place %d", q.served)
	}
	q.served, q.last = place+1, number
	return nil
}
