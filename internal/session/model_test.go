package session

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/engine/enginetest"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// The model says what every connection is told, by looking at everything each time. Times are
// milliseconds. What it tells is text, as on the wire.

type model struct {
	limits   Limits
	locks    enginetest.Model
	now      int64
	sessions []*mSession // in the order of their beginnings, also those that are over
	told     map[uint64][]string
	pending  []pending
	foreign  map[uint64]*enginetest.Request
	granted  []uint64 // foreign owners
}

type mSession struct {
	id            string
	conn          uint64
	ttl, deadline int64
	lastID        uint64
	secrets       []string // that are good
	alive         []*mLock
	kept          []mRecord
	events        []mEvent // all
	watches       []mWatch
	dead          bool
}

type mWatch struct {
	id   uint64
	path [][]byte
}

type mRecord struct {
	id           uint64
	state, error string
}

type mEvent struct {
	n     int
	lock  uint64
	state string
	token uint64
	more  string
}

type mLock struct {
	id, party             uint64
	request               *enginetest.Request
	wait, lease, leaseEnd int64 // -1: none
	since                 int64
	note                  string
	leave                 bool
	leaves                bool // it is about to
	upgrade               uint64
	changed               string
}

func newModel(l Limits) *model {
	return &model{limits: l, locks: enginetest.Model{Reserved: math.MaxUint64}, told: map[uint64][]string{}, foreign: map[uint64]*enginetest.Request{}}
}

func (m *model) tell(conn uint64, format string, args ...any) {
	if conn != 0 {
		m.told[conn] = append(m.told[conn], fmt.Sprintf(format, args...))
	}
}

func (m *model) session(id string) *mSession {
	for _, s := range m.sessions {
		if s.id == id && !s.dead {
			return s
		}
	}
	return nil
}

func (m *model) open(conn uint64, id, secret string, ttl int64) {
	if ttl == wire.V2None {
		ttl = m.limits.TTLDefault.Milliseconds()
	}
	ttl = min(max(ttl, m.limits.TTLMin.Milliseconds()), m.limits.TTLMax.Milliseconds())
	s := &mSession{id: id, conn: conn, ttl: ttl, deadline: m.now + ttl, secrets: []string{secret}}
	m.sessions = append(m.sessions, s)
	m.welcome(s, secret, 0)
}

func (m *model) welcome(s *mSession, secret string, first int) {
	var held []string
	for _, l := range s.alive {
		held = append(held, m.held(l))
	}
	missed := ""
	if first > 0 {
		missed = fmt.Sprintf(`,"first_event":%d`, first)
	}
	m.tell(s.conn, `{"op":"welcome","session":"%s","secret":"%s","ttl_ms":%d,"epoch":"","durable":false,"last_id":%d,"locks":[%s],"event":%d%s}`,
		s.id, secret, s.ttl, s.lastID, strings.Join(held, ","), len(s.events), missed)
}

func (m *model) held(l *mLock) string {
	if !l.request.Acquired {
		return fmt.Sprintf(`{"lock":%d,"state":"enqueued"}`, l.id)
	}
	state := map[bool]string{false: "acquired", true: "upgrading"}[l.request.Upgrading]
	return fmt.Sprintf(`{"lock":%d,"state":"%s"%s}`, l.id, state, m.details(l))
}

// details is how an acquired lock is told.
func (m *model) details(l *mLock) string {
	return fmt.Sprintf(`,"token":"%d"`, l.request.Token) + m.extras(l)
}

func (m *model) extras(l *mLock) (text string) {
	if len(l.request.Slots) > 0 {
		var slots []string
		for _, s := range l.request.Slots {
			slots = append(slots, strconv.Itoa(int(s)))
		}
		text = fmt.Sprintf(`,"slots":[%s]`, strings.Join(slots, ","))
	}
	if l.lease >= 0 {
		text += fmt.Sprintf(`,"lease_ms":%d`, max(1, l.leaseEnd-m.now))
	}
	return text
}

