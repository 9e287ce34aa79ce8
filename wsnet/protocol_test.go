package wsnet

import (
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"github.com/stretchr/testify/require"
)

func TestEchoOfEverySize(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{}, Options{})
		p := s.open()
		for _, n := range []int{0, 1, 2, 125, 126, 127, 4096, 65535, 65536} {
			m := strings.Repeat("é", n/2) + strings.Repeat("x", n%2)
			p.send(text(m))
			p.wantText(m)
		}
		s.until("counted", func() bool { return s.Stats().Messages == 9 })
		require.Equal(t, 1, s.Stats().Open)
	})
}

// conversation holds everything a client may do: the head, a message, a ping, a fragmented message
// with a ping inside and its UTF-8 split, a zero-length final fragment, a pong, and a close.
func conversation() (sent []byte, answers func(p *peer)) {
	euro := "€"
	sent = concat([]byte(testHead), text("one"), masked(true, ws.OpPing, "p1"),
		masked(false, ws.OpText, "a"+euro[:1]), masked(true, ws.OpPing, "p2"), masked(false, ws.OpContinuation, euro[1:2]),
		masked(true, ws.OpContinuation, euro[2:]+"b"),
		masked(false, ws.OpText, "c"), masked(true, ws.OpContinuation, ""),
		masked(true, ws.OpPong, "whatever"), text(""), closing(1001, "going"))
	return sent, func(p *peer) {
		p.upgraded()
		p.wantText("one")
		op, b := p.frame()
		require.Equal(p.t, ws.OpPong, op)
		require.Equal(p.t, "p1", string(b))
		op, b = p.frame()
		require.Equal(p.t, ws.OpPong, op)
		require.Equal(p.t, "p2", string(b))
		p.wantText("a€b")
		p.wantText("c")
		p.wantText("")
		p.wantClose(1001)
		p.wantEnd()
	}
}

func TestStreamCutAtEveryByte(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{}, Options{})
		sent, answers := conversation()
		before := 0
		for cut := 1; cut <= len(sent); cut++ {
			p := s.dial()
			p.send(sent[:cut])
			s.heard(before + cut)
			if cut < len(sent) {
				p.send(sent[cut:])
			}
			before += len(sent)
			answers(p)
			require.Equal(t, ReasonClientClosed, s.reason())
			require.NoError(t, p.Close())
		}
		require.Zero(t, s.Stats().ProtocolErrors)
	})
}

func TestStreamByteByByte(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{}, Options{})
		sent, answers := conversation()
		p := s.dial()
		for i := range sent {
			p.send(sent[i : i+1])
		}
		answers(p)
		require.Equal(t, ReasonClientClosed, s.reason())
	})
}

func TestManyFramesAtOnceAreAllAnswered(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		const n = 20_000
		for _, pause := range []int{0, 1000} {
			s := w.start(t, spy{}, Options{Limits: Limits{PauseBytes: pause}})
			p := s.open()
			go func() { _, _ = p.Write([]byte(strings.Repeat(string(text("hello")), n))) }()
			for range n {
				p.wantText("hello")
			}
			require.NoError(t, p.Close())
			s.reason()
		}
	})
}

func TestAnswersLargerThanTheLimitArePacedNotCut(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		// Each message is answered by 1000 bytes; one write of the client asks for far more than
		// OutputBytes, but not at once.
		answer := []byte(strings.Repeat("x", 1000))
		s := w.start(t, spy{message: func(c Conn, _ []byte) { c.Send(answer) }}, Options{Limits: Limits{OutputBytes: 64 << 10, PauseBytes: 8 << 10}})
		p := s.open()
		const n = 5000
		go func() { _, _ = p.Write([]byte(strings.Repeat(string(text("")), n))) }()
		for range n {
			p.wantText(string(answer))
		}
	})
}

// cut is a frame with a header of the test's choosing.
func cut(b0, b1 byte, rest ...byte) []byte { return append([]byte{b0, b1}, rest...) }

func length64(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{0x81, 0xff}, n) }

