package probe

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/gobwas/ws"
)

// framing is how messages are cut into frames, and frames into writes. The zero value is one frame in
// one write.
type framing struct {
	fragments []int // bytes of each, in turn; the rest is the last one
	between   bool  // pings stand between fragments
	writes    []int // bytes of each, in turn; the rest is the last one
}

func (s *source) framing() (f framing) {
	if s.below(3) > 0 {
		return f
	}
	for range s.below(5) {
		f.fragments = append(f.fragments, s.below(24))
	}
	f.between = s.below(3) == 0
	for range s.below(5) {
		f.writes = append(f.writes, 1+s.below(16))
	}
	return f
}

// String says what is odd about it.
func (f framing) String() string {
	text := ""
	if len(f.fragments) > 0 {
		text += fmt.Sprintf(", in fragments of %v bytes and the rest", f.fragments)
		if f.between {
			text += " with pings between"
		}
	}
	if len(f.writes) > 0 {
		text += fmt.Sprintf(", in writes of %v bytes and the rest", f.writes)
	}
	return text
}

// pingPayload is what pings between fragments hold.
var pingPayload = []byte("between")

// frames makes a text message, and says how many pings are in it.
func (f framing) frames(text string) (out []byte, pings int) {
	op, rest := ws.OpText, []byte(text)
	for _, n := range f.fragments {
		if n = min(n, len(rest)); n == len(rest) {
			break
		}
		out = append(out, frame(op, false, rest[:n])...)
		op, rest = ws.OpContinuation, rest[n:]
		if f.between {
			out = append(out, frame(ws.OpPing, true, pingPayload)...)
			pings++
		}
	}
	return append(out, frame(op, true, rest)...), pings
}

// cut makes writes of bytes.
func (f framing) cut(b []byte) (writes [][]byte) {
	for _, n := range f.writes {
		if n >= len(b) {
			break
		}
		writes, b = append(writes, b[:n]), b[n:]
	}
	return append(writes, b)
}

// mask is the same everywhere: the server must not care, and a script must find the same again.
var mask = [4]byte{0x5a, 0x00, 0xff, 0x37}

// frame is one masked frame.
func frame(op ws.OpCode, fin bool, payload []byte) []byte {
	return ws.MustCompileFrame(ws.MaskFrameWith(ws.NewFrame(op, fin, payload), mask))
}

// header is a masked frame's without the rest of it.
func header(first byte, length uint64) []byte {
	b := []byte{first}
	switch {
	case length < 126:
		b = append(b, 0x80|byte(length))
	case length < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(length))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), length)
	}
	return append(b, mask[:]...)
}

// badFrame is what a client must not send, and the code with which it must be closed then: one of these.
type badFrame struct {
	name  string
	bytes []byte
	codes []int
}

const (
	codeProtocol = int(ws.StatusProtocolError)
	codeType     = int(ws.StatusUnsupportedData)
	codeText     = int(ws.StatusInvalidFramePayloadData)
	codeTooBig   = int(ws.StatusMessageTooBig)
	codeFault    = 3000 // the protocol's own
)

func begun(rest ...[]byte) []byte {
	return bytes.Join(append([][]byte{frame(ws.OpText, false, []byte(`{"action"`))}, rest...), nil)
}