func (m *model) resume(conn uint64, id, secret, fresh string, event int) {
	m.runTimers()
	s := m.session(id)
	if s == nil || !slices.Contains(s.secrets, secret) {
		return
	}
	m.tell(s.conn, `{"error":"taken_over","message":"the session has another connection now"} 3001`)
	m.part(s)
	if secret == s.secrets[0] {
		s.secrets = []string{fresh, secret}
	}
	fresh = s.secrets[0]
	s.conn, s.deadline = conn, m.now+s.ttl
	oldest := max(1, len(s.events)+1-m.limits.Events)
	first := 0
	if event+1 < oldest {
		first = oldest
	}
	m.welcome(s, fresh, first)
	for _, e := range s.events[min(max(event, oldest-1), len(s.events)):] {
		m.tellEvent(s, e)
	}
}

func (m *model) detach(s *mSession) {
	m.part(s)
}

func (m *model) part(s *mSession) {
	if s.conn == 0 {
		return
	}
	s.conn, s.watches = 0, nil
	var leaving []*mLock
	for _, l := range s.alive {
		if l.leaves = l.leave && !l.request.Acquired; l.leaves {
			leaving = append(leaving, l)
		}
	}
	for _, l := range leaving {
		m.end(s, l, "canceled")
	}
}

func (m *model) tellEvent(s *mSession, e mEvent) {
	if s.conn == 0 {
		return
	}
	m.pending = append(m.pending, pending{s.conn, len(m.told[s.conn]), func() string {
		token := ""
		if e.token != 0 {
			token = fmt.Sprintf(`,"token":"%d"`, e.token)
			if l := s.lock(e.lock); l != nil {
				token += m.extras(l)
			}
		}
		return fmt.Sprintf(`{"event":%d,"lock":%d,"state":"%s"%s%s}`, e.n, e.lock, e.state, token, e.more)
	}})
	m.tell(s.conn, "to be worded")
}

// pending is an event that is worded when its connection comes for it: then it tells how the lock is.
type pending struct {
	conn uint64
	line int
	word func() string
}

// word words what a connection has to be told by now; 0: all connections.
func (m *model) word(conn uint64) {
	m.pending = slices.DeleteFunc(m.pending, func(p pending) bool {
		if conn != 0 && p.conn != conn {
			return false
		}
		m.told[p.conn][p.line] = p.word()
		return true
	})
}

func (m *model) event(s *mSession, lock uint64, state string, token uint64, more string) {
	e := mEvent{len(s.events) + 1, lock, state, token, more}
	s.events = append(s.events, e)
	m.tellEvent(s, e)
}

// timeout tells that a wait is over, and the attachment that is there whom it was for.
func (m *model) timeout(s *mSession, l *mLock, state string) {
	e := mEvent{n: len(s.events) + 1, lock: l.id, state: state}
	s.events = append(s.events, e)
	e.more = m.crowd(l.request)
	m.tellEvent(s, e)
}

// crowd is how those in a request's way are told.
func (m *model) crowd(r *enginetest.Request) string {
	list := []wire.V2Blocker{}
	for _, o := range m.locks.Blockers(r) {
		b := wire.V2Blocker{Session: []byte("v1"), Lock: o.Seq, State: wire.V2Enqueued, SinceMS: wire.V2None}
		if o.Acquired {
			b.State = wire.V2Acquired
		}
		for _, s := range m.sessions {
			for _, l := range s.alive {
				if l.request == o {
					b.Session, b.Lock, b.Note, b.SinceMS = []byte(s.id), l.id, []byte(l.note), m.now-l.since
				}
			}
		}
		if o.Upgrading {
			b.State = wire.V2Upgrading
		}
		list = append(list, b)
	}
	if len(list) >= mostBlockers {
		list = list[:0]
	}
	text := string(wire.AppendV2(nil, &wire.V2Message{State: wire.V2Timeout, Blockers: list}))
	return strings.TrimSuffix(strings.TrimPrefix(text, `{"state":"timeout"`), "}")
}

func (s *mSession) lock(id uint64) *mLock {
	for _, l := range s.alive {
		if l.id == id {
			return l
		}
	}
	return nil
}

