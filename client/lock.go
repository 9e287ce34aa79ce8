package client

import (
	"context"
	"fmt"
	"time"
)

type lockState uint8

const (
	waitingLock lockState = iota
	heldLock
	overLock
)

// Lock is a lock that was granted. It is over when it is released, or lost.
type Lock struct {
	c       *Client
	request request       // as it was asked for
	patient time.Time     // when waiting ends; zero: never
	lease   time.Duration // zero: as long as the session
	ctx     context.Context
	cancel  context.CancelCauseFunc
	settled chan struct{} // closed when it is acquired, or will never be

	// Guarded by the client's mutex.
	id      uint64
	asked   *call // the request for it
	state   lockState
	aside   bool // it waits for the next server, as this one is shutting down
	token   uint64
	slots   []uint32
	leased  time.Duration // when the last thing was sent that the server has answered with what is left of its lease
	left    time.Duration // which was that much
	doubted bool          // its lease was over by what had been heard, and is begun anew
	err     error         // why it will never be acquired
	upgrade *upgrade      // nil: none waits
}

// Lock waits for all resources at once and takes them. When ctx ends first it gives up and leaves the queue;
// where ctx has a deadline the server knows of it, and the *UnavailableError says who was in the way. Over a slow network
// its word may come too late for that: see Wait.
//
// ctx is for waiting only: how long the lock lasts has nothing to do with it. Its values are in Lock.Context, too.
//
// Other errors: *DeadlockError, *RefusedError, ErrClosed, and ErrDeadline when the grant came too late to be used.
func (c *Client) Lock(ctx context.Context, items ...Item) (*Lock, error) {
	return c.acquire(ctx, items, false)
}

// TryLock is Lock without waiting: what can't be had now, in fair order, is an *UnavailableError that says
// who is in the way. ctx is for the server's answer.
func (c *Client) TryLock(ctx context.Context, items ...Item) (*Lock, error) {
	return c.acquire(ctx, items, true)
}

func (c *Client) acquire(ctx context.Context, items []Item, now bool) (*Lock, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	l := &Lock{c: c, request: request{Op: "lock"}, settled: make(chan struct{})}
	for _, item := range items {
		item.add(&l.request)
	}
	if err := l.request.check(); err != nil {
		return nil, err
	}
	if l.request.Party == 0 {
		NewParty().add(&l.request)
	}
	l.lease = l.request.lease
	if now {
		l.request.WaitMS = milliseconds(0)
	} else {
		var cancel context.CancelFunc
		ctx, cancel = l.bear(ctx)
		defer cancel()
	}
	l.ctx, l.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	c.mu.Lock()
	if err := c.ready(); err != nil {
		c.mu.Unlock()
		l.cancel(err)
		return nil, err
	}
	l.begin()
	c.mu.Unlock()
	select {
	case <-l.settled:
	case <-ctx.Done():
		l.giveUp(c.offline(context.Cause(ctx)))
	}
	if l.err != nil {
		return nil, l.err
	}
	return l, nil
}

// bear finds out how long to wait: as the caller's context says, or as Wait does. Then the server's answer may take a
// little longer, but not for ever.
func (l *Lock) bear(ctx context.Context) (context.Context, context.CancelFunc) {
	until, ends := ctx.Deadline()
	if l.request.WaitMS != nil {
		wait := time.Duration(*l.request.WaitMS) * time.Millisecond
		if said := time.Now().Add(wait); !ends || said.Before(until) {
			l.patient = said
			return context.WithDeadlineCause(ctx, said.Add(answerPatience), &UnavailableError{State: "timeout"})
		}
		l.request.WaitMS = nil
	}
	if ends {
		l.patient = until
	}
	return ctx, func() {}
}

// begin asks for the lock, again where the session is another one than before. c.mu is held.
func (l *Lock) begin() {
	r := l.request
	switch left := time.Until(l.patient); {
	case l.patient.IsZero():
	case r.WaitMS != nil: // of Wait
		r.WaitMS = milliseconds(left)
	default:
		r.WaitMS = milliseconds(waitFor(left))
	}
	q := l.c.begin(&r, nil)
	l.id, l.asked, q.lock, l.aside, l.doubted = q.ID, q, l, false, false
	q.take = func(m *message) { l.answered(q, m) }
	if q.err != nil {
		l.drop(q.err)
	}
}

// waitFor leaves the server's answer some time to arrive, so that it comes before the caller's own limit.
func waitFor(d time.Duration) time.Duration { return d - min(d/20, 50*time.Millisecond) }

// answered takes up what the server says to the request. c.mu is held.
func (l *Lock) answered(q *call, m *message) {
	if l.state == overLock {
		return // given up meanwhile; a release is on its way
	}
	switch {
	case m.State == "enqueued", m.State == "acquired" && l.aside: // whose release is on its way
		l.c.locks[l.id] = l
	case m.State == "acquired":
		l.acquired(q.sent, m)
	case m.Error == "draining" && l.canStandAside(l.c.holders()):
		l.aside = true
		l.c.locks[l.id] = l
	default:
		l.drop(ended(m))
	}
}

