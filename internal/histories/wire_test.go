package histories

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// wire carries bytes between clients and the server, badly: late, in pieces, not at all for a while, or not to
// the end; and it says hello once more with what it has overheard.
type wire struct {
	listener net.Listener
	target   atomic.Pointer[string]
	seed     uint64
	lie      func([]byte) []byte // what clients get for what the server says; nil: the truth
	calm     bool                // nothing goes wrong
	outage   atomic.Int64        // until then nothing passes at all, in nanoseconds of Unix
	stop     chan struct{}
	work     sync.WaitGroup
	faults   [5]atomic.Int64 // how often there was each

	mu    sync.Mutex // guards links
	links map[*link]bool
}

// The faults.
const (
	faultCut = iota
	faultSilence
	faultRepeat
	faultLate
	faultOutage
)

func newWire(t testing.TB, target string, seed uint64, calm bool) *wire {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &wire{listener: ln, seed: seed, calm: calm, stop: make(chan struct{}), links: map[*link]bool{}}
	w.lead(target)
	w.work.Go(w.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		close(w.stop)
		w.mu.Lock()
		for l := range w.links {
			l.cut()
		}
		w.mu.Unlock()
		w.work.Wait()
	})
	return w
}

// lead has new connections go there.
func (w *wire) lead(target string) { w.target.Store(&target) }

// address is where clients connect to.
func (w *wire) address() string { return "ws://" + w.listener.Addr().String() }

func (w *wire) accept() {
	for n := uint64(1); ; n++ {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", *w.target.Load())
		if err != nil {
			_ = near.Close()
			continue
		}
		l := &link{w: w, near: near, far: far}
		w.mu.Lock()
		w.links[l] = true
		w.mu.Unlock()
		w.work.Go(func() {
			var both sync.WaitGroup
			both.Go(func() { l.carry(rand.New(rand.NewPCG(w.seed, 2*n)), true) })
			both.Go(func() { l.carry(rand.New(rand.NewPCG(w.seed, 2*n+1)), false) })
			both.Wait()
			l.cut()
			w.mu.Lock()
			delete(w.links, l)
			w.mu.Unlock()
		})
	}
}

// wait waits, unless the wire is no longer needed.
func (w *wire) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.stop:
	}
}

func (w *wire) stopped() bool {
	select {
	case <-w.stop:
		return true
	default:
		return false
	}
}

// link is one connection.
type link struct {
	w         *wire
	near, far net.Conn
	silent    atomic.Int64 // until then nothing passes, in nanoseconds of Unix
}

func (l *link) cut() {
	for _, c := range []net.Conn{l.near, l.far} {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
}

// carry copies in one direction. What a client said before it left still arrives.
func (l *link) carry(rng *rand.Rand, up bool) {
	from, to := l.near, l.far
	if !up {
		from, to = to, from
	}
	var said [][]byte
	buf := make([]byte, 1<<16)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			l.disturb(rng)
			if l.w.lie != nil && !up {
				n = copy(buf, l.w.lie(buf[:n]))
			}
			if up && len(said) < 2 {
				if said = append(said, bytes.Clone(buf[:n])); len(said) == 2 {
					l.repeat(rng, said)
				}
			}
			if !l.pieces(rng, to, buf[:n]) && up {
				return
			}
		}
		if err != nil {
			_ = to.(*net.TCPConn).CloseWrite()
			return
		}
	}
}

// disturb waits, or ends the connection.
func (l *link) disturb(rng *rand.Rand) {
	if l.w.calm {
		return
	}
	soon := func() int64 { return time.Now().Add(time.Duration(rng.IntN(2500)) * time.Millisecond).UnixNano() }
	switch k := rng.IntN(1000); {
	case k < 1:
		l.w.faults[faultOutage].Add(1)
		l.w.outage.Store(soon())
	case k < 8:
		l.w.faults[faultCut].Add(1)
		l.cut()
	case k < 16:
		l.w.faults[faultSilence].Add(1)
		l.silent.Store(soon())
	case k < 250:
		l.w.faults[faultLate].Add(1)
		l.w.wait(time.Duration(rng.IntN(15)) * time.Millisecond)
	case k < 260:
		l.w.wait(time.Duration(rng.IntN(400)) * time.Millisecond)
	}
	for d := l.quiet(); d > 0 && !l.w.stopped(); d = l.quiet() {
		l.w.wait(d)
	}
}

// quiet is for how long nothing passes.
func (l *link) quiet() time.Duration {
	return time.Until(time.Unix(0, max(l.silent.Load(), l.w.outage.Load())))
}

// pieces writes in one or more pieces. False: the other side is gone.
func (l *link) pieces(rng *rand.Rand, to net.Conn, b []byte) bool {
	for len(b) > 0 {
		n := len(b)
		if rng.IntN(4) == 0 {
			n = 1 + rng.IntN(n)
		}
		if _, err := to.Write(b[:n]); err != nil {
			return false
		}
		b = b[n:]
	}
	return true
}

// repeat connects once more and says what the client has said so far, upgrade and hello, as if it came twice.
func (l *link) repeat(rng *rand.Rand, said [][]byte) {
	if l.w.calm || rng.IntN(2) != 0 || !bytes.HasPrefix(said[0], []byte("GET /v2")) {
		return // in version 1 that would be a request of somebody else
	}
	l.w.faults[faultRepeat].Add(1)
	late, stays := time.Duration(rng.IntN(200))*time.Millisecond, time.Duration(rng.IntN(300))*time.Millisecond
	l.w.work.Go(func() {
		l.w.wait(late)
		c, err := net.Dial("tcp", *l.w.target.Load())
		if err != nil {
			return
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Second))
		if _, err := c.Write(said[0]); err != nil {
			return
		}
		buf := make([]byte, 4096)
		for n := 0; !bytes.Contains(buf[:n], []byte("\r\n\r\n")); {
			k, err := c.Read(buf[n:])
			if err != nil {
				return
			}
			n += k
		}
		if _, err := c.Write(said[1]); err != nil {
			return
		}
		_ = c.SetDeadline(time.Now().Add(stays))
		_, _ = io.Copy(io.Discard, c)
	})
}
