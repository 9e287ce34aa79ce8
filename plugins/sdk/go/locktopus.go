// Package locktopus is what a Locktopus plugin in Go is built on. A plugin is a package main with
// functions that are exported under the hooks' names:
//
//	//go:wasmexport locktopus_authorize
//	func authorize(n uint32) locktopus.Verdict {
//		r := locktopus.NewRequest(n)
//		if !r.Operation().Known() {
//			return locktopus.Deny(0, "unknown operation")
//		}
//		for resource := range r.Resources() {
//			if resource.Mode() != locktopus.Read && !resource.Path().UnderSegment(r.Principal()) {
//				return locktopus.Deny(1, "only your own subtree is yours to write")
//			}
//		}
//		return locktopus.Allow()
//	}
//
//	func main() {}
//
// Build it with
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags="-s -w" -o plugin.wasm
//
// The hooks are locktopus_authenticate, locktopus_authorize and locktopus_normalize; locktopus_init
// gets the configuration. docs/PLUGINS.md tells what each may answer.
//
// All bytes of a question lie in one buffer, and nothing is copied: what an accessor returns holds
// until the hook returns, and a hook may change it. Look bytes up as m[string(b)] and compare them
// as string(b) == "x", which doesn't allocate. A plugin lives as long as the server, and its
// garbage is collected during calls that people wait for: keep what a call needs in package
// variables. Calls never run at the same time.
//
// The package may be copied: locktopus.go is all of it, but without log_wasm.go a log line has no
// level.
package locktopus

import (
	"bytes"
	"encoding/binary"
	"iter"
	"unsafe"
)

// bufferBytes is what the server asks for: the size of the largest question.
const bufferBytes = 65536

// buffer is where the server writes its questions.
var buffer [bufferBytes]byte

// The version of the ABI stands in the name; the result is the lowest minor version that is needed.
//
//go:wasmexport locktopus_abi_1
func abi1() uint32 { return 0 }

//go:wasmexport locktopus_buffer
func bufferOf(size uint32) unsafe.Pointer {
	if size > bufferBytes {
		return nil
	}
	return unsafe.Pointer(&buffer)
}

// Hook is a moment at which a plugin is asked.
type Hook uint16

// The hooks. The configuration, which init gets, doesn't say that it is for init.
const (
	HookInit         Hook = 1
	HookAuthenticate Hook = 2
	HookAuthorize    Hook = 3
	HookNormalize    Hook = 4
)

// Config is the configuration: a JSON object, or nothing. n is the parameter of locktopus_init. The
// bytes are gone when that returns.
func Config(n uint32) []byte { return buffer[:n] }

// Offsets of the fields that all hooks have, or two of them.
const (
	atHook        = 2
	atNow         = 8
	atNamespace   = 16
	atPrincipal   = 24 // authorize
	atContext     = 32
	atRemote      = 40
	atOperation   = 48
	atClient      = 24 // authenticate: the remote address
	atURLPath     = 32
	atQuery       = 40
	atFlags       = 48
	atCount       = 52
	atTableOffset = 56
	atStride      = 60
)

func uint32At(at uint32) uint32 { return binary.LittleEndian.Uint32(buffer[at:]) }

// ref reads a reference: an offset and a length.
func ref(at uint32) []byte {
	from := uint32At(at)
	return buffer[from : from+uint32At(at+4)]
}

// question is what all hooks' questions begin with.
type question struct{ n uint32 }

// Bytes are the whole question, for fields that this package doesn't know.
func (q question) Bytes() []byte { return buffer[:q.n] }

// Hook is the hook that is asked.
func (q question) Hook() Hook { return Hook(binary.LittleEndian.Uint16(buffer[atHook:])) }

// Now is the server's time in milliseconds since 1970. In normalize, it is 0.
func (q question) Now() int64 { return int64(binary.LittleEndian.Uint64(buffer[atNow:])) }