func (m *model) keep(s *mSession, r mRecord) {
	s.kept = append(s.kept, r)
	s.kept = s.kept[max(0, len(s.kept)-m.limits.Answers):]
}

func (s *mSession) recall(id uint64) (r mRecord) {
	for _, k := range s.kept {
		if k.id == id {
			r = k
		}
	}
	return r
}

// drop ends a lock and acquires what the rule then acquires.
func (m *model) drop(s *mSession, l *mLock, how string) {
	s.alive = slices.DeleteFunc(s.alive, func(o *mLock) bool { return o == l })
	m.keep(s, mRecord{id: l.id, state: how})
	m.locks.Release(l.request)
	m.acquire()
}

func (m *model) end(s *mSession, l *mLock, how string) {
	m.event(s, l.id, how, 0, "")
	m.drop(s, l, how)
}

// acquire grants all that the rule grants.
func (m *model) acquire() {
	var waiting, upgrades []*enginetest.Request
	for _, r := range m.locks.Alive {
		switch {
		case r.Upgrading && m.locks.MayUpgrade(r):
			upgrades = append(upgrades, r)
		case !r.Acquired && m.locks.MayHold(r):
			waiting = append(waiting, r)
		}
	}
	for _, r := range upgrades {
		m.locks.FinishUpgrade(r)
	}
	m.locks.Issue(waiting, upgrades)
	for _, r := range waiting {
		m.locks.Acquire(r)
	}
	for _, r := range m.locks.Alive {
		if slices.Contains(waiting, r) || slices.Contains(upgrades, r) {
			m.tellGrant(r, slices.Contains(upgrades, r))
		}
	}
	if len(waiting)+len(upgrades) > 0 {
		m.acquire()
	}
}

func (m *model) tellGrant(r *enginetest.Request, upgrade bool) {
	if m.foreign[r.Owner] == r {
		m.granted = append(m.granted, r.Owner)
		return
	}
	for _, s := range m.sessions {
		for _, l := range s.alive {
			switch {
			case l.request != r || l.leaves || s.dead:
			case upgrade:
				l.wait, l.changed = -1, "upgraded"
				m.event(s, l.id, "upgraded", r.Token, "")
			default:
				m.acquired(l)
				m.event(s, l.id, "acquired", r.Token, "")
			}
		}
	}
}

func (m *model) acquired(l *mLock) {
	l.since = m.now
	if l.lease >= 0 {
		l.leaseEnd = m.now + l.lease
	}
	l.wait = -1
}

// dueThing is something whose time has come.
type dueThing struct {
	at, rank, age int64
	do            func()
}

func (m *model) due() (all []dueThing) {
	for n, s := range m.sessions {
		if s.dead {
			continue
		}
		if s.deadline <= m.now {
			all = append(all, dueThing{s.deadline, 1, int64(n), func() { m.close(s, "expired", "", `{"error":"expired"} 3002`) }})
		}
		for _, l := range s.alive {
			if l.request.Upgrading && l.wait >= 0 && l.wait <= m.now {
				all = append(all, dueThing{l.wait, 2, int64(l.request.Seq), func() {
					m.timeout(s, l, "upgrade_timeout")
					m.takeBack(l, "upgrade_timeout")
				}})
			}
			if !l.request.Acquired && l.wait >= 0 && l.wait <= m.now {
				all = append(all, dueThing{l.wait, 2, int64(l.request.Seq), func() {
					m.timeout(s, l, "timeout")
					m.drop(s, l, "timeout")
				}})
			}
			if l.request.Acquired && l.lease >= 0 && l.leaseEnd <= m.now {
				all = append(all, dueThing{l.leaseEnd, 0, int64(l.request.Seq), func() { m.end(s, l, "expired") }})
			}
		}
	}
	slices.SortFunc(all, func(a, b dueThing) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.rank, b.rank), cmp.Compare(a.age, b.age))
	})
	return all
}

func (m *model) runTimers() {
	for all := m.due(); len(all) > 0; all = m.due() {
		all[0].do()
	}
}

func (m *model) pass(ms int64) {
	m.now += ms
	m.runTimers()
}

