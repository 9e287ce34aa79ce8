package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
)

// client is what the tests need of a WebSocket library. Send and Recv may be called at once by one
// goroutine each.
type client interface {
	Send(text string) error
	Recv() (string, error) // the next text message, or a *closedError, or what broke
	Close() error          // with a closing handshake
	Drop()                 // with a reset, at once
}

// closedError is a close frame of the server.
type closedError struct {
	code   int
	reason string
}

func (e *closedError) Error() string { return fmt.Sprintf("closed with %d %q", e.code, e.reason) }

// target is where and how to connect.
type target struct {
	addr   string // HOST:PORT
	query  string // "?namespace=…"
	origin string
	token  string      // in the header Authorization
	tls    *tls.Config // nil: ws, otherwise wss

	version int // of the protocol; 0: 1
}

// path is that of the upgrade.
func (to target) path() string { return fmt.Sprintf("/v%d%s", max(1, to.version), to.query) }

func (s *server) target(namespace string, abandon ...time.Duration) target {
	q := url.Values{"namespace": {namespace}}
	for _, d := range abandon {
		q.Set("abandon-timeout-ms", strconv.FormatInt(d.Milliseconds(), 10))
	}
	return target{addr: s.addr, query: "?" + q.Encode()}
}

func (to target) url() string {
	scheme := "ws"
	if to.tls != nil {
		scheme = "wss"
	}
	return scheme + "://" + to.addr + to.path()
}

func (to target) header() http.Header {
	h := http.Header{}
	if to.origin != "" {
		h.Set("Origin", to.origin)
	}
	if to.token != "" {
		h.Set("Authorization", "Bearer "+to.token)
	}
	return h
}

// dialer connects; where the server refuses the upgrade, its answer comes with the error.
type dialer func(to target) (client, *http.Response, error)

// dialers are the client libraries every conversation is held with.
var dialers = map[string]dialer{"raw": dialRaw, "gorilla": dialGorilla, "coder": dialCoder}

// eachDialer runs a test once with each client library.
func eachDialer(t *testing.T, f func(t *testing.T, dial dialer)) {
	for name, dial := range dialers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, dial)
		})
	}
}

type gorillaClient struct {
	conn *gorilla.Conn
	raw  net.Conn
}

func dialGorilla(to target) (client, *http.Response, error) {
	c := &gorillaClient{}
	d := gorilla.Dialer{
		HandshakeTimeout: patience,
		TLSClientConfig:  to.tls,
		NetDial: func(network, addr string) (net.Conn, error) {
			var err error
			c.raw, err = net.DialTimeout(network, addr, patience)
			return c.raw, err
		},
	}
	var resp *http.Response
	var err error
	c.conn, resp, err = d.Dial(to.url(), to.header())
	if err != nil {
		return nil, resp, err
	}
	return c, resp, nil
}

func (c *gorillaClient) Send(text string) error {
	c.conn.SetWriteDeadline(time.Now().Add(patience))
	return c.conn.WriteMessage(gorilla.TextMessage, []byte(text))
}

func (c *gorillaClient) Recv() (string, error) {
	c.conn.SetReadDeadline(time.Now().Add(patience))
	kind, msg, err := c.conn.ReadMessage()
	var closed *gorilla.CloseError
	switch {
	case errors.As(err, &closed):
		return "", &closedError{closed.Code, closed.Text}
	case err == nil && kind != gorilla.TextMessage:
		return "", fmt.Errorf("a message of type %d", kind)
	}
	return string(msg), err
}

func (c *gorillaClient) Close() error {
	bye := gorilla.FormatCloseMessage(gorilla.CloseNormalClosure, "")
	if err := c.conn.WriteControl(gorilla.CloseMessage, bye, time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := c.Recv()
	c.conn.Close()
	return wantClosed(err, gorilla.CloseNormalClosure)
}

func (c *gorillaClient) Drop() { reset(c.raw) }

type coderClient struct {
	conn *coder.Conn
	raw  net.Conn
}

func dialCoder(to target) (client, *http.Response, error) {
	c := &coderClient{}
	tr := &http.Transport{
		TLSClientConfig: to.tls,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			var d net.Dialer
			var err error
			c.raw, err = d.DialContext(ctx, network, addr)
			return c.raw, err
		},
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var resp *http.Response
	var err error
	c.conn, resp, err = coder.Dial(ctx, to.url(), &coder.DialOptions{HTTPClient: &http.Client{Transport: tr}, HTTPHeader: to.header()})
	if err != nil {
		return nil, resp, err
	}
	return c, resp, nil
}

func (c *coderClient) Send(text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return c.conn.Write(ctx, coder.MessageText, []byte(text))
}

func (c *coderClient) Recv() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	kind, msg, err := c.conn.Read(ctx)
	var closed coder.CloseError
	switch {
	case errors.As(err, &closed):
		return "", &closedError{int(closed.Code), closed.Reason}
	case err == nil && kind != coder.MessageText:
		return "", fmt.Errorf("a message of type %v", kind)
	}
	return string(msg), err
}

