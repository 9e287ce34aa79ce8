package host

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/hostile"
)

// loaded is a gate with these plugins.
func loaded(t testing.TB, o Options, specs ...Spec) *Gate {
	t.Helper()
	g := New(o)
	require.NoError(t, g.Load(specs))
	t.Cleanup(g.Close)
	return g
}

func path(segments ...string) (p [][]byte) {
	for _, s := range segments {
		p = append(p, []byte(s))
	}
	return p
}

var alice = Identity{Authenticated: true, Principal: "alice", Context: "role=dev;team=7"}

// prefixes are what the paths begin with that an example allows alice, before her name.
var prefixes = map[string][]string{"acl": {"users"}}

// ownPaths is a request of alice for n paths that are her own.
func ownPaths(n int, prefix ...string) *Request {
	q := &Request{Namespace: "tenant-1", Identity: &alice, Remote: "10.1.2.3:51234", Operation: Lock}
	for k := range n {
		r := Resource{Read, path(slices.Concat(prefix, []string{"alice", "projects", "alpha"})...)}
		if k%2 == 1 {
			r = Resource{Write, path(slices.Concat(prefix, []string{"alice", "projects", "beta", "files"})...)}
		}
		q.Resources = append(q.Resources, r)
	}
	return q
}

// BenchmarkExamples is what a question costs from the server's call to the verdict, and what part of that is
// metering: the same plugin without it takes turns. ns and plain-ns are the fastest of many rounds, which is
// what can be compared on a machine that has other things to do.
//
//	go test -tags toolchains -run '^$' -bench Examples ./plugins/host
//
// Without the tag there are the examples in Go and WebAssembly text only.
func BenchmarkExamples(b *testing.B) {
	eachExample(b, func(name string, spec Spec) {
		for about, call := range calls(spec, prefixes[name]) {
			b.Run(name+"/"+about, func(b *testing.B) { benchmarkPair(b, spec, call) })
		}
	})
}

// calls are the questions that a plugin is asked.
func calls(spec Spec, prefix []string) map[string]func(*Caller) Verdict {
	judging := func(q *Request) func(*Caller) Verdict {
		return func(c *Caller) Verdict { return c.Judge(q) }
	}
	all := map[string]func(*Caller) Verdict{}
	if spec.Hooks&(Authorize|Normalize) != 0 {
		all["2-resources"], all["16-resources"] = judging(ownPaths(2, prefix...)), judging(ownPaths(16, prefix...))
	}
	if spec.Hooks&Authenticate != 0 {
		q := &Connect{Namespace: "tenant-1", Remote: "10.1.2.3:51234", URLPath: "/v1", Fields: []Field{
			{Header, "authorization", "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.x"}, {Header, "host", "locks.example"},
		}}
		all["connect"] = func(c *Caller) Verdict { _, v := c.Authenticate(q); return v }
	}
	return all
}

// benchmarkPair measures a plugin metered, and as it is.
func benchmarkPair(b *testing.B, spec Spec, call func(*Caller) Verdict) {
	metered, unmetered := loaded(b, Options{}, spec).Caller(), plain(b, spec).Caller()
	require.Equal(b, call(unmetered), call(metered))
	b.ReportAllocs()
	for b.Loop() {
		call(metered)
	}
	const rounds, calls = 200, 500
	fastest := [2]time.Duration{time.Hour, time.Hour}
	for range rounds {
		for k, c := range []*Caller{metered, unmetered} {
			begun := time.Now()
			for range calls {
				call(c)
			}
			fastest[k] = min(fastest[k], time.Since(begun))
		}
	}
	with, without := float64(fastest[0])/calls, float64(fastest[1])/calls
	b.ReportMetric(with, "ns")
	b.ReportMetric(without, "plain-ns")
	b.ReportMetric(100*(with/without-1), "metering-%")
}

// BenchmarkHost is the host's own part: the guest does nothing but answer.
func BenchmarkHost(b *testing.B) {
	for _, x := range []struct {
		about     string
		hook      Hooks
		namespace string
	}{
		{"authorize", Authorize, hostile.Allows},
		{"normalize-unchanged", Normalize, hostile.Allows},
		{"normalize-and-authorize", Normalize | Authorize, hostile.Allows},
		{"authenticate", Authenticate, hostile.Allows},
	} {
		b.Run(x.about, func(b *testing.B) {
			c := loaded(b, Options{}, mean(b, x.hook, patient)).Caller()
			q, connect := ownPaths(2), &Connect{Namespace: x.namespace, Remote: "10.1.2.3:51234"}
			q.Namespace = x.namespace
			b.ReportAllocs()
			for b.Loop() {
				if x.hook == Authenticate {
					c.Authenticate(connect)
				} else if v := c.Judge(q); v.Outcome != Allowed {
					b.Fatal(v)
				}
			}
		})
	}
	b.Run("no-plugins", func(b *testing.B) {
		c := New(Options{}).Caller()
		q := ownPaths(2)
		for b.Loop() {
			if c.Active() {
				c.Judge(q)
			}
		}
	})
}
