package session

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"unsafe"

	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// state is where a session's life stands.
type state uint8

const (
	living state = iota
	ending       // nobody can find it any more; its locks are being given up
	over         // they are
)

// Session is one of a space. What calls need of it they take as a parameter; it may be kept for as long as
// anybody likes.
type Session struct {
	id        string
	name      []byte
	principal string
	remote    netip.AddrPort // where its client is, or was when it had an attachment last
	born      int64
	number    uint64 // in the order of their beginnings
	home      uint64 // as Hello said
	span      int64  // the same
	slot      uint32
	timer     uint32 // place in timers

	secret, before [sha256.Size]byte // before is still good, if it is anything
	hasBefore      bool
	fresh          wire.V2Secret // while before is good: the secret itself, to be told again

	attachment uint64 // 0: none
	woken      bool   // it has been, and will call
	state      state
	leaving    bool  // requests that leave without an attachment are leaving
	farewell   bool  // its client knows that all ends with the server
	last       last  // what an attachment is told when it is over
	ttl        int64 // in milliseconds
	deadline   int64

	lastID  uint64
	roster  roster
	leavers queue // locks that don't wait without an attachment
	queued  int   // locks that aren't acquired
	watches []*watch
	places  places
	own     uint32            // the party of locks without a number; 0: there was none yet
	parties map[uint64]uint32 // the others that have locks, by their numbers
	crowd   int               // as many of them as there is memory for
	kept    records
	events  events
	told    uint64 // the last event that the attachment was told
	ended   uint64 // id of the last lock that was given up
	size    int64  // that is counted in the space's
}

// last is how a session ends for its attachment.
type last struct {
	bye     uint64 // id of the request that ended it; 0: there was none
	code    wire.V2Code
	text    string
	closing uint16
	how     wire.V2State // its locks
	more    *extra       // what is told with that; may be nil
}

// ID is the session's name for the protocol. It is no secret.
func (s *Session) ID() string { return s.id }

// Name is what its client calls it; may be empty.
func (s *Session) Name() string { return string(s.name) }

// Principal is who it belongs to, as Open was told.
func (s *Session) Principal() string { return s.principal }

// Locks is how many locks it has, waiting and acquired.
func (s *Session) Locks() int { return s.roster.len() }

// Hello is what begins a session.
type Hello struct {
	ID        string        // in no other session's use, ever
	Secret    wire.V2Secret // nobody can guess it
	Principal string
	Remote    netip.AddrPort // for people
	Name      []byte         // of the client's own choice
	TTL       int64          // asked for, in milliseconds; wire.V2None: not
	Home      uint64         // the caller's mark, which comes back in Effects.Left
	Span      int64          // another one
}

// ErrName refuses a name that is too long.
var ErrName = errors.New("name: is too long")

// Open begins a session for an attachment and welcomes it.
func (sp *Space) Open(now int64, attachment uint64, h Hello, fx *Effects) (*Session, error) {
	if len(h.Name) > sp.limits.NameBytes {
		fx.reset()
		return nil, fmt.Errorf("%w: it has %d bytes, at most %d are allowed (limits.session_name_bytes)", ErrName, len(h.Name), sp.limits.NameBytes)
	}
	sp.born++
	s := &Session{
		id: h.ID, name: clean(append([]byte(nil), h.Name...)), principal: h.Principal, remote: h.Remote, number: sp.born, home: h.Home, span: h.Span,
		secret: sha256.Sum256(h.Secret), attachment: attachment, ttl: sp.limits.ttl(h.TTL),
	}
	if sp.byID == nil {
		sp.byID = map[string]*Session{}
	}
	if sp.byID[s.id] != nil {
		panic("session: two sessions with one id")
	}
	sp.byID[s.id] = s
	s.slot = sp.seat(s)
	sp.begin(now, s, fx)
	s.born = sp.now
	sp.hear(s)
	sp.setSessionTimer(s)
	sp.welcome(s, h.Secret)
	sp.weigh(s)
	sp.finish()
	return s, nil
}

// seat finds a slot.
func (sp *Space) seat(s *Session) uint32 {
	sp.count++
	sp.peak = max(sp.peak, sp.count)
	if k := len(sp.seats); k > 0 {
		slot := sp.seats[k-1]
		sp.seats = sp.seats[:k-1]
		sp.table[slot] = s
		return slot
	}
	sp.table = append(sp.table, s)
	return uint32(len(sp.table) - 1)
}

// hear gives a session its whole time again. Its timer is moved when it goes off.
func (sp *Space) hear(s *Session) { s.deadline = after(sp.now, s.ttl) }

func (sp *Space) welcome(s *Session, secret []byte) {
	fx := sp.fx
	fx.Welcomed = true
	fx.Welcome = wire.V2Welcome{
		Session: []byte(s.id), Secret: append(wire.V2Secret(nil), secret...), TTLMS: s.ttl, LastID: s.lastID,
		Event: s.events.last,
	}
	fx.Welcome.Held, fx.Welcome.Next = sp.list(s, 0, mostListed)
}

