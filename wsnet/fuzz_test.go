package wsnet

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/stretchr/testify/require"
)

// witness notes what a turn hands to its handler.
type witness struct {
	spy
	messages []string
}

func (w *witness) Message(_ Conn, msg []byte) { w.messages = append(w.messages, string(msg)) }

// listen runs a turn over the stream, which comes in pieces of the given sizes, again and again.
func (w *witness) listen(stream []byte, cuts []byte) *turn {
	lim := Limits{MessageBytes: 1 << 16, Fragments: 1 << 20}.orDefaults()
	t := &turn{handler: w, lim: lim, stats: &counters{}, state: stateOpen, stop: 1 << 30}
	var kept []byte
	for i := 0; len(stream) > 0 && t.hearsFrames(); i++ {
		n := len(stream)
		if len(cuts) > 0 {
			n = min(n, 1+int(cuts[i%len(cuts)]))
		}
		kept = append(kept, stream[:n]...)
		stream = stream[n:]
		kept = kept[t.talk(kept):]
	}
	return t
}

// reference reads messages with wsutil, until one that it, or we, would refuse.
func reference(stream []byte) (messages []string) {
	r := wsutil.Reader{Source: bytes.NewReader(stream), State: ws.StateServerSide}
	for {
		var control error
		r.OnIntermediate = func(h ws.Header, p io.Reader) error {
			b, err := io.ReadAll(p)
			if h.OpCode == ws.OpClose || err != nil || int64(len(b)) != h.Length {
				control = io.EOF
			}
			return control
		}
		h, err := r.NextFrame()
		if err != nil {
			return messages
		}
		if h.OpCode == ws.OpBinary || h.OpCode == ws.OpClose {
			return messages
		}
		body, err := io.ReadAll(&r)
		if err != nil {
			return messages
		}
		if h.OpCode == ws.OpText {
			messages = append(messages, string(body))
		}
	}
}

// FuzzFrames checks that a stream means the same however it is cut, and the same as to another
// implementation, as far as we accept it.
func FuzzFrames(f *testing.F) {
	sent, _ := conversation()
	f.Add(sent[len(testHead):], []byte{0})
	f.Add(sent[len(testHead):], []byte{2, 5, 0})
	f.Add(length64(1<<63+1), []byte{})
	f.Add(text("\xff"), []byte{3})
	f.Add(concat(masked(false, ws.OpText, "a"), masked(true, ws.OpPing, "x"), masked(true, ws.OpContinuation, "b"), text("c")), []byte{1})
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		var whole, pieces witness
		a, b := whole.listen(bytes.Clone(stream), nil), pieces.listen(bytes.Clone(stream), cuts)
		require.Equal(t, whole.messages, pieces.messages)
		require.Equal(t, a.out, b.out)
		require.Equal(t, a.state, b.state)
		require.Equal(t, a.why, b.why)
		for _, m := range whole.messages {
			require.True(t, utf8.ValidString(m))
		}
		want := reference(stream)
		if len(whole.messages) > len(want) {
			t.Fatalf("more messages than the reference\ninput %x\ngot  %q\nwant %q", stream, whole.messages, want)
		}
		for i, m := range whole.messages {
			require.Equal(t, want[i], m)
		}
	})
}

// FuzzHead checks the upgrade head: no panic, an answer that net/http can read, nothing swallowed
// from behind the blank line, and 101 only where net/http reads a GET too.
func FuzzHead(f *testing.F) {
	f.Add([]byte(testHead))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Add([]byte("POST / HTTP/1.1\nUpgrade: websocket\n\n"))
	f.Add([]byte(strings.Replace(testHead, "Version: 13", "Version: 8", 1)))
	f.Add([]byte("GET * HTTP/1.1\r\nUpgrade: ,websocket\r\n\r\n"))
	f.Add([]byte(strings.NewReplacer("Upgrade: websocket", "Upgrade: a\r\nUpgrade: b, websocket", "keep-alive,", "a\r\nConnection:").Replace(testHead)))
	f.Add([]byte(strings.Replace(testHead, "Origin:", "Content-Length: 0\r\nHost: b\r\nOrigin:", 1)))
	f.Add([]byte(strings.Replace(testHead, "HTTP/1.1", "HTTP/1.10", 1)))
	f.Add([]byte(strings.Replace(testHead, "keep-alive", "kee\x7f-alive", 1)))
	u := newUpgrader()
	f.Fuzz(func(t *testing.T, head []byte) {
		end := headEnd(head, 0)
		for cut := range head { // found alike however it arrives
			if e := headEnd(head, cut); end != 0 && cut < end-1 && e != end {
				t.Fatalf("end %d, known %d: %d", end, cut, e)
			}
		}
		if end == 0 {
			return
		}
		facts := scanHead(head[:end])
		if !facts.websocket {
			return
		}
		tr := &turn{handler: &spy{}, lim: Limits{}.orDefaults(), stats: &counters{}, state: stateHead}
		orig := bytes.Clone(head)
		u.answer(tr, head[:end], facts, netip.AddrPort{}, nil)
		require.Equal(t, orig[end:], head[end:])
		r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(tr.out)), nil)
		require.NoError(t, err)
		require.Equal(t, tr.opened, r.StatusCode == 101)
		require.Equal(t, tr.opened, tr.state == stateOpen)
		if tr.opened {
			q, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(orig)))
			require.NoError(t, err)
			require.Equal(t, "GET", q.Method)
			require.Zero(t, q.ContentLength)
			require.Empty(t, q.TransferEncoding)
			require.Len(t, q.Header.Values("Sec-WebSocket-Key"), 1)
		}
	})
}