func TestFaultsAreAnsweredWithTheirCode(t *testing.T) {
	lim := Limits{MessageBytes: 1000, Fragments: 3}
	var fragments []byte
	for i := range 4 {
		op := ws.OpContinuation
		if i == 0 {
			op = ws.OpText
		}
		fragments = append(fragments, masked(i == 3, op, "x")...)
	}
	for _, f := range []struct {
		name string
		sent []byte
		code uint16
		why  Reason
	}{
		{"unmasked", cut(0x81, 0x01, 'x'), 1002, ReasonProtocolError},
		{"rsv1", cut(0xc1, 0x80, 0, 0, 0, 0), 1002, ReasonProtocolError},
		{"rsv2", cut(0xa1, 0x80, 0, 0, 0, 0), 1002, ReasonProtocolError},
		{"rsv3", cut(0x91, 0x80, 0, 0, 0, 0), 1002, ReasonProtocolError},
		{"opcode 3", cut(0x83, 0x80, 0, 0, 0, 0), 1002, ReasonProtocolError},
		{"opcode 7", cut(0x87, 0x80, 0, 0, 0, 0), 1002, ReasonProtocolError},
		{"opcode 11", cut(0x8b, 0x80, 0, 0, 0, 0), 1002, ReasonProtocolError},
		{"binary", masked(true, ws.OpBinary, "x"), 1003, ReasonProtocolError},
		{"long ping", cut(0x89, 0xfe, 0, 126), 1002, ReasonProtocolError},
		{"long close", cut(0x88, 0xfe, 0, 126), 1002, ReasonProtocolError},
		{"fragmented ping", cut(0x09, 0x80), 1002, ReasonProtocolError},
		{"fragmented close", cut(0x08, 0x80), 1002, ReasonProtocolError},
		{"125 as 16 bits", cut(0x81, 0xfe, 0, 125), 1002, ReasonProtocolError},
		{"65535 as 64 bits", length64(65535), 1002, ReasonProtocolError},
		{"length 2^63", length64(1 << 63), 1002, ReasonProtocolError},
		{"length 2^63+1", length64(1<<63 + 1), 1002, ReasonProtocolError},
		{"length 2^63-1", length64(1<<63 - 1), 1009, ReasonMessageTooBig},
		{"length 2^32", length64(1 << 32), 1009, ReasonMessageTooBig},
		{"continuation of nothing", masked(true, ws.OpContinuation, "x"), 1002, ReasonProtocolError},
		{"message in a message", concat(masked(false, ws.OpText, "x"), text("y")), 1002, ReasonProtocolError},
		{"bad UTF-8", text("a\xff"), 1007, ReasonProtocolError},
		{"overlong UTF-8", text("\xc0\xaf"), 1007, ReasonProtocolError},
		{"surrogate", text("\xed\xa0\x80"), 1007, ReasonProtocolError},
		{"unfinished UTF-8", text("\xe2\x82"), 1007, ReasonProtocolError},
		{"bad UTF-8 over fragments", concat(masked(false, ws.OpText, "\xe2"), masked(true, ws.OpContinuation, "\x82")), 1007, ReasonProtocolError},
		{"message one past", text(strings.Repeat("x", 1001)), 1009, ReasonMessageTooBig},
		{"fragments' sum one past", concat(masked(false, ws.OpText, strings.Repeat("x", 600)), masked(true, ws.OpContinuation, strings.Repeat("x", 401))), 1009, ReasonMessageTooBig},
		{"fragments one past", fragments, 1008, ReasonMessageTooBig},
		{"close of one byte", masked(true, ws.OpClose, "x"), 1002, ReasonProtocolError},
		{"close 0", closing(0, ""), 1002, ReasonProtocolError},
		{"close 999", closing(999, ""), 1002, ReasonProtocolError},
		{"close 1004", closing(1004, ""), 1002, ReasonProtocolError},
		{"close 1005", closing(1005, ""), 1002, ReasonProtocolError},
		{"close 1006", closing(1006, ""), 1002, ReasonProtocolError},
		{"close 1015", closing(1015, ""), 1002, ReasonProtocolError},
		{"close 1016", closing(1016, ""), 1002, ReasonProtocolError},
		{"close 2999", closing(2999, ""), 1002, ReasonProtocolError},
		{"close 5000", closing(5000, ""), 1002, ReasonProtocolError},
		{"close with bad UTF-8", closing(1000, "\xff"), 1007, ReasonProtocolError},
	} {
		t.Run(f.name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, w world) {
				s := w.start(t, spy{}, Options{Limits: lim})
				p := s.open()
				p.send(concat(text("before"), f.sent))
				p.wantText("before")
				require.NotEmpty(t, p.wantClose(f.code))
				p.wantEnd()
				require.Equal(t, f.why, s.reason())
				require.Equal(t, uint64(1), s.Stats().ProtocolErrors)
			})
		})
	}
}

