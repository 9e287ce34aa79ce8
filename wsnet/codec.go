package wsnet

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// fault is a peer's breach of the protocol or of a limit: what the close frame will say.
type fault struct {
	code ws.StatusCode
	text string
	why  Reason
}

// The faults of RFC 6455 and of our limits. They are variables so that naming one costs nothing.
var (
	faultRSV          = &fault{ws.StatusProtocolError, "reserved bits are set, no extension was negotiated", ReasonProtocolError}
	faultOpcode       = &fault{ws.StatusProtocolError, "reserved opcode", ReasonProtocolError}
	faultUnmasked     = &fault{ws.StatusProtocolError, "a client's frames must be masked", ReasonProtocolError}
	faultControlLong  = &fault{ws.StatusProtocolError, "a control frame holds at most 125 bytes", ReasonProtocolError}
	faultControlSplit = &fault{ws.StatusProtocolError, "a control frame must not be fragmented", ReasonProtocolError}
	faultLength       = &fault{ws.StatusProtocolError, "the length isn't encoded in the fewest bytes", ReasonProtocolError}
	faultLengthMSB    = &fault{ws.StatusProtocolError, "the length's highest bit must be zero", ReasonProtocolError}
	faultNoStart      = &fault{ws.StatusProtocolError, "continuation of no message", ReasonProtocolError}
	faultUnfinished   = &fault{ws.StatusProtocolError, "a new message before the last one ended", ReasonProtocolError}
	faultClose        = &fault{ws.StatusProtocolError, "invalid close frame", ReasonProtocolError}
	faultBinary       = &fault{ws.StatusUnsupportedData, "only text messages are understood", ReasonProtocolError}
	faultUTF8         = &fault{ws.StatusInvalidFramePayloadData, "text must be UTF-8", ReasonProtocolError}
	faultTooBig       = &fault{ws.StatusMessageTooBig, "message too big", ReasonMessageTooBig}
	faultFragments    = &fault{ws.StatusPolicyViolation, "too many fragments", ReasonMessageTooBig}
)

// header is a client's frame header. It holds no pointers and stays on the stack: reading one
// costs a few nanoseconds (BenchmarkHeader), a third of ws.ReadHeaderBuffer over a bytes.Reader.
type header struct {
	fin  bool
	op   ws.OpCode
	mask [4]byte
	size int   // of the header itself; zero while it isn't all there
	n    int64 // of the payload
}

// parse reads the first two bytes of a header and rejects what a server must reject, before the
// rest is there. RFC 6455 section 5.2.
func (h *header) parse(b []byte) *fault {
	h.fin, h.op = b[0]&0x80 != 0, ws.OpCode(b[0]&0x0f)
	switch {
	case b[0]&0x70 != 0: // 5.2: RSV1-3 MUST be 0 unless an extension is negotiated
		return faultRSV
	case h.op.IsReserved(): // 5.2: an unknown opcode fails the connection
		return faultOpcode
	case b[1]&0x80 == 0: // 5.1: a server MUST close upon an unmasked frame
		return faultUnmasked
	}
	if h.op.IsControl() {
		if !h.fin { // 5.5: control frames MUST NOT be fragmented
			return faultControlSplit
		}
		if b[1]&0x7f > 125 { // 5.5: and hold at most 125 bytes
			return faultControlLong
		}
	}
	return nil
}

// length reads the payload's length and the mask, as far as they are there. RFC 6455 section 5.2,
// "Payload length".
func (h *header) length(b []byte) *fault {
	n, size := int64(b[1]&0x7f), 6
	switch n {
	case 126:
		size = 8
		if len(b) < 4 {
			return nil
		}
		if n = int64(binary.BigEndian.Uint16(b[2:])); n < 126 { // "the minimal number of bytes MUST be used"
			return faultLength
		}
	case 127:
		size = 14
		if len(b) < 10 {
			return nil
		}
		u := binary.BigEndian.Uint64(b[2:])
		if u>>63 != 0 { // "the most significant bit MUST be 0"
			return faultLengthMSB
		}
		if u <= 0xffff {
			return faultLength
		}
		n = int64(u)
	}
	if len(b) >= size {
		h.mask, h.size = [4]byte(b[size-4:]), size
	}
	h.n = n
	return nil
}

// kind says what assembly.next found.
type kind uint8

const (
	kindNone    kind = iota // no whole frame is there yet
	kindPart                // a fragment of a message, taken in
	kindMessage             // a whole text message
	kindPing
	kindPong
	kindClose // a valid close frame; data is what to answer with
	kindFault
)

// found is one frame, taken from the input and checked.
type found struct {
	kind  kind
	size  int    // bytes of input it took
	data  []byte // message or payload; lies in the input or belongs to the caller
	fault *fault
}

