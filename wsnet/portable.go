package wsnet

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// portable is the path of a goroutine per connection: TLS, and systems without epoll.
type portable struct {
	s       *Server
	ln      net.Listener
	traffic traffic
	buffers sync.Pool // *[]byte of readBytes, taken only while there is something to read
	wg      sync.WaitGroup
	quit    chan struct{}
	remind  chan chan struct{} // has the timer goroutine look; a channel inside is closed when it has

	mu       sync.Mutex // guards all below; taken with a pconn's mu held, never the other way round
	conns    []*pconn   // by slot
	gens     []uint32
	free     []int32
	wheel    wheel
	alarm    instant // when the timer goroutine will look
	stopped  bool
	handlers []*instance // not in use
}

// instance is a handler and the scratch that goes with it.
type instance struct {
	h  Handler
	up *upgrader
}

// readBytes is how much is read at once.
const readBytes = 64 << 10

// keepBytes is the largest rest of an input that is copied in front of the next read; a longer
// one is read behind, in its own buffer, or a frame sent a byte at a time would be copied a
// thousand times over.
const keepBytes = 4 << 10

func newPortable(s *Server, ln net.Listener) *portable {
	p := &portable{s: s, ln: ln, quit: make(chan struct{}), remind: make(chan chan struct{}, 1)}
	p.buffers.New = func() any { b := make([]byte, readBytes); return &b }
	return p
}

func (p *portable) start() {
	p.wg.Go(p.acceptAll)
	p.wg.Go(p.keepTime)
}

// acceptAll takes connections until the listener is closed.
func (p *portable) acceptAll() {
	complained := false
	for {
		nc, err := p.ln.Accept()
		if err == nil {
			complained = false
			p.welcome(nc)
			continue
		}
		if errors.Is(err, net.ErrClosed) || p.isStopped() {
			return
		}
		p.s.stats.acceptErrors.Add(1)
		if !complained {
			complained = true
			p.s.log.Warn("cannot accept connections, resting a second after each attempt", "error", err)
		}
		rest := time.NewTimer(time.Second)
		select {
		case <-rest.C:
		case <-p.quit:
			rest.Stop()
			return
		}
	}
}

func (p *portable) isStopped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stopped
}

// welcome starts a connection's goroutine, or refuses it.
func (p *portable) welcome(nc net.Conn) {
	remote := remoteOf(nc.RemoteAddr())
	pass, ok := p.s.admit(remote.Addr())
	if !ok {
		if p.s.opt.TLS == nil && nc.SetWriteDeadline(time.Now().Add(time.Millisecond)) == nil {
			_, _ = nc.Write(busyAnswer)
		}
		_ = (&readAhead{Conn: nc, left: func() {}}).Close()
		return
	}
	c := &pconn{p: p, nc: nc, raw: nc, pass: pass}
	if p.s.opt.TLS != nil {
		c.tls = tls.Server(nc, http1Only(p.s.opt.TLS))
		c.nc = c.tls
	}
	c.change.L = &c.mu
	c.input = newInput(p, c.nc)
	lim := p.s.limit.Load()
	c.turn = turn{state: stateHead, lim: lim, stats: &p.s.stats}
	c.phase = stateHead
	c.due.end = p.s.time.now().after(lim.HandshakeTimeout)
	if !p.enlist(c) {
		_ = nc.Close()
		p.s.door.leave(pass)
		return
	}
	p.wg.Go(c.serve)
}

// http1Only is the configuration without HTTP/2, which net/http would have to be told of before
// the connection is ours.
func http1Only(c *tls.Config) *tls.Config {
	if len(c.NextProtos) == 0 {
		return c
	}
	c = c.Clone()
	c.NextProtos = slices.DeleteFunc(c.NextProtos, func(p string) bool { return p != "http/1.1" })
	return c
}

// enlist gives the connection a slot, and with it a name and a place on the wheel.
func (p *portable) enlist(c *pconn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return false
	}
	if n := len(p.free); n > 0 {
		c.slot, p.free = p.free[n-1], p.free[:n-1]
	} else {
		if len(p.conns) == slotsMax {
			return false
		}
		c.slot = int32(len(p.conns))
		p.conns, p.gens = append(p.conns, nil), append(p.gens, 0)
		p.wheel.grow(c.slot)
	}
	p.gens[c.slot]++
	p.conns[c.slot] = c
	c.alarm = c.due.end
	c.turn.id = connID(0, c.slot, p.gens[c.slot])
	p.setAlarm(c.slot, c.due.end)
	return true
}

// delist ends what enlist began.
func (p *portable) delist(c *pconn) {
	p.mu.Lock()
	p.wheel.remove(c.slot)
	p.conns[c.slot] = nil
	if p.gens[c.slot] != ^uint32(0) { // a slot without generations left is retired
		p.free = append(p.free, c.slot)
	}
	p.mu.Unlock()
}

