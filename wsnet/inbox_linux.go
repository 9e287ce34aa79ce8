package wsnet

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// inbox is how everybody else reaches a loop. Putting something in costs a mutex that is hardly
// ever contended and, if the loop sleeps, a write to its eventfd: one for each sleep, by whoever
// comes first (BenchmarkPost).
//
// A wake-up can't be lost, because all that matters happens under mu: the loop goes to sleep by
// finding the inbox empty and setting asleep in one critical section. Whatever is put in before
// keeps it from sleeping; whatever is put in after finds asleep set and writes to the eventfd,
// which ends the wait even if it hasn't begun yet. The write is under mu as well, so that it can't
// come after the descriptor was closed and belongs to somebody else.
type inbox struct {
	fd int // eventfd, watched edge-triggered, so it need never be read

	mu      sync.Mutex // guards all below
	asleep  bool
	closed  bool
	tokens  []item
	sockets []socket
	calls   []func() bool
}

// item is a token for a connection; an id of zero means all of them.
type item struct {
	id    ConnID
	token uint64
}

// socket is an accepted connection on its way to its loop.
type socket struct {
	fd   int
	pass pass
}

var one = [8]byte{1} // whatever the byte order, it isn't zero

// wake ends the loop's sleep. b.mu is held.
func (b *inbox) wake() {
	if b.asleep {
		b.asleep = false
		_, _ = unix.Write(b.fd, one[:])
	}
}

func (b *inbox) putToken(it item) {
	b.mu.Lock()
	if !b.closed {
		b.tokens = append(b.tokens, it)
		b.wake()
	}
	b.mu.Unlock()
}

func (b *inbox) putSocket(s socket) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.sockets = append(b.sockets, s)
	b.wake()
	return true
}

// do has the loop call f and waits until it has; false: the loop is gone.
func (b *inbox) do(f func()) bool {
	return b.until(func() bool { f(); return true })
}

// until has the loop call f once a turn until that returns true, and waits for it; false: the loop
// is gone.
func (b *inbox) until(f func() bool) bool {
	done := make(chan struct{})
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return false
	}
	b.calls = append(b.calls, func() bool {
		over := f()
		if over {
			close(done)
		}
		return over
	})
	b.wake()
	b.mu.Unlock()
	<-done
	return true
}

// maySleep is called by the loop before it blocks; false: there is something to do.
func (b *inbox) maySleep() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asleep = len(b.tokens) == 0 && len(b.sockets) == 0 && len(b.calls) == 0
	return b.asleep
}

// awake is called by the loop after it blocked.
func (b *inbox) awake() {
	b.mu.Lock()
	b.asleep = false
	b.mu.Unlock()
}

// close ends it; what comes later vanishes. It returns what is in but for tokens.
func (b *inbox) close() ([]socket, []func() bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	_ = unix.Close(b.fd)
	sockets, calls := b.sockets, b.calls
	b.tokens, b.sockets, b.calls = nil, nil, nil
	return sockets, calls
}

const itemsKept = 1 << 16 // a buffer of more is given up after a burst

// collect takes what is in the inbox; tokens only when those at hand are delivered, for their order.
func (l *loop) collect() {
	if l.next == len(l.tokens) && cap(l.tokens) > itemsKept {
		l.tokens, l.next = nil, 0
	}
	b := &l.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.next == len(l.tokens) {
		l.tokens, b.tokens, l.next = b.tokens, l.tokens[:0], 0
	}
	l.sockets, b.sockets = append(l.sockets, b.sockets...), b.sockets[:0]
	l.calls, b.calls = append(l.calls, b.calls...), nil
}

// readInbox does what others asked for, as much as a turn has room for. Tokens that handlers post
// meanwhile, to connections of this loop, are delivered in the same turn.
func (l *loop) readInbox() {
	l.collect()
	n := min(len(l.sockets), acceptsPerTurn)
	for _, s := range l.sockets[:n] {
		l.adopt(s)
	}
	l.sockets = slices.Delete(l.sockets, 0, n)
	l.calls = slices.DeleteFunc(l.calls, func(f func() bool) bool { return f() })
	l.allot()
	for l.next < len(l.tokens) && l.mayGoOn() {
		if l.deliver(); l.next == len(l.tokens) {
			l.collect()
		}
	}
}

// deliver calls the handler with the next token.
func (l *loop) deliver() {
	it := l.tokens[l.next]
	if it.id == 0 {
		if l.sweep(it.token) {
			l.next++
		}
		return
	}
	l.next++
	l.share.calls--
	slot := it.id.slot()
	if slot >= l.used {
		return
	}
	if c := l.at(slot); c.gen == it.id.gen() && c.flags&flagOpened != 0 {
		l.notify(c, slot, it)
	}
}

// notify delivers a token, and those for the same connection behind it. What the handler sends is
// written at the end of the turn, once.
func (l *loop) notify(c *conn, slot int32, it item) {
	t := l.load(c, slot)
	l.handler.Notify(t, it.token)
	for it.id != 0 && l.next < len(l.tokens) && l.tokens[l.next].id == it.id && l.share.calls > 0 {
		l.handler.Notify(t, l.tokens[l.next].token)
		l.next++
		l.share.calls--
	}
	l.postpone(c, slot)
}

// sweep delivers a Broadcast to some more connections; true: it is done. Until then the tokens
// behind it wait, for their order.
func (l *loop) sweep(token uint64) bool {
	for ; l.swept < l.used; l.swept++ {
		if !l.mayGoOn() {
			return false
		}
		l.share.calls--
		if c := l.at(l.swept); c.flags&flagOpened != 0 {
			l.notify(c, l.swept, item{token: token})
		}
	}
	l.swept = 0
	return true
}
