package conformance

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
)

// textBytesMax is what the 16 bits of a length can tell.
const textBytesMax = 65535

// report collects the lines of a report.
type report struct{ strings.Builder }

func (r *report) number(name string, v int64) { fmt.Fprintf(r, "%s=%d\n", name, v) }

func (r *report) yes(name string, v bool) {
	n := int64(0)
	if v {
		n = 1
	}
	r.number(name, n)
}

func (r *report) bytes(name, v string) {
	r.WriteString(name + "=")
	for _, c := range []byte(v) {
		if c < 0x20 || c > 0x7e || c == '\\' {
			fmt.Fprintf(r, `\x%02x`, c)
		} else {
			r.WriteByte(c)
		}
	}
	r.WriteByte('\n')
}

// text is the report, or what stands for a long one.
func (r *report) text() []byte {
	if r.Len() <= textBytesMax {
		return []byte(r.String())
	}
	hash := fnv.New64a()
	hash.Write([]byte(r.String()))
	return fmt.Appendf(nil, "long=%d hash=%016x\n", r.Len(), hash.Sum64())
}

// report is what a guest has to read from a question of authorize or normalize.
func (q *request) report() []byte {
	var r report
	r.number("now", q.now)
	r.bytes("namespace", q.namespace)
	r.bytes("principal", q.principal)
	r.bytes("context", q.context)
	r.bytes("remote", q.remote)
	r.number("operation", int64(q.operation))
	r.number("resources", int64(len(q.resources)))
	for i, res := range q.resources {
		r.number("resource", int64(i))
		r.number("mode", int64(res.mode))
		r.number("segments", int64(len(res.path)))
		r.bytes("path", pathBytes(res.path))
		for _, segment := range res.path {
			r.bytes("segment", segment)
		}
		r.yes("under-context", under(res.path, q.context))
		r.yes("under-principal", q.principal != "" && len(res.path) > 0 && res.path[0] == q.principal)
	}
	return r.text()
}

// under is the subtree test on segments instead of bytes.
func under(path []string, prefix string) bool {
	if prefix == "" {
		return true
	}
	prefix, ended := strings.CutSuffix(prefix, "\x00")
	if !ended {
		return false
	}
	segments := strings.Split(prefix, "\x00")
	return len(segments) <= len(path) && slices.Equal(segments, path[:len(segments)])
}

// report is what a guest has to read from a question of authenticate.
func (q *connect) report() []byte {
	var r report
	r.number("now", q.now)
	r.bytes("namespace", q.namespace)
	r.bytes("remote", q.remote)
	r.bytes("path", q.path)
	r.bytes("query", q.query)
	r.yes("tls", q.flags&1 != 0)
	r.yes("verified", q.flags&2 != 0)
	r.number("entries", int64(len(q.entries)))
	for i, e := range q.entries {
		r.number("entry", int64(i))
		r.number("kind", int64(e.kind))
		r.bytes("name", e.name)
		r.bytes("value", e.value)
	}
	return r.text()
}
