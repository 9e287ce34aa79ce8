package wsnet

import (
	"encoding/binary"
	"time"

	"github.com/gobwas/ws"
)

// state is where a connection stands. It only ever goes up.
type state uint8

const (
	stateFree    state = iota // no connection
	stateHead                 // its request head is arriving
	stateOpen                 // a WebSocket
	stateClosing              // our close frame is queued, the peer's hasn't come
	stateLinger               // nothing more to say: flush, FIN, throw input away until it ends
	stateDead                 // to be closed
)

// corkBytes is how much output a turn collects before it is written: many answers in one write
// (BenchmarkEcho, 16 in flight), and yet a buffer that stays in the processor's cache.
const corkBytes = 32 << 10

// turn is a connection while it is served: what its handler sees as Conn, and its behaviour
// between bytes in and bytes out. A path fills it, calls arrive, notify or ended, and carries
// turn.out away. Only one goroutine uses a turn at a time.
type turn struct {
	handler Handler
	lim     *Limits
	stats   *counters

	id      ConnID
	user    uint64
	state   state
	opened  bool   // Open accepted: Closed is owed
	why     Reason // why it ended, once it is known
	parts   assembly
	out     []byte // output; the first sent bytes of it are gone
	sent    int
	ahead   int    // bytes of earlier output that wait elsewhere
	stop    int    // with so much output talk stops, for the path to write
	spill   func() // writes some of out without blocking, if the path can; may be nil
	blocked bool   // spilling is futile, or out of place, until the path says otherwise

	messages uint64 // counted here, collected by the path

	clock func() time.Duration // nil: it may last for as long as it likes
	begun time.Duration        // when its first message was done; 0: it isn't
	over  bool                 // it has lasted long enough
}

var _ Conn = (*turn)(nil)

func (t *turn) ID() ConnID        { return t.id }
func (t *turn) User() uint64      { return t.user }
func (t *turn) SetUser(u uint64)  { t.user = u }
func (t *turn) waiting() int      { return t.ahead + len(t.out) - t.sent }
func (t *turn) full() bool        { return t.waiting() >= t.stop }
func (t *turn) mustPause() bool   { return t.waiting() >= t.lim.PauseBytes }
func (t *turn) mayResume() bool   { return t.waiting() <= t.lim.PauseBytes/4 }
func (t *turn) hearsFrames() bool { return t.state == stateOpen || t.state == stateClosing }

// Send implements Conn.
func (t *turn) Send(msg []byte) {
	if t.state != stateOpen {
		return
	}
	if t.spill != nil && !t.blocked && t.waiting()+len(msg) > corkBytes {
		if t.spill(); t.state != stateOpen {
			return
		}
	}
	if t.waiting()+len(msg)+frameHeaderBytesMax > t.lim.OutputBytes && t.overflows(len(msg)) {
		t.stats.overflows.Add(1)
		t.die(ReasonOverflow)
		return
	}
	t.out = appendFrame(t.out, ws.OpText, msg)
}

// overflows says precisely whether a message of n bytes is one too many.
func (t *turn) overflows(n int) bool {
	head := 2
	switch {
	case n > 0xffff:
		head = 10
	case n > 125:
		head = 4
	}
	return t.waiting()+head+n > t.lim.OutputBytes
}

// Close implements Conn.
func (t *turn) Close(code uint16, reason string) {
	if code != 0 && !closeCodeValid(code) {
		panic("wsnet: Conn.Close with a code that must not be sent")
	}
	if t.state != stateOpen {
		return
	}
	t.out = appendClose(t.out, code, reason)
	t.state = stateClosing
	t.why = ReasonServerClosed
	if code == goingAway {
		t.why = reasonGoingAway
	}
}

// goingAway is what a server closes with that stops.
const goingAway = uint16(ws.StatusGoingAway)

// die gives the connection up: nothing is sent or read any more.
func (t *turn) die(why Reason) {
	if t.state == stateDead {
		return
	}
	if t.state != stateLinger {
		t.why = why
	}
	t.state = stateDead
}

// linger says that the last word is spoken.
func (t *turn) linger(why Reason) {
	t.state, t.why = stateLinger, why
}

// fail answers a fault with a close frame. RFC 6455 section 7.1.7.
func (t *turn) fail(f *fault) {
	t.stats.protocolErrors.Add(1)
	if t.state == stateOpen {
		t.out = appendClose(t.out, uint16(f.code), f.text)
	}
	t.linger(f.why)
}

// turnTime is how long a connection goes on with messages that came together, while others wait for theirs. Some
// messages take a handler hundreds of microseconds, and thousands of them may lie in one read.
const turnTime = 2 * time.Millisecond

// lasts says whether the turn may go on behind a message. The clock is looked at only if there is another one.
func (t *turn) lasts() bool {
	switch {
	case t.clock == nil || t.over:
	case t.begun == 0:
		t.begun = t.clock()
	default:
		t.over = t.clock()-t.begun >= turnTime
	}
	return !t.over
}

// talk takes whole frames from b until there is none, until enough output wants writing, until the turn has
// lasted long enough, or until the connection is over. It returns how many bytes it took. Whoever stops reading b
// before its end, because t.full() or t.over held, must call again: nothing else will wake it for frames that are here.
func (t *turn) talk(b []byte) (used int) {
	for t.hearsFrames() && used < len(b) && !t.full() && (used == 0 || t.lasts()) {
		f := t.parts.next(b[used:], t.lim)
		used += f.size
		switch f.kind {
		case kindNone:
			return used
		case kindMessage:
			if t.state == stateOpen {
				t.messages++
				t.handler.Message(t, f.data)
			}
		case kindPing:
			if t.state == stateOpen { // 5.5.2: a pong, unless a close frame was received
				t.out = appendFrame(t.out, ws.OpPong, f.data)
			}
		case kindClose:
			t.closedByPeer(f.data)
		case kindFault:
			t.fail(f.fault)
		}
	}
	return used
}

// startedAnew says, after frames were taken, whether what may be half here is another message than
// before, when so many messages had been counted: the deadline of a message runs from its first
// byte to its last, whatever it is cut into.
func (t *turn) startedAnew(messages uint64) bool {
	return t.messages > messages || t.parts.frames == 0
}

// closedByPeer ends the closing handshake. RFC 6455 section 5.5.1.
func (t *turn) closedByPeer(code []byte) {
	switch {
	case t.state == stateOpen:
		t.out = appendFrame(t.out, ws.OpClose, code)
		t.linger(ReasonClientClosed)
	case t.why == reasonGoingAway && (len(code) == 0 || binary.BigEndian.Uint16(code) != goingAway):
		t.linger(ReasonClientClosed)
	default:
		t.linger(ReasonServerClosed)
	}
}

// ended takes note of the input's end or failure: no closing handshake will follow.
func (t *turn) ended(reset bool) {
	switch {
	case reset:
		t.die(ReasonReset)
	case t.state == stateHead:
		t.die(ReasonLost)
	case t.state == stateOpen:
		t.linger(ReasonLost) // the peer may have closed one half only: what it asked is still answered
	case t.state == stateClosing:
		t.linger(ReasonUnanswered)
	}
}

// bye tells the handler, once, that it is over.
func (t *turn) bye() {
	if t.opened && t.state >= stateLinger {
		t.opened = false
		t.handler.Closed(t, t.why)
	}
}
