package conformance

import (
	"fmt"
	"math"
	"strings"
)

// Kinds of entries.
const (
	header     = 0
	parameter  = 1
	fact       = 2
	credential = 3
)

// forbidden is the code that asks for HTTP 403.
const forbidden = 3

// client is an ordinary question, for cases that change one thing about it.
func client() connect {
	return connect{
		now: someTime, namespace: "prod", remote: "127.0.0.1:4711", path: "/v2/prod", query: "token=x%20y", flags: 1,
		entries: []entry{
			{header, "authorization", "Bearer abc.def"}, {header, "host", "locks.example:9009"},
			{parameter, "token", "x y"}, {fact, "version", "1.3"}, {credential, "token", "secret"},
		},
	}
}

func (q connect) with(change func(q *connect)) connect {
	change(&q)
	return q
}

// received is the case of an authenticate guest that answers want.
func received(name, about string, q connect, l layout, want Answer) Case {
	c := Case{Name: "authenticate/" + name, About: about, Hook: "authenticate", Want: want}
	c.Request, c.Notes = q.encode(l)
	return c
}

// described is the case of an authenticate guest that reports q.
func described(name, about string, q connect, l layout) Case {
	return received(name, about, q, l, Answer{Status: deny, Code: forbidden, Bytes: q.report()})
}

func authenticateCases() []Case {
	some := func(name, about string, entries ...entry) Case {
		return described(name, about, client().with(func(q *connect) { q.entries = entries }), layout{})
	}
	flags := func(flags uint32, about string) Case {
		return described(fmt.Sprintf("flags-%#x", flags), about, client().with(func(q *connect) { q.flags = flags }), layout{})
	}
	return []Case{
		described("plain", "an entry of each kind", client(), layout{}),
		described("empty", "nothing but zeros", connect{}, layout{}),
		some("no-entries", "a client that says nothing"),
		some("repeated", "a header twice, and the same name in two kinds",
			entry{header, "cookie", "a=1"}, entry{header, "cookie", "b=2"}, entry{header, "cookie", ""}, entry{parameter, "cookie", "c=3"}),
		some("empty-names", "names and values may be empty", entry{header, "", "value"}, entry{parameter, "", ""}, entry{credential, "name", ""}),
		some("certificate", "facts of a verified certificate",
			entry{fact, "alpn", "http/1.1"}, entry{fact, "not-after", "1893456000"}, entry{fact, "san-dns", "a.example"}, entry{fact, "san-dns", "b.example"},
			entry{fact, "subject", `CN=Zoë\, of accounts,O=Example`}, entry{fact, "subject-cn", "Zoë, of accounts"}),
		some("binary", "values of headers and parameters are any bytes", entry{header, "x-latin-1", "\xe4\xf6\xfc"}, entry{parameter, "all", allBytes}),
		some("unknown-kind", "kinds that only a later version knows", entry{header, "host", "h"}, entry{4, "name", "value"}, entry{255, "name", "value"}),
		flags(0, "no TLS"),
		flags(2, "a certificate without TLS makes no sense, and is told all the same"),
		flags(3, "TLS and a verified certificate"),
		flags(0xfffffffc, "unknown flags and none of ours"),
		flags(math.MaxUint32, "all flags"),
		described("stride-24", "longer entries", client(), layout{stride: 24}),
		described("stride-40", "entries that are longer still", client(), layout{stride: 40}),
		described("header-96", "a longer header: the table does not start at 64", client(), layout{header: 96}),
		described("header-69", "nothing is aligned", client(), layout{header: 69, stride: 21}),
		described("late-table", "the table after the data", client(), layout{header: 72, stride: 32, late: true}),
		described("many", "2000 entries", client().with(func(q *connect) { q.entries = manyEntries(2000) }), layout{}),
		described("full", "a buffer that is full to its last byte", fullConnect(), layout{}),
	}
}

// manyEntries are n headers.
func manyEntries(n int) []entry {
	all := make([]entry, n)
	for i := range all {
		all[i] = entry{header, fmt.Sprintf("h%03x", i), fmt.Sprintf("v%03x", i)}
	}
	return all
}

// fullConnect is a question whose last value ends where the buffer does.
func fullConnect() connect {
	q := client()
	bytes, _ := q.encode(layout{})
	q.entries[len(q.entries)-1].value += strings.Repeat("f", bufferBytes-len(bytes))
	return q
}