// badFrames breach RFC 6455, or are of a kind that the protocol doesn't have.
var badFrames = []badFrame{
	{"an unmasked frame", ws.MustCompileFrame(ws.NewTextFrame([]byte(releaseText))), []int{codeProtocol}},
	{"a frame with a reserved bit", append(header(0xc1, 2), "{}"...), []int{codeProtocol}},
	{"a frame with all reserved bits", append(header(0xf1, 2), "{}"...), []int{codeProtocol}},
	{"a data frame of an unknown kind", append(header(0x83, 2), "{}"...), []int{codeProtocol}},
	{"a control frame of an unknown kind", append(header(0x8b, 2), "{}"...), []int{codeProtocol}},
	{"a fragmented ping", append(header(0x09, 2), "{}"...), []int{codeProtocol}},
	{"a ping of 126 bytes", append(header(0x89, 126), make([]byte, 126)...), []int{codeProtocol}},
	{"a ping of 2^63 bytes", header(0x89, 1<<63), []int{codeProtocol}},
	{"a continuation of nothing", frame(ws.OpContinuation, true, []byte("{}")), []int{codeProtocol}},
	{"a message inside of another", begun(frame(ws.OpText, true, []byte("{}"))), []int{codeProtocol}},
	{"a binary message", frame(ws.OpBinary, true, []byte(releaseText)), []int{codeType}},
	{"a text that is no UTF-8", frame(ws.OpText, true, []byte("caf\xe9")), []int{codeText}},
	{"a text whose fragments make no UTF-8", begun(frame(ws.OpContinuation, false, []byte("\xc3")), frame(ws.OpContinuation, true, []byte("("))), []int{codeText}},
	{"a frame of 2^63+1 bytes", header(0x81, 1<<63+1), []int{codeProtocol, codeTooBig}},
	{"a frame of 2^63-1 bytes", header(0x81, 1<<63-1), []int{codeProtocol, codeTooBig}},
	{"a message of 4 GiB", header(0x81, 1<<32), []int{codeTooBig}},
	{"a close frame of one byte", append(header(0x88, 1), mask[0]^3), []int{codeProtocol}},
	{"a close frame with code 1005", frame(ws.OpClose, true, []byte{0x03, 0xed}), []int{codeProtocol}},
	{"a close frame with code 999", frame(ws.OpClose, true, []byte{0x03, 0xe7}), []int{codeProtocol}},
	{"a close frame whose reason is no UTF-8", frame(ws.OpClose, true, []byte{0x03, 0xe8, 0xff}), []int{codeText, codeProtocol}},
}

// badUpgrade is what must not open a connection. PATH and QUERY in its text are those of a good one, TAIL
// the header lines.
type badUpgrade struct{ name, text string }

// badUpgrades are refused with a status of 400 and above: those of both versions, and what version 1 doesn't take.
var badUpgrades = append([]badUpgrade{
	{"an abandon timeout below zero", "GET PATH?QUERY&abandon-timeout-ms=-1 HTTP/1.1\r\nTAIL\r\n"},
	{"an abandon timeout that is no number", "GET PATH?QUERY&abandon-timeout-ms=soon HTTP/1.1\r\nTAIL\r\n"},
	{"an abandon timeout of ages", "GET PATH?QUERY&abandon-timeout-ms=99999999999999999999 HTTP/1.1\r\nTAIL\r\n"},
}, noUpgrades...)

// badUpgradesV2 are refused in the same way by version 2.
var badUpgradesV2 = append([]badUpgrade{
	{"another subprotocol", "GET PATH?QUERY HTTP/1.1\r\nSec-WebSocket-Protocol: locktopus.v0\r\nTAIL\r\n"},
}, noUpgrades...)

var noUpgrades = []badUpgrade{
	{"no namespace", "GET PATH?abandon-timeout-ms=0 HTTP/1.1\r\nTAIL\r\n"},
	{"an empty namespace", "GET PATH?namespace= HTTP/1.1\r\nTAIL\r\n"},
	{"a namespace that is no UTF-8", "GET PATH?namespace=%FF HTTP/1.1\r\nTAIL\r\n"},
	{"a namespace with a control character", "GET PATH?namespace=a%0Ab HTTP/1.1\r\nTAIL\r\n"},
	{"a query that can't be read", "GET PATH?QUERY&x=%zz HTTP/1.1\r\nTAIL\r\n"},
	{"another path", "GET PATH/nowhere?QUERY HTTP/1.1\r\nTAIL\r\n"},
	{"POST", "POST PATH?QUERY HTTP/1.1\r\nContent-Length: 0\r\nTAIL\r\n"},
	{"version 8 of WebSocket", "GET PATH?QUERY HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"},
	{"no key", "GET PATH?QUERY HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n"},
	{"a key that is too short", "GET PATH?QUERY HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: YQ==\r\n\r\n"},
	{"no word of an upgrade", "GET PATH?QUERY HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"},
	{"HTTP/1.0", "GET PATH?QUERY HTTP/1.0\r\nTAIL\r\n"},
	{"a head that is no HTTP", "\x00\x01\x02\x03\r\n\r\n"},
}