// close ends a session, with events if it is told why.
func (m *model) close(s *mSession, how, more, last string) {
	s.dead, s.watches = true, nil
	for _, l := range slices.Clone(s.alive) {
		if s.conn != 0 && how != "" {
			m.event(s, l.id, how, 0, more)
		}
		m.drop(s, l, how)
	}
	m.tell(s.conn, "%s", last)
}

// revoke is what an administrator does. False: there is no such lock.
func (m *model) revoke(s *mSession, lock uint64) bool {
	m.runTimers()
	l := s.lock(lock)
	if s.dead || l == nil {
		return false
	}
	m.event(s, l.id, "revoked", 0, `,"message":"why"`)
	m.drop(s, l, "revoked")
	return true
}

func (m *model) endSession(s *mSession) bool {
	m.runTimers()
	if s.dead {
		return false
	}
	m.close(s, "revoked", `,"message":"why"`, `{"error":"ended","message":"why"} 3003`)
	return true
}

// do is what a request does.
func (m *model) do(s *mSession, r *Request) {
	m.runTimers()
	m.word(s.conn)
	if s.dead {
		return
	}
	s.deadline, s.secrets = m.now+s.ttl, s.secrets[:1]
	retry := r.ID <= s.lastID
	s.lastID = max(s.lastID, r.ID)
	l := s.lock(r.Lock)
	switch r.Op {
	case wire.V2Lock:
		if retry {
			m.lockAgain(s, r)
		} else {
			m.lock(s, r)
		}
	case wire.V2Release:
		switch {
		case l == nil:
			m.gone(s, r, retry)
		case retry:
			m.recall(s, r, r.ID)
		default:
			how := map[bool]string{true: "released", false: "canceled"}[l.request.Acquired]
			m.tell(s.conn, `{"id":%d,"lock":%d,"state":"%s"}`, r.ID, r.Lock, how)
			m.drop(s, l, how)
		}
	case wire.V2Renew:
		m.renew(s, l, r, retry)
	case wire.V2Upgrade, wire.V2Downgrade:
		switch {
		case l == nil:
			m.gone(s, r, retry)
		case retry:
			m.changedAgain(s, l, r)
		case !l.request.Acquired:
			m.no(s, r.ID, "not_acquired")
		case r.Op == wire.V2Upgrade:
			m.upgrade(s, l, r)
		default:
			m.downgrade(s, l, r)
		}
	case wire.V2Locks:
		var held []string
		for _, l := range s.alive {
			held = append(held, m.held(l))
		}
		m.tell(s.conn, `{"id":%d,"state":"listed","locks":[%s]}`, r.ID, strings.Join(held, ","))
	case wire.V2Inspect:
		m.tell(s.conn, `{"id":%d,"state":"inspected","locks":[%s]}`, r.ID, strings.Join(m.shown(r.Path), ","))
	case wire.V2Watch:
		m.watch(s, r)
	case wire.V2Unwatch:
		s.watches = slices.DeleteFunc(s.watches, func(w mWatch) bool { return w.id == r.Watch })
		m.tell(s.conn, `{"id":%d,"state":"unwatched"}`, r.ID)
	case wire.V2Bye:
		m.close(s, "", "", fmt.Sprintf(`{"id":%d,"state":"bye"} 1000`, r.ID))
	}
}

func (m *model) no(s *mSession, id uint64, code string) {
	m.keep(s, mRecord{id: id, error: code})
	m.tell(s.conn, `{"id":%d,"error":"%s"}`, id, code)
}

