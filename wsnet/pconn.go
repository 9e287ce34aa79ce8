package wsnet

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

// pconn is a connection of the portable path. Three roles are held by one goroutine at a time
// each: the reader, which is the connection's own goroutine; whoever is in the turn (busy), during
// calls of the handler; the writer (writing), during writes. Whoever posts to a connection that
// nobody is busy with starts a goroutine that is, for as long as there are tokens. Only the reader
// ever waits for the writer, so a peer that doesn't read holds up nothing but its own input.
type pconn struct {
	p     *portable
	nc    net.Conn  // what is read and written
	raw   net.Conn  // the socket under it
	tls   *tls.Conn // nil on a plain connection
	input *input    // the reader's
	pass  pass
	slot  int32
	fresh uint64 // the reader's: bytes read and not counted

	turn turn      // belongs to whoever set busy
	inst *instance // whoever is in the turn has it on loan

	mu      sync.Mutex // guards all below
	change  sync.Cond  // of busy, output and killed
	busy    bool
	writing bool
	gone    bool   // tokens are dropped from here on
	handed  bool   // net/http has the socket
	killed  bool   // the socket's deadline has passed for good; nothing more is read or written
	why     Reason // of killed
	phase   state  // turn.state at the end of the last turn
	tokens  []uint64
	spare   []uint64 // tokens' other buffer
	pending []byte   // output that nobody writes yet
	idle    []byte   // an empty buffer for output
	flying  int      // bytes being written
	due     dues
	alarm   instant // the timer goroutine will look then, or before
}

// serve is the connection's goroutine.
func (c *pconn) serve() {
	err := c.handshake()
	for err == nil {
		err = c.converse()
	}
	if !c.handed {
		c.farewell(err)
	}
	c.p.delist(c)
}

// errOver says that there is nothing more to read for.
var errOver = errors.New("wsnet: over")

// handshake reads the request head and answers it; an error says that no frames will follow.
func (c *pconn) handshake() error {
	if c.tls != nil {
		if err := c.tls.Handshake(); err != nil {
			c.p.explainTLS(c, err)
			return err
		}
	}
	for known := 0; ; {
		if err := c.read(); err != nil {
			return err
		}
		b := c.input.data
		end := headEnd(b, known)
		known = len(b)
		switch status := headStatus(b, end, c.p.s.limit.Load()); {
		case status == headIsTLS:
			c.p.s.tlsOnPlainPort(c.raw.RemoteAddr().String())
			return errOver
		case status != 0:
			return c.refuse(status)
		case end > 0:
			return c.answer(end)
		}
	}
}

// refuse answers a head that cannot be accepted.
func (c *pconn) refuse(status int) error {
	c.enter()
	c.p.s.stats.refusedUpgrades.Add(1)
	c.turn.out = appendHeadError(c.turn.out, status)
	c.turn.linger(ReasonNone)
	c.leave()
	return errOver
}

// answer has the request of end bytes served, by the handler or by net/http.
func (c *pconn) answer(end int) error {
	facts := scanHead(c.input.data[:end])
	if !facts.websocket {
		return c.handOver()
	}
	var state *tls.ConnectionState
	if c.tls != nil {
		st := c.tls.ConnectionState()
		state = &st
	}
	c.enter()
	c.inst.up.answer(&c.turn, c.input.data[:end], facts, remoteOf(c.raw.RemoteAddr()), state)
	c.input.data = c.input.data[end:]
	if c.turn.opened {
		c.p.s.stats.open.Add(1)
	}
	c.mu.Lock()
	c.due = dues{heard: c.p.s.time.now()}
	c.mu.Unlock()
	return c.hear()
}

// handOver gives the connection to net/http.
func (c *pconn) handOver() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.killed {
		return errOver
	}
	c.gone, c.handed = true, true
	r := &readAhead{Conn: c.nc, head: append([]byte(nil), c.input.data...)}
	if c.tls != nil {
		st := c.tls.ConnectionState()
		r.tls = &st
	}
	c.input.data = nil
	c.input.settle()
	c.p.traffic.bytesIn.Add(c.fresh)
	c.p.s.handOver(r, c.pass)
	return errOver
}

// converse reads once and answers.
func (c *pconn) converse() error {
	if err := c.read(); err != nil {
		return err
	}
	c.enter()
	return c.hear()
}

// hear answers the input at hand, in a turn that was entered before. Frames that wait because
// there was enough output go on when it is written.
func (c *pconn) hear() error {
	for {
		before := c.turn.messages
		n := c.turn.talk(c.input.data)
		c.input.take(n)
		if n > 0 && c.turn.startedAnew(before) {
			c.mu.Lock()
			c.due.frame = 0 // the message that was half here is whole
			c.mu.Unlock()
		}
		over, more := !c.turn.hearsFrames(), c.turn.full()
		c.leave()
		if over {
			return errOver
		}
		if !more {
			return c.frameStarted()
		}
		if !c.resume() {
			return errOver
		}
		c.enter()
	}
}