// Errors of Resume.
var (
	ErrNoSession = errors.New("there is no such session: it has expired or ended, or its secret is another one; begin a new one")
	ErrPrincipal = errors.New("the session belongs to another principal")
)

// Resumption is what goes on with a session.
type Resumption struct {
	ID        string
	Secret    wire.V2Secret // as the client knows it
	New       wire.V2Secret // that replaces it
	Principal string
	Remote    netip.AddrPort
	Event     uint64 // the last one that the client has seen
}

// Resume gives a session another attachment and welcomes it. One that it had before is taken over: it has
// no effect any more, and is told so. The secret that was used remains good, beside the new one, until the
// new attachment is heard: if the welcome is lost, the client can come again. It is told the same new one
// then: the hello that comes second may have been sent first, and the client know the new one already.
func (sp *Space) Resume(now int64, attachment uint64, r Resumption, fx *Effects) (*Session, error) {
	sp.begin(now, nil, fx)
	defer sp.finish()
	sp.runTimers(sliceTimers)
	s := sp.byID[r.ID]
	if s == nil || s.deadline <= sp.now {
		return nil, ErrNoSession
	}
	ok, again := s.knows(r.Secret)
	if !ok {
		return nil, ErrNoSession
	}
	if s.principal != r.Principal {
		return nil, ErrPrincipal
	}
	sp.part(s)
	if !again {
		s.before, s.hasBefore = s.secret, true
		s.secret, s.fresh = sha256.Sum256(r.New), append(wire.V2Secret(nil), r.New...)
	}
	s.attachment, s.woken, s.farewell, s.remote = attachment, false, false, r.Remote
	sp.caller = s
	sp.hear(s)
	sp.welcome(s, s.fresh)
	if r.Event+1 < s.events.first() {
		fx.Welcome.FirstEvent = s.events.first()
	}
	s.told = min(max(r.Event, s.events.first()-1), s.events.last)
	fx.Rest = !sp.flush(s)
	sp.weigh(s)
	return s, nil
}

// knows compares secrets, all of them in the same time. again: it is the one before.
func (s *Session) knows(secret []byte) (ok, again bool) {
	sum := sha256.Sum256(secret)
	now, before := subtle.ConstantTimeCompare(sum[:], s.secret[:]), subtle.ConstantTimeCompare(sum[:], s.before[:])
	if !s.hasBefore {
		before = 0
	}
	return now|before == 1, before == 1
}

// confirm notes that the client has the newest secret: the one before is good no more.
func (s *Session) confirm() { s.hasBefore, s.fresh = false, nil }

// part takes a session's attachment away.
func (sp *Space) part(s *Session) {
	if s.attachment == 0 {
		return
	}
	if !s.woken {
		sp.fx.Wake = append(sp.fx.Wake, s.attachment)
	}
	s.attachment, s.woken = 0, false
	sp.endWatches(s)
	s.events.crowds = nil
	s.events.trim(sp.limits.Events)
	if s.state != living {
		return
	}
	s.leaving = true
	if sp.leaveQueues(s); s.leaving {
		sp.leaving = append(sp.leaving, s)
	}
}

// Detach says that an attachment is gone. The session lives on for its time.
func (sp *Space) Detach(now int64, s *Session, attachment uint64, fx *Effects) {
	sp.begin(now, s.of(attachment), fx)
	if s.attachment == attachment {
		s.woken = true // it isn't there to be woken
		sp.part(s)
		sp.weigh(s)
	}
	sp.finish()
}

// Farewell notes that a session's client has heard that all ends with the server: it doesn't believe in its locks any
// more. Only its attachment can have heard that.
func (sp *Space) Farewell(s *Session, attachment uint64) {
	if s.attachment == attachment {
		s.farewell = true
	}
}

// Believed is for how many milliseconds clients may go on to believe in locks of theirs if the server ends now.
func (sp *Space) Believed(now int64) (ms int64) {
	now = max(now, sp.now)
	for _, s := range sp.table {
		if s != nil && s.state == living && !s.farewell && s.roster.len() > s.queued {
			ms = max(ms, left(now, s.deadline)+1)
		}
	}
	return ms
}

// leaveQueues takes requests out of the queue that were not to wait without an attachment, some of them.
func (sp *Space) leaveQueues(s *Session) {
	for n := 0; s.leavers.head != 0; n++ {
		if n == sliceLocks || sp.granted >= sliceGrants {
			return
		}
		i := s.leavers.head
		sp.end(s, i, sp.locks.at(i), wire.V2Canceled, nil)
	}
	s.leaving = false
}

// leaveMore takes more requests out of the queue of sessions whose attachment is gone.
func (sp *Space) leaveMore() {
	for len(sp.leaving) > 0 {
		s := sp.leaving[0]
		if s.leaving && s.state == living {
			if sp.leaveQueues(s); s.leaving {
				return
			}
		}
		sp.leaving[0] = nil
		if sp.leaving = sp.leaving[1:]; len(sp.leaving) == 0 {
			sp.leaving = nil
		}
	}
}