func TestMessageAndFragmentsAtTheLimit(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{}, Options{Limits: Limits{MessageBytes: 1000, Fragments: 3}})
		p := s.open()
		m := strings.Repeat("x", 1000)
		p.send(text(m))
		p.wantText(m)
		p.send(concat(masked(false, ws.OpText, m[:400]), masked(false, ws.OpContinuation, m[400:]), masked(true, ws.OpContinuation, "")))
		p.wantText(m)
	})
}

func TestGoodCloseCodesAreEchoed(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{}, Options{})
		for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4999} {
			p := s.open()
			p.send(closing(code, "grüße"))
			p.wantClose(code)
			p.wantEnd()
			require.Equal(t, ReasonClientClosed, s.reason())
			require.NoError(t, p.Close())
		}
		p := s.open()
		p.send(masked(true, ws.OpClose, ""))
		p.wantClose(0)
		p.wantEnd()
		require.Equal(t, ReasonClientClosed, s.reason())
	})
}

func TestNothingIsHeardAfterAClose(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{}, Options{})
		p := s.open()
		p.send(concat(closing(1000, ""), text("after"), []byte{0xff, 0xff, 0xff}))
		p.wantClose(1000)
		p.wantEnd()
		require.Equal(t, ReasonClientClosed, s.reason())
		require.Zero(t, s.Stats().Messages)
	})
}

func TestServerClosesBehindWhatItSent(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		big := strings.Repeat("x", 60_000)
		s := w.start(t, spy{message: func(c Conn, _ []byte) {
			for range 300 { // more than sockets hold
				c.Send([]byte(big))
			}
			c.Close(4000, strings.Repeat("ü", 100))
			c.Send([]byte("never"))
			c.Close(1000, "never")
		}}, Options{Limits: Limits{OutputBytes: 64 << 20}})
		p := s.open()
		p.send(concat(text("go"), text("not heard"), masked(true, ws.OpPing, "nor this")))
		for range 300 {
			p.wantText(big)
		}
		require.Equal(t, strings.Repeat("ü", 61), p.wantClose(4000))
		p.send(concat(text("nor this"), closing(4000, "")))
		p.wantEnd()
		require.Equal(t, ReasonServerClosed, s.reason())
		require.Equal(t, uint64(1), s.Stats().Messages)
	})
}

// TestAServerThatStopsKnowsWhoHasHeardOfIt: an answer with the same code says that what came before it was read;
// another close frame may have been sent before, and the end of the stream says nothing.
func TestAServerThatStopsKnowsWhoHasHeardOfIt(t *testing.T) {
	for _, c := range []struct {
		ours   uint16
		answer []byte // nil: none
		want   Reason
	}{
		{1001, closing(1001, ""), ReasonServerClosed},
		{1001, closing(1001, "you, too"), ReasonServerClosed},
		{1001, closing(1000, ""), ReasonClientClosed},
		{1001, masked(true, ws.OpClose, ""), ReasonClientClosed},
		{1001, nil, ReasonUnanswered},
		{1013, closing(1000, ""), ReasonServerClosed},
		{1013, masked(true, ws.OpClose, ""), ReasonServerClosed},
		{1013, nil, ReasonUnanswered},
	} {
		everywhere(t, func(t *testing.T, w world) {
			s := w.start(t, spy{message: func(k Conn, _ []byte) { k.Close(c.ours, "") }}, Options{})
			p := s.open()
			p.send(text(""))
			p.wantClose(c.ours)
			if c.answer == nil {
				p.closeWrite()
			} else {
				p.send(c.answer)
			}
			p.wantEnd()
			require.Equal(t, c.want, s.reason(), "%d answered with %q", c.ours, c.answer)
		})
	}
}

