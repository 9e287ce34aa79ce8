package host

import (
	"bytes"
	"encoding/binary"
	"time"
	"unicode/utf8"
)

// The numbers of ABI 1. docs/PLUGINS.md is their contract; the tests compare the two.
const (
	abiMajor = 1
	abiMinor = 0 // the highest minor version that this host speaks

	bufferBytes = 64 << 10 // of the buffer that a guest lends for questions

	reasonBytes = 256 // of a text that is passed on

	headerBytes      = 64 // of a question's fixed part
	resourceBytes    = 12 // of an entry in a table of resources
	fieldBytes       = 20 // of an entry in a table of fields
	identityMinBytes = 8  // of an identity's fixed part
)

// Numbers of the hooks in a question's header.
const (
	numberAuthenticate = 2
	numberAuthorize    = 3
	numberNormalize    = 4
)

// status is the first byte of an answer.
type status uint8

// The statuses. Zero is what a forgotten return gives, and never allows.
const (
	statusNone status = iota
	statusAllow
	statusDeny
	statusRewritten
	statusFault
)

// answer is a hook's result: what came of it, and where in the guest's memory the rest lies.
type answer struct {
	status status
	code   uint8
	length uint32
	at     uint32
}

func unpack(result uint64) answer {
	return answer{status: status(result), code: uint8(result >> 8), length: uint32(uint16(result >> 16)), at: uint32(result >> 32)}
}

// writer writes a question into a guest's buffer. Its fixed part comes first, then a table, then the
// bytes that both refer to. What doesn't fit is noticed and left out.
type writer struct {
	b    []byte // the whole buffer
	at   int    // where the next bytes go
	full bool
}

var le = binary.LittleEndian

// begin lays out a header and a table of so many entries.
func (w *writer) begin(hook uint16, now int64, namespace string, entries, stride int) {
	w.at, w.full = headerBytes+entries*stride, entries > (len(w.b)-headerBytes)/stride
	if w.full {
		return
	}
	head := w.b[:headerBytes]
	clear(head)
	le.PutUint16(head[0:], abiMajor)
	le.PutUint16(head[2:], hook)
	le.PutUint64(head[8:], uint64(now))
	le.PutUint32(head[52:], uint32(entries))
	le.PutUint32(head[56:], headerBytes)
	le.PutUint32(head[60:], uint32(stride))
	w.text(16, namespace)
}

// text puts a string behind all others, and its reference at ref.
func (w *writer) text(ref int, s string) {
	if len(s) > len(w.b)-w.at {
		w.full = true
		return
	}
	w.refer(ref, w.at, copy(w.b[w.at:], s))
	w.at += len(s)
}

func (w *writer) refer(ref, at, length int) {
	le.PutUint32(w.b[ref:], uint32(at))
	le.PutUint32(w.b[ref+4:], uint32(length))
}

// end completes the header. It returns the length, 0 if the question didn't fit.
func (w *writer) end() int {
	if w.full {
		return 0
	}
	le.PutUint32(w.b[4:], uint32(w.at))
	return w.at
}

// resources writes the table of a request's resources, which begin reserved.
func (w *writer) resources(rs []Resource) {
	for i := range rs {
		if w.full {
			return
		}
		entry := headerBytes + i*resourceBytes
		path := rs[i].Path
		le.PutUint32(w.b[entry:], uint32(rs[i].Mode)|uint32(len(path))<<16)
		start := w.at
		for _, segment := range path {
			if len(segment) >= len(w.b)-w.at {
				w.full = true
				return
			}
			w.at += copy(w.b[w.at:], segment)
			w.b[w.at] = 0
			w.at++
		}
		w.refer(entry+4, start, w.at-start)
	}
}

// authorize writes the question about a request. It returns its length, 0 if it doesn't fit.
func (w *writer) authorize(q *Request, rs []Resource, now int64) int {
	w.begin(numberAuthorize, now, q.Namespace, len(rs), resourceBytes)
	if w.full {
		return 0
	}
	w.text(24, q.Identity.Principal)
	w.text(32, q.Identity.Context)
	w.text(40, q.Remote)
	le.PutUint32(w.b[48:], uint32(q.Operation))
	w.resources(rs)
	return w.end()
}

// normalize writes the question what paths mean. It says nothing of the client.
func (w *writer) normalize(q *Request, rs []Resource) int {
	w.begin(numberNormalize, 0, q.Namespace, len(rs), resourceBytes)
	if w.full {
		return 0
	}
	for _, ref := range [...]int{24, 32, 40} {
		w.text(ref, "")
	}
	w.resources(rs)
	return w.end()
}

