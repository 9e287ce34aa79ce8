package wsnet

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// web serves requests that are no upgrade: an http.Server whose listener hands out connections
// that have been read from already. Each serves one request and is closed.
type web struct {
	srv  *http.Server
	done sync.WaitGroup // a count for each connection, and one for the accepting goroutine

	mu     sync.Mutex // guards queue and closed
	queue  []net.Conn
	closed bool
	wake   chan struct{} // holds a token when queue or closed changed
}

type webConnKey struct{}

func newWeb(h http.Handler, log *slog.Logger) *web {
	if h == nil {
		h = http.NotFoundHandler()
	}
	w := &web{wake: make(chan struct{}, 1)}
	w.srv = &http.Server{
		Handler:                      withTLS(h),
		DisableGeneralOptionsHandler: true, // "OPTIONS *" is h's too
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ConnContext:                  func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, webConnKey{}, c) },
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateClosed || s == http.StateHijacked {
				w.done.Done()
			}
		},
	}
	w.srv.SetKeepAlivesEnabled(false)
	w.done.Go(func() { _ = w.srv.Serve(w) })
	return w
}

// withTLS tells a handler of the TLS under its connection, which net/http can't see.
func withTLS(h http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(webConnKey{}).(*readAhead); ok && c.tls != nil {
			r.TLS = c.tls
		}
		h.ServeHTTP(rw, r)
	})
}

// take hands a connection over; it never blocks.
func (w *web) take(c net.Conn) {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		_ = c.Close()
		return
	}
	w.done.Add(1)
	w.queue = append(w.queue, c)
	w.mu.Unlock()
	w.nudge()
}

func (w *web) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Accept implements net.Listener.
func (w *web) Accept() (net.Conn, error) {
	for {
		w.mu.Lock()
		if w.closed {
			w.mu.Unlock()
			return nil, net.ErrClosed
		}
		if len(w.queue) > 0 {
			c := w.queue[0]
			w.queue[0] = nil
			w.queue = w.queue[1:]
			w.mu.Unlock()
			return c, nil
		}
		w.queue = nil
		w.mu.Unlock()
		<-w.wake
	}
}

// Close implements net.Listener.
func (w *web) Close() error {
	w.mu.Lock()
	left := w.queue
	w.queue, w.closed = nil, true
	w.mu.Unlock()
	for _, c := range left {
		_ = c.Close()
		w.done.Done()
	}
	w.nudge()
	return nil
}

// Addr implements net.Listener.
func (w *web) Addr() net.Addr { return webAddr{} }

type webAddr struct{}

func (webAddr) Network() string { return "wsnet" }
func (webAddr) String() string  { return "wsnet" }

// end closes all connections and waits until their handlers, whose requests' contexts are
// cancelled, have returned.
func (w *web) end() {
	_ = w.srv.Close()
	_ = w.Close()
	w.done.Wait()
}

// readAhead is a connection whose first bytes have been read already, and whose deadlines can be
// moved but not removed: net/http does that before each head and behind each handler, and its own
// fields for them can't be changed while it serves.
type readAhead struct {
	net.Conn
	head []byte
	tls  *tls.ConnectionState
	once sync.Once
	left func() // called once, when the connection is closed

	readBy, writeBy time.Time // deadlines where none is asked for
}

// bound sets the deadlines: the request's body may take as long as a message, the answer may
// take a write's time more.
func (c *readAhead) bound(lim *Limits) {
	c.readBy = time.Now().Add(lim.MessageTimeout)
	c.writeBy = c.readBy.Add(lim.WriteTimeout)
	_ = c.SetDeadline(time.Time{})
}

// SetDeadline implements net.Conn.
func (c *readAhead) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *readAhead) SetReadDeadline(t time.Time) error {
	if t.IsZero() {
		t = c.readBy
	}
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (c *readAhead) SetWriteDeadline(t time.Time) error {
	if t.IsZero() {
		t = c.writeBy
	}
	return c.Conn.SetWriteDeadline(t)
}

// Read implements net.Conn.
func (c *readAhead) Read(p []byte) (int, error) {
	if len(c.head) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.head)
	if c.head = c.head[n:]; len(c.head) == 0 {
		c.head = nil
	}
	return n, nil
}

// CloseWrite lets net/http end a connection gracefully.
func (c *readAhead) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close implements net.Conn. It sends FIN and takes what has arrived unread, such as a pipelined
// request, so that the close doesn't turn into a reset that eats the answer.
func (c *readAhead) Close() (err error) {
	c.once.Do(func() {
		_ = c.CloseWrite()
		if c.Conn.SetReadDeadline(time.Now().Add(time.Millisecond)) == nil && c.tls == nil {
			_, _ = io.CopyN(io.Discard, c.Conn, 64<<10)
		}
		err = c.Conn.Close()
		c.left()
	})
	return err
}
