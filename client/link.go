package client

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coder/websocket"
)

const subprotocol = "locktopus.v2"

var errReplaced = errors.New("another connection has taken the session over")

// link is one connection.
type link struct {
	socket *websocket.Conn
	ctx    context.Context
	cancel context.CancelCauseFunc // why the connection is given up; nil: that is known

	answered bool // the reader's: a request was

	mu    sync.Mutex // guards queue
	queue []*call
	wake  chan struct{} // holds one: there is something in the queue
}

func (l *link) close() {
	l.cancel(nil)
	_ = l.socket.CloseNow()
}

// post sends a request when those before it are sent. It never waits.
func (l *link) post(q *call) {
	l.mu.Lock()
	l.queue = append(l.queue, q)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// connect makes a connection and begins the session over it, or takes it up again.
func (c *Client) connect(ctx context.Context) (*link, error) {
	header, credentials, err := c.authority(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkCredentials(credentials); err != nil {
		return nil, err
	}
	socket, response, err := websocket.Dial(ctx, c.url, &websocket.DialOptions{
		HTTPClient:   &http.Client{Transport: c.transport, CheckRedirect: stay},
		HTTPHeader:   header,
		Subprotocols: []string{subprotocol},
	})
	if err != nil {
		return nil, c.dialError(err, response)
	}
	socket.SetReadLimit(messageBytesMax)
	l := &link{socket: socket, wake: make(chan struct{}, 1)}
	l.ctx, l.cancel = context.WithCancelCause(c.stopped)
	if err := c.greet(ctx, l, credentials); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// stay follows no redirection: the credentials are for this server.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// dialError says what the server, or the network, said, which is better than what the library makes of it.
func (c *Client) dialError(err error, response *http.Response) error {
	if response == nil || response.StatusCode == http.StatusSwitchingProtocols {
		if request, ok := errors.AsType[*url.Error](err); ok { // about http:// where the caller said ws://
			err = request.Err
		}
		return c.cannotConnect(c.otherProtocol(bare(err)))
	}
	code := fmt.Sprintf("http %d", response.StatusCode)
	if strings.Contains(response.Header.Get("WWW-Authenticate"), `"`+adminRealm+`"`) {
		return &RefusedError{Code: code, Message: fmt.Sprintf("%s is the listener for administrators (admin.listen): "+
			"connect to the one for clients (server.listen)", c.server())}
	}
	if response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusForbidden {
		code = "denied"
	}
	return &RefusedError{Code: code, Message: c.answerText(response)}
}

// answerText is what a server says that lets nobody in: a lock server in its own words, about others there are ours.
func (c *Client) answerText(response *http.Response) string {
	said, _ := io.ReadAll(io.LimitReader(response.Body, 1024))
	text, kind := strings.TrimSpace(string(said)), response.Header.Get("Content-Type")
	to := response.Header.Get("Location")
	strange := text == "" || kind != "" && !strings.HasPrefix(kind, "text/plain")
	about := fmt.Sprintf("what answers at %s says %q", c.server(), response.Status)
	switch status := response.StatusCode; {
	case to != "":
		return fmt.Sprintf("%s, and sends to %q: connect there if that is the right address", about, to)
	case strange && status >= http.StatusBadGateway && status <= http.StatusGatewayTimeout:
		return about + ", as a proxy would that can't reach the lock server behind it"
	case strange && (status == http.StatusUnauthorized || status == http.StatusForbidden):
		return about + ", as a proxy would that lets only those in whom it knows"
	case strange:
		return about + ", which a lock server wouldn't: is it the right address?"
	case status == http.StatusNotFound && !strings.Contains(text, "/v2"):
		return fmt.Sprintf("what answers at %s says %q: is it the right address?", c.server(), text)
	}
	return text
}

// adminRealm is what the listener for administrators calls itself to those without its token.
const adminRealm = "locktopus-admin"

// otherProtocol says what is likely wrong when one side speaks TLS and the other doesn't, or the other no HTTP.
func (c *Client) otherProtocol(err error) error {
	secure := strings.HasPrefix(c.url, "wss:")
	_, noTLS := errors.AsType[tls.RecordHeaderError](err)
	noTLS = noTLS || errors.Is(err, http.ErrSchemeMismatch)
	// Two errors of net/http are known by their words alone: the latter is the beginning of an alert of TLS.
	cut := errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		strings.Contains(err.Error(), "server closed idle connection")
	alert := strings.Contains(err.Error(), `malformed HTTP response "\x15\x03`)
	noHTTP := strings.Contains(err.Error(), "malformed HTTP") || strings.Contains(err.Error(), "readLoopPeekFailLocked")
	switch {
	case secure && noTLS:
		return fmt.Errorf("it doesn't speak TLS there: is it ws:// instead of wss://? (%w)", err)
	case secure && cut:
		return fmt.Errorf("it has hung up before any TLS: is it ws:// instead of wss://? (%w)", err)
	case !secure && alert:
		return fmt.Errorf("it speaks TLS there: is it wss:// instead of ws://? (%w)", err)
	case noHTTP:
		return fmt.Errorf("what answers there doesn't speak HTTP: is it the right address? (%w)", err)
	case strings.HasPrefix(err.Error(), "WebSocket protocol violation"):
		return fmt.Errorf("what answers there doesn't speak WebSocket: is it the right address? (%w)", err)
	case !secure && cut:
		return fmt.Errorf("it has hung up without an answer: is it wss:// instead of ws://, or another server? (%w)", err)
	}
	return inWords(err)
}

// server is where the server is, without what else the address says.
func (c *Client) server() string {
	u, err := url.Parse(c.url)
	if err != nil {
		return "the server"
	}
	return u.Scheme + "://" + u.Host
}

// greet says hello and takes the welcome up. A session that the server has forgotten is begun anew.
func (c *Client) greet(ctx context.Context, l *link, credentials map[string]string) error {
	for {
		hello := c.hello(credentials)
		text, err := json.Marshal(hello)
		if err != nil {
			return fmt.Errorf("locktopus: credentials: %w", err)
		}
		sent := c.now()
		if err := l.socket.Write(ctx, websocket.MessageText, text); err != nil {
			return c.cannotConnect(inWords(err))
		}
		_, text, err = l.socket.Read(ctx)
		if err != nil {
			return c.cannotConnect(inWords(err))
		}
		var m message
		if err := json.Unmarshal(text, &m); err != nil {
			return c.cannotConnect(fmt.Errorf("its welcome is not understood: is it the right address? (%w)", err))
		}
		switch {
		case m.Op == "welcome":
			return c.welcome(l, &m, hello.Resume != nil, sent)
		case m.Error == "no_session" && hello.Resume != nil:
			c.gone(&m)
		default:
			if err := refusal(&m); err != nil {
				return err
			}
			return c.cannotConnect(errors.New("its first message is no welcome: is it the right address?"))
		}
	}
}

func (c *Client) cannotConnect(err error) error {
	return fmt.Errorf("locktopus: cannot connect to %s: %w", c.server(), err)
}

func (c *Client) hello(credentials map[string]string) *request {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &request{Op: "hello", TTLMS: milliseconds(c.options.TTL), Name: c.options.Name, Credentials: credentials}
	if c.session != "" {
		r.Resume = &resumption{Session: c.session, Secret: c.secret, Event: c.event}
	}
	return r
}

// gone takes up that the server doesn't know the session any more.
func (c *Client) gone(m *message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	why := "the server has ended the session while it was not connected"
	switch {
	case m.Epoch == "":
		why = "the server doesn't know the session any more: it was restarted, or has not heard from it in time"
	case m.Epoch != c.epoch:
		why = "the server was restarted"
	case c.now()-c.heard >= c.ttl-c.ttl/50:
		why = fmt.Sprintf("the server has not heard from the session in time (%v)", c.ttl)
	}
	c.forget(&LostError{State: "gone", Message: why})
}

// contradiction is in what the welcome back to a session can't be true beside what the server has said before; "": in
// nothing. c.mu is held.
func (c *Client) contradiction(m *message) string {
	switch {
	case m.Session != c.session:
		return "it goes on with another session than the client's"
	case m.Epoch != c.epoch:
		return "it was restarted, and a restart ends all sessions"
	case m.Event < c.event:
		return fmt.Sprintf("its last event is %d, and it has told %d already", m.Event, c.event)
	case m.FirstEvent > m.Event+1:
		return fmt.Sprintf("its first event is %d, and its last one %d", m.FirstEvent, m.Event)
	case m.LastID < c.arrived:
		return fmt.Sprintf("request %d is the last that it knows, and it has answered %d already", m.LastID, c.arrived)
	}
	return ""
}

// mistrust ends the session here, as the server contradicts itself, and with it the connection: what it says of locks
// may be as wrong, and nobody shall rely on it. c.mu is held.
func (c *Client) mistrust(contradiction string) error {
	why := "the server contradicts itself, as one would that was put back to an older state: " + contradiction
	c.link = nil
	c.forget(&LostError{State: "gone", Message: why})
	return errors.New("locktopus: " + why)
}

// forget ends what there was of a session that is no more. Requests for locks that wait begin again in
// the next one; other requests are about what is gone. c.mu is held.
func (c *Client) forget(cause error) {
	c.session, c.secret, c.event, c.lastID, c.arrived = "", "", 0, 0, 0
	old, waiting := c.calls, c.waiting()
	c.calls = nil
	for _, l := range waiting {
		delete(c.locks, l.id)
	}
	c.endAll(cause)
	for _, q := range old {
		if q.lock == nil {
			q.fail(cause)
		}
	}
	for _, l := range waiting {
		l.begin()
	}
}

// welcome takes a session up, and sends what wasn't answered once more.
func (c *Client) welcome(l *link, m *message, resumed bool, sent time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if resumed {
		if contradiction := c.contradiction(m); contradiction != "" {
			return c.mistrust(contradiction)
		}
	}
	c.session, c.secret, c.epoch, c.durable, c.refused = m.Session, m.Secret, m.Epoch, m.Durable, nil
	c.ttl = time.Duration(m.TTLMS) * time.Millisecond
	c.heard, c.said = max(c.heard, sent), sent
	c.link = l
	c.bounds = bounds{bytes: m.MessageBytes, values: m.MessageValues}
	c.sweep()
	c.sortOut()
	for _, q := range c.calls {
		q.sent = -1
		l.post(q)
	}
	switch {
	case !resumed:
		c.event, c.stops = m.Event, never
	case m.FirstEvent > c.event+1:
		c.event = m.FirstEvent - 1
		c.reconcile(maps.Clone(c.locks), m)
	case m.Event == c.event: // all that has ended is known to have
		c.reconcile(maps.Clone(c.locks), m)
	}
	c.look()
	return nil
}

// reconcile finds what became of locks when the server no longer has all events that were missed, or when none was
// missed: m lists those that it has, or the first of them. The requests that ask for the others stand behind those that
// are sent once more, and may be answered over a later connection. c.mu is held.
func (c *Client) reconcile(missing map[uint64]*Lock, m *message) {
	for i := range m.Locks {
		info := &m.Locks[i]
		if l := missing[info.Lock]; l != nil {
			delete(missing, info.Lock)
			l.found(info)
		}
	}
	if m.Next != "" {
		q := c.begin(&request{Op: "locks", After: m.Next}, nil)
		q.take = func(m *message) { c.reconcile(missing, m) }
		return
	}
	for _, l := range missing { // released, too: the list may have been refused
		if l.state != overLock && !l.aside {
			l.askRelease(&LostError{State: "gone", Message: "it ended while there was no connection"})
		}
	}
}

// serve carries messages both ways until the connection is lost.
func (c *Client) serve(l *link) error {
	var writing sync.WaitGroup
	writing.Go(func() { c.write(l) })
	err := c.read(l)
	c.mu.Lock()
	c.link = nil
	c.leaveQueues()
	c.endWatches(ErrWatchInterrupted)
	c.mu.Unlock()
	l.close()
	writing.Wait()
	return err
}

func (c *Client) read(l *link) error {
	for {
		_, text, err := l.socket.Read(l.ctx)
		if cause := context.Cause(l.ctx); err != nil && cause != nil {
			return cause
		}
		if err != nil {
			return c.closed(err)
		}
		if err := c.handle(l, text); err != nil {
			if refused, ok := errors.AsType[*RefusedError](err); ok && refused.Code == "shutdown" {
				l.hearOut()
			}
			return err
		}
	}
}

// hearOut answers the server's closing handshake, which says that what came before it was read: the server that comes
// next needn't wait until this client has lost its locks.
func (l *link) hearOut() {
	ctx, cancel := context.WithTimeout(l.ctx, lastWordPatience)
	defer cancel()
	for {
		if _, _, err := l.socket.Read(ctx); err != nil {
			return
		}
	}
}

// closed finds out whether it was a request's fault that the server has ended the connection: it would be its fault
// again and again, over each connection to come.
func (c *Client) closed(err error) error {
	closed, ok := errors.AsType[websocket.CloseError](err)
	if !ok || closed.Code != websocket.StatusMessageTooBig {
		return inWords(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blame(&message{Error: "limit", Message: "the request is longer than the server allows (limits.message_bytes)"})
	return inWords(err)
}

// sending notes that a request is being sent. False: the connection has been given up, and with it perhaps the
// request, as one that the server can't know.
func (c *Client) sending(l *link, q *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != l {
		return false
	}
	q.sent, q.tried = c.now(), true
	c.said = q.sent
	return true
}

// linger ends the connection, which the reader notices. Before, it leaves the reader time for what the server has
// said last: why it has closed the connection, perhaps.
func (l *link) linger(cause error) {
	patience := time.NewTimer(lastWordPatience)
	defer patience.Stop()
	select {
	case <-l.ctx.Done():
	case <-patience.C:
		l.cancel(cause)
	}
}

// write sends what is in the queue, in its order. Whoever puts something in never waits for the network.
func (c *Client) write(l *link) {
	for {
		l.mu.Lock()
		queue := l.queue
		l.queue = nil
		l.mu.Unlock()
		for _, q := range queue {
			if !c.sending(l, q) {
				return
			}
			if err := l.socket.Write(l.ctx, websocket.MessageText, q.text); err != nil {
				l.linger(inWords(err))
				return
			}
		}
		if len(queue) > 0 {
			continue
		}
		select {
		case <-l.ctx.Done():
			return
		case <-l.wake:
		}
	}
}