// Namespace is the one that the client connects to.
func (q question) Namespace() []byte { return ref(atNamespace) }

// Request is a question of authorize or normalize.
type Request struct{ question }

// NewRequest reads the question of authorize or normalize; n is the hook's parameter.
func NewRequest(n uint32) Request { return Request{question{n}} }

// Principal is who the client is; empty if no plugin named it.
func (r Request) Principal() []byte { return ref(atPrincipal) }

// Context is what the plugin that named the principal gave along.
func (r Request) Context() []byte { return ref(atContext) }

// Remote is the client's address as "ip:port"; empty on a unix socket.
func (r Request) Remote() []byte { return ref(atRemote) }

// Operation is what the client wants to do. In normalize, it is 0.
func (r Request) Operation() Operation { return Operation(uint32At(atOperation)) }

// Len is the number of resources.
func (r Request) Len() int { return int(uint32At(atCount)) }

// At is the resource i, counted from 0.
func (r Request) At(i int) Resource { return Resource{entryAt(i)} }

// Resources are all resources in order.
func (r Request) Resources() iter.Seq[Resource] {
	return func(yield func(Resource) bool) {
		for i := range r.Len() {
			if !yield(r.At(i)) {
				return
			}
		}
	}
}

// entryAt is the place of an entry in the table. A later version's entries may be longer.
func entryAt(i int) uint32 { return uint32At(atTableOffset) + uint32(i)*uint32At(atStride) }

// Operation is what a client wants to do. Deny what isn't Known.
type Operation uint32

// The operations.
const (
	Lock         Operation = 1
	Inspect      Operation = 2
	Watch        Operation = 3
	ForceRelease Operation = 4
)

// Known says whether this package knows the operation.
func (o Operation) Known() bool { return o-1 < 4 }

// Mode is how a resource is wanted. Take one that you don't know for Write.
type Mode uint8

// The modes.
const (
	Read   Mode = 0
	Write  Mode = 1
	Permit Mode = 2
)

// Resource is a path and how it is wanted.
type Resource struct{ at uint32 }

// Mode is how the resource is wanted.
func (r Resource) Mode() Mode { return Mode(buffer[r.at]) }

// Depth is the number of the path's segments.
func (r Resource) Depth() int { return int(binary.LittleEndian.Uint16(buffer[r.at+2:])) }

// Path is the resource's path.
func (r Resource) Path() Path { return ref(r.at + 4) }

// Path is a path's segments, each ended by NUL. The empty path is the whole namespace.
type Path []byte

// Under says whether the path is prefix, or below it. All paths are under the empty prefix; none is
// under one that doesn't end in NUL, for "a" would hold "ab".
func (p Path) Under(prefix []byte) bool {
	n := len(prefix)
	return n == 0 || n <= len(p) && prefix[n-1] == 0 && string(p[:n]) == string(prefix)
}

// UnderSegment says whether the path's first segment is name, which comes without NUL. None is
// under an empty name, which a client has that no plugin named. The rest of the path is
// p[len(name)+1:].
func (p Path) UnderSegment(name []byte) bool {
	n := len(name)
	return n > 0 && n < len(p) && p[n] == 0 && string(p[:n]) == string(name) && bytes.IndexByte(name, 0) < 0
}

// Segments are the segments in order, without their NULs.
func (p Path) Segments() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(p) > 0 {
			n := bytes.IndexByte(p, 0)
			if !yield(p[:n]) {
				return
			}
			p = p[n+1:]
		}
	}
}

// Connect is a question of authenticate.
type Connect struct{ question }

// NewConnect reads the question of authenticate; n is the hook's parameter.
func NewConnect(n uint32) Connect { return Connect{question{n}} }

// Remote is the client's address as "ip:port"; empty on a unix socket.
func (c Connect) Remote() []byte { return ref(atClient) }

// URLPath is the path of the URL that was asked for.
func (c Connect) URLPath() []byte { return ref(atURLPath) }

