package wsnet

import (
	"slices"

	"golang.org/x/sys/unix"
)

// readable reads once and serves what came. Epoll is level-triggered: if there is more, the loop
// hears of it again, after the others had their turn.
func (l *loop) readable(c *conn, slot int32) {
	b, known := l.space(c)
	n, errno := l.sys.read(int(c.fd), b[known:])
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return
	case errno != 0:
		l.kill(c, slot, ReasonReset)
		return
	case n == 0:
		l.inputEnded(c, slot)
		return
	}
	l.bytesIn += uint64(n)
	c.heard, c.pinged = l.now, 0
	switch c.state {
	case stateHead:
		l.head(c, slot, b[:known+n], known)
	case stateOpen, stateClosing:
		l.load(c, slot)
		l.converse(c, slot, b[:known+n])
	}
}

// space is where to read to, behind the kept input, so that a frame is in one piece: in the loop's
// buffer, or, behind a long rest, in the connection's own, or a frame sent a byte at a time would
// be copied a thousand times over. It returns how much of the space is taken.
func (l *loop) space(c *conn) ([]byte, int) {
	e := l.peek(c)
	if e == nil {
		return l.buf, 0
	}
	known := len(e.in)
	if known <= keepBytes {
		return l.buf, copy(l.buf, e.in)
	}
	if known == cap(e.in) {
		e.in = append(make([]byte, 0, 2*known), e.in...)
	}
	return e.in[:cap(e.in)], known
}

// inputEnded serves the end of input. Output may still be wanted: the peer may have closed one half.
func (l *loop) inputEnded(c *conn, slot int32) {
	c.flags |= flagEOF
	t := l.load(c, slot)
	t.ended(false)
	l.settle(c, slot, nil)
}

// head serves a request head, of which the first known bytes were looked at before.
func (l *loop) head(c *conn, slot int32, data []byte, known int) {
	end := headEnd(data, known)
	status := headStatus(data, end, l.lim)
	switch {
	case status == headIsTLS:
		l.s.tlsOnPlainPort(l.sys.remote(int(c.fd)).String())
		l.kill(c, slot, ReasonNone)
	case status != 0:
		t := l.load(c, slot)
		l.s.stats.refusedUpgrades.Add(1)
		t.out = appendHeadError(t.out, status)
		t.linger(ReasonNone)
		l.settle(c, slot, nil)
	case end == 0:
		l.keepInput(c, data)
	default:
		l.request(c, slot, data, end)
	}
}

// request serves a whole request head of end bytes, and the frames that came with it.
func (l *loop) request(c *conn, slot int32, data []byte, end int) {
	facts := scanHead(data[:end])
	if !facts.websocket {
		l.handOver(c, slot, data)
		return
	}
	t := l.load(c, slot)
	t.handler = l.handler
	c.end = 0
	l.up.answer(t, data[:end], facts, l.sys.remote(int(c.fd)), nil)
	if t.opened {
		l.s.stats.open.Add(1)
	}
	l.converse(c, slot, data[end:])
}

// converse has the loaded turn take the frames in data. When enough output is collected it is
// written and the turn goes on: frames that are here already would wake nobody. It stops when the
// socket is full and Limits.PauseBytes wait; flush goes on then. It stops, too, when it has lasted long enough: goOn
// goes on with it once others had their turn.
func (l *loop) converse(c *conn, slot int32, data []byte) {
	t, used := &l.turn, 0
	t.begun, t.over = 0, false
	before := t.messages
	for {
		used += t.talk(data[used:])
		if !t.full() || !t.hearsFrames() || t.over {
			break
		}
		if l.spill(); t.blocked {
			if t.mustPause() {
				break
			}
			t.stop = l.lim.PauseBytes
		}
	}
	if used > 0 && t.startedAnew(before) {
		if e := l.peek(c); e != nil {
			e.frame = 0
		}
	}
	if t.over && t.hearsFrames() {
		c.flags |= flagLate
		l.late = append(l.late, t.id)
	}
	l.settle(c, slot, data[used:])
}

// goOn goes on with connections whose turn had lasted long enough, with so many at most: with the first one in any
// case, and with more of them as long as that takes no longer than one. So who sends little waits for one or two of
// them, and not for all.
func (l *loop) goOn(most int) {
	if most == 0 {
		return
	}
	begun, n := l.turn.clock(), 0
	for ; n < most && (n == 0 || l.turn.clock()-begun < turnTime); n++ {
		id := l.late[n]
		c := l.at(id.slot())
		if c.gen != id.gen() || c.flags&flagLate == 0 || c.state == stateDead {
			continue
		}
		c.flags &^= flagLate
		if c.flags&flagPaused != 0 {
			continue // flush does
		}
		c.heard, c.pinged = l.now, 0 // it was we who didn't read
		l.load(c, id.slot())
		l.converse(c, id.slot(), l.kept(c))
	}
	l.late = slices.Delete(l.late, 0, n)
}

// keepInput keeps input that has no whole frame, or must wait. It may lie in the loop's buffer or
// in the connection's own.
func (l *loop) keepInput(c *conn, rest []byte) {
	if len(rest) == 0 {
		if e := l.peek(c); e != nil && e.in != nil {
			l.release(e.in)
			e.in = nil
		}
		return
	}
	e := l.need(c)
	if cap(e.in) < len(rest) {
		l.release(e.in)
		e.in = l.buffer(len(rest))
	}
	e.in = append(e.in[:0], rest...)
}
