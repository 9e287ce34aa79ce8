package quorum

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/locktopus-project/locktopus/v2/client"
)

// Quorum is a session with each of several servers. Make it with Dial; Close ends it.
type Quorum struct {
	addresses []string
	options   *client.Options
	patience  time.Duration

	mu      sync.Mutex // guards clients
	clients []*client.Client
	closed  bool
}

// Dial connects to a majority of the servers at least, or says why it can't. All who lock the same things
// must give the same addresses in the same order. patience is how long a server is tried that hasn't been reached yet,
// now and by each Lock; a second if zero. One whose connection was lost is passed over until it is back.
func Dial(ctx context.Context, addresses []string, options *client.Options, patience time.Duration) (*Quorum, error) {
	distinct := map[string]bool{}
	for _, a := range addresses {
		if err := client.CheckAddress(a); err != nil {
			return nil, err
		}
		distinct[a] = true
	}
	if len(distinct) != len(addresses) || len(addresses) == 0 {
		return nil, fmt.Errorf("locktopus: a quorum needs servers that are not the same, but these are %q", slices.Sorted(maps.Keys(distinct)))
	}
	if patience <= 0 {
		patience = time.Second
	}
	q := &Quorum{addresses: addresses, options: options, patience: patience, clients: make([]*client.Client, len(addresses))}
	var dialing sync.WaitGroup
	faults := make([]error, len(addresses))
	for i := range addresses {
		dialing.Go(func() { _, faults[i] = q.client(ctx, i) })
	}
	dialing.Wait()
	reached := 0
	for _, err := range faults {
		if err == nil {
			reached++
		}
	}
	if reached < q.Majority() {
		q.Close()
		return nil, fmt.Errorf("locktopus: %d of %d servers reached, %d are needed: %w", reached, len(addresses), q.Majority(), joined(faults))
	}
	return q, nil
}

// Majority is how many servers a lock needs.
func (q *Quorum) Majority() int { return len(q.addresses)/2 + 1 }

// client is the session with one server, which is begun if there is none.
func (q *Quorum) client(ctx context.Context, i int) (*client.Client, error) {
	q.mu.Lock()
	c, closed := q.clients[i], q.closed
	q.mu.Unlock()
	if closed {
		return nil, client.ErrClosed
	}
	if c != nil {
		return c, nil
	}
	ctx, cancel := context.WithTimeout(ctx, q.patience)
	defer cancel()
	c, err := client.Dial(ctx, q.addresses[i], q.options)
	if err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.clients[i] != nil { // somebody else was faster
		defer c.Close()
		return q.clients[i], q.closedError()
	}
	q.clients[i] = c
	return c, nil
}

// closedError is for callers that hold q.mu.
func (q *Quorum) closedError() error {
	if q.closed {
		return client.ErrClosed
	}
	return nil
}

// Close ends all sessions.
func (q *Quorum) Close() error {
	q.mu.Lock()
	q.closed = true
	clients := q.clients
	q.clients = make([]*client.Client, len(clients))
	q.mu.Unlock()
	var closing sync.WaitGroup
	for _, c := range clients {
		if c != nil {
			closing.Go(func() { c.Close() })
		}
	}
	closing.Wait()
	return nil
}

// Lock is a lock on a majority of the servers.
type Lock struct {
	quorum   *Quorum
	locks    []*client.Lock // by server; nil: not held there
	majority int
	ctx      context.Context
	cancel   context.CancelCauseFunc
	watching sync.WaitGroup
}

// Lock acquires on one server after the other until it has a majority. When there can't be one any more, or
// ctx ends, it gives back what it has.
func (q *Quorum) Lock(ctx context.Context, items ...client.Item) (*Lock, error) {
	l := &Lock{quorum: q, locks: make([]*client.Lock, len(q.addresses)), majority: q.Majority()}
	l.ctx, l.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	var faults []error
	held := 0
	for i := range q.addresses {
		if held == l.majority || len(faults) > len(q.addresses)-l.majority {
			break
		}
		lock, err := q.lockOne(ctx, i, items)
		if err != nil {
			faults = append(faults, &faultOf{q.server(i), err})
			if ctx.Err() != nil {
				break
			}
			continue
		}
		l.locks[i] = lock
		held++
	}
	if held < l.majority {
		l.giveBack(context.WithoutCancel(ctx), q.patience)
		return nil, fmt.Errorf("locktopus: acquired on %d of %d servers, %d are needed: %w", held, len(q.addresses), l.majority, joined(faults))
	}
	q.spares(ctx, l, items)
	if held = l.alive(); held < l.majority { // some were lost while others were waited for
		l.giveBack(context.WithoutCancel(ctx), q.patience)
		return nil, ErrMinority
	}
	l.watch()
	return l, nil
}