func (m *model) lock(s *mSession, r *Request) {
	if len(s.alive) >= m.limits.Locks || r.LeaseMS >= 0 && r.LeaseMS < m.limits.LeaseMin.Milliseconds() {
		m.no(s, r.ID, "limit")
		return
	}
	request, err := m.locks.Lock(0, slices.Clone(r.Wanted))
	if err != nil {
		var why *engine.RequestError
		errors.As(err, &why)
		m.no(s, r.ID, map[bool]string{true: "other_limit", false: "limit"}[why.Reason == engine.OtherLimit])
		return
	}
	l := &mLock{
		id: r.ID, party: r.Party, request: request, wait: -1, lease: r.LeaseMS, leave: r.Leave, since: m.now, note: string(r.Note),
	}
	if m.locks.MayHold(request) {
		m.locks.Acquire(request)
		request.Token = request.Seq
		s.alive = append(s.alive, l)
		m.acquired(l)
		m.tell(s.conn, `{"id":%d,"state":"acquired"%s}`, r.ID, m.details(l))
		return
	}
	if r.WaitMS == 0 {
		m.tell(s.conn, `{"id":%d,"state":"unavailable"%s}`, r.ID, m.crowd(request))
		m.locks.Release(request)
		m.keep(s, mRecord{id: r.ID, state: "unavailable"})
		return
	}
	if r.WaitMS > 0 {
		l.wait = m.now + r.WaitMS
	}
	s.alive = append(s.alive, l)
	if m.deadlocked(s, l) {
		m.locks.Release(request)
		s.alive = s.alive[:len(s.alive)-1]
		m.keep(s, mRecord{id: r.ID, state: "deadlock"})
		m.tell(s.conn, `{"id":%d,"state":"deadlock","cycle":[]}`, r.ID)
		return
	}
	m.enqueued(s, l)
}

func (m *model) enqueued(s *mSession, l *mLock) {
	m.tell(s.conn, `{"id":%d,"state":"enqueued","ahead":%d}`, l.id, len(m.locks.Blockers(l.request)))
}

// deadlocked says whether a lock's party is in a deadlock.
func (m *model) deadlocked(s *mSession, l *mLock) bool {
	return m.locks.Deadlocked(m.party(l.request), m.party)
}

// party is a number for whose a request is.
func (m *model) party(r *enginetest.Request) uint64 {
	for n, s := range m.sessions {
		for _, l := range s.alive {
			if l.request == r {
				return uint64(n+1)<<32 | l.party
			}
		}
	}
	return r.Owner // a foreign one's
}

func (m *model) lockAgain(s *mSession, r *Request) {
	switch l := s.lock(r.ID); {
	case l == nil:
		m.recall(s, r, r.ID)
	case l.request.Acquired:
		m.tell(s.conn, `{"id":%d,"state":"acquired"%s}`, r.ID, m.details(l))
	default:
		m.enqueued(s, l)
	}
}

func (m *model) recall(s *mSession, r *Request, about uint64) {
	switch k := s.recall(about); {
	case k.error != "":
		m.tell(s.conn, `{"id":%d,"error":"%s"}`, r.ID, k.error)
	case k.state != "" && r.Op == wire.V2Lock:
		m.tell(s.conn, `{"id":%d,"state":"%s"}`, r.ID, k.state)
	case k.state != "":
		m.tell(s.conn, `{"id":%d,"lock":%d,"state":"%s"}`, r.ID, r.Lock, k.state)
	default:
		m.tell(s.conn, `{"id":%d,"error":"forgotten"}`, r.ID)
	}
}

func (m *model) gone(s *mSession, r *Request, retry bool) {
	switch k := s.recall(r.Lock); {
	case k.state != "":
		m.tell(s.conn, `{"id":%d,"lock":%d,"state":"%s"}`, r.ID, r.Lock, k.state)
	case retry:
		m.recall(s, r, r.ID)
	default:
		m.no(s, r.ID, "unknown_lock")
	}
}

func (m *model) renew(s *mSession, l *mLock, r *Request, retry bool) {
	switch {
	case r.Lock == 0:
		m.tell(s.conn, `{"id":%d,"state":"renewed","ttl_ms":%d}`, r.ID, s.ttl)
		return
	case l == nil:
		m.gone(s, r, retry)
		return
	case retry && s.recall(r.ID).error != "":
		m.recall(s, r, r.ID)
		return
	case !retry && !l.request.Acquired:
		m.no(s, r.ID, "not_acquired")
		return
	case !retry && r.LeaseMS >= 0 && r.LeaseMS < m.limits.LeaseMin.Milliseconds():
		m.no(s, r.ID, "limit")
		return
	}
	if !retry {
		if r.LeaseMS >= 0 {
			l.lease = r.LeaseMS
		}
		l.leaseEnd = m.now + l.lease
	}
	lease := ""
	if l.lease >= 0 && l.request.Acquired {
		lease = fmt.Sprintf(`,"lease_ms":%d`, max(1, l.leaseEnd-m.now))
	}
	m.tell(s.conn, `{"id":%d,"lock":%d,"state":"renewed","ttl_ms":%d%s}`, r.ID, r.Lock, s.ttl, lease)
}

