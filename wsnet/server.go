package wsnet

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Server serves the connections of one listener.
type Server struct {
	opt   Options
	limit atomic.Pointer[Limits] // never nil; replaced, never changed
	door  *door
	web   *web
	stats counters
	log   *slog.Logger
	time  clock
	addr  net.Addr
	most  int // connections that descriptors suffice for; 0: unknown
	path  path
	once  sync.Once

	full, fullAddress warning // belong to whoever accepts
}

// path carries bytes between sockets and turns.
type path interface {
	post(id ConnID, token uint64)
	broadcast(token uint64)
	start()
	wakeTimers() // a test's clock has moved: returns when all that is due by now is done
	stopAccepting()
	close()
	addTraffic(*Stats)
}

// tricks are what tests play on a server; none in production.
type tricks struct {
	clock *handClock
	lies  liar
}

// liar stands between the loops and the kernel in tests; see kernel in sys_linux.go.
type liar interface {
	// lie is asked before a call that would move up to n bytes, or after a wait that found n
	// events, and answers how many it shall be, or which errno: then the call isn't made.
	lie(call string, n int) (int, uintptr)
}

// clock counts ticks since the server's start.
type clock struct {
	start time.Time
	hand  *handClock
}

// handClock is a clock that tests move by hand.
type handClock struct{ ticks atomic.Uint32 }

func (c *clock) now() instant {
	if c.hand != nil {
		return 1 + instant(c.hand.ticks.Load())
	}
	return 1 + instant(time.Since(c.start)/tick)
}

// until is the time to wait for an instant; negative: for ever, because a test moves the clock.
func (c *clock) until(at instant) time.Duration {
	if c.hand != nil {
		return -1
	}
	return max(0, time.Duration(int32(at-c.now()))*tick-time.Since(c.start)%tick)
}

