package client

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// upgrade is one that waits.
type upgrade struct {
	done chan struct{}
	err  error
}

// Upgrade makes writes of the lock's reads, which waits until nobody else reads: it goes ahead of all who
// wait, and none comes in between. The lock stays held meanwhile; afterwards its token is a new one. When
// ctx ends first, or there is an error, the lock is what it was. A *RefusedError with the code
// "upgrade_conflict" says that another reader waits for the same; one of the two has to release.
func (l *Lock) Upgrade(ctx context.Context) error {
	r := &request{Op: "upgrade", Lock: l.ID()}
	if until, ok := ctx.Deadline(); ok {
		r.WaitMS = milliseconds(waitFor(time.Until(until)))
	}
	u := &upgrade{done: make(chan struct{})}
	_, err := l.c.ask(ctx, r, func(m *message) {
		switch m.State {
		case "upgraded":
			l.upgrade = u
			l.upgraded(m.Token)
		case "upgrading":
			l.upgrade = u
		}
	})
	if err == nil {
		select {
		case <-u.done:
			return u.err
		case <-l.ctx.Done():
			return context.Cause(l.ctx)
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if ctx.Err() != nil {
		l.c.mu.Lock()
		if l.state == heldLock {
			l.upgrade = nil
			l.c.begin(&request{Op: "downgrade", Lock: l.id}, nil)
		}
		l.c.mu.Unlock()
	}
	return err
}

// upgraded takes up that an upgrade was granted. c.mu is held.
func (l *Lock) upgraded(token uint64) {
	l.token = token
	l.endUpgrade(nil)
}

// endUpgrade tells whoever waits for one. c.mu is held.
func (l *Lock) endUpgrade(err error) {
	if l.upgrade != nil {
		l.upgrade.err = err
		close(l.upgrade.done)
		l.upgrade = nil
	}
}

// Downgrade makes reads of the lock's writes, at once. The token stays.
func (l *Lock) Downgrade(ctx context.Context) error {
	_, err := l.c.ask(ctx, &request{Op: "downgrade", Lock: l.ID()}, nil)
	return err
}

func inOrder(locks []*Lock) []*Lock {
	slices.SortFunc(locks, func(a, b *Lock) int { return cmp.Compare(a.id, b.id) })
	return locks
}