// Flags of a client that connects.
const (
	flagTLS      = 1
	flagVerified = 2
)

// authenticate writes the question who a client is.
func (w *writer) authenticate(q *Connect, now int64) int {
	w.begin(numberAuthenticate, now, q.Namespace, len(q.Fields), fieldBytes)
	if w.full {
		return 0
	}
	w.text(24, q.Remote)
	w.text(32, q.URLPath)
	w.text(40, q.RawQuery)
	flags := uint32(0)
	if q.TLS {
		flags |= flagTLS
	}
	if q.Verified {
		flags |= flagVerified
	}
	le.PutUint32(w.b[48:], flags)
	for i := range q.Fields {
		entry := headerBytes + i*fieldBytes
		le.PutUint32(w.b[entry:], uint32(q.Fields[i].Kind))
		w.text(entry+4, q.Fields[i].Name)
		w.text(entry+12, q.Fields[i].Value)
	}
	return w.end()
}

// readIdentity reads the answer to authenticate, copying what it says. An empty one names nobody.
func readIdentity(b []byte) (id Identity, ok bool) {
	id.Authenticated = true
	if len(b) == 0 {
		return id, true
	}
	if len(b) < identityMinBytes {
		return Identity{}, false
	}
	ttl, principal, context := le.Uint32(b), int(le.Uint16(b[4:])), int(le.Uint16(b[6:]))
	b = b[identityMinBytes:]
	if len(b) != principal+context || principal < 1 || principal > PrincipalBytes || context > ContextBytes {
		return Identity{}, false
	}
	if !isPrincipal(b[:principal]) {
		return Identity{}, false
	}
	id.Principal, id.Context = string(b[:principal]), string(b[principal:])
	id.TTL = time.Duration(ttl) * time.Second
	return id, true
}

// isPrincipal says whether b is UTF-8 without control characters (C0, DEL and C1).
func isPrincipal(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return false
		}
		b = b[n:]
	}
	return true
}

// Bounds are those of a normalized path. Zero values mean 1024.
type Bounds struct {
	Segments     int
	SegmentBytes int // of one
}

func (b Bounds) orDefaults() Bounds {
	return Bounds{orDefault(b.Segments, 1024), orDefault(b.SegmentBytes, 1024)}
}

// paths are rewritten paths, kept for one Caller: the text of all, and its segments.
type paths struct {
	text     []byte
	segments [][]byte
}

// What is kept of a rewriting for the next one.
const (
	keptText     = 16 << 10
	keptSegments = 1 << 10
)

// read takes the answer to normalize apart and puts the paths in rs. The text is copied, so that
// the guest can't change it afterwards. If the answer isn't right, rs is in disorder.
func (p *paths) read(b []byte, rs []Resource, lim Bounds) bool {
	if cap(p.text) > keptText || cap(p.segments) > keptSegments {
		*p = paths{}
	}
	if !utf8.Valid(b) {
		return false
	}
	p.text = append(p.text[:0], b...)
	p.segments = p.segments[:0]
	if n := bytes.Count(p.text, []byte{0}); n > cap(p.segments) {
		p.segments = make([][]byte, 0, n) // grown while paths point into it, it would be kept twice
	}
	rest := p.text
	for i := range rs {
		first := len(p.segments)
		for {
			end := bytes.IndexByte(rest, 0)
			if end < 0 {
				return false
			}
			segment := rest[:end:end]
			rest = rest[end+1:]
			if end == 0 {
				break
			}
			if end > lim.SegmentBytes || len(p.segments)-first == lim.Segments {
				return false
			}
			p.segments = append(p.segments, segment)
		}
		rs[i].Path = p.segments[first:len(p.segments):len(p.segments)]
	}
	return len(rest) == 0
}

// checkedText cuts a text to reasonBytes, between runes. It isn't ok if it is no UTF-8.
func checkedText(b []byte) (text []byte, ok bool) {
	return cutText(b), utf8.Valid(b)
}

func cutText(b []byte) []byte {
	if len(b) <= reasonBytes {
		return b
	}
	b = b[:reasonBytes]
	for i := 1; i <= utf8.UTFMax; i++ {
		if utf8.RuneStart(b[len(b)-i]) {
			if !utf8.FullRune(b[len(b)-i:]) {
				b = b[:len(b)-i]
			}
			break
		}
	}
	return b
}
