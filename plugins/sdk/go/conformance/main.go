// Conformance is the conformance guest of the SDK for Go: it answers with all that it reads.
// plugins/sdk/conformance/README.md says how.
package main

import (
	"bytes"
	"strconv"

	locktopus "github.com/locktopus-project/locktopus/v2/plugins/sdk/go"
)

func main() {}

// config is the configuration as it came.
var config = make([]byte, 0, 65536)

//go:wasmexport locktopus_init
func initialize(n uint32) locktopus.Verdict {
	config = append(config[:0], locktopus.Config(n)...)
	switch {
	case bytes.HasPrefix(config, []byte(`{"refuse"`)):
		return locktopus.Deny(0, "refused")
	case bytes.HasPrefix(config, []byte(`{"fault"`)):
		return locktopus.Fault("faulty")
	}
	return locktopus.Allow()
}

var long = bytes.Repeat([]byte("é"), 35000)

//go:wasmexport locktopus_authorize
func authorize(n uint32) locktopus.Verdict {
	r := locktopus.NewRequest(n)
	switch string(r.Principal()) {
	case "!allow":
		return locktopus.Allow()
	case "!deny":
		return locktopus.Deny(uint8(r.Now()), r.Context())
	case "!fault":
		return locktopus.Fault(r.Context())
	case "!known":
		if r.Operation().Known() {
			return locktopus.Allow()
		}
		return locktopus.Deny(0, "unknown operation")
	case "!config":
		var out report
		out.bytes("config", config)
		return locktopus.Deny(0, out.text())
	case "!log":
		for resource := range r.Resources() {
			locktopus.Log(locktopus.Level(resource.Mode()), resource.Path())
		}
		return locktopus.Allow()
	case "!long":
		return locktopus.Deny(0, long)
	case "!trap":
		panic("as asked")
	}
	return locktopus.Deny(0, reportRequest(r))
}

func reportRequest(r locktopus.Request) []byte {
	var out report
	out.number("now", r.Now())
	out.bytes("namespace", r.Namespace())
	out.bytes("principal", r.Principal())
	out.bytes("context", r.Context())
	out.bytes("remote", r.Remote())
	out.number("operation", int64(r.Operation()))
	out.number("resources", int64(r.Len()))
	i := int64(0)
	for resource := range r.Resources() {
		path := resource.Path()
		out.number("resource", i)
		out.number("mode", int64(resource.Mode()))
		out.number("segments", int64(resource.Depth()))
		out.bytes("path", path)
		for segment := range path.Segments() {
			out.bytes("segment", segment)
		}
		out.yes("under-context", path.Under(r.Context()))
		out.yes("under-principal", path.UnderSegment(r.Principal()))
		i++
	}
	return out.text()
}

//go:wasmexport locktopus_authenticate
func authenticate(n uint32) locktopus.Verdict {
	c := locktopus.NewConnect(n)
	switch string(c.URLPath()) {
	case "/!allow":
		return locktopus.Allow()
	case "/!deny":
		return locktopus.Deny(uint8(c.Now()), c.RawQuery())
	case "/!fault":
		return locktopus.Fault(c.RawQuery())
	case "/!find":
		return locktopus.Deny(0, reportFound(c))
	case "/!identity":
		principal, _ := c.Find(locktopus.Credential, "principal")
		context, _ := c.Find(locktopus.Credential, "context")
		return locktopus.Identity(uint32(c.Now()), principal, context)
	}
	return locktopus.Deny(locktopus.Forbidden, reportConnect(c))
}

func reportFound(c locktopus.Connect) []byte {
	var out report
	value, found := c.Find(locktopus.Kind(c.Now()), string(c.RawQuery()))
	out.yes("found", found)
	if found {
		out.bytes("value", value)
	}
	return out.text()
}

func reportConnect(c locktopus.Connect) []byte {
	var out report
	out.number("now", c.Now())
	out.bytes("namespace", c.Namespace())
	out.bytes("remote", c.Remote())
	out.bytes("path", c.URLPath())
	out.bytes("query", c.RawQuery())
	out.yes("tls", c.TLS())
	out.yes("verified", c.Verified())
	out.number("entries", int64(c.Len()))
	i := int64(0)
	for e := range c.Entries() {
		out.number("entry", i)
		out.number("kind", int64(e.Kind()))
		out.bytes("name", e.Name())
		out.bytes("value", e.Value())
		i++
	}
	return out.text()
}

//go:wasmexport locktopus_normalize
func normalize(n uint32) locktopus.Verdict {
	r := locktopus.NewRequest(n)
	switch string(r.Namespace()) {
	case "!unchanged":
		return locktopus.Unchanged()
	case "!deny":
		return locktopus.Deny(9, "not here")
	case "!fault":
		return locktopus.Fault("cannot")
	case "!report":
		return locktopus.Deny(0, reportRequest(r))
	}
	var w locktopus.Rewriter
	for resource := range r.Resources() {
		for segment := range resource.Path().Segments() {
			rewrite(&w, segment)
		}
		w.End()
	}
	return w.Verdict()
}

// rewrite writes a segment; it may change it where it lies.
func rewrite(w *locktopus.Rewriter, segment []byte) {
	switch string(segment) {
	case ".":
		return
	case "twice":
		w.Segment(segment)
	case "nothing":
		segment = nil
	case "nul":
		segment = []byte("a\x00b")
	}
	for i, c := range segment {
		if c >= 'A' && c <= 'Z' {
			segment[i] = c + 'a' - 'A'
		}
	}
	w.Segment(segment)
}

// report is lines of name=value. Only what fits into an answer is kept.
type report struct {
	length int
	hash   uint64 // FNV-1a, but for its start, so that the zero value is ready
}

const (
	fnvStart  = 0xcbf29ce484222325
	fnvFactor = 0x100000001b3
)

// kept is the report's text, or the start of it.
var kept [65535]byte

func (r *report) byte(c byte) {
	if r.length == 0 {
		r.hash = fnvStart
	}
	r.hash = (r.hash ^ uint64(c)) * fnvFactor
	if r.length < len(kept) {
		kept[r.length] = c
	}
	r.length++
}

func (r *report) string(text string) {
	for i := range len(text) {
		r.byte(text[i])
	}
}

func (r *report) number(name string, v int64) {
	r.string(name)
	r.byte('=')
	r.string(strconv.FormatInt(v, 10))
	r.byte('\n')
}

func (r *report) yes(name string, v bool) {
	n := int64(0)
	if v {
		n = 1
	}
	r.number(name, n)
}

func (r *report) bytes(name string, v []byte) {
	const digits = "0123456789abcdef"
	r.string(name)
	r.byte('=')
	for _, c := range v {
		if c < 0x20 || c > 0x7e || c == '\\' {
			r.string(`\x`)
			r.byte(digits[c>>4])
			c = digits[c&15]
		}
		r.byte(c)
	}
	r.byte('\n')
}

func (r *report) text() []byte {
	if r.length <= len(kept) {
		return kept[:r.length]
	}
	hash := strconv.FormatUint(r.hash, 16)
	line := "long=" + strconv.Itoa(r.length) + " hash=" + "0000000000000000"[len(hash):] + hash + "\n"
	return kept[:copy(kept[:], line)]
}
