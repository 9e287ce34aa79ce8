package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/stretchr/testify/require"
)

const hostileConfig = `
[limits]
handshake_timeout = "5s"
message_timeout = "5s"
write_timeout = "1s"
close_timeout = "1s"
ping_interval = "1s"
pong_timeout = "5s"
output_bytes = 262_144
pause_reading_bytes = 32_768
`

// hostileClients do their worst until the server gets rid of them, which it must.
var hostileClients = map[string]func(h *intruder){
	"a byte a second, in the head": func(h *intruder) { h.drip(handshake(h.to)) },
	"a byte a second, in a frame":  func(h *intruder) { h.upgrade().drip(strings.Repeat("\x81\xfe\xff\xff", 2)) },
	"a head without end":           func(h *intruder) { h.say("GET /v1?namespace=a HTTP/1.1\r\n"); h.flood([]byte("X-More: and more\r\n")) },
	"a line without end":           func(h *intruder) { h.say("GET /v1?namespace="); h.flood(bytes.Repeat([]byte("a"), 512)) },
	"garbage":                      func(h *intruder) { h.flood([]byte("\x00\xff\x13garbage\r\n\r\n")) },
	"half a handshake, then FIN":   func(h *intruder) { h.say(handshake(h.to)[:60]); h.halfClose() },
	"FIN behind the handshake":     func(h *intruder) { h.upgrade().halfClose() },
	"an unmasked frame": func(h *intruder) {
		h.upgrade().refused(1002, ws.MustCompileFrame(ws.NewTextFrame([]byte(releaseText))))
	},
	"a length of 2^63":           func(h *intruder) { h.upgrade().refused(1002, []byte("\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00mask")) },
	"a length of 2^63+1":         func(h *intruder) { h.upgrade().refused(1002, []byte("\x81\xff\x80\x00\x00\x00\x00\x00\x00\x01mask")) },
	"a length of 2^64-1":         func(h *intruder) { h.upgrade().refused(1002, []byte("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xffmask")) },
	"a length of 2^63-1":         func(h *intruder) { h.upgrade().refused(1009, []byte("\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xffmask")) },
	"a length in too many bytes": func(h *intruder) { h.upgrade().refused(1002, []byte("\x81\xff\x00\x00\x00\x00\x00\x00\x00\x01maskx")) },
	"fragments without end":      func(h *intruder) { h.upgrade().scrapFlood("") },
	"fragments of a byte":        func(h *intruder) { h.upgrade().scrapFlood(" ") },
	"invalid UTF-8":              func(h *intruder) { h.upgrade().refused(1007, frame(ws.OpText, true, []byte("{\"action\":\"\xff\"}"))) },
	"invalid UTF-8 across a cut": func(h *intruder) { h.upgrade().refused(1007, cutText("\"\xe2\x82", "\x41\"")) },
	"unfinished UTF-8":           func(h *intruder) { h.upgrade().refused(1007, cutText("\"\xe2", "\x82")) },
	"duplicate keys":             func(h *intruder) { h.upgrade().complains(`{"action":"release","action":"lock"}`) },
	"never reading the answers":  func(h *intruder) { h.upgrade().floodUntilGone(conversation()) },
	"never reading the pongs": func(h *intruder) {
		h.upgrade().floodUntilGone(bytes.Repeat(frame(ws.OpPing, true, make([]byte, 125)), 50))
	},
	"a flood of pings":       func(h *intruder) { h.upgrade().pings(25_000) },
	"a flood of pongs":       func(h *intruder) { h.upgrade().pongs(25_000) },
	"half-open":              func(h *intruder) { h.upgrade().ended() },
	"half-open in a message": func(h *intruder) { h.upgrade().say(string(frame(ws.OpText, false, []byte("{")))); h.ended() },
	"closing without an end": func(h *intruder) {
		h.upgrade().say(string(frame(ws.OpClose, true, nil)))
		h.flood(frame(ws.OpPing, true, nil))
	},
	"never answering the close": func(h *intruder) {
		h.upgrade().say(string(frame(ws.OpText, true, []byte("x"))))
		h.flood(frame(ws.OpPing, true, nil))
	},
}

const heavyConfig = `
[limits]
message_bytes = 2_097_152
handshake_timeout = "30s"
message_timeout = "30s"
`