func TestCloseCodesThatMustNotBeSentPanic(t *testing.T) {
	for _, code := range []uint16{1, 999, 1004, 1005, 1006, 1015, 2000, 5000} {
		require.Panics(t, func() { (&turn{state: stateOpen}).Close(code, "") })
	}
}

func TestHalfClosedPeerGetsItsAnswers(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{}, Options{})
		p := s.open()
		p.send(concat(text("one"), text("two")))
		p.closeWrite()
		p.wantText("one")
		p.wantText("two")
		p.wantEnd()
		require.Equal(t, ReasonLost, s.reason())
	})
}

// head is testHead with edits.
func head(edits ...string) string { return strings.NewReplacer(edits...).Replace(testHead) }

// upgrades are heads and the status that answers them.
var upgrades = []struct {
	name, head string
	status     int
	header     string // that must be in the answer
}{
	{"good", testHead, 101, "Upgrade"},
	{"lower case names", head("Upgrade:", "upgrade:", "Sec-WebSocket-Key", "sec-websocket-key", "Host", "host"), 101, "Upgrade"},
	{"odd case value", head("Upgrade: websocket", "Upgrade: WebSocket"), 101, "Upgrade"},
	{"LF only", strings.ReplaceAll(testHead, "\r\n", "\n"), 101, "Upgrade"},
	{"version 8", head("Version: 13", "Version: 8"), 426, "Sec-Websocket-Version"},
	{"no version", head("Sec-WebSocket-Version: 13\r\n", ""), 400, ""},
	{"no key", head("Sec-WebSocket-Key: "+testKey+"\r\n", ""), 400, ""},
	{"short key", head(testKey, "dGhl"), 400, ""},
	{"key not base64", head(testKey, "dGhlIHNhbXBsZSBub25jZ!=="), 400, ""},
	{"key of 17 bytes", head(testKey, "dGhlIHNhbXBsZSBub25jZTE="), 400, ""},
	{"no host", head("Host: example.com\r\n", ""), 400, ""},
	{"no connection", head("Connection: keep-alive, Upgrade\r\n", ""), 400, ""},
	{"connection without upgrade", head("keep-alive, Upgrade", "keep-alive"), 400, ""},
	{"POST", head("GET /", "POST /"), 405, "Allow"},
	{"HTTP/2.0", head("HTTP/1.1", "HTTP/2.0"), 505, ""},
	{"HTTP/1.0", head("HTTP/1.1", "HTTP/1.0"), 404, ""}, // an upgrade doesn't exist there: net/http answers
	{"no upgrade", head("Upgrade: websocket\r\n", ""), 404, ""},
	{"other upgrade", head("Upgrade: websocket", "Upgrade: h2c"), 404, ""},
	{"space before colon", head("Origin:", "Origin :"), 400, ""},
	{"folded line", head("Origin: http://o", "Origin: a\r\n b"), 400, ""},
	{"no colon", head("Origin: http://o", "Origin"), 400, ""},
	{"NUL", head("Origin: http://o", "Origin: \x00"), 400, ""},
	{"bare CR", head("Origin: http://o", "Origin: a\rb"), 400, ""},
	{"malformed target", head("/a%20b/c?x=1", "/%zz"), 400, ""},
	{"no target", head("/a%20b/c?x=1 ", ""), 400, ""},
	{"garbage", "\x00\x01\x02", 400, ""},
	{"two hosts", head("Origin:", "Host: example.com\r\nOrigin:"), 400, ""},
	{"host with a space", head("Host: example.com", "Host: a b"), 400, ""},
	{"host and user", head("Host: example.com", "Host: a@b"), 400, ""},
	{"empty host", head("Host: example.com", "Host:"), 101, "Upgrade"}, // RFC 9112 section 3.2: the target has none
	{"a target with a space", head("GET /a%20b/c?x=1", "GET /a b"), 400, ""},
	{"two spaces", head("GET ", "GET  "), 400, ""},
	{"a target with a control character", head("GET /a%20b/c?x=1", "GET /a\x7fb"), 400, ""},
	{"a version with two digits", head("HTTP/1.1", "HTTP/1.10"), 400, ""},
	{"a version whose minor is no digit", head("HTTP/1.1", "HTTP/1.<"), 400, ""},
	{"delete character in a value", head("Host:", "X-A: a\x7fb\r\nHost:"), 400, ""},
	{"control character in a value", head("Host:", "X-A: a\x01b\r\nHost:"), 400, ""},
	{"tab and obs-text in a value", head("Host:", "X-A: a\tb\xff\r\nHost:"), 101, "Upgrade"},
	{"IPv6 host", head("Host: example.com", "Host: [::1]:9009"), 101, "Upgrade"},
	{"two keys", head("Origin:", "Sec-WebSocket-Key: "+testKey+"\r\nOrigin:"), 400, ""},
	{"two versions", head("Origin:", "Sec-WebSocket-Version: 13\r\nOrigin:"), 400, ""},
	{"length 0", head("Origin:", "Content-Length: 0\r\nOrigin:"), 101, "Upgrade"},
	{"length 10", head("Origin:", "Content-Length: 10\r\nOrigin:"), 400, ""},
	{"negative length", head("Origin:", "Content-Length: -0\r\nOrigin:"), 400, ""},
	{"two lengths", head("Origin:", "Content-Length: 0\r\nContent-Length: 1\r\nOrigin:"), 400, ""},
	{"chunked", head("Origin:", "Transfer-Encoding: chunked\r\nOrigin:"), 400, ""},
	{"identity", head("Origin:", "transfer-encoding: identity\r\nOrigin:"), 400, ""},
	{"connection on two lines", head("keep-alive, Upgrade", "keep-alive\r\nConnection: upgrade"), 101, "Upgrade"},
	{"connection on two lines, the other way", head("keep-alive, Upgrade", "Upgrade\r\nconnection: keep-alive"), 101, "Upgrade"},
	{"connection near upgrade", head("keep-alive, Upgrade", "keep-alive\r\nConnection: Upgraded"), 400, ""},
	{"upgrade list", head("Upgrade: websocket", "Upgrade: websocket, h2c"), 101, "Upgrade"},
	{"upgrade list, the other way", head("Upgrade: websocket", "Upgrade: h2c,WebSocket"), 101, "Upgrade"},
	{"upgrade on two lines", head("Upgrade: websocket", "Upgrade: h2c\r\nupgrade: websocket"), 101, "Upgrade"},
	{"upgrade of a version", head("Upgrade: websocket", "Upgrade: websocket/13"), 404, ""},
	{"upgrade as a target", head("GET /a%20b/c?x=1", "GET /Upgrade:"), 101, "Upgrade"},
	{"upgrade as a method", head("GET /a%20b/c?x=1 HTTP/1.1", "Upgrade: a\r\nGET / HTTP/1.1"), 400, ""},
	{"garbage protocol", head("Origin:", "Sec-WebSocket-Protocol: a b\r\nOrigin:"), 400, ""},
}