// RawQuery is the query of that URL, as it came. Its parameters are entries, too.
func (c Connect) RawQuery() []byte { return ref(atQuery) }

// TLS says whether the connection is encrypted.
func (c Connect) TLS() bool { return uint32At(atFlags)&1 != 0 }

// Verified says whether the client showed a certificate that the server verified.
func (c Connect) Verified() bool { return uint32At(atFlags)&2 != 0 }

// Len is the number of entries.
func (c Connect) Len() int { return int(uint32At(atCount)) }

// At is the entry i, counted from 0.
func (c Connect) At(i int) Entry { return Entry{entryAt(i)} }

// Entries are all entries in order: by kind, then by name.
func (c Connect) Entries() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for i := range c.Len() {
			if !yield(c.At(i)) {
				return
			}
		}
	}
}

// Find is the value of the first entry of this kind and name.
func (c Connect) Find(kind Kind, name string) (value []byte, found bool) {
	for i := range c.Len() {
		if e := c.At(i); e.Kind() == kind && string(e.Name()) == name {
			return e.Value(), true
		}
	}
	return nil, false
}

// Kind says where an entry is from.
type Kind uint8

// The kinds of entries.
const (
	Header     Kind = 0 // an HTTP header; its name is in lower case
	Parameter  Kind = 1 // of the URL's query, decoded
	Fact       Kind = 2 // about the TLS connection
	Credential Kind = 3 // given in the hello of protocol version 2
)

// Entry is one thing known of a client.
type Entry struct{ at uint32 }

// Kind says where the entry is from.
func (e Entry) Kind() Kind { return Kind(buffer[e.at]) }

// Name is the entry's name.
func (e Entry) Name() []byte { return ref(e.at + 4) }

// Value is the entry's value.
func (e Entry) Value() []byte { return ref(e.at + 12) }

// Text is what texts may be given as.
type Text interface{ ~string | ~[]byte }

// textOf is t's bytes without a copy: a slice begins as a string does.
func textOf[T Text](t T) string { return *(*string)(unsafe.Pointer(&t)) }

// Verdict is a hook's answer. The zero value is no answer; the server takes it for a fault.
type Verdict uint64

// Status is what kind of answer a Verdict is.
type Status uint8

// The statuses. Unchanged has that of Allow.
const (
	StatusAllow     Status = 1
	StatusDeny      Status = 2
	StatusRewritten Status = 3
	StatusFault     Status = 4
)

// Status is what kind of answer v is.
func (v Verdict) Status() Status { return Status(v) }

// Forbidden, as the code of a denial by authenticate, asks for HTTP 403 instead of 401.
const Forbidden = 3

// textBytesMax is what the 16 bits of a length can tell.
const textBytesMax = 65535

// answer is the last text answered. It keeps the text where it is until the server has read it.
var answer string

func verdict(status Status, code uint8, text string) Verdict {
	if len(text) > textBytesMax {
		text = cut(text)
	}
	answer = text
	at := uintptr(unsafe.Pointer(unsafe.StringData(text)))
	return Verdict(uint64(at)<<32 | uint64(len(text))<<16 | uint64(code)<<8 | uint64(status))
}

// cut ends a text between two characters.
func cut(text string) string {
	n := textBytesMax
	for n > 0 && text[n]&0xc0 == 0x80 {
		n--
	}
	return text[:n]
}

// Allow allows. From authenticate, it names nobody.
func Allow() Verdict { return Verdict(StatusAllow) }

// Unchanged is normalize's answer if the paths are fine as they are.
func Unchanged() Verdict { return Verdict(StatusAllow) }

// Deny denies with a code that clients get to see, and a text for people, in UTF-8. The server cuts
// it to 256 bytes.
func Deny[T Text](code uint8, text T) Verdict { return verdict(StatusDeny, code, textOf(text)) }

