package client

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
)

// upgrade is one that waits.
type upgrade struct {
	done   chan struct{}
	err    error
	before uint64 // the lock's token
}

// Upgrade makes writes of the lock's reads, which waits until nobody else reads: it goes ahead of all who
// wait, and none comes in between. The lock stays held meanwhile; afterwards its token is a new one. When there is an
// error the lock is what it was. A *RefusedError with the code "upgrade_conflict" says that another reader waits for
// the same; one of the two has to release.
//
// When ctx ends first the upgrade is taken back. If it was granted just then, a lock that had reads alone is
// downgraded again; one that had writes, too, keeps what it has got, so as not to lose those.
func (l *Lock) Upgrade(ctx context.Context) error {
	u := &upgrade{done: make(chan struct{})}
	q, err := l.beginUpgrade(ctx, u)
	if err != nil {
		return err
	}
	if err = l.told(ctx, q); err == nil {
		select {
		case <-u.done:
			return u.err
		case <-l.ctx.Done():
			return context.Cause(l.ctx)
		case <-ctx.Done():
			err = l.c.offline(context.Cause(ctx))
		}
	}
	if ctx.Err() != nil {
		l.takeBack(q.ID, u)
	}
	return err
}

func (l *Lock) beginUpgrade(ctx context.Context, u *upgrade) (*call, error) {
	r := &request{Op: "upgrade"}
	if until, ok := ctx.Deadline(); ok {
		r.WaitMS = milliseconds(waitFor(time.Until(until)))
	}
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	if l.expire(l.c.now()); l.state != heldLock {
		return nil, context.Cause(l.ctx)
	}
	r.Lock, u.before = l.id, l.token
	q := l.c.begin(r, nil)
	q.take = func(m *message) { l.upgradeAnswered(u, m) }
	return q, nil
}

// upgradeAnswered takes up what the server says to an upgrade. c.mu is held.
func (l *Lock) upgradeAnswered(u *upgrade, m *message) {
	switch {
	case l.state != heldLock:
	case m.State == "upgrading":
		l.upgrade = u
	case m.State == "upgraded":
		l.upgrade = u
		l.upgraded(m.Token)
	default: // there is an error, or it was taken back
		u.err = context.Canceled
		close(u.done)
	}
}

// takeBack ends an upgrade for which nobody waits any more.
func (l *Lock) takeBack(id uint64, u *upgrade) {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	if l.state != heldLock {
		return
	}
	if l.upgrade == u {
		l.upgrade = nil
	}
	l.c.begin(&request{Op: "downgrade", Lock: l.id, Upgrade: id}, func(m *message) {
		if l.state == heldLock && l.token != u.before && l.readsAlone() {
			l.c.begin(&request{Op: "downgrade", Lock: l.id}, nil)
		}
	})
}

// readsAlone says whether the lock was asked for without writes.
func (l *Lock) readsAlone() bool {
	return !slices.ContainsFunc(l.request.Resources, func(r Resource) bool { return strings.HasPrefix(strings.ToLower(r.Type), "w") })
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

// Downgrade makes reads of the lock's writes, at once. The token stays. An upgrade that waits is taken back.
func (l *Lock) Downgrade(ctx context.Context) error {
	l.c.mu.Lock()
	if l.expire(l.c.now()); l.state != heldLock {
		defer l.c.mu.Unlock()
		return context.Cause(l.ctx)
	}
	q := l.c.begin(&request{Op: "downgrade", Lock: l.id}, nil)
	l.endUpgrade(context.Canceled)
	l.c.mu.Unlock()
	return l.told(ctx, q)
}

func inOrder(locks []*Lock) []*Lock {
	slices.SortFunc(locks, func(a, b *Lock) int { return cmp.Compare(a.id, b.id) })
	return locks
}