func TestUpgradeAnswers(t *testing.T) {
	for _, c := range upgrades {
		t.Run(c.name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, w world) {
				s := w.start(t, spy{}, Options{})
				p := s.dial()
				p.send([]byte(c.head))
				r := p.response()
				require.Equal(t, c.status, r.StatusCode)
				if c.header != "" {
					require.NotEmpty(t, r.Header.Get(c.header))
				}
				if c.status == 101 {
					require.Equal(t, testAccept, r.Header.Get("Sec-WebSocket-Accept"))
					return
				}
				body, err := io.ReadAll(r.Body)
				require.NoError(t, err)
				require.NotEmpty(t, body)
				p.wantEnd()
				require.Zero(t, s.Stats().Open)
				if c.status != 404 {
					require.Equal(t, uint64(1), s.Stats().RefusedUpgrades)
				}
			})
		})
	}
}

func TestRequestAsOpenSeesIt(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{open: func(c Conn, r *Request) *Refusal {
			require.Equal(t, "/a b/c", r.Path)
			require.Equal(t, "x=1", r.RawQuery)
			require.Equal(t, "example.com", r.Host)
			require.Equal(t, "http://o", r.Header.Get("Origin"))
			require.Equal(t, []string{"one", "two", "three"}, r.Protocols)
			require.Equal(t, w.network != "unix", r.Remote.IsValid())
			require.Equal(t, w.tls, r.TLS != nil)
			r.Protocol = "two"
			c.SetUser(42)
			c.Send([]byte("welcome"))
			return nil
		}, message: func(c Conn, _ []byte) {
			require.Equal(t, uint64(42), c.User())
			c.Close(1000, "")
		}, closed: func(c Conn, _ Reason) {
			require.Equal(t, uint64(42), c.User())
			c.Send([]byte("never"))
		}}, Options{})
		p := s.dial()
		p.send([]byte(strings.Replace(testHead, "Origin:", "Sec-WebSocket-Protocol: one, two\r\nSec-WebSocket-Protocol: three\r\nOrigin:", 1) + string(text("hi"))))
		r := p.response()
		require.Equal(t, 101, r.StatusCode)
		require.Equal(t, "two", r.Header.Get("Sec-WebSocket-Protocol"))
		p.wantText("welcome") // behind the answer, though sent before it
		p.wantClose(1000)
		p.send(closing(1000, ""))
		p.wantEnd()
		require.Equal(t, ReasonServerClosed, s.reason())
	})
}