// told is the case of an authenticate guest that the URL's path tells what to answer.
func told(name, about, what string, want Answer, change func(q *connect)) Case {
	q := client()
	q.path = "/!" + what
	if change != nil {
		change(&q)
	}
	return received(name, about, q, layout{}, want)
}

// identityCases are authenticate's answers of every kind.
func identityCases() []Case {
	text := func(now int64, query string) func(q *connect) {
		return func(q *connect) { q.now, q.query = now, query }
	}
	return append(append([]Case{
		told("allow", "allowed, but without an identity", "allow", Answer{Status: allow}, nil),
		told("deny", "a code and a text", "deny", denied(9, "who is this?"), text(9, "who is this?")),
		told("deny-no-text", "a denial without a text", "deny", denied(0, ""), text(0, "")),
		told("fault", "no judgement", "fault", faulty("no key"), text(0, "no key")),
	}, identities()...), finds()...)
}

// identities are good ones, and some that the ABI has no room for.
func identities() []Case {
	wrong := faulty("an identity needs a principal of 1 to 256 bytes and a context of at most 4096")
	of := func(name, about string, ttl int64, principal, context string, good bool) Case {
		want := wrong
		if good {
			parts := [][]byte{u32(uint32(ttl)), u16(len(principal)), u16(len(context)), []byte(principal), []byte(context)}
			want = Answer{Status: allow}
			for _, p := range parts {
				want.Bytes = append(want.Bytes, p...)
			}
		}
		return told("identity-"+name, about, "identity", want, func(q *connect) {
			q.now = ttl
			q.entries = append(q.entries, entry{credential, "principal", principal}, entry{credential, "context", context})
		})
	}
	return []Case{
		of("plain", "five minutes", 300, "alice", "roles=admin", true),
		of("for-ever", "as long as the connection", 0, "alice", "x", true),
		of("no-context", "a context may be empty", 1, "a", "", true),
		of("utf8", "a principal is text, a context is any bytes", 86400, "Zoë 漢字", allBytes, true),
		of("longest", "the longest of all", math.MaxUint32, strings.Repeat("p", 256), strings.Repeat("\x00\xff", 2048), true),
		of("ttl-cut", "the guest takes 32 bits of the time, and all of them", 7<<32|1<<31, "alice", "", true),
		of("no-principal", "an identity without a principal is none", 300, "", "roles=admin", false),
		of("long-principal", "a byte too many", 300, strings.Repeat("p", 257), "", false),
		of("long-context", "a byte too many", 300, "alice", strings.Repeat("c", 4097), false),
		of("wrapped-principal", "a length whose lowest 16 bits look fine", 300, strings.Repeat("p", 30000), "", false),
	}
}

// finds look for entries.
func finds() []Case {
	of := func(name, about string, kind int64, what, value string, found bool) Case {
		var r report
		r.yes("found", found)
		if found {
			r.bytes("value", value)
		}
		return told("find-"+name, about, "find", denied(0, string(r.text())), func(q *connect) {
			q.now, q.query = kind, what
			q.entries = []entry{
				{header, "", "no name"}, {header, "cookie", "first"}, {header, "cookie", "second"}, {header, "empty", ""},
				{parameter, "cookie", "parameter"}, {credential, "token", "secret"}, {7, "later", "unknown"},
			}
		})
	}
	return []Case{
		of("first", "the first of two", header, "cookie", "first", true),
		of("kind", "the same name in another kind", parameter, "cookie", "parameter", true),
		of("last", "the last known one", credential, "token", "secret", true),
		of("empty-value", "to be empty is not to be missing", header, "empty", "", true),
		of("empty-name", "a name may be empty", header, "", "no name", true),
		of("missing", "a name that isn't there", header, "host", "", false),
		of("other-kind", "a name that is there in another kind only", header, "token", "", false),
		of("longer", "a name's start is not the name", header, "cook", "", false),
		of("shorter", "nor is the name the start of a longer one", header, "cookies", "", false),
		of("case", "names are compared byte by byte", header, "Cookie", "", false),
		of("unknown-kind", "a kind that only a later version knows", 7, "later", "unknown", true),
	}
}
