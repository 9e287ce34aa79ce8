package probe

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
)

// Target is the server.
type Target struct {
	URL    *url.URL                 // ws or wss; its query may have more parameters than the namespace
	Header http.Header              // of each connection, for servers that want to know who it is
	TLS    *tls.Config              // for wss
	Local  bool                     // no address but this machine's own is connected to
	Dial   func() (net.Conn, error) // nil: TCP to the URL's host
}

// local refuses to connect to another machine, whatever a name means by now.
func local(_, address string, _ syscall.RawConn) error {
	if to, err := netip.ParseAddrPort(address); err != nil || !to.Addr().Unmap().IsLoopback() {
		return fmt.Errorf("%s is not on this machine", address)
	}
	return nil
}

// dial connects without a word.
func (t *Target) dial(patience time.Duration) (net.Conn, error) {
	if t.Dial != nil {
		return t.Dial()
	}
	d := &net.Dialer{Timeout: patience}
	if t.Local {
		d.Control = local
	}
	port := t.URL.Port()
	if t.URL.Scheme == "wss" {
		if port == "" {
			port = "443"
		}
		conf := &tls.Config{}
		if t.TLS != nil {
			conf = t.TLS.Clone()
		}
		if conf.ServerName == "" {
			conf.ServerName = t.URL.Hostname()
		}
		return tls.DialWithDialer(d, "tcp", net.JoinHostPort(t.URL.Hostname(), port), conf)
	}
	if port == "" {
		port = "80"
	}
	return d.Dial("tcp", net.JoinHostPort(t.URL.Hostname(), port))
}

// path is where connections are opened.
func (t *Target) path() string {
	if p := t.URL.EscapedPath(); p != "" {
		return p
	}
	return "/"
}

// query is that of a connection to a namespace, which stands in the place of the target's own.
func (t *Target) query(space string) url.Values {
	q := t.URL.Query()
	q.Set("namespace", space)
	q.Del("abandon-timeout-ms")
	return q
}

// tail are the header lines of a handshake, the blank one included.
func (t *Target) tail() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Host: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n", t.URL.Host, handshakeKey)
	t.Header.Write(&b)
	return b.String() + "\r\n"
}

// handshakeKey is the same everywhere, as the mask is.
const handshakeKey = "dGhlIHNhbXBsZSBub25jZQ=="

// handshakeAccept is the answer to a key: RFC 6455, section 4.2.2.
func handshakeAccept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Refused is a connection or a request that the server doesn't want for reasons of its own: it is full,
// shuts down, or its plugins don't let the probe do what it must.
type Refused struct{ Why string }

func (r *Refused) Error() string { return "the server refuses what the probe asks: " + r.Why }

// open makes a connection of version 1 to a namespace.
func (t *Target) open(space string, abandon, patience time.Duration) (*conn, error) {
	q := t.query(space)
	q.Set("abandon-timeout-ms", strconv.FormatInt(abandon.Milliseconds(), 10))
	return t.connect(q, "", answerBytesMax, patience)
}

// connect makes a connection with a query and a subprotocol, which may be empty, to a server whose messages are no
// longer than that.
func (t *Target) connect(q url.Values, subprotocol string, longest int, patience time.Duration) (*conn, error) {
	nc, err := t.dial(patience)
	if err != nil {
		return nil, fmt.Errorf("cannot connect: %w", err)
	}
	nc.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReader(nc)
	head := "GET " + t.path() + "?" + q.Encode() + " HTTP/1.1\r\n"
	if subprotocol != "" {
		head += "Sec-WebSocket-Protocol: " + subprotocol + "\r\n"
	}
	if _, err = io.WriteString(nc, head+t.tail()); err == nil {
		err = upgraded(in, subprotocol)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	nc.SetDeadline(time.Time{})
	c := &conn{nc: nc, in: in, longest: longest, patience: patience, events: make(chan event, 16)}
	go c.listen()
	return c, nil
}

// refusedStatus are the answers that say something of the server, and not of the handshake.
var refusedStatus = map[int]bool{401: true, 403: true, 404: true, 429: true, 431: true, 503: true}

// upgraded reads the answer to a good handshake.
func upgraded(in *bufio.Reader, subprotocol string) error {
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return fmt.Errorf("no answer to an upgrade that HTTP knows: %w", err)
	}
	h := resp.Header
	switch {
	case resp.StatusCode != http.StatusSwitchingProtocols:
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		text := fmt.Sprintf("%s to an upgrade: %s", resp.Status, bytes.TrimSpace(body))
		if refusedStatus[resp.StatusCode] {
			return &Refused{text}
		}
		return errors.New(text)
	case !strings.EqualFold(h.Get("Upgrade"), "websocket") || !strings.EqualFold(h.Get("Connection"), "upgrade"):
		return fmt.Errorf("an upgrade to %q, connection %q", h.Get("Upgrade"), h.Get("Connection"))
	case h.Get("Sec-WebSocket-Accept") != handshakeAccept(handshakeKey):
		return fmt.Errorf("Sec-WebSocket-Accept is %q, not the answer to the key", h.Get("Sec-WebSocket-Accept"))
	case h.Get("Sec-WebSocket-Extensions") != "" || h.Get("Sec-WebSocket-Protocol") != subprotocol:
		return errors.New("an upgrade with extensions that nobody asked for, or with another subprotocol than was")
	}
	return nil
}