// find is the connection of that name, if there is one.
func (p *portable) find(id ConnID) *pconn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := int(id.slot()); id.loop() == 0 && i < len(p.conns) && p.gens[i] == id.gen() {
		return p.conns[i]
	}
	return nil
}

// list is every connection.
func (p *portable) list() []*pconn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.conns), func(c *pconn) bool { return c == nil })
}

func (p *portable) post(id ConnID, token uint64) {
	if c := p.find(id); c != nil {
		c.post(token)
	}
}

func (p *portable) broadcast(token uint64) {
	for _, c := range p.list() {
		c.post(token) // those without an Open drop it
	}
}

func (p *portable) stopAccepting() {
	p.mu.Lock()
	was := p.stopped
	p.stopped = true
	p.mu.Unlock()
	if was {
		return
	}
	_ = p.ln.Close()
	for _, c := range p.list() {
		c.mu.Lock()
		if c.phase == stateHead {
			c.giveUp(ReasonServerStopped)
		}
		c.mu.Unlock()
	}
}

func (p *portable) close() {
	p.stopAccepting()
	close(p.quit)
	for _, c := range p.list() {
		c.mu.Lock()
		c.giveUp(ReasonServerStopped)
		c.mu.Unlock()
	}
	p.wg.Wait()
}

func (p *portable) addTraffic(st *Stats) { st.add(&p.traffic) }

// take gives a handler that nobody else uses; put takes it back.
func (p *portable) take() *instance {
	p.mu.Lock()
	if n := len(p.handlers); n > 0 {
		i := p.handlers[n-1]
		p.handlers = p.handlers[:n-1]
		p.mu.Unlock()
		return i
	}
	p.mu.Unlock()
	return &instance{h: p.s.opt.NewHandler(), up: newUpgrader()}
}

// instancesKept is how many are kept for later. In a crowd that has to wait for something at once each connection
// needs one, and a handler's scratch may be as large as its longest answer: what there are more of goes.
const instancesKept = 64

func (p *portable) put(i *instance) {
	p.mu.Lock()
	if len(p.handlers) < instancesKept {
		p.handlers = append(p.handlers, i)
	}
	p.mu.Unlock()
}

// keepTime waits for the next deadline of any connection, and looks.
func (p *portable) keepTime() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		var asked chan struct{}
		select {
		case <-timer.C:
		case asked = <-p.remind:
		case <-p.quit:
			return
		}
		for _, c := range p.ripe() {
			c.look()
		}
		p.mu.Lock()
		next, some := p.wheel.next()
		if !some {
			next = p.wheel.now + wheelSize
		}
		p.alarm = next
		p.mu.Unlock()
		if d := p.s.time.until(next); d >= 0 {
			timer.Reset(d)
		}
		if asked != nil {
			close(asked)
		}
	}
}

// ripe turns the wheel and collects what came up.
func (p *portable) ripe() (cs []*pconn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wheel.advance(p.s.time.now(), func(slot int32) bool { cs = append(cs, p.conns[slot]); return true })
	return cs
}

// setAlarm has the timer goroutine look at a connection no later than the given instant. p.mu is held.
func (p *portable) setAlarm(slot int32, at instant) {
	p.wheel.sooner(slot, at)
	if p.alarm == 0 || int32(at-p.alarm) < 0 {
		p.alarm = at
		select {
		case p.remind <- nil:
		default: // it is about to look anyway
		}
	}
}

// wakeTimers waits until the timer goroutine has looked.
func (p *portable) wakeTimers() {
	done := make(chan struct{})
	select {
	case p.remind <- done:
		<-done
	case <-p.quit:
	}
}

// discard reads until the peer ends, an error, or the deadline's kick.
func discard(r io.Reader) {
	var b [512]byte
	for {
		if _, err := r.Read(b[:]); err != nil {
			return
		}
	}
}

// explainTLS answers a client that speaks HTTP to a TLS port, as net/http does, and logs the rest.
func (p *portable) explainTLS(c *pconn, err error) {
	var header tls.RecordHeaderError
	if errors.As(err, &header) && header.Conn != nil && header.RecordHeader[0] >= 'A' && header.RecordHeader[0] <= 'Z' {
		c.raw.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = c.raw.Write(appendRefusal(nil, &Refusal{Status: http.StatusBadRequest, Body: "this port speaks TLS: use https or wss"}))
	}
	p.s.stats.tlsErrors.Add(1)
	p.s.log.Debug("TLS handshake failed", "remote", c.raw.RemoteAddr().String(), "error", err)
}