// frameStarted sets the deadline of a message that is half here. Only the reader changes turn.parts.
func (c *pconn) frameStarted() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if (len(c.input.data) > 0 || c.turn.parts.frames > 0) && c.due.frame == 0 {
		c.due.frame = c.p.s.time.now().after(c.p.s.limit.Load().MessageTimeout)
		c.setAlarm()
	}
	return nil
}

// resume waits until output is low again; false: it won't be.
func (c *pconn) resume() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due.frame = 0 // it is we who don't read
	for !c.killed && c.output() > c.p.s.limit.Load().PauseBytes/4 {
		c.change.Wait()
	}
	c.due.heard, c.due.pinged = c.p.s.time.now(), 0
	return !c.killed
}

// read reads once. What was read before is dealt with then, and only then counted.
func (c *pconn) read() error {
	c.p.traffic.bytesIn.Add(c.fresh)
	c.fresh = 0
	n, err := c.input.read()
	if err != nil {
		return err
	}
	c.fresh = uint64(n)
	c.mu.Lock()
	c.due.heard, c.due.pinged = c.p.s.time.now(), 0
	c.mu.Unlock()
	return nil
}

// output is how many bytes wait. c.mu is held.
func (c *pconn) output() int { return len(c.pending) + c.flying }

// enter waits for the turn and takes it.
func (c *pconn) enter() {
	c.mu.Lock()
	for c.busy {
		c.change.Wait()
	}
	c.busy = true
	c.fill()
	c.mu.Unlock()
}

// fill prepares the turn. c.mu is held and busy.
func (c *pconn) fill() {
	c.inst = c.p.take()
	t := &c.turn
	t.handler, t.lim = c.inst.h, c.p.s.limit.Load()
	t.stop = min(corkBytes, t.lim.PauseBytes)
	c.refill()
}

// refill takes over the turn's output and gives it what it must know of the writer. c.mu is held.
func (c *pconn) refill() {
	t := &c.turn
	switch {
	case len(t.out) == 0:
	case len(c.pending) == 0:
		c.pending, t.out = t.out, c.idle
		c.idle = nil
	default:
		c.pending = append(c.pending, t.out...)
		t.out = t.out[:0]
	}
	t.ahead = c.output()
}

// leave delivers the tokens that came during the turn, gives the turn up and writes, unless
// somebody does already.
func (c *pconn) leave() {
	c.mu.Lock()
	for {
		c.refill()
		c.enterPhase(c.turn.state)
		if len(c.tokens) > 0 {
			c.deliver()
		} else if c.turn.opened && c.turn.state >= stateLinger {
			c.mu.Unlock()
			c.p.s.stats.open.Add(-1)
			c.turn.bye()
			c.mu.Lock()
		} else {
			break
		}
	}
	c.gone = c.gone || c.phase >= stateLinger
	if n := c.turn.messages; n > 0 {
		c.p.traffic.messages.Add(n)
		c.turn.messages = 0
	}
	c.p.put(c.inst)
	c.inst, c.turn.handler = nil, nil
	c.busy = false
	c.change.Broadcast()
	c.write()
	c.mu.Unlock()
}

// deliver calls the handler with the tokens at hand, or as many as make enough output. c.mu is
// held, but not during the calls.
func (c *pconn) deliver() {
	tokens := c.tokens
	c.tokens, c.spare = c.spare[:0], nil
	c.mu.Unlock()
	t := &c.turn
	for i, token := range tokens {
		if t.opened {
			t.handler.Notify(t, token)
		}
		if len(t.out) >= corkBytes && i+1 < len(tokens) {
			c.mu.Lock()
			c.refill()
			c.write() // a peer that reads must not be closed because we didn't write
			c.refill()
			c.mu.Unlock()
		}
	}
	c.mu.Lock()
	if cap(tokens) <= 1024 {
		c.spare = tokens[:0]
	}
}

// enterPhase sets the deadlines that go with a change of state. c.mu is held.
func (c *pconn) enterPhase(st state) {
	if st == c.phase {
		return
	}
	c.phase = st
	if st == stateClosing || st == stateLinger {
		c.due.end = c.p.s.time.now().after(c.turn.lim.CloseTimeout)
		c.due.frame = 0
	}
	c.setAlarm()
	if st == stateDead {
		c.giveUp(c.turn.why)
	}
}