func serve(ln net.Listener, opt Options, tr tricks) (*Server, error) {
	if opt.NewHandler == nil {
		return nil, errors.New("wsnet: Options.NewHandler is missing")
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Loops <= 0 {
		opt.Loops = runtime.GOMAXPROCS(0)
	}
	opt.Loops = min(opt.Loops, loopsMax)
	s := &Server{opt: opt, door: newDoor(), log: opt.Log, addr: ln.Addr()}
	s.time = clock{start: time.Now(), hand: tr.clock}
	s.most = descriptorsFor(opt.Loops)
	s.SetLimits(opt.Limits)
	if lim := s.limit.Load(); opt.Limits.Connections > lim.Connections || opt.Limits.Connections == 0 && s.most == lim.Connections {
		s.log.Info("fewer connections than configured: descriptors are limited", "connections", lim.Connections)
	}
	s.web = newWeb(opt.HTTP, s.log)
	var err error
	if s.path, err = s.newPath(ln, tr); err != nil {
		s.web.end()
		return nil, err
	}
	if opt.Ready != nil {
		opt.Ready(s)
	}
	s.path.start()
	return s, nil
}

// newPath starts the loops if they can serve the listener, else the portable path.
func (s *Server) newPath(ln net.Listener, tr tricks) (path, error) {
	if s.opt.TLS == nil && !s.opt.Portable {
		if p, err := newLoops(s, ln, tr); p != nil || err != nil {
			return p, err
		}
	}
	return newPortable(s, ln), nil
}

// Addr is the listener's address.
func (s *Server) Addr() net.Addr { return s.addr }

// Post has Handler.Notify called with the token on the connection, unless it is gone by then. It
// may be called from anywhere, also with locks held: it never blocks and never calls a handler.
func (s *Server) Post(id ConnID, token uint64) { s.path.post(id, token) }

// Broadcast posts the token to every connection that is open when its turn comes; in the same order
// as Post with regard to one caller.
func (s *Server) Broadcast(token uint64) { s.path.broadcast(token) }

// SetLimits replaces the limits for whatever begins from now on: connections, messages, deadlines.
func (s *Server) SetLimits(l Limits) {
	lim := l.orDefaults()
	if s.most > 0 {
		lim.Connections = min(lim.Connections, s.most)
	}
	s.limit.Store(lim)
}

// StopAccepting closes the listener, and connections that have not become WebSockets; those that
// wait for an HTTP answer get it. Handlers must not call it.
func (s *Server) StopAccepting() { s.path.stopAccepting() }

// Stats reads the counters.
func (s *Server) Stats() Stats {
	st := s.stats.stats()
	st.Sockets = s.door.inside()
	s.path.addTraffic(&st)
	return st
}

// Close ends everything at once: Closed is called for every open connection, with
// ReasonServerStopped, and when Close returns no goroutine and no descriptor of the server is left.
// Handlers must not call it.
func (s *Server) Close() error {
	s.once.Do(func() {
		s.path.close()
		s.web.end()
	})
	return nil
}

// admit asks the door for a pass and counts the answer.
func (s *Server) admit(addr netip.Addr) (pass, bool) {
	lim := s.limit.Load()
	p, v := s.door.enter(addr, lim)
	switch v {
	case admitted:
		s.stats.accepted.Add(1)
	case fullHouse:
		s.stats.refusedConnections.Add(1)
		s.full.warn(s, "limits.connections", lim.Connections, addr)
	case fullAddress:
		s.stats.refusedPerAddress.Add(1)
		s.fullAddress.warn(s, "limits.connections_per_address", lim.ConnectionsPerAddress, addr)
	}
	return p, v == admitted
}

// quietTime is how long a limit that is full isn't mentioned again.
const quietTime = time.Minute

// warning tells, now and then, that connections are refused because of a limit. Only what accepts
// uses it.
type warning struct {
	until   instant // silent until then, once spoken
	refused uint64  // not mentioned
}

// warn takes note of a refusal. The limit is named as an operator knows it; from is whom it has just hit.
func (w *warning) warn(s *Server, limit string, value int, from netip.Addr) {
	w.refused++
	now := s.time.now()
	if w.until != 0 && !now.reached(w.until) {
		return
	}
	s.log.Warn("connections are refused: a limit is reached", "limit", limit, "value", value, "refused", w.refused, "from", from)
	w.until, w.refused = now.after(quietTime), 0
}

// handOver gives a connection, with what was read of it, to net/http.
func (s *Server) handOver(c *readAhead, p pass) {
	s.stats.http.Add(1)
	c.left = func() { s.door.leave(p) }
	c.bound(s.limit.Load())
	s.web.take(c)
}

// busyAnswer is what a connection over a limit is told.
var busyAnswer = appendRefusal(nil, &Refusal{Status: http.StatusServiceUnavailable, Body: "too many connections"})

// loopsMax is what a ConnID has room for.
const loopsMax = 256

// connID packs a name: 8 bits of loop, 24 bits of slot, 32 bits of generation. A slot whose
// generations are used up is never used again, so no name ever repeats.
func connID(loop int, slot int32, gen uint32) ConnID {
	return ConnID(uint64(loop)<<56 | uint64(slot)<<32 | uint64(gen))
}

// String is loop, slot and generation, for logs.
func (id ConnID) String() string { return fmt.Sprintf("%d.%d.%d", id.loop(), id.slot(), id.gen()) }

func (id ConnID) loop() int   { return int(id >> 56) }
func (id ConnID) slot() int32 { return int32(id >> 32 & (slotsMax - 1)) }
func (id ConnID) gen() uint32 { return uint32(id) }

const slotsMax = 1 << 24 // of one loop

// tlsOnPlainPort takes note of a client that speaks TLS to a plain port.
func (s *Server) tlsOnPlainPort(remote string) {
	s.stats.tlsErrors.Add(1)
	s.log.Debug("TLS spoken to a plain port", "remote", remote)
}
