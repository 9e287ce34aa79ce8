package conformance

import (
	"encoding/binary"
	"fmt"
)

// resource is what a request asks for.
type resource struct {
	mode uint8
	path []string
}

// request is a question of authorize or normalize.
type request struct {
	now                                   int64
	namespace, principal, context, remote string
	operation                             uint32
	resources                             []resource
}

// entry is something known of a client that connects.
type entry struct {
	kind        uint8
	name, value string
}

// connect is a question of authenticate.
type connect struct {
	now                            int64
	namespace, remote, path, query string
	flags                          uint32
	entries                        []entry
}

// layout is how a question is laid out in the buffer. A host of a later minor version may choose
// other sizes than today's, and fill what they add.
type layout struct {
	header int  // bytes before the table or the data
	stride int  // bytes of an entry
	late   bool // the table comes after the data, wherever that ends
	here   bool // empty data is said to lie where it would lie, even at the end; else at 0
}

// unknown fills the bytes that only a later version would understand.
const unknown = 0xd7

// The hooks' numbers.
const (
	hookAuthenticate = 2
	hookAuthorize    = 3
	hookNormalize    = 4
)

// Sizes of ABI 1.0.
const (
	headerBytes   = 64
	resourceBytes = 12
	entryBytes    = 20
)

// message is a question on its way to bytes: a header and a table, of which the places are known
// beforehand, and the data that they refer to.
type message struct {
	table, data []piece
	at          int // where the next data comes to lie
	here        bool
}

type piece struct {
	bytes []byte
	text  string
}

func u8(v uint8) []byte   { return []byte{v} }
func u16(v int) []byte    { return binary.LittleEndian.AppendUint16(nil, uint16(v)) }
func u32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
func u64(v int64) []byte  { return binary.LittleEndian.AppendUint64(nil, uint64(v)) }

// ref puts data away and is the reference to it. Any place will do for no bytes.
func (m *message) ref(what, data string) piece {
	at := m.at
	if data == "" && !m.here {
		at = 0
	}
	m.data = append(m.data, piece{[]byte(data), what})
	m.at += len(data)
	ref := append(u32(uint32(at)), u32(uint32(len(data)))...)
	return piece{ref, fmt.Sprintf("%s: %d bytes at %d", what, len(data), at)}
}

// start plans a message of n entries.
func start(l layout, n int) *message {
	m := &message{at: l.header, here: l.here}
	if !l.late {
		m.at += n * l.stride
	}
	return m
}

// finish joins the parts. The header's first fields and its last three are the same for all hooks.
func (m *message) finish(l layout, hook, n int, now int64, refs []piece, word piece) ([]byte, []Note) {
	table, total := l.header, m.at
	if l.late {
		table, total = m.at, m.at+n*l.stride
	}
	if total > bufferBytes {
		panic("conformance: a golden request does not fit into the buffer")
	}
	all := []piece{
		{u16(1), "abi 1"},
		{u16(hook), fmt.Sprintf("hook %d", hook)},
		{u32(uint32(total)), fmt.Sprintf("%d bytes in all", total)},
		{u64(now), fmt.Sprintf("now %d", now)},
	}
	all = append(append(all, refs...), word,
		piece{u32(uint32(n)), fmt.Sprintf("count %d", n)},
		piece{u32(uint32(table)), fmt.Sprintf("table at %d", table)},
		piece{u32(uint32(l.stride)), fmt.Sprintf("stride %d", l.stride)},
		fill("of a longer header", l.header-headerBytes))
	parts := [][]piece{m.table, m.data}
	if l.late {
		parts[0], parts[1] = parts[1], parts[0]
	}
	return join(append(append(all, parts[0]...), parts[1]...))
}

func join(pieces []piece) (bytes []byte, notes []Note) {
	for _, p := range pieces {
		if len(p.bytes) > 0 {
			bytes = append(bytes, p.bytes...)
			notes = append(notes, Note{len(p.bytes), p.text})
		}
	}
	return bytes, notes
}

// fill is n bytes that a guest of today knows nothing of.
func fill(what string, n int) piece {
	p := piece{make([]byte, n), "unknown, " + what}
	for i := range p.bytes {
		p.bytes[i] = unknown
	}
	return p
}

// encode lays a question of authorize or normalize out. Zero sizes mean today's.
func (q *request) encode(hook int, l layout) ([]byte, []Note) {
	l = l.or(resourceBytes)
	m := start(l, len(q.resources))
	refs := []piece{
		m.ref("namespace", q.namespace), m.ref("principal", q.principal),
		m.ref("context", q.context), m.ref("remote", q.remote),
	}
	for i, r := range q.resources {
		name := func(what string) string { return fmt.Sprintf("resource %d: %s", i, what) }
		path := m.ref(name("path"), pathBytes(r.path))
		m.table = append(m.table,
			piece{u8(r.mode), name(fmt.Sprintf("mode %d", r.mode))}, piece{u8(0), ""},
			piece{u16(len(r.path)), name(fmt.Sprintf("%d segments", len(r.path)))},
			path, fill("of a longer entry", l.stride-resourceBytes))
	}
	word := piece{u32(q.operation), fmt.Sprintf("operation %d", q.operation)}
	return m.finish(l, hook, len(q.resources), q.now, refs, word)
}

// encode lays a question of authenticate out. Zero sizes mean today's.
func (q *connect) encode(l layout) ([]byte, []Note) {
	l = l.or(entryBytes)
	m := start(l, len(q.entries))
	refs := []piece{
		m.ref("namespace", q.namespace), m.ref("remote", q.remote),
		m.ref("URL path", q.path), m.ref("raw query", q.query),
	}
	for i, e := range q.entries {
		name := func(what string) string { return fmt.Sprintf("entry %d: %s", i, what) }
		m.table = append(m.table,
			piece{u8(e.kind), name(fmt.Sprintf("kind %d", e.kind))}, piece{make([]byte, 3), ""},
			m.ref(name("name"), e.name), m.ref(name("value"), e.value),
			fill("of a longer entry", l.stride-entryBytes))
	}
	word := piece{u32(q.flags), fmt.Sprintf("flags %#x", q.flags)}
	return m.finish(l, hookAuthenticate, len(q.entries), q.now, refs, word)
}

func (l layout) or(stride int) layout {
	if l.header == 0 {
		l.header = headerBytes
	}
	if l.stride == 0 {
		l.stride = stride
	}
	return l
}

// pathBytes is a path as the ABI has it: each segment ended by NUL.
func pathBytes(path []string) string {
	var b []byte
	for _, segment := range path {
		b = append(append(b, segment...), 0)
	}
	return string(b)
}
