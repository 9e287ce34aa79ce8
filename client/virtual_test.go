package client_test

import (
	"context"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/client"
	"github.com/locktopus-project/locktopus/v2/internal/server"
	"github.com/locktopus-project/locktopus/v2/internal/testserver"
)

// bubble is a server and its clients in one process, over a network in memory, in synctest's time: a test can let
// minutes go by, and nothing but what it does itself happens at the same moment.
type bubble struct {
	t      *testing.T
	server *server.Server
	conns  chan net.Conn
	over   chan struct{}
	start  time.Time
	dialed []*client.Client
}

// inBubble plays f. What dials is closed at the end, in any case.
func inBubble(t *testing.T, f func(b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{t: t, conns: make(chan net.Conn), over: make(chan struct{}), start: time.Now()}
		o := testserver.Options(b)
		o.Loops = 1
		o.Settings.Sessions.TTLMin, o.Settings.Sessions.LeaseMin, o.Settings.Sessions.Events = time.Millisecond, time.Millisecond, 8
		var err error
		b.server, err = server.New(o)
		require.NoError(t, err)
		defer func() {
			for _, c := range b.dialed {
				_ = c.Close()
			}
			require.NoError(t, b.server.Close())
		}()
		f(b)
	})
}

// Accept, Close and Addr make it the server's listener.
func (b *bubble) Accept() (net.Conn, error) {
	select {
	case c := <-b.conns:
		return c, nil
	case <-b.over:
		return nil, net.ErrClosed
	}
}

func (b *bubble) Close() error {
	close(b.over)
	return nil
}

func (b *bubble) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

// line is the network between a client and the server. What passes is counted in writes, which are messages but for
// the first few.
type line struct {
	b *bubble
	// fault is asked before each write; nil: nothing happens to any. It may wait.
	fault func(n int, toServer bool) fault

	mu      sync.Mutex    // guards what follows
	calm    chan struct{} // closed: everything passes; otherwise nothing does
	writes  int
	skew    time.Duration                           // how far the client's clock is ahead
	connect func(context.Context) (net.Conn, error) // instead of connecting to the server; nil: nothing
	made    int                                     // connections
	since   int                                     // writes since the newest was made
	open    []net.Conn
}

type fault int

const (
	none    fault = iota
	before        // the connection is lost, and the write with it
	after         // the connection is lost just behind it
	halfway       // a part of it arrives
)

func (b *bubble) line() *line {
	n := &line{b: b, calm: make(chan struct{})}
	close(n.calm)
	return n
}

// dial makes a client.
func (n *line) dial(o client.Options) (*client.Client, error) {
	o.Dial = n.dialServer
	return client.DialWithClock(background, "ws://memory/v2?namespace=test", &o, n.now)
}

// client makes one, which must succeed.
func (n *line) client(o client.Options) *client.Client {
	c, err := n.dial(o)
	require.NoError(n.b.t, err)
	n.b.dialed = append(n.b.dialed, c)
	return c
}

// now is the client's clock.
func (n *line) now() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Since(n.b.start) + n.skew
}

// leap puts the client's clock forward, as when its process was stopped.
func (n *line) leap(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.skew += d
}

func (n *line) dialServer(ctx context.Context, _, _ string) (net.Conn, error) {
	n.mu.Lock()
	n.made++
	n.since = 0
	connect := n.connect
	n.mu.Unlock()
	if connect != nil {
		return connect(ctx)
	}
	near, far := net.Pipe()
	n.mu.Lock()
	n.open = append(n.open, near, far)
	n.mu.Unlock()
	select {
	case n.b.conns <- &end{Conn: far, n: n, closed: make(chan struct{})}:
		return &end{Conn: near, n: n, closed: make(chan struct{}), toServer: true}, nil
	case <-n.b.over:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// cut ends all connections.
func (n *line) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.open {
		_ = c.Close()
	}
	n.open = nil
}

// silence lets nothing pass until it is told to; what is written meanwhile has to wait, over new connections, too.
func (n *line) silence() (end func()) {
	calm := make(chan struct{})
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calm = calm
	return func() { close(calm) }
}

// instead has connections made in another way; nil: to the server again.
func (n *line) instead(connect func(context.Context) (net.Conn, error)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.connect = connect
}

func refused(context.Context) (net.Conn, error) {
	return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
}

// connections is how many were tried.
func (n *line) connections() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.made
}

// end is one end of a connection.
type end struct {
	net.Conn
	n        *line
	toServer bool // what is written here goes there
	once     sync.Once
	closed   chan struct{}
}

func (e *end) Close() error {
	e.once.Do(func() { close(e.closed) })
	return e.Conn.Close()
}

func (e *end) Write(p []byte) (int, error) {
	e.n.mu.Lock()
	k, f := e.n.writes, none
	e.n.writes++
	e.n.since++
	e.n.mu.Unlock()
	if e.n.fault != nil {
		f = e.n.fault(k, e.toServer)
	}
	e.n.mu.Lock()
	calm := e.n.calm
	e.n.mu.Unlock()
	select {
	case <-calm:
	case <-e.closed:
	}
	switch f {
	case before:
		e.n.cut()
		return 0, io.ErrClosedPipe
	case halfway:
		k, _ := e.Conn.Write(p[:len(p)/2])
		e.n.cut()
		return k, io.ErrClosedPipe
	case after:
		k, err := e.Conn.Write(p)
		e.n.cut()
		return k, err
	}
	return e.Conn.Write(p)
}

func TestABubbleWorks(t *testing.T) {
	inBubble(t, func(b *bubble) {
		c := b.line().client(client.Options{})
		l, err := c.Lock(background, client.Write("x"))
		require.NoError(t, err)
		<-time.After(time.Hour)
		require.NoError(t, l.Err())
		require.NoError(t, l.Release(background))
	})
}