// begun notes how long the lease lasts from when something was sent. A retry may be answered when much of it is
// over. c.mu is held.
func (l *Lock) begun(sent time.Duration, m *message) {
	if l.lease == 0 {
		return
	}
	l.leased, l.left = sent, min(l.lease, time.Duration(m.LeaseMS)*time.Millisecond)
	if until := l.until(); until < l.c.due {
		l.c.due = until
		l.c.look()
	}
}

// until is when a lock that is held ends unless the server is heard, or goes. c.mu is held.
func (l *Lock) until() time.Duration {
	end := l.c.end()
	if l.lease > 0 {
		end = min(end, l.leased+l.c.usable(l.left))
	}
	return end
}

// acquired makes it a lock that is held, unless the server's word was so long on its way that it may not be true
// any more. sent is when the server can have granted it at the earliest, as far as is known. c.mu is held.
func (l *Lock) acquired(sent time.Duration, m *message) {
	l.begun(sent, m)
	switch now := l.c.now(); {
	case now >= l.c.stops && l.request.waits(): // it would end at once
		l.c.locks[l.id] = l
		l.standAside()
		return
	case now >= l.c.end(), now >= l.until() && l.doubted:
		l.askRelease(ErrDeadline)
		return
	case now >= l.until():
		l.renewFirst(m)
		return
	}
	l.state, l.token, l.slots = heldLock, m.Token, m.Slots
	l.c.locks[l.id] = l
	if l.lease > 0 {
		l.c.leases[l.id] = l
	}
	close(l.settled)
}

// renewFirst begins a lease anew before the lock is relied on: it may be over by what was heard last, which is long ago
// for a client that has nothing to do but to wait. c.mu is held.
func (l *Lock) renewFirst(granted *message) {
	l.doubted = true
	l.c.locks[l.id] = l
	q := l.c.begin(&request{Op: "renew", Lock: l.id}, nil)
	q.take = func(m *message) {
		switch {
		case l.state != waitingLock || l.aside:
		case m.State == "renewed":
			granted.LeaseMS = m.LeaseMS
			l.acquired(q.sent, granted)
		default:
			l.drop(ended(m))
		}
	}
}

// happened takes an event up. c.mu is held.
func (l *Lock) happened(m *message) {
	switch m.State {
	case "acquired":
		if l.state != waitingLock || l.aside {
			return
		}
		l.acquired(l.c.heard, m)
		if l.state == heldLock && l.lease > 0 {
			l.askRenewal()
		}
	case "upgraded":
		l.upgraded(m.Token)
	case "upgrade_timeout":
		l.endUpgrade(refusal(m))
	default:
		l.drop(ended(m))
	}
}

// found takes up what the server says of a lock about which nothing was heard for a while. c.mu is held.
func (l *Lock) found(info *LockInfo) {
	m := &message{State: info.State, Token: info.Token, Slots: info.Slots, LeaseMS: info.LeaseMS}
	switch {
	case l.aside: // its release is sent once more
	case l.state == heldLock && info.Token < l.token:
		l.askRelease(&LostError{State: "gone", Message: fmt.Sprintf("the server says that its token is %d, and has said %d already", info.Token, l.token)})
	case l.state == waitingLock && info.State != "enqueued":
		l.acquired(l.c.heard, m)
	case l.state == heldLock && info.Token != l.token:
		l.upgraded(info.Token)
	case l.state == heldLock && info.State == "acquired" && l.upgrade != nil:
		l.endUpgrade(&UnavailableError{State: "upgrade_timeout"})
	}
}

// ended is the error for how the server says that a lock has ended.
func ended(m *message) error {
	if err := refusal(m); err != nil { // "timeout" for example
		return err
	}
	return &LostError{State: m.State, Message: m.Message}
}

// drop ends a lock without a word to the server. c.mu is held.
func (l *Lock) drop(cause error) {
	delete(l.c.locks, l.id)
	delete(l.c.leases, l.id)
	l.end(cause)
}

// end is the end of the lock, or of waiting for it. c.mu is held.
func (l *Lock) end(cause error) {
	switch l.state {
	case waitingLock:
		l.err = cause
		close(l.settled)
	case overLock:
		return
	}
	l.state = overLock
	l.endUpgrade(cause)
	l.cancel(cause)
}

// giveUp ends waiting, unless it has just ended.
func (l *Lock) giveUp(cause error) {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	if l.state == heldLock {
		l.err = cause // the caller will never know that it had the lock
	}
	if l.state != overLock {
		l.askRelease(cause)
	}
}

// askRelease ends the lock and says so to the server, if it can know of it; nil: it can't. c.mu is held.
func (l *Lock) askRelease(cause error) *call {
	l.drop(cause)
	if l.c.withdraw(l.asked) {
		return nil
	}
	return l.c.begin(&request{Op: "release", Lock: l.id}, nil)
}