// alive is on how many servers the lock is held.
func (l *Lock) alive() (n int) {
	for _, lock := range l.locks {
		if lock != nil && lock.Err() == nil {
			n++
		}
	}
	return n
}

func (q *Quorum) lockOne(ctx context.Context, i int, items []client.Item) (*client.Lock, error) {
	c, err := q.connected(ctx, i)
	if err != nil {
		return nil, err
	}
	return c.Lock(ctx, append(slices.Clip(items), client.Impatient())...)
}

func (q *Quorum) connected(ctx context.Context, i int) (*client.Client, error) {
	c, err := q.client(ctx, i)
	if err == nil && !c.Connected() {
		return nil, errors.New("there is no connection at the moment")
	}
	return c, err
}

// spares takes the lock on the servers that are left, where it can be had at once: with it the lock outlives
// the loss of as many others. Nobody is waited for, so no circle can come of it.
func (q *Quorum) spares(ctx context.Context, l *Lock, items []client.Item) {
	ctx, cancel := context.WithTimeout(ctx, q.patience)
	defer cancel()
	var trying sync.WaitGroup
	for i := range l.locks {
		if l.locks[i] != nil {
			continue
		}
		trying.Go(func() {
			if c, err := q.connected(ctx, i); err == nil {
				l.locks[i], _ = c.TryLock(ctx, items...)
			}
		})
	}
	trying.Wait()
}

// watch ends the lock when so many of its parts have ended that there is no majority.
func (l *Lock) watch() {
	lost, held := make(chan struct{}, len(l.locks)), 0
	for _, lock := range l.locks {
		if lock != nil {
			held++
			l.watching.Go(func() {
				select {
				case <-lock.Done():
					lost <- struct{}{}
				case <-l.ctx.Done():
				}
			})
		}
	}
	l.watching.Go(func() {
		for {
			select {
			case <-lost:
				if held--; held < l.majority {
					l.cancel(l.minority())
					return
				}
			case <-l.ctx.Done():
				return
			}
		}
	})
}

// Context ends when the lock is over: it was released, or is no longer held on a majority. It has the values of the
// context that Lock was called with, and ends independently of that.
func (l *Lock) Context() context.Context { return l.ctx }

// Done is closed when the lock is over.
func (l *Lock) Done() <-chan struct{} { return l.ctx.Done() }

// Err says why the lock is over; nil while it is held. It looks at the clock, and so knows it at once after the process
// was stopped or the machine has slept, when Context takes a moment.
func (l *Lock) Err() error {
	if l.ctx.Err() == nil && l.alive() < l.majority {
		l.cancel(l.minority())
	}
	return context.Cause(l.ctx)
}

// minority says on which servers it isn't held any more, and why.
func (l *Lock) minority() error {
	var losses []error
	for i, lock := range l.locks {
		if lock != nil && lock.Err() != nil {
			losses = append(losses, &faultOf{l.quorum.server(i), lock.Err()})
		}
	}
	return fmt.Errorf("%w: %w", ErrMinority, joined(losses))
}

// Deadline is how much longer the lock is held on a majority at least if no server is heard again.
func (l *Lock) Deadline() time.Duration {
	if l.Err() != nil {
		return 0
	}
	var left []time.Duration
	for _, lock := range l.locks {
		if lock != nil {
			left = append(left, lock.Deadline())
		}
	}
	slices.Sort(left)
	return left[len(left)-l.majority]
}

// Tokens are the fencing tokens by server; 0 where the lock isn't held.
func (l *Lock) Tokens() []uint64 {
	tokens := make([]uint64, len(l.locks))
	for i, lock := range l.locks {
		if lock != nil {
			tokens[i] = lock.Token()
		}
	}
	return tokens
}

// Release gives the lock up everywhere. It returns nil if it was held on a majority until now.
func (l *Lock) Release(ctx context.Context) error {
	_ = l.Err() // which may be over, and nothing has noticed
	l.cancel(client.ErrReleased)
	cause := context.Cause(l.ctx)
	l.watching.Wait()
	l.giveBack(ctx, 0)
	if cause == client.ErrReleased {
		return nil
	}
	return cause
}

// giveBack releases what is held, at once on all servers, for so long at most; 0: as ctx says.
func (l *Lock) giveBack(ctx context.Context, patience time.Duration) {
	if patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	var releasing sync.WaitGroup
	for _, lock := range l.locks {
		if lock != nil {
			releasing.Go(func() { _ = lock.Release(ctx) }) // what is lost is released, too
		}
	}
	releasing.Wait()
}
