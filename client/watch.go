package client

import (
	"context"
	"errors"
	"slices"
)

// Inspect lists who holds and who waits at a path, below it, and above it where that covers it: limit of
// them at most, 100 if it is 0, in the order of the queue. more is empty or what to pass as after to go on; begin with
// "". There may be fewer, or none, and still more.
func (c *Client) Inspect(ctx context.Context, path []string, limit int, after string) (locks []LockInfo, more string, err error) {
	path = orEmpty(path)
	if err := checkPath(path); err != nil {
		return nil, "", err
	}
	if err := checkPage(limit, after); err != nil {
		return nil, "", err
	}
	m, err := c.ask(ctx, &request{Op: "inspect", Path: &path, Limit: limit, After: after}, nil)
	if err != nil {
		return nil, "", err
	}
	return m.Locks, m.Next, nil
}

// Why a watch is over, besides what ends the client.
var (
	// ErrWatchInterrupted: the connection was lost. Begin another watch.
	ErrWatchInterrupted = errors.New("locktopus: the connection was lost, and the watch with it")
	// ErrWatchLagged: changes came faster than they were taken. Begin another watch.
	ErrWatchLagged = errors.New("locktopus: the watch could not keep up")
)

// watchBuffer is how many changes may wait to be taken.
const watchBuffer = 4096

// Change is something that happened to a lock.
type Change struct {
	// Change is "enqueued", "acquired", "upgrading", "upgraded", "downgraded" or "ended".
	Change string
	// Lock is the lock as it is now; of one that has ended the state says how.
	Lock LockInfo
}

// Watch tells what changes at a path, below it, and above it where that covers it.
type Watch struct {
	c       *Client
	asked   *call
	locks   []LockInfo
	changes chan Change
	over    chan struct{}

	// Guarded by the client's mutex.
	closed bool
	number uint64 // of the last change
	err    error  // until over is closed
}

// Watch begins to watch a path. Close it.
func (c *Client) Watch(ctx context.Context, path []string) (*Watch, error) {
	path = orEmpty(path)
	if err := checkPath(path); err != nil {
		return nil, err
	}
	w := &Watch{c: c, changes: make(chan Change, watchBuffer), over: make(chan struct{})}
	c.mu.Lock()
	if err := c.ready(); err != nil {
		c.mu.Unlock()
		return nil, err
	}
	w.asked = c.begin(&request{Op: "watch", Path: &path}, w.begun)
	c.mu.Unlock()
	m, err := w.asked.wait(ctx)
	if err != nil {
		w.Close() // in case that it was begun for nobody
		return nil, err
	}
	w.locks = m.Locks
	for more := m.Next; more != ""; {
		var locks []LockInfo
		if locks, more, err = c.Inspect(ctx, path, 0, more); err != nil {
			w.Close()
			return nil, err
		}
		w.locks = append(w.locks, locks...)
	}
	return w, nil
}

// begun takes the answer up. c.mu is held.
func (w *Watch) begun(m *message) {
	switch {
	case m.State != "watching":
	case w.closed:
		w.c.begin(&request{Op: "unwatch", Watch: m.ID}, nil)
	default:
		w.c.watches[m.ID] = w
	}
}

// Locks are those that there were when the watch began. A table of them, by session and lock, in which each change
// puts its lock, or out of which it takes one that has ended, has what Inspect would tell.
func (w *Watch) Locks() []LockInfo { return w.locks }

// Next waits for the next change. The error is ctx's, or says why the watch is over.
func (w *Watch) Next(ctx context.Context) (Change, error) {
	select {
	case change := <-w.changes:
		return change, nil
	default:
	}
	select {
	case change := <-w.changes:
		return change, nil
	case <-w.over:
		select {
		case change := <-w.changes:
			return change, nil
		default:
			return Change{}, w.err
		}
	case <-ctx.Done():
		return Change{}, context.Cause(ctx)
	}
}

// Close ends the watch.
func (w *Watch) Close() {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	w.closed = true
	if w.c.watches[w.asked.ID] == w {
		w.stop(ErrClosed)
	}
}

// stop ends the watch, and says so to the server. c.mu is held.
func (w *Watch) stop(cause error) {
	delete(w.c.watches, w.asked.ID)
	w.end(cause)
	w.c.begin(&request{Op: "unwatch", Watch: w.asked.ID}, nil)
}

// end is the end of the watch. c.mu is held.
func (w *Watch) end(cause error) {
	w.err = cause
	close(w.over)
}

// watched takes up what a watch tells. c.mu is held.
func (c *Client) watched(m *message) {
	w := c.watches[m.Watch]
	if w == nil {
		return
	}
	if m.Change == "lagged" || len(m.Locks) == 0 || m.Number != w.number+1 {
		delete(c.watches, m.Watch)
		w.end(ErrWatchLagged)
		return
	}
	w.number = m.Number
	select {
	case w.changes <- Change{Change: m.Change, Lock: m.Locks[0]}:
	default:
		w.stop(ErrWatchLagged)
	}
}

// endWatches ends what ends with a connection. A request for a watch that has no answer begins one over the next
// connection. c.mu is held.
func (c *Client) endWatches(cause error) {
	for id, w := range c.watches {
		delete(c.watches, id)
		w.end(cause)
	}
	c.calls = slices.DeleteFunc(c.calls, func(q *call) bool {
		return q.Op == "unwatch"
	})
}
