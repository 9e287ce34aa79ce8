package wsnet

import (
	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

var pingFrame = ws.CompiledPing

// load prepares the loop's turn for a connection. Its output goes behind what waits already, or
// to the cork buffer.
func (l *loop) load(c *conn, slot int32) *turn {
	t := &l.turn
	t.handler, t.lim = l.handler, l.lim
	t.id, t.user = connID(l.index, slot, c.gen), c.user
	t.state, t.opened, t.why = c.state, c.flags&flagOpened != 0, c.why
	t.parts, t.out, t.sent = assembly{}, l.cork[:0], 0
	t.blocked = c.flags&flagOut != 0
	if e := l.peek(c); e != nil {
		t.parts = e.parts
		if len(e.out) > 0 {
			t.out, t.sent = e.out, e.sent
		}
	}
	t.stop = l.lim.PauseBytes
	if !t.blocked {
		t.stop = min(t.stop, corkBytes)
	}
	l.fd = int(c.fd)
	return t
}

// settle ends a turn: it writes its output, keeps what the socket doesn't take, and the rest of
// the input, and lets the change of state have its consequences.
func (l *loop) settle(c *conn, slot int32, rest []byte) {
	l.spill()
	l.unload(c, slot)
	if !l.turn.hearsFrames() {
		rest = nil
	}
	l.keepInput(c, rest)
	l.arrange(c, slot)
}

// postpone ends a turn whose output is written at the end of the loop's turn.
func (l *loop) postpone(c *conn, slot int32) {
	l.unload(c, slot)
	if c.flags&(flagDirty|flagOut) == 0 && l.peek(c) != nil && c.state != stateDead {
		c.flags |= flagDirty
		l.dirty = append(l.dirty, slot)
	}
	l.arrange(c, slot)
}

// spill writes output, as much as the socket takes at once.
func (l *loop) spill() {
	t := &l.turn
	if t.blocked || t.state == stateDead || len(t.out) == t.sent {
		return
	}
	n, errno := l.sys.write(l.fd, t.out[t.sent:])
	if errno != 0 && errno != unix.EAGAIN && errno != unix.EINTR {
		t.die(ReasonReset)
		return
	}
	l.bytesOut += uint64(n)
	if t.sent += n; t.sent < len(t.out) {
		t.blocked = true
		return
	}
	t.out, t.sent = t.out[:0], 0
}

// unload stores the turn in the connection. Output in the cork buffer moves to one of the
// connection's own.
func (l *loop) unload(c *conn, slot int32) {
	t := &l.turn
	l.messages += t.messages
	t.messages = 0
	c.user, c.why = t.user, t.why
	if t.opened {
		c.flags |= flagOpened
	}
	e := l.peek(c)
	if e == nil && (len(t.out) > 0 || t.parts.frames > 0) {
		e = l.need(c)
	}
	own := e != nil && len(e.out) > 0
	if e != nil {
		progress := own && t.sent > e.sent
		e.parts = t.parts
		l.keepOutput(e, t.out, t.sent, own)
		if len(e.out) == 0 || progress {
			e.write = 0
		}
	}
	if !own && cap(t.out) <= 2*cap(l.buf) {
		l.cork = t.out[:0] // it may have grown
	}
	l.enter(c, slot, t.state)
}

// keepOutput stores what is unsent. A front that is sent is cut off when it is the larger half,
// so that every byte is moved once at most.
func (l *loop) keepOutput(e *extra, out []byte, sent int, own bool) {
	rest := out[sent:]
	switch {
	case len(rest) == 0:
		l.release(e.out)
		e.out, e.sent = nil, 0
	case !own:
		e.out, e.sent = append(l.buffer(len(rest)), rest...), 0
	case sent > len(rest):
		e.out, e.sent = append(out[:0], rest...), 0
	default:
		e.out, e.sent = out, sent
	}
}

// enter sets the deadlines that go with a change of state.
func (l *loop) enter(c *conn, slot int32, st state) {
	if st == c.state {
		return
	}
	was := c.state
	c.state = st
	switch st {
	case stateClosing, stateLinger:
		c.end = l.now.after(l.lim.CloseTimeout)
		if e := l.peek(c); e != nil {
			e.frame = 0
		}
	}
	if st >= stateLinger && was < stateLinger || st == stateDead {
		l.end(c, slot)
	}
}

// arrange brings what is watched, and when to look, in line with the connection.
func (l *loop) arrange(c *conn, slot int32) {
	if c.state == stateDead {
		return
	}
	waiting := 0
	if e := l.peek(c); e != nil {
		waiting = len(e.out) - e.sent
	}
	l.pace(c, waiting)
	if waiting == 0 && c.state == stateLinger && !l.sayNoMore(c, slot) {
		return
	}
	dirty := c.flags&flagDirty != 0 // it will be written before the loop waits
	l.watch(c, slot, waiting > 0 && !dirty, c.flags&(flagPaused|flagLate|flagEOF) != 0)
	if e := l.peek(c); e != nil {
		if waiting > 0 && !dirty && e.write == 0 {
			e.write = l.now.after(l.lim.WriteTimeout)
		}
		if (len(e.in) > 0 || e.parts.frames > 0) && c.flags&(flagPaused|flagLate) == 0 && (c.state == stateOpen || c.state == stateClosing) {
			if e.frame == 0 {
				e.frame = l.now.after(l.lim.MessageTimeout)
			}
		} else {
			e.frame = 0
		}
		l.trim(c)
	}
	l.alarm(c, slot)
}

// pace pauses reading when much output waits. Only flush resumes it, because whole frames may be
// kept that nothing else would look at; but a connection that lingers throws its input away.
func (l *loop) pace(c *conn, waiting int) {
	if c.state == stateLinger {
		c.flags &^= flagPaused
	} else if waiting >= l.lim.PauseBytes {
		c.flags |= flagPaused
	}
}

// sayNoMore sends FIN once everything is written; false: the peer has ended too, and it is over.
func (l *loop) sayNoMore(c *conn, slot int32) bool {
	if c.flags&flagEOF != 0 {
		l.enter(c, slot, stateDead)
		return false
	}
	if c.flags&flagFin == 0 {
		c.flags |= flagFin
		_ = unix.Shutdown(int(c.fd), unix.SHUT_WR)
	}
	return true
}

// watch changes what epoll watches, if it changes.
func (l *loop) watch(c *conn, slot int32, out, deaf bool) {
	want := c.flags &^ (flagOut | flagDeaf)
	events := uint32(0)
	if out {
		want |= flagOut
		events |= unix.EPOLLOUT
	}
	if deaf {
		want |= flagDeaf
	} else {
		events |= toRead
	}
	if want != c.flags {
		c.flags = want
		l.must(unix.EpollCtl(l.ep, unix.EPOLL_CTL_MOD, int(c.fd), &unix.EpollEvent{Events: events, Fd: slot, Pad: int32(c.gen)}))
	}
}

// flush writes what waits. A connection that was paused goes on with the frames it has kept.
func (l *loop) flush(c *conn, slot int32) {
	t := l.load(c, slot)
	t.blocked = false
	l.spill()
	resumes := c.flags&flagPaused != 0 && t.mayResume() && t.hearsFrames()
	if resumes {
		c.heard, c.pinged = l.now, 0 // it was we who didn't read
		c.flags &^= flagPaused
	}
	if !resumes || c.flags&flagLate != 0 { // then goOn goes on
		l.settle(c, slot, l.kept(c))
		return
	}
	t.stop = min(corkBytes, l.lim.PauseBytes)
	l.converse(c, slot, l.kept(c))
}

// kept is the connection's kept input.
func (l *loop) kept(c *conn) []byte {
	if e := l.peek(c); e != nil {
		return e.in
	}
	return nil
}
