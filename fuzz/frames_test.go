package fuzz

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/wsnet"
)

// echo is a wsnet handler that says what it hears.
type echo struct{}

func (echo) Open(wsnet.Conn, *wsnet.Request) *wsnet.Refusal { return nil }
func (echo) Message(c wsnet.Conn, msg []byte)               { c.Send(msg) }
func (echo) Notify(wsnet.Conn, uint64)                      {}
func (echo) Closed(wsnet.Conn, wsnet.Reason)                {}

// net serves on a unix socket, by loops or a goroutine for each connection, and returns where.
func serveNet(t testing.TB, o wsnet.Options) (address string) {
	address = filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", address)
	require.NoError(t, err)
	o.NewHandler, o.Loops = func() wsnet.Handler { return echo{} }, 1
	s, err := wsnet.Serve(ln, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return address
}

// streamHead is a good handshake.
const streamHead = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// heard is what a server makes of a stream of frames, in order: "text …", "pong …", and last "end" if it
// closes, by itself or in answer to a close frame. (In which way isn't compared: of close frames, gorilla
// takes one of a single byte, and doesn't know the newest codes.)
type heard []string

// reference is what gorilla/websocket makes of a stream, with the rules that it leaves to whoever uses it:
// only text, and text is UTF-8.
func reference(t *testing.T, stream []byte) heard {
	h := heard{}
	wire := &memory{in: bufio.NewReader(bytes.NewReader(stream))}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(streamHead)))
	require.NoError(t, err)
	c, err := new(websocket.Upgrader).Upgrade(wire, r, nil)
	require.NoError(t, err)
	c.SetReadLimit(int64(wsnet.DefaultLimits().MessageBytes))
	c.SetPingHandler(func(payload string) error {
		h = append(h, "pong "+payload)
		return nil
	})
	for {
		kind, body, err := c.NextReader()
		var text []byte
		if err == nil && kind != websocket.TextMessage {
			return append(h, "end")
		}
		if err == nil {
			text, err = io.ReadAll(body)
		}
		var closed *websocket.CloseError
		switch {
		case err == nil && !utf8.Valid(text):
			return append(h, "end")
		case err == nil:
			h = append(h, "text "+string(text))
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &closed) && closed.Code == websocket.CloseAbnormalClosure:
			return h
		default:
			return append(h, "end")
		}
	}
}

// memory is a connection, and the http.ResponseWriter that hands it over. What is written is forgotten.
type memory struct {
	net.Conn
	in *bufio.Reader
}

func (m *memory) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return m, bufio.NewReadWriter(bufio.NewReader(m), bufio.NewWriter(m)), nil
}
func (m *memory) Header() http.Header              { return http.Header{} }
func (m *memory) WriteHeader(int)                  {}
func (m *memory) Read(b []byte) (int, error)       { return m.in.Read(b) }
func (m *memory) Write(b []byte) (int, error)      { return len(b), nil }
func (m *memory) SetDeadline(time.Time) error      { return nil }
func (m *memory) SetWriteDeadline(time.Time) error { return nil }
func (m *memory) Close() error                     { return nil }

// converse sends a stream in pieces, behind a handshake, and reads all that comes until the server ends
// the connection. reason is that of its close frame.
func converse(t *testing.T, address string, stream, cuts []byte) (h heard, reason string) {
	h = heard{}
	c, err := net.Dial("unix", address)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	done := make(chan struct{})
	go func() {
		defer close(done)
		sendCut(c, append([]byte(streamHead), stream...), cuts)
	}()
	in := bufio.NewReader(c)
	r, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, r.StatusCode)
	for {
		header, err := ws.ReadHeader(in)
		if err != nil {
			<-done
			require.ErrorIs(t, err, io.EOF, "after %q", h)
			return h, reason
		}
		require.True(t, header.Fin && !header.Masked && header.Rsv == 0 && header.Length <= int64(125+len(stream)), "%+v", header)
		payload := make([]byte, header.Length)
		_, err = io.ReadFull(in, payload)
		require.NoError(t, err)
		require.Empty(t, reason, "a frame behind a close frame")
		switch header.OpCode {
		case ws.OpText:
			h = append(h, "text "+string(payload))
		case ws.OpPong:
			h = append(h, "pong "+string(payload))
		case ws.OpClose:
			code, text := ws.ParseCloseFrameData(payload)
			if reason = "answered"; text != "" { // a server that refuses says why
				require.Contains(t, []ws.StatusCode{1002, 1003, 1007, 1009}, code)
				reason = text
			}
		default:
			require.Fail(t, "not a frame of an echo", "%+v", header)
		}
	}
}

// sendCut writes pieces of the given sizes, again and again, and then ends its half. That the server is
// gone by then is no fault of it.
func sendCut(c net.Conn, stream, cuts []byte) {
	for i := 0; len(stream) > 0; i++ {
		n := len(stream)
		if len(cuts) > 0 {
			n = min(n, 1+int(cuts[i%len(cuts)]))
		}
		if _, err := c.Write(stream[:n]); err != nil {
			return
		}
		stream = stream[n:]
		runtime.Gosched() // more often than not the server sees the cut
	}
	c.(*net.UnixConn).CloseWrite()
}

// endsInHeader says whether a stream ends within a frame's header. wsnet judges what is there of it, gorilla
// waits for the rest.
func endsInHeader(stream []byte) bool {
	r := bytes.NewReader(stream)
	for r.Len() > 0 {
		h, err := ws.ReadHeader(r)
		if err != nil {
			return !errors.Is(err, ws.ErrHeaderLengthMSB)
		}
		if h.Length > int64(r.Len()) {
			return false
		}
		r.Seek(h.Length, io.SeekCurrent)
	}
	return false
}

// FuzzStream has an upgrade and any bytes behind it mean the same to both of wsnet's paths as to another
// implementation, however they are cut.
func FuzzStream(f *testing.F) {
	limits := wsnet.Limits{Fragments: 1 << 20}
	loops := serveNet(f, wsnet.Options{Limits: limits})
	portable := serveNet(f, wsnet.Options{Limits: limits, Portable: true})
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		for path, address := range map[string]string{"loops": loops, "portable": portable} {
			got, reason := converse(t, address, stream, cuts)
			want := reference(t, stream)
			if reason != "" {
				got = append(got, "end")
			}
			n := len(got) - 1
			switch {
			case strings.Contains(reason, "fewest bytes") && n <= len(want): // gorilla takes longer lengths than needed
				want = append(want[:n], "end")
			case reason != "" && n == len(want) && endsInHeader(stream):
				want = append(want, "end")
			}
			require.Equal(t, want, got, "%s: %s", path, reason)
		}
	})
}