// tell puts an event behind a session's others, and has its attachment come for it.
func (sp *Space) tell(s *Session, x event, more *extra) {
	told := s.events.last
	if s.attachment != 0 {
		told = s.told
	}
	size := len(s.events.ring)
	s.events.add(x, more, told, sp.limits.Events)
	if len(s.events.ring) != size {
		sp.weigh(s)
	}
	sp.wake(s)
}

// of is the session if that is its attachment; nil: it has another one by now, which must be woken as anybody's is.
func (s *Session) of(attachment uint64) *Session {
	if s.attachment != attachment {
		return nil
	}
	return s
}

// wake has a session's attachment come for what there is to tell.
func (sp *Space) wake(s *Session) {
	if s.attachment == 0 || s.woken || s == sp.caller {
		return
	}
	s.woken = true
	sp.fx.Wake = append(sp.fx.Wake, s.attachment)
}

func (sp *Space) setSessionTimer(s *Session) {
	sp.timers.set(timer{due: s.deadline, what: sessionRef | ref(s.slot), rank: rankSession})
}

// expire ends a session that hasn't been heard.
func (sp *Space) expire(s *Session) {
	sp.close(s, last{code: wire.V2SessionExpired, closing: CloseExpired, how: wire.V2Expired})
}

// close ends a session: from now on nobody finds it, and its locks are given up.
func (sp *Space) close(s *Session, l last) {
	if s.state != living {
		return
	}
	s.state, s.last = ending, l
	sp.endWatches(s)
	delete(sp.byID, s.id)
	sp.fx.Left = append(sp.fx.Left, Leaver{s.home, s.span})
	sp.timers.set(timer{due: never, what: sessionRef | ref(s.slot)})
	sp.ending = append(sp.ending, s)
	sp.giveUp()
}

// giveUp ends locks of sessions that have ended, some of them.
func (sp *Space) giveUp() {
	for n := 0; len(sp.ending) > 0; {
		s := sp.ending[0]
		for e, ok := s.roster.first(s.ended); ok; e, ok = s.roster.first(s.ended) {
			if n == sliceLocks || sp.granted >= sliceGrants {
				return
			}
			n++
			s.ended = e.id
			sp.giveUpLock(s, e.lock)
		}
		sp.ending[0] = nil
		if sp.ending = sp.ending[1:]; len(sp.ending) == 0 {
			sp.ending = nil
		}
		sp.leave(s)
	}
}

// giveUpLock ends a lock of a session that has ended.
func (sp *Space) giveUpLock(s *Session, i uint32) {
	l := sp.locks.at(i)
	if s.attachment != 0 && s.last.bye == 0 {
		sp.tell(s, event{lock: l.id, state: s.last.how}, s.last.more)
	}
	sp.drop(s, i, l, s.last.how)
}

// leave takes a session without locks out of the space.
func (sp *Space) leave(s *Session) {
	s.state = over
	sp.wake(s)
	sp.size -= s.size
	if s.own != 0 {
		sp.parties.free(s.own)
	}
	sp.table[s.slot] = nil
	sp.seats = append(sp.seats, s.slot)
	switch sp.count--; {
	case sp.count == 0:
		sp.byID, sp.table, sp.seats, sp.peak = nil, nil, nil, 0
		sp.locks, sp.notes, sp.parties, sp.timers.heap = slab[lock]{}, slab[block]{}, slab[party]{}, nil
	case sp.peak > crowd && sp.count < sp.peak/shrunk:
		sp.shrink()
	}
}

// When most sessions of a crowd have left, the memory is given back by which they were found. That takes a step
// for each that is left, and for each seat; so it isn't done often.
const (
	crowd  = 1024
	shrunk = 32
)

func (sp *Space) shrink() {
	byID := make(map[string]*Session, len(sp.byID))
	maps.Copy(byID, sp.byID)
	n := len(sp.table)
	for sp.table[n-1] == nil {
		n--
	}
	sp.byID, sp.table, sp.seats, sp.peak = byID, append([]*Session(nil), sp.table[:n]...), nil, sp.count
	for slot, s := range sp.table {
		if s == nil {
			sp.seats = append(sp.seats, uint32(slot))
		}
	}
}

// roomBytes is what finding a session takes: its place in a map, in the table and among the seats.
const roomBytes = 52

// weigh counts the memory that a session keeps.
func (sp *Space) weigh(s *Session) {
	if s.state == over {
		return
	}
	now := int64(unsafe.Sizeof(*s)) + int64(len(s.id)+len(s.name)+len(s.principal)+len(s.fresh)) +
		int64(cap(s.roster.list))*int64(unsafe.Sizeof(entry{})) + int64(cap(s.kept.ring))*int64(unsafe.Sizeof(record{})) +
		int64(len(s.events.ring))*int64(unsafe.Sizeof(event{})) + s.places.bytes() +
		int64(s.crowd)*bytesOfParty
	sp.size += now - s.size
	s.size = now
}

// Bytes is the memory that sessions take, beside the engine's for their locks.
func (sp *Space) Bytes() int64 {
	return sp.size + int64(sp.peak)*roomBytes + sp.watched.bytes() + sp.locks.bytes() + sp.notes.bytes() + sp.parties.bytes() +
		int64(cap(sp.timers.heap))*int64(unsafe.Sizeof(timer{}))
}
