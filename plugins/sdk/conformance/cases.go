package conformance

import (
	"fmt"
	"math"
	"strings"
)

// Modes, as a guest sees them.
const (
	read   = 0
	write  = 1
	permit = 2
)

const someTime = 1_700_000_000_123 // more than 32 bits of milliseconds

// allBytes is each of the 256 bytes once.
var allBytes = func() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}()

// plain is an ordinary request, for cases that change one thing about it.
func plain() request {
	return request{
		now: someTime, namespace: "prod", principal: "alice", context: "roles=admin", remote: "127.0.0.1:4711", operation: 1,
		resources: []resource{{write, []string{"alice", "inbox"}}, {read, []string{"shared"}}},
	}
}

// path is a resource to be written.
func path(segments ...string) resource { return resource{write, segments} }

// reported is the case of an authorize guest that reports q.
func reported(name, about string, q request, l layout) Case {
	c := Case{Name: "authorize/" + name, About: about, Hook: "authorize", Want: Answer{Status: deny, Bytes: q.report()}}
	c.Request, c.Notes = q.encode(hookAuthorize, l)
	return c
}

// with is the plain request after a change.
func with(change func(q *request)) request {
	q := plain()
	change(&q)
	return q
}

func authorizeCases() []Case {
	all := []Case{
		reported("plain", "two resources, as a host lays them out today", plain(), layout{}),
		reported("empty", "nothing but zeros: no text, no time, no operation, no resources", request{}, layout{}),
		reported("no-resources", "an inspection of nothing", with(func(q *request) { q.operation, q.resources = 2, nil }), layout{}),
		reported("empty-path", "the empty path is the whole namespace: no segments, no bytes",
			with(func(q *request) { q.resources = []resource{{write, nil}, path("a"), {read, nil}} }), layout{}),
		reported("empty-segments", "a segment may be empty, at every place",
			with(func(q *request) {
				q.resources = []resource{path(""), path("", ""), path("", "a"), path("a", ""), path("a", "", "b")}
			}), layout{}),
		reported("utf8", "text of several bytes a character, and a byte order mark", with(func(q *request) {
			q.namespace, q.principal, q.context = "prüfung", "Zoë 漢字", "\ufeff🐙"
			q.resources = []resource{path("äöü", "漢字", "🐙"), path("e\u0301"), path("\ufeff")}
		}), layout{}),
		reported("escapes", "what a report has to escape, and what not", with(func(q *request) {
			q.namespace, q.principal = ` !"#=~\`, "\t\n\r\x1b\x7f\u0080"
			q.resources = []resource{path(`a\b`, "a/b", " ", "\n")}
		}), layout{}),
		reported("binary-context", "a context is any bytes: here each once",
			with(func(q *request) { q.context = allBytes }), layout{}),
		reported("remote-v6", "an address of IPv6", with(func(q *request) { q.remote = "[2001:db8::1%eth0]:65535" }), layout{}),
		reported("remote-unix", "a client of a unix socket has no address", with(func(q *request) { q.remote = "" }), layout{}),
		reported("nobody", "no principal: nothing is under it as a segment, not even an empty segment",
			with(func(q *request) { q.principal = ""; q.resources = append(q.resources, path(), path("", "a")) }), layout{}),
		reported("modes", "each mode, and two that are not known", with(func(q *request) {
			q.resources = []resource{{read, []string{"r"}}, {write, []string{"w"}}, {permit, []string{"p"}}, {3, []string{"x"}}, {255, []string{"y"}}}
		}), layout{}),
	}
	all = append(all, layoutCases()...)
	all = append(all, underCases()...)
	all = append(all, extremeCases()...)
	return all
}

// layoutCases are what a host of a later minor version may send.
func layoutCases() []Case {
	q := plain()
	return []Case{
		reported("stride-16", "longer entries", q, layout{stride: 16}),
		reported("stride-28", "entries that are longer still", q, layout{stride: 28}),
		reported("header-96", "a longer header: the table does not start at 64", q, layout{header: 96}),
		reported("header-71", "a header of odd length: nothing is aligned", q, layout{header: 71, stride: 13}),
		reported("late-table", "the table after the data that it refers to", q, layout{late: true}),
		reported("late-long-table", "longer in all ways, and in another order", q, layout{header: 128, stride: 20, late: true}),
		reported("empty-here", "what is empty lies between the rest, and at the end", with(func(q *request) {
			q.namespace, q.context, q.resources = "", "", append(q.resources, path())
		}), layout{here: true}),
		reported("empty-behind", "what is empty lies behind the last byte of a full buffer", full(resource{read, nil}), layout{here: true}),
		reported("long-header-empty", "a longer header and no table at all", request{now: 1}, layout{header: 80}),
	}
}

// underCases have contexts that are prefixes, and some that only look like one.
func underCases() []Case {
	of := func(name, about, prefix string) Case {
		return reported("under-"+name, about, with(func(q *request) {
			q.principal, q.context = "a", prefix
			q.resources = []resource{path(), path("a"), path("b"), path("ab"), path("a", "b"), path("a", "bc"), path("a", "b", "c"), path("b", "a"), path("a/b"), path(""), path("", "a"), path("a", "")}
		}), layout{})
	}
	return []Case{
		of("all", "everything is under the empty prefix", ""),
		of("a", "a segment holds itself and what is below, not its namesakes", "a\x00"),
		of("a-b", "two segments", "a\x00b\x00"),
		of("long", "a prefix that is longer than most paths", "a\x00b\x00c\x00d\x00"),
		of("unended", "a prefix without its last NUL is no path: else a would hold ab", "a"),
		of("unended-two", "the same below a segment that is ended", "a\x00b"),
		of("empty-segment", "one empty segment is not the empty prefix", "\x00"),
		of("empty-segment-below", "an empty segment below another", "a\x00\x00"),
		reported("under-segment-nul", "a principal with NUL is not one segment", with(func(q *request) {
			q.principal = "a\x00b"
			q.resources = []resource{path("a", "b"), path("a", "b", "c"), path("a")}
		}), layout{}),
		reported("under-segment-ended", "nor is one that ends in NUL", with(func(q *request) {
			q.principal = "a\x00"
			q.resources = []resource{path("a"), path("a", ""), path("a", "b")}
		}), layout{}),
	}
}

// extremeCases are at the ends of what numbers and lengths can be.
func extremeCases() []Case {
	all := []Case{
		reported("now-before-1970", "a negative time", with(func(q *request) { q.now = -1 }), layout{}),
		reported("now-first", "the smallest of 64 bits", with(func(q *request) { q.now = math.MinInt64 }), layout{}),
		reported("now-last", "the largest of 64 bits", with(func(q *request) { q.now = math.MaxInt64 }), layout{}),
		reported("now-2038", "the first second that 32 bits do not hold", with(func(q *request) { q.now = 1 << 31 * 1000 }), layout{}),
		reported("longest", "principal and context as long as they can be", with(func(q *request) {
			q.principal, q.context = strings.Repeat("p", 256), strings.Repeat("\x00\xff", 2048)
		}), layout{}),
		reported("deep", "60000 empty segments: a number that 16 bits hold, but not 15", with(func(q *request) {
			q.resources = []resource{path(make([]string, 60000)...)}
		}), layout{}),
		reported("deep-letters", "30000 segments of a byte", with(func(q *request) {
			q.resources = []resource{path(strings.Split(strings.Repeat("s", 30000), "")...)}
		}), layout{}),
		reported("many", "4000 resources, which share nothing", with(func(q *request) { q.resources = manyResources(4000) }), layout{}),
		reported("full", "a buffer that is full to its last byte", full(resource{permit, []string{"f"}}), layout{}),
	}
	for _, operation := range []uint32{0, 2, 3, 4, 5, math.MaxUint32} {
		all = append(all, reported(fmt.Sprintf("operation-%d", operation), "an operation as a number, be it known or not", with(func(q *request) { q.operation = operation }), layout{}))
	}
	return all
}

// manyResources are n resources with paths of one segment.
func manyResources(n int) []resource {
	all := make([]resource, n)
	for i := range all {
		all[i] = resource{uint8(i % 3), []string{fmt.Sprintf("%03x", i)}}
	}
	return all
}

// full is a request whose last resource's path ends where the buffer does.
func full(last resource) request {
	q := plain()
	q.resources = append(q.resources, last)
	bytes, _ := q.encode(hookAuthorize, layout{})
	q.resources[0].path[0] += strings.Repeat("f", bufferBytes-len(bytes))
	return q
}