// assembly is a message whose fragments are arriving; the zero value has none under way.
type assembly struct {
	data   []byte
	frames int
}

// next takes one frame from the front of b, unmasking it in place. RFC 6455 sections 5.4 to 5.6.
func (a *assembly) next(b []byte, lim *Limits) found {
	var h header
	if len(b) < 2 {
		return found{}
	}
	if f := a.check(b, &h, lim); f != nil {
		return found{kind: kindFault, fault: f}
	}
	if h.size == 0 || int64(len(b)-h.size) < h.n {
		return found{}
	}
	size := h.size + int(h.n)
	p := b[h.size:size:size]
	ws.Cipher(p, h.mask, 0) // 5.3
	switch h.op {
	case ws.OpPing:
		return found{kind: kindPing, size: size, data: p}
	case ws.OpPong:
		return found{kind: kindPong, size: size}
	case ws.OpClose:
		return closeFrame(p, size)
	}
	return a.join(p, h.fin, size)
}

// check reads a header and rejects a frame as soon as its fault can be seen. The order is that of
// the bytes, so which fault is named doesn't depend on how the stream was cut.
func (a *assembly) check(b []byte, h *header, lim *Limits) *fault {
	if f := h.parse(b); f != nil {
		return f
	}
	if h.op.IsControl() {
		return h.length(b)
	}
	switch {
	case h.op == ws.OpContinuation && a.frames == 0: // 5.4
		return faultNoStart
	case h.op != ws.OpContinuation && a.frames != 0: // 5.4: fragments of two messages MUST NOT be interleaved
		return faultUnfinished
	case h.op == ws.OpBinary: // 7.4.1: 1003, a type of data it cannot accept
		return faultBinary
	case a.frames+1 > lim.Fragments: // 7.4.1: 1008
		return faultFragments
	}
	if f := h.length(b); f != nil {
		return f
	}
	if h.n > int64(lim.MessageBytes-len(a.data)) { // 7.4.1: 1009; a length too big is never waited for
		return faultTooBig
	}
	return nil
}

// join adds a frame's payload to its message. A message of one frame is not copied.
func (a *assembly) join(p []byte, fin bool, size int) found {
	if a.frames > 0 || !fin {
		a.frames++
		a.data = append(a.data, p...)
		if !fin {
			return found{kind: kindPart, size: size}
		}
		p = a.data
		*a = assembly{}
	}
	// 5.6 and 8.1: the whole message MUST be UTF-8; a fragment may end inside a character.
	if !utf8.Valid(p) {
		return found{kind: kindFault, fault: faultUTF8}
	}
	return found{kind: kindMessage, size: size, data: p}
}

// closeFrame checks a close frame's payload: nothing, or a code and a text. RFC 6455 section 5.5.1.
func closeFrame(p []byte, size int) found {
	if len(p) == 0 {
		return found{kind: kindClose, size: size}
	}
	if len(p) == 1 || !closeCodeValid(binary.BigEndian.Uint16(p)) {
		return found{kind: kindFault, fault: faultClose}
	}
	if !utf8.Valid(p[2:]) { // 5.5.1: the text is UTF-8; 8.1
		return found{kind: kindFault, fault: faultUTF8}
	}
	return found{kind: kindClose, size: size, data: p[:2]} // 5.5.1: the answer typically echoes the code
}

// closeCodeValid says whether a code may stand in a close frame: RFC 6455 section 7.4 and IANA's
// registry, where 1012 to 1014 were added.
func closeCodeValid(c uint16) bool {
	switch {
	case c < 1000, c >= 5000:
		return false
	case c < 3000:
		return c <= 1003 || c >= 1007 && c <= 1014
	}
	return true
}

// appendFrame appends a server's frame: final, unmasked (RFC 6455 section 5.1).
func appendFrame(dst []byte, op ws.OpCode, p []byte) []byte {
	first := 0x80 | byte(op)
	switch n := len(p); {
	case n <= 125:
		dst = append(dst, first, byte(n))
	case n <= 0xffff:
		dst = append(dst, first, 126, byte(n>>8), byte(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, first, 127), uint64(n))
	}
	return append(dst, p...)
}

// frameHeaderBytesMax is what appendFrame adds to a payload at most.
const frameHeaderBytesMax = 10

// appendClose appends a close frame. A code of zero sends none; text is cut to what fits, at a
// character's edge.
func appendClose(dst []byte, code uint16, text string) []byte {
	if code == 0 {
		return append(dst, 0x80|byte(ws.OpClose), 0)
	}
	if most := 125 - 2; len(text) > most {
		for most > 0 && !utf8.RuneStart(text[most]) {
			most--
		}
		text = text[:most]
	}
	dst = append(dst, 0x80|byte(ws.OpClose), byte(2+len(text)), byte(code>>8), byte(code))
	return append(dst, text...)
}
