package client

import (
	"context"
	"encoding/json"
	"errors"
)

// lockOrInfo is what stands behind "lock": its id, or in what a watch tells, all about it.
type lockOrInfo struct {
	ID   uint64
	Info *LockInfo
}

func (l *lockOrInfo) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '{' {
		l.Info = &LockInfo{}
		return json.Unmarshal(text, l.Info)
	}
	return json.Unmarshal(text, &l.ID)
}

// Inspect lists who holds and who waits at a path, below it, and above it where that covers it: limit of
// them at most, in the order of the queue. more is empty or what to pass as after to go on; begin with "".
func (c *Client) Inspect(ctx context.Context, path []string, limit int, after string) (locks []LockInfo, more string, err error) {
	path = orEmpty(path)
	if err := checkPath(path); err != nil {
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
	Change string // the state it has come to, such as "enqueued", "acquired" or "released"
	Lock   LockInfo
}

// Watch tells what changes at and below a path.
type Watch struct {
	c       *Client
	id      uint64
	locks   []LockInfo
	changes chan Change
	over    chan struct{}
	err     error // guarded by the client's mutex until over is closed
}

// Watch begins to watch a path. Close it.
func (c *Client) Watch(ctx context.Context, path []string) (*Watch, error) {
	path = orEmpty(path)
	if err := checkPath(path); err != nil {
		return nil, err
	}
	w := &Watch{c: c, changes: make(chan Change, watchBuffer), over: make(chan struct{})}
	m, err := c.ask(ctx, &request{Op: "watch", Path: &path}, func(m *message) {
		if m.State == "watching" {
			w.id = m.ID
			c.watches[w.id] = w
		}
	})
	if err != nil {
		w.Close() // in case that it was begun for nobody
		return nil, err
	}
	w.locks = m.Locks
	return w, nil
}

// Locks are those that there were when the watch began.
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
		return Change{}, w.err
	case <-ctx.Done():
		return Change{}, context.Cause(ctx)
	}
}

// Close ends the watch.
func (w *Watch) Close() {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if w.c.watches[w.id] == w {
		delete(w.c.watches, w.id)
		w.end(ErrClosed)
		w.c.begin(&request{Op: "unwatch", Watch: w.id}, nil)
	}
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
	if m.Change == "lagged" || m.Lock.Info == nil {
		delete(c.watches, w.id)
		w.end(ErrWatchLagged)
		return
	}
	select {
	case w.changes <- Change{Change: m.Change, Lock: *m.Lock.Info}:
	default:
		delete(c.watches, w.id)
		w.end(ErrWatchLagged)
		c.begin(&request{Op: "unwatch", Watch: w.id}, nil)
	}
}