// refusesUpgrade opens a connection with what is no upgrade.
func (t *Target) refusesUpgrade(bad badUpgrade, space string, patience time.Duration) error {
	nc, err := t.dial(patience)
	if err != nil {
		return fmt.Errorf("cannot connect: %w", err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	text := strings.NewReplacer("PATH", t.path(), "QUERY", t.query(space).Encode(), "TAIL\r\n", t.tail()).Replace(bad.text)
	if _, err := io.WriteString(nc, text); err != nil {
		return fmt.Errorf("%s: %w", bad.name, err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	switch {
	case err != nil:
		return fmt.Errorf("%s: no answer that HTTP knows: %w", bad.name, err)
	case resp.StatusCode < 400:
		return fmt.Errorf("%s: the answer is %s", bad.name, resp.Status)
	}
	return nil
}

// conn is an open connection. What comes is handed over as events by one goroutine, which answers pings.
type conn struct {
	nc       net.Conn
	in       *bufio.Reader
	longest  int // message that the server may send, in bytes
	patience time.Duration
	events   chan event  // closed behind the last one, which is an end
	writing  sync.Mutex  // held for whole frames
	closing  atomic.Bool // our close frame is sent
}

// event is what a connection brings.
type event struct {
	at   oracle.Moment
	text string // a message
	pong []byte // not nil: a pong
	end  *ending
}

// ending is how a connection ended.
type ending struct {
	code   int // of the server's close frame; 0: there was none, noCode: it had none
	reason string
	err    error // what broke, or what the server mustn't do
}

const noCode = int(ws.StatusNoStatusRcvd)

// String says it in a few words.
func (e *ending) String() string {
	switch {
	case e.err != nil && !errors.Is(e.err, io.EOF):
		return e.err.Error()
	case e.code == 0:
		return "the connection ended without a close frame"
	}
	return fmt.Sprintf("closed with code %d %q", e.code, e.reason)
}

func (e event) String() string {
	switch {
	case e.end != nil:
		return e.end.String()
	case e.pong != nil:
		return "pong " + shorten(string(e.pong))
	}
	return e.text
}

// listen reads until the connection ends.
func (c *conn) listen() {
	defer close(c.events)
	defer c.nc.Close()
	for {
		e, err := c.receive()
		e.at = oracle.Now()
		if err != nil {
			e.end = &ending{err: err}
		}
		if e.end != nil && e.end.code != 0 {
			e.end.err = c.bye()
		}
		c.events <- e
		if e.end != nil {
			return
		}
	}
}

// receive reads the next message, pong or close frame.
func (c *conn) receive() (e event, err error) {
	var msg []byte
	for begun := false; ; {
		h, err := ws.ReadHeader(c.in)
		if err == nil {
			err = checkHeader(h, begun, c.longest)
		}
		if err != nil {
			return e, err
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(c.in, payload); err != nil {
			return e, err
		}
		switch h.OpCode {
		case ws.OpPing:
			c.write(frame(ws.OpPong, true, payload)) // if that fails, reading will too
		case ws.OpPong:
			return event{pong: payload}, nil
		case ws.OpClose:
			e.end, err = readClose(payload)
			return e, err
		default:
			if msg, begun = append(msg, payload...), !h.Fin; len(msg) > c.longest {
				return e, fmt.Errorf("the server sent a message of more than %d bytes", c.longest)
			}
			if !begun && !utf8.Valid(msg) {
				return e, errors.New("the server sent a text that is no UTF-8")
			}
			if !begun {
				return event{text: string(msg)}, nil
			}
		}
	}
}

// answerBytesMax bounds what a server of version 1 may say at once.
const answerBytesMax = 1 << 16

// checkHeader says what a server may not send. begun: a fragmented message has.
func checkHeader(h ws.Header, begun bool, longest int) error {
	control := h.OpCode.IsControl()
	switch {
	case h.Masked:
		return errors.New("the server masked a frame")
	case h.Rsv != 0:
		return errors.New("the server set a reserved bit")
	case h.OpCode.IsReserved():
		return fmt.Errorf("the server sent a frame of the unknown kind %#x", h.OpCode)
	case control && (!h.Fin || h.Length > ws.MaxControlFramePayloadSize):
		return errors.New("the server sent a control frame that is fragmented or too long")
	case control:
		return nil
	case h.OpCode == ws.OpBinary:
		return errors.New("the server sent a binary frame")
	case begun != (h.OpCode == ws.OpContinuation):
		return errors.New("the server's fragments are out of order")
	case h.Length > int64(longest):
		return fmt.Errorf("the server sent a frame of %d bytes", h.Length)
	}
	return nil
}

func readClose(payload []byte) (*ending, error) {
	if len(payload) == 0 {
		return &ending{code: noCode}, nil
	}
	if len(payload) == 1 {
		return nil, errors.New("the server sent a close frame of one byte")
	}
	code, reason := ws.ParseCloseFrameData(payload)
	if err := ws.CheckCloseFrameData(code, reason); err != nil {
		return nil, fmt.Errorf("the server sent a close frame with code %d and reason %q: %w", code, reason, err)
	}
	return &ending{code: int(code), reason: reason}, nil
}

// bye answers the server's close frame, or has been answered by it, and waits for the end of the stream.
func (c *conn) bye() error {
	if !c.closing.Swap(true) {
		c.write(frame(ws.OpClose, true, nil)) // the server may be gone already
	}
	c.nc.SetReadDeadline(time.Now().Add(c.patience))
	n, err := io.Copy(io.Discard, c.in)
	var timeout net.Error
	switch {
	case n > 0:
		return fmt.Errorf("the server sent %d bytes behind its close frame", n)
	case errors.As(err, &timeout) && timeout.Timeout():
		return errors.New("the server sent a close frame and doesn't end the connection")
	}
	return nil // by a reset is also an end
}

// write writes whole frames, in one piece.
func (c *conn) write(frames []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.writePiece(frames)
}

func (c *conn) writePiece(b []byte) error {
	c.nc.SetWriteDeadline(time.Now().Add(c.patience))
	_, err := c.nc.Write(b)
	return err
}

// send writes whole frames in pieces. An error says nothing yet: what is read tells what became of it.
func (c *conn) send(f framing, frames []byte) {
	c.writing.Lock()
	defer c.writing.Unlock()
	for _, piece := range f.cut(frames) {
		if c.writePiece(piece) != nil {
			return
		}
	}
}

// next is the next event; a wait of longer than patience is an end.
func (c *conn) next(patience time.Duration) event {
	select {
	case e, ok := <-c.events:
		if ok {
			return e
		}
		return event{at: oracle.Now(), end: &ending{err: io.EOF}}
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case e, ok := <-c.events:
		if ok {
			return e
		}
		return event{at: oracle.Now(), end: &ending{err: io.EOF}}
	case <-timer.C:
		return event{at: oracle.Now(), end: &ending{err: fmt.Errorf("nothing came for %v", patience)}}
	}
}

// drop ends the connection at once, with a reset where the network has that, and forgets what comes.
func (c *conn) drop(withReset bool) {
	raw := c.nc
	if t, ok := raw.(*tls.Conn); ok {
		raw = t.NetConn()
	}
	if tcp, ok := raw.(*net.TCPConn); ok && withReset {
		tcp.SetLinger(0)
	}
	raw.Close()
	for range c.events {
	}
}

// ParseHeader reads a header given as "Name: value".
func ParseHeader(line string) (name, value string, err error) {
	name, value, ok := strings.Cut(line, ":")
	if !ok || strings.TrimSpace(name) == "" || strings.ContainsAny(line, "\r\n") {
		return "", "", fmt.Errorf("%q is no header: write \"Name: value\"", line)
	}
	return textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)), strings.TrimSpace(value), nil
}
