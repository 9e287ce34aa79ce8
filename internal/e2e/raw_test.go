package e2e

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
)

// rawClient speaks WebSocket by hand, so that it can also misbehave.
type rawClient struct {
	net.Conn
	br     *bufio.Reader
	silent atomic.Bool // answers no ping

	mu  sync.Mutex // held while frames of one message are written, however they are cut; guards rng
	rng *rand.Rand // not nil: cut, fragment and interleave at random
}

// handshake is an upgrade request as text.
func handshake(to target) string {
	origin := ""
	if to.origin != "" {
		origin = "Origin: " + to.origin + "\r\n"
	}
	return "GET " + to.path() + " HTTP/1.1\r\nHost: " + to.addr + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + origin + "\r\n"
}

// handshakeAccept is the answer to the key in handshake: RFC 6455, section 1.3.
const handshakeAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

func dialRaw(to target) (client, *http.Response, error) {
	c, resp, err := dialRawFrom("", to)
	if err != nil {
		return nil, resp, err
	}
	return c, resp, nil
}

// dialRawFrom connects from an address of this machine, "" meaning any.
func dialRawFrom(source string, to target) (*rawClient, *http.Response, error) {
	c, err := dialTCP(source, to.addr)
	if err != nil {
		return nil, nil, err
	}
	if _, err := c.Write([]byte(handshake(to))); err != nil {
		c.Close()
		return nil, nil, err
	}
	r, resp, err := upgraded(c)
	if err != nil {
		c.Close()
		return nil, resp, err
	}
	return r, resp, nil
}

// dialTCP connects from an address of this machine, "" meaning any. Everything on it is bounded by patience.
func dialTCP(source, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: patience}
	if source != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(source)}
	}
	return d.Dial("tcp", addr)
}

// upgraded reads the answer to a handshake.
func upgraded(c net.Conn) (*rawClient, *http.Response, error) {
	c.SetDeadline(time.Now().Add(patience))
	br := bufio.NewReader(c)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, resp, fmt.Errorf("answer %s to an upgrade", resp.Status)
	}
	if got := resp.Header.Get("Sec-WebSocket-Accept"); got != handshakeAccept {
		return nil, resp, fmt.Errorf("Sec-WebSocket-Accept is %q, want %q", got, handshakeAccept)
	}
	c.SetDeadline(time.Time{})
	return &rawClient{Conn: c, br: br}, resp, nil
}

// frame is one masked frame as bytes.
func frame(op ws.OpCode, fin bool, payload []byte) []byte {
	var mask [4]byte
	binary.LittleEndian.PutUint32(mask[:], rand.Uint32()) // its value must not matter, so no seed
	return ws.MustCompileFrame(ws.MaskFrameWith(ws.NewFrame(op, fin, payload), mask))
}

// Send sends a text message: in one frame, or however the client's generator likes.
func (c *rawClient) Send(text string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rng == nil {
		return c.cut(frame(ws.OpText, true, []byte(text)))
	}
	return c.cut(scatter(c.rng, text))
}

// write writes whole frames, in one piece or cut anywhere.
func (c *rawClient) write(frames []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut(frames)
}

func (c *rawClient) cut(frames []byte) error {
	c.SetWriteDeadline(time.Now().Add(patience))
	for c.rng != nil && len(frames) > 1 && c.rng.IntN(3) > 0 {
		cut := 1 + c.rng.IntN(len(frames)-1)
		if _, err := c.Conn.Write(frames[:cut]); err != nil {
			return err
		}
		frames = frames[cut:]
		runtime.Gosched() // more often than not the server sees the cut
	}
	_, err := c.Conn.Write(frames)
	return err
}

// scatter makes frames of a message: some of them empty, with control frames between.
func scatter(rng *rand.Rand, text string) []byte {
	var out []byte
	op := ws.OpText
	for rest := []byte(text); ; op = ws.OpContinuation {
		n := len(rest)
		if rng.IntN(2) == 0 {
			n = rng.IntN(len(rest) + 1)
		}
		last := n == len(rest) && rng.IntN(4) > 0
		out = append(out, frame(op, last, rest[:n])...)
		if last {
			return out
		}
		rest = rest[n:]
		if rng.IntN(4) == 0 {
			out = append(out, frame(ws.OpPing, true, []byte("between"))...)
		}
		if rng.IntN(8) == 0 {
			out = append(out, frame(ws.OpPong, true, nil)...)
		}
	}
}

// Recv returns the next text message. On the way it answers pings, unless it is silent, and checks
// what the RFC asks of a server.
func (c *rawClient) Recv() (string, error) {
	var msg []byte
	for open := false; ; {
		if c.br.Buffered() == 0 {
			c.SetReadDeadline(time.Now().Add(patience))
		}
		h, err := ws.ReadHeader(c.br)
		if err != nil {
			return "", err
		}
		if err := checkHeader(h, open); err != nil {
			return "", err
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(c.br, payload); err != nil {
			return "", err
		}
		if h.OpCode.IsControl() {
			if err := c.control(h.OpCode, payload); err != nil {
				return "", err
			}
			continue
		}
		msg = append(msg, payload...)
		if open = !h.Fin; !open {
			return string(msg), nil
		}
	}
}

// checkHeader says what a server may not send. open: a fragmented message has begun.
func checkHeader(h ws.Header, open bool) error {
	switch {
	case h.Masked:
		return errors.New("the server masked a frame")
	case h.Rsv != 0:
		return errors.New("the server set a reserved bit")
	case h.OpCode.IsControl():
		return nil
	case h.OpCode == ws.OpBinary:
		return errors.New("the server sent a binary frame")
	case open != (h.OpCode == ws.OpContinuation):
		return errors.New("the server's fragments are out of order")
	case h.Length > 1<<20:
		return fmt.Errorf("the server sent a frame of %d bytes", h.Length)
	}
	return nil
}

func (c *rawClient) control(op ws.OpCode, payload []byte) error {
	switch op {
	case ws.OpPing:
		if !c.silent.Load() {
			return c.write(frame(ws.OpPong, true, payload))
		}
	case ws.OpClose:
		code, reason := ws.ParseCloseFrameData(payload)
		c.write(frame(ws.OpClose, true, payload)) // the server may be gone already
		return &closedError{int(code), reason}
	}
	return nil
}

// Close closes with a handshake. Messages that were under way are read and dropped.
func (c *rawClient) Close() error {
	defer c.Conn.Close()
	if err := c.write(frame(ws.OpClose, true, ws.NewCloseFrameBody(ws.StatusNormalClosure, ""))); err != nil {
		return err
	}
	for {
		if _, err := c.Recv(); err != nil {
			return wantClosed(err, int(ws.StatusNormalClosure))
		}
	}
}

func (c *rawClient) Drop() { reset(c.Conn) }

// awaitEOF reads until the server has ended the connection, whatever it still says.
func awaitEOF(c net.Conn) error {
	c.SetReadDeadline(time.Now().Add(patience))
	_, err := io.Copy(io.Discard, c)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("the server doesn't close the connection")
	}
	return nil // EOF or reset: both are an end
}