func (m *model) upgrade(s *mSession, l *mLock, r *Request) {
	if _, err := m.locks.Upgrade(l.request); err != nil {
		m.no(s, r.ID, "upgrade_conflict")
		return
	}
	atOnce := m.locks.MayUpgrade(l.request)
	if l.request.Upgrading && (atOnce || r.WaitMS != 0) && m.deadlocked(s, l) {
		l.request.Upgrading = false
		m.keep(s, mRecord{id: r.ID, error: "deadlock"})
		m.tell(s.conn, `{"id":%d,"lock":%d,"error":"deadlock","cycle":[]}`, r.ID, r.Lock)
		return
	}
	l.upgrade = r.ID
	if l.request.Upgrading && atOnce {
		m.locks.FinishUpgrade(l.request)
		m.locks.Issue(nil, []*enginetest.Request{l.request})
	}
	switch {
	case !l.request.Upgrading:
		l.changed = "upgraded"
		m.tell(s.conn, `{"id":%d,"lock":%d,"state":"upgraded","token":"%d"}`, r.ID, r.Lock, l.request.Token)
	case r.WaitMS == 0:
		m.keep(s, mRecord{id: r.ID, error: "unavailable"})
		m.tell(s.conn, `{"id":%d,"lock":%d,"error":"unavailable"%s}`, r.ID, r.Lock, m.crowd(l.request))
		m.takeBack(l, l.changed)
	default:
		if l.wait = -1; r.WaitMS > 0 {
			l.wait = m.now + r.WaitMS
		}
		m.tell(s.conn, `{"id":%d,"lock":%d,"state":"upgrading"}`, r.ID, r.Lock)
	}
}

func (m *model) takeBack(l *mLock, how string) {
	l.wait, l.changed, l.request.Upgrading = -1, how, false
	m.acquire()
}

func (m *model) downgrade(s *mSession, l *mLock, r *Request) {
	if r.Upgrade != 0 {
		m.tell(s.conn, `{"id":%d,"lock":%d,"state":"acquired"%s}`, r.ID, r.Lock, m.details(l))
		if l.request.Upgrading && l.upgrade == r.Upgrade {
			m.takeBack(l, "acquired")
		}
		return
	}
	m.tell(s.conn, `{"id":%d,"lock":%d,"state":"downgraded"}`, r.ID, r.Lock)
	if l.request.Upgrading {
		m.takeBack(l, "downgraded")
	}
	l.changed = "downgraded"
	if err := m.locks.Downgrade(l.request); err != nil {
		panic(err)
	}
	m.acquire()
}

func (m *model) changedAgain(s *mSession, l *mLock, r *Request) {
	switch state := l.changed; {
	case s.recall(r.ID).error != "" || state == "" && !l.request.Upgrading:
		m.recall(s, r, r.ID)
	case l.request.Upgrading:
		m.tell(s.conn, `{"id":%d,"lock":%d,"state":"upgrading"}`, r.ID, r.Lock)
	case state == "upgraded":
		m.tell(s.conn, `{"id":%d,"lock":%d,"state":"upgraded","token":"%d"}`, r.ID, r.Lock, l.request.Token)
	case state == "acquired":
		m.tell(s.conn, `{"id":%d,"lock":%d,"state":"acquired"%s}`, r.ID, r.Lock, m.details(l))
	default:
		m.tell(s.conn, `{"id":%d,"lock":%d,"state":"%s"}`, r.ID, r.Lock, state)
	}
}
