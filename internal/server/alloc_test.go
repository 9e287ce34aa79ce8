package server

import (
	"bytes"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/fence"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

// TestMessageAllocatesNothingFromSocketToSocket plays lock and release over real connections on the
// loopback interface, contended ones among them. AllocsPerRun counts what the whole process
// allocates, the loops included; the test's own client doesn't.
func TestMessageAllocatesNothingFromSocketToSocket(t *testing.T) {
	for name, newJudge := range map[string]func() Judge{
		"no plugins":      nil,
		"none configured": func() Judge { return &fakeJudge{} },
		"plugins":         func() Judge { return &lonely{} },
		"a real plugin":   realJudge(t),
	} {
		t.Run(name, func(t *testing.T) { allocatesNothing(t, newJudge) })
	}
}

// realJudge is a plugin in WebAssembly that is asked about each request.
func realJudge(t *testing.T) func() Judge {
	gate := host.New(host.Options{Instances: 4})
	t.Cleanup(gate.Close)
	require.NoError(t, gate.Load([]host.Spec{{Name: "allow", Path: "../../bench/testdata/allow.wasm", Hooks: host.Authorize}}))
	return func() Judge { return gate.Caller() }
}

func allocatesNothing(t *testing.T, newJudge func() Judge) {
	s := serveLoopback(t, Options{NewJudge: newJudge})
	a, b := dialRaw(t, s), dialRaw(t, s)
	round := func() {
		a.send(a.lock)
		a.expect(`"acquired"}`)
		b.send(b.lock)
		b.expect(`"enqueued"}`)
		a.send(a.release)
		a.expect(`"ready"}`)
		b.expect(`"acquired"}`)
		b.send(b.release)
		b.expect(`"ready"}`)
	}
	for range 1000 {
		round()
	}
	require.Zero(t, testing.AllocsPerRun(1000, round))
}

// serveLoopback fills in what a test doesn't care about.
func serveLoopback(t testing.TB, o Options) *Server {
	var err error
	if o.Listener == nil {
		o.Listener, err = net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
	}
	o.Settings, o.Fence, o.Log = testSettings(), fence.Memory(), slog.New(slog.DiscardHandler)
	s, err := New(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// rawClient sends frames that were made beforehand and reads answers into a buffer of its own.
type rawClient struct {
	t             testing.TB
	conn          net.Conn
	lock, release []byte
	buf           []byte
	n             int
}

func dialRaw(t testing.TB, s *Server) *rawClient { return newRaw(t, dial(t, s)) }

func newRaw(t testing.TB, conn net.Conn) *rawClient {
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	c := &rawClient{t: t, conn: conn, buf: make([]byte, 4096)}
	c.send([]byte(rawHead))
	c.expect("\r\n\r\n")
	c.lock = clientFrame(`{"action":"lock","resources":[{"type":"write","path":["group","entity","id-42"]}]}`)
	c.release = clientFrame(release)
	return c
}

const rawHead = "GET /v1?namespace=n HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// clientFrame is a masked text frame.
func clientFrame(text string) []byte {
	return ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(text))))
}

func (c *rawClient) send(frame []byte) {
	if _, err := c.conn.Write(frame); err != nil {
		c.t.Fatal(err)
	}
}

// expect reads up to the end of an answer.
func (c *rawClient) expect(end string) {
	for !bytes.HasSuffix(c.buf[:c.n], []byte(end)) {
		n, err := c.conn.Read(c.buf[c.n:])
		if err != nil {
			c.t.Fatalf("%v after %q, waiting for %q", err, c.buf[:c.n], end)
		}
		c.n += n
	}
	c.n = 0
}