// heavy clients send what is small to make and large to look at. It takes a while to arrive, so the
// server needs some patience for it.
var heavy = map[string]string{
	"a million nested arrays":  strings.Repeat("[", 1_000_000),
	"a million nested objects": strings.Repeat(`{"":`, 500_000),
	"nested inside a lock":     `{"action":"release","x":` + strings.Repeat("[", 1_000_000),
	"nested and closed":        strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000),
	"half a million commas":    `{"action":"release","x":[0` + strings.Repeat(",0", 500_000) + `}`,
	"half a million resources": `{"action":"lock","resources":[` + strings.Repeat("{},", 500_000) + `{}]}`,
	"half a million segments":  lockText(write(make([]string, 500_000)...)),
	"a segment of two million": lockText(write(strings.Repeat("s", 2_000_000))),
	"many duplicate keys":      `{` + strings.Repeat(`"x":1,`, 300_000) + `"action":"release"}`,
	"many different keys":      manyKeys(100_000),
}

// TestHostileClientsHarmNobody runs each kind of hostile client, several of a kind at once, beside
// well-behaved clients that must not notice.
func TestHostileClientsHarmNobody(t *testing.T) {
	harmNobody(t, hostileConfig, hostileClients)
}

func TestHeavyMessagesHarmNobody(t *testing.T) {
	attacks := map[string]func(h *intruder){}
	for name, text := range heavy {
		attacks[name] = func(h *intruder) { h.upgrade().complains(text) }
	}
	harmNobody(t, heavyConfig, attacks)
}

func harmNobody(t *testing.T, config string, attacks map[string]func(h *intruder)) {
	srv := start(t, setup{config: config})
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			beside(t, srv, func() {
				var all sync.WaitGroup
				for range 4 {
					all.Go(func() { intrude(t, srv, attack) })
				}
				all.Wait()
			})
		})
	}
}

// intruder is one hostile client: a socket, and what it tries.
type intruder struct {
	t     *testing.T
	srv   *server
	space string // the namespace of all intruders of this kind
	to    target
	net.Conn
	ws *rawClient // once upgraded
}

func intrude(t *testing.T, srv *server, attack func(h *intruder)) {
	space := "hostile/" + t.Name()
	to := srv.target(space, 0)
	c, err := dialTCP("", to.addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	c.(*net.TCPConn).SetReadBuffer(4096)
	attack(&intruder{t: t, srv: srv, space: space, to: to, Conn: c})
}

func (h *intruder) upgrade() *intruder {
	h.say(handshake(h.to))
	var err error
	if h.ws, _, err = upgraded(h.Conn); err != nil {
		h.t.Error(err)
		h.ws = &rawClient{Conn: h.Conn, br: bufio.NewReader(h.Conn)}
	}
	return h
}

func (h *intruder) say(text string) {
	h.SetWriteDeadline(time.Now().Add(patience))
	if _, err := h.Write([]byte(text)); err != nil {
		h.t.Error(err)
	}
}

// ended waits for the server to end the connection, saying nothing.
func (h *intruder) ended() {
	if err := awaitEOF(h.Conn); err != nil {
		h.t.Error(err)
	}
}

func (h *intruder) halfClose() {
	h.Conn.(*net.TCPConn).CloseWrite()
	h.ended()
}

// drip sends a byte now and then until the server has had enough. It needs all of the text for less
// than the server's patience: if the text ends, the server was too patient.
func (h *intruder) drip(text string) {
	end := make(chan struct{})
	go func() {
		defer close(end)
		h.ended()
	}()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
			if i < len(text) {
				h.Write([]byte{text[i]}) // the server may have closed
			}
		case <-end:
			return
		}
	}
}

// flood writes the same again and again until the server closes, and reads nothing.
func (h *intruder) flood(piece []byte) {
	deadline := time.Now().Add(patience)
	for {
		h.SetWriteDeadline(deadline)
		if _, err := h.Write(piece); err != nil {
			break
		}
	}
	if time.Now().After(deadline) {
		h.t.Error("the server doesn't close the connection")
	}
}

// floodUntilGone writes and reads nothing until the server says that the intruders of this kind are
// gone. The socket itself may not tell: with its receive buffer full, even the end can't get in.
func (h *intruder) floodUntilGone(piece []byte) {
	flooded := make(chan struct{})
	go func() {
		defer close(flooded)
		for {
			if _, err := h.Write(piece); err != nil {
				return
			}
		}
	}()
	eventually(h.t, "never-reading clients are disconnected", func() bool { return h.srv.stats(h.space).Users == 0 })
	h.Close()
	<-flooded
}

