package conformance

import "context"

// The smallest example's words, the same in all languages.
const (
	notYours         = "only what is below your own name is yours to write"
	unknownOperation = "unknown operation"
)

// Smallest asks the smallest example of a language: everybody reads, and a client writes only the
// path that is its own name, and what is below. It tells all that was wrong, as Run does.
func Smallest(ctx context.Context, wasm []byte) error { return runCases(ctx, wasm, smallestCases()) }

func smallestCases() []Case {
	const foreign = "that is somebody else's"
	of := func(name, about string, want Answer, change func(q *request)) Case {
		return asked("smallest-"+name, about, "alice", want, change)
	}
	on := func(resources ...resource) func(q *request) { return func(q *request) { q.resources = resources } }
	yes, no := Answer{Status: allow}, denied(1, notYours)
	return []Case{
		of("plain", "writing one's own, reading another's", yes, nil),
		of("nothing", "no resources", yes, on()),
		of("name", "one's own name itself", yes, on(path("alice"), resource{permit, []string{"alice"}})),
		of("read", "anything", yes, on(resource{read, nil}, resource{read, []string{"bob"}}, resource{read, []string{""}})),
		of("write", foreign, no, on(path("bob"))),
		of("permit", foreign, no, on(resource{permit, []string{"bob", "printer"}})),
		of("later-mode", "an unknown mode is not reading", no, on(resource{9, []string{"bob"}})),
		of("all", "the whole namespace", no, on(path())),
		of("namesake", foreign, no, on(path("alicex"))),
		of("shorter", foreign, no, on(path("alic"))),
		of("below-another", foreign, no, on(path("bob", "alice"))),
		of("second", "one of two", no, on(path("alice", "a"), path("bob", "b"))),
		of("nobody", "a client without a name owns nothing", no, func(q *request) { q.principal, q.resources = "", []resource{path("", "a")} }),
		of("nobody-all", "nor everything", no, func(q *request) { q.principal, q.resources = "", []resource{path()} }),
		of("nobody-reads", "but it may read", yes, func(q *request) { q.principal, q.resources = "", []resource{{read, []string{"a"}}} }),
		of("inspect", "an operation that is known", yes, func(q *request) { q.operation = 2 }),
		of("force-release", "the last one that is known", yes, func(q *request) { q.operation = 4 }),
		of("operation-0", "none at all", denied(0, unknownOperation), func(q *request) { q.operation = 0 }),
		of("operation-5", "one that only a later version knows", denied(0, unknownOperation), func(q *request) { q.operation = 5 }),
		later("stride", layout{stride: 28}, yes),
		later("header", layout{header: 100, stride: 16, late: true}, yes),
	}
}

// later is a request that a later version's host laid out.
func later(name string, l layout, want Answer) Case {
	q := plain()
	c := Case{Name: "authorize/smallest-later-" + name, About: "longer and elsewhere", Hook: "authorize", Want: want}
	c.Request, c.Notes = q.encode(hookAuthorize, l)
	return c
}
