package probe

import (
	"fmt"
	"slices"
	"time"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
)

// sessionV2 is what must be true of a session of version 2.
type sessionV2 struct {
	name, id string
	secret   string // the newest that its client knows
	before   string // the one before, while it is still good
	stale    string // one that isn't good any more; empty: there is none
	ttl      time.Duration

	lastID  uint64
	asked   []ask             // its requests, for retries
	refused map[uint64]string // why some of them were
	ends    map[uint64]string // of its locks

	due    []*happening // not told yet
	events []*happening // told at least once, by their numbers from 1 on
	seen   uint64       // the last event that its client knows
}

// happening is an event.
type happening struct {
	lock      *lock
	state     string
	grant     *grant        // what it grants; nil: nothing
	notBefore oracle.Moment // it can't be told earlier
	blockers  []*lock       // who was in the way of what has waited too long
}

func (h *happening) String() string { return fmt.Sprintf("%q of %v", h.state, h.lock) }

// confirm notes that the server knows that the newest secret has arrived.
func (s *sessionV2) confirm() {
	if s.before != "" {
		s.stale, s.before = s.before, ""
	}
}

// title is what blockers call it.
func (s *sessionV2) title() string {
	if s.name != "" {
		return s.name
	}
	return s.id
}

// last is the number of the last event.
func (s *sessionV2) last() uint64 { return uint64(len(s.events) + len(s.due)) }

// hears takes an event, which must be the next one. Which of several that are due comes first isn't determined, but
// those of a lock have an order.
func (s *sessionV2) hears(m *reply, lock uint64) (h *happening, again bool) {
	n := m.number("event")
	switch {
	case m.err != nil:
		return nil, false
	case n != s.seen+1:
		m.fail("it is told event %d, and the last one was %d", n, s.seen)
		return nil, false
	}
	s.seen = n
	if n <= uint64(len(s.events)) {
		return s.events[n-1], true
	}
	i := slices.IndexFunc(s.due, func(h *happening) bool { return h.lock.id == lock })
	if i < 0 {
		m.fail("nothing has happened to lock %d", lock)
		return nil, false
	}
	h = s.due[i]
	s.due = slices.Delete(s.due, i, i+1)
	s.events = append(s.events, h)
	return h, false
}

// asksFor notes a request, and says whether it is a retry.
func (s *sessionV2) asksFor(a *ask) (retry bool) {
	if a.id <= s.lastID {
		return true
	}
	s.lastID = a.id
	s.asked = append(s.asked, *a)
	return false
}
