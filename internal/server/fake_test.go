package server

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/fence"
	"github.com/locktopus-project/locktopus/v2/internal/session"
	"github.com/locktopus-project/locktopus/v2/wsnet"
)

// testSettings are generous; tests of limits lower what they test.
func testSettings() Settings {
	sessions := session.Defaults
	sessions.TTLMax = time.Hour
	return Settings{
		Sessions: sessions, SessionsMax: 100,
		Namespaces: 100, NamespaceName: 32, MemoryBytes: 1 << 30, Abandoned: 1 << 20,
		DefaultAbandon: time.Minute, AbandonMax: time.Hour, Origins: []string{"*"},
		Net: wsnet.Limits{CloseTimeout: time.Second, HandshakeTimeout: 5 * time.Second},
	}
}

// fakeNet is a transport whose posts wait until a test delivers them.
type fakeNet struct {
	s         *Server
	judge     *fakeJudge // nil: no plugins
	conns     map[wsnet.ConnID]*fakeConn
	last      wsnet.ConnID
	accepting bool
	closed    bool

	mu    sync.Mutex // guards posts
	posts []posted
}

type posted struct {
	id    wsnet.ConnID
	token uint64
}

// newFake is a server on a fakeNet. None of its goroutines runs unless run does.
func newFake(set Settings, f *fence.Fence) *fakeNet {
	return newFakeOf(Options{Settings: set, Fence: f})
}

// newFakeOf fills in what a test doesn't care about.
func newFakeOf(o Options) *fakeNet {
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if o.Fence == nil {
		o.Fence = fence.Memory()
	}
	o.Version = "test"
	s := newServer(o)
	n := &fakeNet{s: s, conns: map[wsnet.ConnID]*fakeConn{}, accepting: true}
	s.net = n
	return n
}

// run has the server do in the background what is due.
func (n *fakeNet) run() { n.s.keepTime() }

func (n *fakeNet) Post(id wsnet.ConnID, token uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.posts = append(n.posts, posted{id, token})
}

// waiting is how many posts nobody has delivered.
func (n *fakeNet) waiting() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.posts)
}

func (n *fakeNet) Broadcast(token uint64) {
	for _, c := range n.conns {
		if c.closing == 0 {
			c.w.Notify(c, token)
		}
	}
}

func (n *fakeNet) SetLimits(wsnet.Limits) {}
func (n *fakeNet) StopAccepting()         { n.accepting = false }
func (n *fakeNet) Addr() net.Addr         { return &net.TCPAddr{} }
func (n *fakeNet) Stats() wsnet.Stats     { return wsnet.Stats{} }
func (n *fakeNet) Close() error           { n.closed = true; return nil }

// deliver hands over the first post for a connection, or, for 0, all posts.
func (n *fakeNet) deliver(id wsnet.ConnID) {
	for _, p := range n.collect(id) {
		if c := n.conns[p.id]; c != nil && c.closing == 0 {
			c.w.Notify(c, p.token)
		}
	}
}

func (n *fakeNet) collect(id wsnet.ConnID) (taken []posted) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if id == 0 {
		taken, n.posts = n.posts, nil
		return taken
	}
	i := slices.IndexFunc(n.posts, func(p posted) bool { return p.id == id })
	if i < 0 {
		return nil
	}
	taken = []posted{n.posts[i]}
	n.posts = slices.Delete(n.posts, i, i+1)
	return taken
}

// connect opens a connection, or returns the refusal.
func (n *fakeNet) connect(query string) (*fakeConn, *wsnet.Refusal) {
	return n.ask(&wsnet.Request{Path: "/v1", RawQuery: query, Header: http.Header{}, Remote: netip.MustParseAddrPort("127.0.0.1:1")})
}

// ask opens a connection with a request of the test's own.
func (n *fakeNet) ask(r *wsnet.Request) (*fakeConn, *wsnet.Refusal) {
	n.last++
	c := &fakeConn{n: n, w: n.s.newWorker(), id: n.last}
	if refused := c.w.Open(c, r); refused != nil {
		return nil, refused
	}
	n.conns[c.id] = c
	return c, nil
}

func (n *fakeNet) mustConnect(t testing.TB, query string) *fakeConn {
	c, refused := n.connect(query)
	require.Nil(t, refused)
	return c
}

// fakeConn remembers what it was sent.
type fakeConn struct {
	n       *fakeNet
	w       *worker
	id      wsnet.ConnID
	user    uint64
	sent    []string
	closing uint16
}

func (c *fakeConn) ID() wsnet.ConnID   { return c.id }
func (c *fakeConn) User() uint64       { return c.user }
func (c *fakeConn) SetUser(u uint64)   { c.user = u }
func (c *fakeConn) Send(msg []byte)    { c.sent = append(c.sent, string(msg)) }
func (c *fakeConn) say(message string) { c.w.Message(c, []byte(message)) }

func (c *fakeConn) Close(code uint16, _ string) { c.closing = code }

// drop ends the connection as a reset does.
func (c *fakeConn) drop() {
	delete(c.n.conns, c.id)
	c.w.Closed(c, 0)
}

// heard returns what was sent since it was asked last.
func (c *fakeConn) heard() []string {
	sent := c.sent
	c.sent = nil
	return sent
}

func answer(id uint64, action, state string) string {
	return fmt.Sprintf(`{"id":"%d","action":"%s","state":"%s"}`, id, action, state)
}

const (
	writeA  = `{"action":"lock","resources":[{"type":"write","path":["a"]}]}`
	readA   = `{"action":"lock","resources":[{"type":"read","path":["a"]}]}`
	release = `{"action":"release"}`
)
