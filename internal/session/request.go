package session

import (
	"fmt"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// Request is what an attachment asks for.
type Request struct {
	wire.V2Request
	// Wanted takes the place of V2Request.Resources: what plugins have made of them, in the engine's form.
	Wanted []engine.Resource
	// Refusal, if it isn't nil, is why the request must not be done. A retry is answered all the same, unless it
	// is to look at others' locks.
	Refusal *Refusal
	// Explain words an engine's error for the client; nil: it is good as it is.
	Explain func(error) error
}

// looks says whether it looks at others' locks, which a retry does anew.
func (r *Request) looks() bool { return r.Op == wire.V2Inspect || r.Op == wire.V2Watch }

// Refusal is somebody's verdict against a request.
type Refusal struct {
	Code   wire.V2Code // V2NotAllowed is a plugin's word
	Text   string
	Plugin string
	Number int64 // the plugin's own
}

// Do does a request of an attachment. If it isn't done because there is much to be told before, Undone is set:
// the caller sends what there is and calls Do again, having let others have the mutex. A session that is
// over, or that has another attachment, does nothing any more: its last word comes instead.
func (sp *Space) Do(now int64, s *Session, attachment uint64, r *Request, fx *Effects) {
	sp.begin(now, s.of(attachment), fx)
	defer sp.finish()
	sp.runTimers(sliceTimers)
	if s.attachment == attachment && s.state == living && s.deadline <= sp.now {
		sp.expire(s)
	}
	if s.attachment != attachment || s.state != living {
		sp.lastWord(s, attachment)
		return
	}
	sp.hear(s)
	s.confirm()
	if s.leaving {
		sp.leaveQueues(s)
	}
	sp.settle(s, r)
	if !sp.flush(s) || s.leaving {
		fx.Undone = true
		return
	}
	sp.dispatch(s, r)
	if s.state != living {
		sp.lastWord(s, attachment)
		return
	}
	fx.Rest = !sp.flush(s)
	sp.weigh(s)
}

// Collect gives an attachment that was woken what there is to tell it.
func (sp *Space) Collect(now int64, s *Session, attachment uint64, fx *Effects) {
	sp.begin(now, s.of(attachment), fx)
	defer sp.finish()
	if s.attachment != attachment || s.state != living {
		sp.lastWord(s, attachment)
		return
	}
	fx.Rest = !sp.flush(s)
}

// lastWord tells an attachment why it is over, once there is nothing else to tell.
func (sp *Space) lastWord(s *Session, attachment uint64) {
	fx := sp.fx
	if s.attachment != attachment {
		fx.fail(wire.V2TakenOver, "the session has another connection now", CloseTakenOver)
		return
	}
	switch fx.Rest = !sp.flush(s); {
	case fx.Rest || s.state != over:
		// The attachment is woken when the last lock is given up.
	case s.last.bye != 0:
		fx.answer(s.last.bye, 0, wire.V2Ended)
		fx.Close = s.last.closing
	default:
		fx.fail(s.last.code, s.last.text, s.last.closing)
	}
}

// flush tells the calling attachment what has happened, some of it. True: that was all.
func (sp *Space) flush(s *Session) bool {
	n := 0
	for ; s.told < s.events.last; n++ {
		if n == sliceEvents {
			return false
		}
		s.told++
		sp.tellEvent(s, s.told)
	}
	if !sp.tellChanges(s, n) {
		return false
	}
	s.woken = false
	s.events.trim(sp.limits.Events)
	return true
}

// tellEvent tells one event. Of a lock that is still acquired it tells how it is now.
func (sp *Space) tellEvent(s *Session, n uint64) {
	x := s.events.at(n)
	m := sp.fx.message()
	m.Event, m.Lock, m.State, m.Token = n, x.lock, x.state, x.token
	if x.token != 0 {
		if i := s.roster.find(x.lock); i != 0 {
			l := sp.locks.at(i)
			m.Slots, m.LeaseMS = sp.slots(l), sp.leaseLeft(l)
		}
	}
	if more := s.events.extras[n]; more != nil {
		m.Message = []byte(more.text)
	}
	m.Blockers = s.events.takeCrowd(n)
}

// settle ends what is over of the lock that a request is about.
func (sp *Space) settle(s *Session, r *Request) {
	id := r.Lock
	if r.Op == wire.V2Lock {
		id = r.ID
	}
	for i := s.roster.find(id); i != 0 && sp.locks.at(i).end() <= sp.now; i = s.roster.find(id) {
		sp.due(s, i, sp.locks.at(i))
	}
}

// dispatch does a request, or answers a retry.
func (sp *Space) dispatch(s *Session, r *Request) {
	retry := r.ID <= s.lastID
	s.lastID = max(s.lastID, r.ID)
	if r.Refusal != nil && (!retry || r.looks()) {
		sp.refused(s, r)
		return
	}
	switch r.Op {
	case wire.V2Lock:
		if retry {
			sp.lockAgain(s, r)
		} else {
			sp.lock(s, r)
		}
	case wire.V2Release:
		sp.release(s, r, retry)
	case wire.V2Renew:
		sp.renew(s, r, retry)
	case wire.V2Upgrade:
		sp.upgrade(s, r, retry)
	case wire.V2Downgrade:
		sp.downgrade(s, r, retry)
	case wire.V2Locks:
		m := sp.fx.answer(r.ID, 0, wire.V2Listed)
		m.Held, m.Next = sp.list(s, r.After, r.Limit)
	case wire.V2Inspect:
		sp.inspect(s, r)
	case wire.V2Watch:
		sp.watch(s, r)
	case wire.V2Unwatch:
		sp.unwatch(s, r)
	case wire.V2Bye:
		sp.close(s, last{bye: r.ID, closing: CloseBye, how: wire.V2Released})
	default:
		sp.no(s, r.ID, wire.V2TryLater, "this server doesn't know %q yet", r.Op)
	}
}

// no refuses a request, and keeps why.
func (sp *Space) no(s *Session, id uint64, code wire.V2Code, format string, args ...any) *wire.V2Message {
	s.kept.add(record{id: id, code: code}, sp.limits.Answers)
	return sp.fx.refuse(id, code, fmt.Sprintf(format, args...))
}

// refused answers a request with the verdict that it came with.
func (sp *Space) refused(s *Session, r *Request) {
	v := r.Refusal
	var m *wire.V2Message
	if r.Op == wire.V2Lock && v.Code == wire.V2NotAllowed {
		m = sp.fx.answer(r.ID, 0, wire.V2Denied)
		m.Message = []byte(v.Text)
		s.kept.add(record{id: r.ID, state: wire.V2Denied}, sp.limits.Answers)
	} else {
		m = sp.no(s, r.ID, v.Code, "%s", v.Text)
	}
	if v.Plugin != "" {
		m.Plugin, m.Code = []byte(v.Plugin), v.Number
	}
}
