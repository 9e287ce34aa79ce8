// Package quorum locks on a majority of several independent Locktopus servers, for users who want to
// survive the loss of one and run no cluster.
//
// Every server stands for itself and knows nothing of the others. A lock is held while it is held on more
// than half of them; two majorities have a server in common, which doesn't grant the same thing twice. All
// clients must name the same servers in the same order. A lock is acquired on one after the other in that
// order, so that nobody holds a later server while waiting for an earlier one, and clients can't block each
// other in a circle. Servers that can't be reached are passed over.
//
// The lock is then taken on the other servers, too, where nobody else has it, so that it outlives the loss of
// one.
//
// What it costs: a round trip more than servers make a majority, one after the other. What it can't give: one
// fencing token. Each server counts by itself; a guard has to keep a client.Guard for each server and
// take what passes on a majority of them.
package quorum

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/locktopus-project/locktopus/v2/client"
)

// ErrMinority: the lock is no longer held on a majority.
var ErrMinority = errors.New("locktopus: the lock is no longer held on a majority of the servers")

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
// must give the same addresses in the same order. patience is how long a server that can't be reached is
// tried, now and by each Lock; a second if zero.
func Dial(ctx context.Context, addresses []string, options *client.Options, patience time.Duration) (*Quorum, error) {
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
		return nil, fmt.Errorf("locktopus: %d of %d servers reached, %d are needed: %w", reached, len(addresses), q.Majority(), errors.Join(faults...))
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
	locks    []*client.Lock // by server; nil: not held there
	majority int
	ctx      context.Context
	cancel   context.CancelCauseFunc
	watching sync.WaitGroup
}

// Lock acquires on one server after the other until it has a majority. When there can't be one any more, or
// ctx ends, it gives back what it has.
func (q *Quorum) Lock(ctx context.Context, items ...client.Item) (*Lock, error) {
	l := &Lock{locks: make([]*client.Lock, len(q.addresses)), majority: q.Majority()}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	var faults []error
	held := 0
	for i := range q.addresses {
		if held == l.majority || len(faults) > len(q.addresses)-l.majority {
			break
		}
		lock, err := q.lockOne(ctx, i, items)
		if err != nil {
			faults = append(faults, fmt.Errorf("server %d: %w", i, err))
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
		return nil, fmt.Errorf("locktopus: acquired on %d of %d servers, %d are needed: %w", held, len(q.addresses), l.majority, errors.Join(faults...))
	}
	held += q.spares(ctx, l, items)
	l.watch(held - l.majority)
	return l, nil
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
// the loss of as many others. It says how many those are. Nobody is waited for, so no circle can come of it.
func (q *Quorum) spares(ctx context.Context, l *Lock, items []client.Item) (n int) {
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
	for _, lock := range l.locks {
		if lock != nil {
			n++
		}
	}
	return n - l.majority
}

// watch ends the lock when more of its parts have ended than it can spare.
func (l *Lock) watch(spare int) {
	lost := make(chan error, len(l.locks))
	for _, lock := range l.locks {
		if lock != nil {
			l.watching.Go(func() {
				select {
				case <-lock.Done():
					lost <- lock.Err()
				case <-l.ctx.Done():
				}
			})
		}
	}
	l.watching.Go(func() {
		for n := 0; ; n++ {
			select {
			case err := <-lost:
				if n == spare {
					l.cancel(fmt.Errorf("%w: %w", ErrMinority, err))
					return
				}
			case <-l.ctx.Done():
				return
			}
		}
	})
}

// Context ends when the lock is over: it was released, or is no longer held on a majority.
func (l *Lock) Context() context.Context { return l.ctx }

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