func (c *coderClient) Close() error { return c.conn.Close(coder.StatusNormalClosure, "") }
func (c *coderClient) Drop()        { reset(c.raw); c.conn.CloseNow() }

// wantClosed turns the end that was expected into no error.
func wantClosed(err error, code int) error {
	var closed *closedError
	if errors.As(err, &closed) && closed.code == code {
		return nil
	}
	return fmt.Errorf("want the connection closed with %d: %w", code, err)
}

// reset makes the kernel send RST instead of FIN and throw away what wasn't sent.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}

// resource is one member of a lock request.
type resource = oracle.Resource

func write(path ...string) resource { return resource{Write: true, Path: path} }
func read(path ...string) resource  { return resource{Path: path} }

// lockText is a lock request.
func lockText(rs ...resource) string {
	type wire struct {
		Type string   `json:"type"`
		Path []string `json:"path"`
	}
	all := make([]wire, len(rs))
	for i, r := range rs {
		all[i] = wire{"read", r.Path}
		if r.Write {
			all[i].Type = "write"
		}
		if r.Path == nil {
			all[i].Path = []string{}
		}
	}
	text, err := json.Marshal(map[string]any{"action": "lock", "resources": all})
	if err != nil {
		panic("e2e: a request that is no JSON: " + err.Error())
	}
	return string(text)
}

const releaseText = `{"action":"release"}`

// answer is a message of the server.
type answer struct {
	id     uint64
	action string
	state  string
}

// parseAnswer takes an answer apart, which must be written exactly as the protocol says.
func parseAnswer(text string) (answer, error) {
	rest, ok1 := strings.CutPrefix(text, `{"id":"`)
	number, rest, ok2 := strings.Cut(rest, `","action":"`)
	action, rest, ok3 := strings.Cut(rest, `","state":"`)
	state, ok4 := strings.CutSuffix(rest, `"}`)
	id, err := strconv.ParseUint(number, 10, 64)
	written := ok1 && ok2 && ok3 && ok4 && err == nil && strconv.FormatUint(id, 10) == number
	if !written || !slices.Contains(answers, answer{0, action, state}) {
		return answer{}, fmt.Errorf("%q is no answer of protocol v1", text)
	}
	return answer{id, action, state}, nil
}

// answers are all there are, without their ids.
var answers = []answer{{0, "lock", "enqueued"}, {0, "lock", "acquired"}, {0, "release", "ready"}}

// talk is a client in a conversation that must go as a test says.
type talk struct {
	t testing.TB
	client
}

// connect starts a conversation. The connection is dropped when the test ends.
func connect(t testing.TB, dial dialer, to target) talk {
	t.Helper()
	c, _, err := dial(to)
	require.NoError(t, err)
	t.Cleanup(c.Drop)
	return talk{t, c}
}

func (k talk) send(text string) {
	k.t.Helper()
	require.NoError(k.t, k.Send(text))
}

// next returns the next answer.
func (k talk) next() answer {
	k.t.Helper()
	text, err := k.Recv()
	require.NoError(k.t, err)
	a, err := parseAnswer(text)
	require.NoError(k.t, err)
	return a
}

// lock asks for resources and returns the id and whether they were acquired at once.
func (k talk) lock(rs ...resource) (id uint64, acquired bool) {
	k.t.Helper()
	k.send(lockText(rs...))
	a := k.next()
	require.Equal(k.t, "lock", a.action)
	require.Contains(k.t, []string{"acquired", "enqueued"}, a.state)
	return a.id, a.state == "acquired"
}

func (k talk) mustAcquire(rs ...resource) uint64 {
	k.t.Helper()
	id, acquired := k.lock(rs...)
	require.True(k.t, acquired, "id %d of %v was enqueued, want it acquired at once", id, rs)
	return id
}

func (k talk) mustEnqueue(rs ...resource) uint64 {
	k.t.Helper()
	id, acquired := k.lock(rs...)
	require.False(k.t, acquired, "id %d of %v was acquired at once, want it enqueued", id, rs)
	return id
}

// mustBeGranted waits for the news that an enqueued lock is acquired.
func (k talk) mustBeGranted(id uint64) {
	k.t.Helper()
	require.Equal(k.t, answer{id, "lock", "acquired"}, k.next())
}

func (k talk) release(id uint64) {
	k.t.Helper()
	k.send(releaseText)
	require.Equal(k.t, answer{id, "release", "ready"}, k.next())
}

// mustFault reads a complaint of the server and the end of the connection.
func (k talk) mustFault() string {
	k.t.Helper()
	text, err := k.Recv()
	require.NoError(k.t, err)
	require.Regexp(k.t, `^communication error: .{10,}`, text)
	_, err = k.Recv()
	require.NoError(k.t, wantClosed(err, 3000))
	return text
}