func TestRefusalIsAnsweredAndNothingFollows(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{open: func(c Conn, _ *Request) *Refusal {
			c.Send([]byte("never"))
			return &Refusal{Status: 403, Body: "this origin isn't allowed"}
		}}, Options{})
		p := s.dial()
		p.send(concat([]byte(testHead), text("not heard")))
		r := p.response()
		require.Equal(t, 403, r.StatusCode)
		require.True(t, r.Close)
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.Equal(t, "this origin isn't allowed\n", string(body))
		p.wantEnd()
		require.NoError(t, p.Close())
		s.until("gone", func() bool { return s.Stats().Sockets == 0 })
		require.Empty(t, s.reasons) // no Closed without an Open
	})
}

// RFC 9110 section 11.6.1: a 401 says how to authenticate.
func TestRefusalOfAnUnknownClientHoldsItsChallenge(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{open: func(Conn, *Request) *Refusal {
			return &Refusal{Status: 401, Challenge: `Bearer realm="here", Basic`, Body: "who are you?"}
		}}, Options{})
		p := s.dial()
		p.send([]byte(testHead))
		r := p.response()
		require.Equal(t, 401, r.StatusCode)
		require.Equal(t, []string{`Bearer realm="here", Basic`}, r.Header["Www-Authenticate"])
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.Equal(t, "who are you?\n", string(body))
		p.wantEnd()
	})
}

func TestRefusalsThatCannotBeAnsweredPanic(t *testing.T) {
	for _, no := range []Refusal{
		{Status: 200}, {Status: 1000}, {Status: 401}, {Status: 403, Challenge: "Bearer"},
		{Status: 401, Challenge: "Bearer\r\nX: y"}, {Status: 401, Challenge: "a\x00"},
	} {
		require.Panics(t, func() { appendRefusal(nil, &no) }, "%+v", no)
	}
}

func TestHeaderAtTheLimitAndOnePast(t *testing.T) {
	everywhere(t, func(t *testing.T, w world) {
		s := w.start(t, spy{}, Options{Limits: Limits{HeaderBytes: len(testHead) + 10}})
		for _, c := range []struct {
			more, status int
		}{{9, 101}, {10, 101}, {11, 431}, {5000, 431}} {
			p := s.dial()
			p.send([]byte(strings.Replace(testHead, "http://o", "http://o"+strings.Repeat("x", c.more), 1)))
			require.Equal(t, c.status, p.response().StatusCode)
			require.NoError(t, p.Close())
		}
		p := s.dial() // without an end
		p.send([]byte("GET /" + strings.Repeat("x", len(testHead)+10-5)))
		r := p.response()
		require.Equal(t, 431, r.StatusCode)
		_, err := io.Copy(io.Discard, r.Body)
		require.NoError(t, err)
		p.wantEnd()
	})
}