// Fault denies because the plugin cannot judge. The text goes to the server's log.
func Fault[T Text](text T) Verdict { return verdict(StatusFault, 0, textOf(text)) }

// Limits of an identity.
const (
	principalBytesMax = 256
	contextBytesMax   = 4096
	identityBytes     = 8 // before the principal
)

// identity is the last identity answered.
var identity [identityBytes + principalBytesMax + contextBytesMax]byte

// Identity allows, from authenticate, and says who the client is, for how many seconds (0: as long
// as the connection), and what authorize is to know about it. The principal has 1 to 256 bytes of
// UTF-8 without control characters, the context up to 4096 bytes.
func Identity[P, C Text](seconds uint32, principal P, context C) Verdict {
	return identify(seconds, textOf(principal), textOf(context))
}

func identify(seconds uint32, principal, context string) Verdict {
	if principal == "" || len(principal) > principalBytesMax || len(context) > contextBytesMax {
		return Fault("an identity needs a principal of 1 to 256 bytes and a context of at most 4096")
	}
	binary.LittleEndian.PutUint32(identity[0:], seconds)
	binary.LittleEndian.PutUint16(identity[4:], uint16(len(principal)))
	binary.LittleEndian.PutUint16(identity[6:], uint16(len(context)))
	n := identityBytes + copy(identity[identityBytes:], principal)
	n += copy(identity[n:], context)
	return verdict(StatusAllow, 0, textOf(identity[:n]))
}

// rewritten are the paths last answered.
var rewritten [textBytesMax]byte

// Rewriter writes normalize's answer: for each resource in order its segments, then End; or its Path. The
// zero value is ready. All share their memory: use one in a call.
type Rewriter struct {
	n     int
	fault string // the first
}

// Segment adds a segment to the path. It may neither be empty nor contain NUL: the answer is a
// fault then.
func (w *Rewriter) Segment(segment []byte) {
	switch {
	case len(segment) == 0:
		w.fail("an empty segment cannot be rewritten")
	case bytes.IndexByte(segment, 0) >= 0:
		w.fail("a segment cannot contain NUL")
	case len(segment) >= len(rewritten)-w.n:
		w.fail("the rewritten paths take more than 65535 bytes")
	default:
		w.n += copy(rewritten[w.n:], segment)
		w.End()
	}
}

// End ends the path.
func (w *Rewriter) End() {
	if w.n == len(rewritten) {
		w.fail("the rewritten paths take more than 65535 bytes")
		return
	}
	rewritten[w.n] = 0
	w.n++
}

// Path adds a whole path and ends it.
func (w *Rewriter) Path(p Path) {
	before := byte(0)
	for _, c := range p {
		if c == 0 && before == 0 {
			w.fail("an empty segment cannot be rewritten")
			return
		}
		before = c
	}
	switch {
	case len(p) > 0 && before != 0:
		w.fail("the segments of a path each end in NUL")
	case len(p) >= len(rewritten)-w.n:
		w.fail("the rewritten paths take more than 65535 bytes")
	default:
		w.n += copy(rewritten[w.n:], p)
		w.End()
	}
}

func (w *Rewriter) fail(text string) {
	if w.fault == "" {
		w.fault = text
	}
}

// Verdict is the answer: as many paths as were ended.
func (w *Rewriter) Verdict() Verdict {
	if w.fault != "" {
		return Fault(w.fault)
	}
	return verdict(StatusRewritten, 0, textOf(rewritten[:w.n]))
}

// Level is how urgent a line of the log is.
type Level int32

// The levels.
const (
	Debug Level = 0
	Info  Level = 1
	Warn  Level = 2
	Error Level = 3
)

// Log writes a line to the server's log: up to 1 KiB, and not too many a second.
func Log[T Text](level Level, text T) { logLine(level, textOf(text)) }

// logLine goes to standard error until something better is there.
var logLine = func(_ Level, text string) { println(text) }