func (h *intruder) scrapFlood(scrap string) {
	h.say(string(frame(ws.OpText, false, []byte(scrap))))
	h.flood(bytes.Repeat(frame(ws.OpContinuation, false, []byte(scrap)), 10))
}

// refused sends frames and wants a close code for it.
func (h *intruder) refused(code int, frames []byte) {
	h.say(string(frames))
	_, err := h.ws.Recv()
	if err := wantClosed(err, code); err != nil {
		h.t.Error(err)
	}
	h.ended()
}

// complains sends a message and wants a complaint.
func (h *intruder) complains(text string) {
	go h.Write(frame(ws.OpText, true, []byte(text))) // the server may answer before the end
	got, err := h.ws.Recv()
	if err != nil || !strings.HasPrefix(got, "communication error: ") || len(got) > 1024 {
		h.t.Errorf("answer %q, %v, want a complaint", got[:min(len(got), 100)], err)
		return
	}
	_, err = h.ws.Recv()
	if err := wantClosed(err, 3000); err != nil {
		h.t.Error(err)
	}
	h.ended()
}

// pings floods the server with pings, takes the pongs, and then is a client like any other.
func (h *intruder) pings(n int) {
	h.afterwards(bytes.Repeat(frame(ws.OpPing, true, []byte("p")), n))
}

func (h *intruder) pongs(n int) {
	h.afterwards(bytes.Repeat(frame(ws.OpPong, true, []byte("p")), n))
}

func (h *intruder) afterwards(frames []byte) {
	go h.ws.write(append(frames, frame(ws.OpText, true, []byte(lockText(read())))...))
	if text, err := h.ws.Recv(); err != nil || !strings.Contains(text, "acquired") {
		h.t.Errorf("answer %q, %v, want a lock", text, err)
	}
}

func cutText(a, b string) []byte {
	return append(frame(ws.OpText, false, []byte(a)), frame(ws.OpContinuation, true, []byte(b))...)
}

// conversation is locks and releases, as many as fit a packet.
func conversation() []byte {
	lock, release := frame(ws.OpText, true, []byte(lockText(read("a")))), frame(ws.OpText, true, []byte(releaseText))
	return bytes.Repeat(append(lock, release...), 50)
}

func manyKeys(n int) string {
	var b strings.Builder
	b.WriteString("{")
	for i := range n {
		fmt.Fprintf(&b, `"%d":0,`, i)
	}
	return b.String() + `"action":"release","action":"release"}`
}

// beside runs f while well-behaved clients lock and release without a break. All they ask must be
// done; how long they waited at worst is printed, for people.
func beside(t *testing.T, srv *server, f func()) {
	const clients = 4
	var stop atomic.Bool
	var trips [clients]atomic.Int64
	var gaps [clients]time.Duration
	var all sync.WaitGroup
	for i := range clients {
		dial := []dialer{dialRaw, dialGorilla, dialCoder}[rand.IntN(3)]
		c := connect(t, dial, srv.target("good/"+t.Name()))
		all.Go(func() {
			for last := time.Now(); !stop.Load(); trips[i].Add(1) {
				if err := roundTrip(c, write("shared", fmt.Sprint(i%2))); err != nil {
					t.Errorf("a well-behaved client noticed: %v", err)
					trips[i].Store(1 << 60)
					return
				}
				gaps[i] = max(gaps[i], time.Since(last))
				last = time.Now()
			}
		})
	}
	moved := func(from [clients]int64) func() bool {
		return func() bool {
			for i := range trips {
				if trips[i].Load() <= from[i] {
					return false
				}
			}
			return true
		}
	}
	eventually(t, "well-behaved clients are served before", moved([clients]int64{}))
	f()
	var during [clients]int64
	for i := range trips {
		during[i] = trips[i].Load()
	}
	eventually(t, "well-behaved clients are served after", moved(during))
	stop.Store(true)
	all.Wait()
	var worst time.Duration
	for _, g := range gaps {
		worst = max(worst, g)
	}
	t.Logf("round trips of well-behaved clients: %v; the longest took %v", during, worst)
	require.False(t, t.Failed())
}

// roundTrip locks, waits if need be, and releases.
func roundTrip(c client, rs ...resource) error {
	for _, text := range []string{lockText(rs...), releaseText} {
		if err := c.Send(text); err != nil {
			return err
		}
		for {
			text, err := c.Recv()
			if err != nil {
				return err
			}
			a, err := parseAnswer(text)
			if err != nil {
				return err
			}
			if a.state != "enqueued" {
				break
			}
		}
	}
	return nil
}