// waiting are the requests that wait for a lock, in their order. c.mu is held.
func (c *Client) waiting() (all []*Lock) {
	for _, l := range c.locks {
		if l.state == waitingLock {
			all = append(all, l)
		}
	}
	for _, q := range c.calls {
		if q.lock != nil && q.lock.state == waitingLock {
			all = append(all, q.lock)
		}
	}
	return inOrder(all)
}

// leaveQueues ends requests that don't wait without a connection. The server is told, too: it may have granted one
// just before the connection was lost. c.mu is held.
func (c *Client) leaveQueues() {
	for _, l := range c.waiting() {
		if l.request.Leave {
			l.askRelease(&LostError{State: "canceled", Message: "the connection was lost, and it was not to wait without one"})
		}
	}
}

// Token is the lock's fencing token: larger than that of every conflicting lock that was granted before.
// An upgrade changes it.
func (l *Lock) Token() uint64 {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	return l.token
}

// ID is what the server calls the lock within its session.
func (l *Lock) ID() uint64 {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	return l.id
}

// Slots are the numbers of the lock's permits, in the order of its resources: each is below its limit and
// nobody else's for as long as the lock is held.
func (l *Lock) Slots() []uint32 {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	return append([]uint32(nil), l.slots...)
}

// Context ends when the lock is over. context.Cause tells why: ErrReleased, ErrDeadline, a *LostError, or
// ErrClosed. It has the values of the context that Lock was called with, and ends independently of that.
func (l *Lock) Context() context.Context { return l.ctx }

// Done is closed when the lock is over.
func (l *Lock) Done() <-chan struct{} { return l.ctx.Done() }

// Err says why the lock is over; nil while it is held. It looks at the clock, and so knows it at once after the
// process was stopped or the machine has slept, when Context takes a moment.
func (l *Lock) Err() error {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	l.expire(l.c.now())
	return context.Cause(l.ctx)
}

// expire ends a lock whose time is over. The server may have given it to others; it is told in case that it hasn't.
// c.mu is held.
func (l *Lock) expire(now time.Duration) {
	switch {
	case l.state != heldLock || now < l.until():
	case now >= l.c.stops:
		l.askRelease(&LostError{State: "shutdown", Message: "the server is shutting down, and the lock would end with it"})
	default:
		l.askRelease(ErrDeadline)
	}
}

// Deadline is how much longer the lock lasts at least if the server is not heard again, or if it is shutting down.
func (l *Lock) Deadline() time.Duration {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	if l.state != heldLock {
		return 0
	}
	return max(0, l.until()-l.c.now())
}

// Release gives the lock up and waits for the server's word. It returns nil if the lock was held until now,
// and otherwise why it was not; a second call returns nil. When ctx ends first the release goes on. So it does when
// the server isn't heard until the lock would have ended by itself: that is ErrDeadline.
func (l *Lock) Release(ctx context.Context) error {
	c := l.c
	c.mu.Lock()
	l.expire(c.now())
	if l.state != heldLock {
		err := context.Cause(l.ctx)
		c.mu.Unlock()
		if err == ErrReleased {
			return nil
		}
		return err
	}
	patience := l.until() - c.now()
	q := l.askRelease(ErrReleased)
	c.mu.Unlock()
	ctx, cancel := context.WithTimeoutCause(ctx, patience, ErrDeadline)
	defer cancel()
	m, err := q.wait(ctx)
	if err == nil && m.State != "released" {
		if m.Message == "" {
			m.Message = q.why
		}
		err = ended(m)
	}
	return err
}

// Renew begins the lock's lease anew and waits for the server's word; without a lease it does nothing that
// the client doesn't do by itself.
func (l *Lock) Renew(ctx context.Context) error {
	l.c.mu.Lock()
	l.expire(l.c.now())
	if l.state != heldLock {
		defer l.c.mu.Unlock()
		return context.Cause(l.ctx)
	}
	q := l.askRenewal()
	l.c.mu.Unlock()
	return l.told(ctx, q)
}

// told waits for the answer to a request about the lock, which is none if the lock ends first.
func (l *Lock) told(ctx context.Context, q *call) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.ctx, func() { cancel(context.Cause(l.ctx)) })()
	m, err := q.wait(ctx)
	if err == nil && endStates[m.State] {
		err = ended(m)
	}
	return err
}

// endStates are what an answer says of a lock that has ended.
var endStates = map[string]bool{"released": true, "canceled": true, "expired": true, "revoked": true}

// askRenewal begins the lease anew. c.mu is held.
func (l *Lock) askRenewal() *call {
	q := l.c.begin(&request{Op: "renew", Lock: l.id}, nil)
	q.take = func(m *message) {
		if m.State == "renewed" && l.state == heldLock {
			l.begun(q.sent, m)
		}
	}
	return q
}