// setAlarm has the timer goroutine look at the earliest deadline. c.mu is held.
func (c *pconn) setAlarm() {
	at, some := c.due.next(c.phase, c.p.s.limit.Load())
	if !some || c.alarm != 0 && int32(at-c.alarm) >= 0 {
		return
	}
	c.alarm = at
	c.p.mu.Lock()
	if c.p.conns[c.slot] == c {
		c.p.setAlarm(c.slot, at)
	}
	c.p.mu.Unlock()
}

// look does what deadlines ask for.
func (c *pconn) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.handed || c.killed {
		return
	}
	now, lim := c.p.s.time.now(), c.p.s.limit.Load()
	switch what, why := c.due.check(now, c.phase, lim); what {
	case choreEnd:
		if c.phase != stateLinger {
			c.p.s.stats.timedOut(why)
		}
		c.giveUp(why)
		return
	case chorePing:
		c.due.pinged = now
		c.p.s.stats.pings.Add(1)
		c.pending = append(c.pending, ws.CompiledPing...)
		if !c.writing {
			c.p.wg.Go(func() { c.mu.Lock(); c.write(); c.mu.Unlock() })
		}
	}
	c.alarm = 0
	c.setAlarm()
}

// giveUp ends reading and writing. c.mu is held.
func (c *pconn) giveUp(why Reason) {
	if c.handed || c.killed {
		return
	}
	c.killed, c.why = true, why
	_ = c.raw.SetDeadline(time.Unix(1, 0))
	c.change.Broadcast()
}

// post queues a token and sees to it that somebody delivers it.
func (c *pconn) post(token uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone || c.phase == stateHead && !c.busy {
		return
	}
	c.tokens = append(c.tokens, token)
	if !c.busy {
		c.busy = true
		c.p.wg.Go(func() { c.mu.Lock(); c.fill(); c.mu.Unlock(); c.leave() })
	}
}

// writeBytes is how much is written with one deadline: what a slow peer must take in
// Limits.WriteTimeout to show progress. A TLS record holds as much.
const writeBytes = 16 << 10

// write writes what is pending, unless somebody does already. c.mu is held, but not during writes.
func (c *pconn) write() {
	if c.writing {
		return
	}
	c.writing = true
	for len(c.pending) > 0 && !c.killed {
		b := c.pending
		c.pending, c.idle = c.idle[:0], nil
		c.flying = len(b)
		for rest := b; len(rest) > 0 && !c.killed; {
			n := min(len(rest), writeBytes)
			c.writeSome(rest[:n])
			rest = rest[n:]
		}
		c.flying = 0
		if cap(b) <= keepBytes {
			c.idle = b[:0]
		}
		c.change.Broadcast()
	}
	c.writing = false
	c.change.Broadcast()
}

// writeSome writes b within the deadline. c.mu is held, but not during the write.
func (c *pconn) writeSome(b []byte) {
	c.due.write = c.p.s.time.now().after(c.p.s.limit.Load().WriteTimeout)
	c.setAlarm()
	c.mu.Unlock()
	n, err := c.nc.Write(b)
	c.mu.Lock()
	c.due.write = 0
	c.p.traffic.bytesOut.Add(uint64(n))
	c.flying -= len(b)
	if err != nil {
		c.giveUp(ReasonReset)
	}
}

// farewell tells the handler, lets the last words go out and closes.
func (c *pconn) farewell(err error) {
	c.p.traffic.bytesIn.Add(c.fresh)
	c.enter()
	c.mu.Lock()
	killed, why := c.killed, c.why
	c.mu.Unlock()
	if killed {
		c.turn.die(why)
	} else if err != errOver {
		c.turn.ended(!errors.Is(err, io.EOF))
	}
	lingers := c.turn.state == stateLinger
	c.leave()
	if lingers {
		c.sayNoMore()
	}
	c.input.data = nil
	c.input.settle()
	c.mu.Lock()
	c.giveUp(ReasonNone)
	for c.writing || c.busy {
		c.change.Wait()
	}
	c.gone = true
	c.mu.Unlock()
	if killed && why != ReasonServerStopped {
		c.abort()
	}
	_ = c.raw.Close()
	c.p.s.door.leave(c.pass)
}

// abort has the kernel drop unsent output when the socket is closed: see loop.abort.
func (c *pconn) abort() {
	if tcp, ok := c.raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}

// sayNoMore waits for output to be written, sends FIN and throws input away until the peer ends
// too, or the deadline comes.
func (c *pconn) sayNoMore() {
	c.mu.Lock()
	for c.output() > 0 && !c.killed {
		c.change.Wait()
	}
	killed := c.killed
	c.mu.Unlock()
	if killed {
		return
	}
	if c.tls != nil {
		_ = c.tls.CloseWrite()
	}
	if half, ok := c.raw.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		discard(c.raw)
	}
}
