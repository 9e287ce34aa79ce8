package examples

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/plugins/host"
	"github.com/locktopus-project/locktopus/v2/plugins/internal/build"
)

var normalizeOnce struct {
	sync.Once
	wasm []byte
}

func normalize(t testing.TB) []byte {
	normalizeOnce.Do(func() { normalizeOnce.wasm = build.Go(t, "normalize") })
	return normalizeOnce.wasm
}

// normalized judges a request and returns the verdict and the paths that came of it.
func normalized(c *host.Caller, rs []host.Resource) (host.Verdict, []string) {
	q := &host.Request{Namespace: "n", Identity: &host.Identity{}, Operation: host.Lock, Resources: slices.Clone(rs)}
	v := c.Judge(q)
	var texts []string
	for _, r := range q.Resources {
		texts = append(texts, pathText(r.Path))
	}
	return v, texts
}

const normalizeConfig = `{"fold_case": true, "trim_spaces": true, "trim_end": ".", "drop_empty": true,
	"aliases": {"home": "users", "srv/www": "sites", "users/bob": "users/robert"}}`

func TestNormalizeInTheHost(t *testing.T) {
	caller := loaded(t, normalize(t), host.Normalize, normalizeConfig)
	for asked, want := range map[string]string{
		"write users/alice, read ":            "users/alice, ",
		"write Users/JÜRGEN, read a":          "users/jürgen, a",
		"write home/Ju\u0308rgen":             "users/jürgen",
		"write Home/BOB/x, permit /srv//WWW/": "users/robert/x, sites",
	} {
		v, got := normalized(caller, resources(t, asked))
		require.Equal(t, host.Allowed, v.Outcome, "%s: %s", asked, v.Reason)
		require.Equal(t, want, strings.Join(got, ", "), asked)
	}
	v, _ := normalized(caller, resources(t, "write a, write / /."))
	require.Equal(t, host.Verdict{Plugin: "plugin", Code: 1, Reason: []byte("resources[1]: nothing is left of the path")}, v)
	require.Equal(t, "aliases.a: it stands for itself, or for a path above or below it", fault(t, normalize(t), host.Normalize, `{"aliases": {"a": "a/b"}}`))
}

// laborious are requests as long as a question can be, that the rules have as much to do with as can be. Some
// are taken, some are refused for just that.
func laborious() map[string][]host.Resource {
	long := map[string][]host.Resource{}
	for _, c := range []string{
		"A", "a", "É", "ü", "ΐ", "ᾂ", "각", "\u1112\u1161\u11ab", "中", "\U0001d160", "ﬃ", "a.", "a ", "ü\u2003", "e\u0301",
		"a" + strings.Repeat("\u0315\u05ae", 15), "à\u0315\u0300\u05ae\u0300b",
	} {
		segment := strings.Repeat(c, 1023/len(c))
		long["long "+c] = []host.Resource{{Path: path(strings.TrimSuffix(strings.Repeat(segment+"/", 63), "/"))}}
		long["short "+c] = []host.Resource{{Path: path(strings.Repeat(c+"/", 1023) + c)}}
		long["many "+c] = slices.Repeat([]host.Resource{{Path: path("home/" + c)}}, 1024)
	}
	return long
}

// TestNormalizeAnswersWhatTakesLong: nothing is too much for it, but in a question that is too long.
func TestNormalizeAnswersWhatTakesLong(t *testing.T) {
	caller := loaded(t, normalize(t), host.Normalize, normalizeConfig)
	for name, rs := range laborious() {
		v, once := normalized(caller, rs)
		if v.Outcome == host.TooLong || v.Outcome == host.Denied && v.Code == 2 {
			continue
		}
		require.Equal(t, host.Allowed, v.Outcome, "%s: %s", name, v.Reason)
		for i := range rs {
			rs[i].Path = path(once[i])
		}
		_, twice := normalized(caller, rs)
		require.Equal(t, once, twice, name)
	}
}

// BenchmarkNormalizeAtWorst is to stay below a call's 5 ms.
func BenchmarkNormalizeAtWorst(b *testing.B) {
	caller := loaded(b, normalize(b), host.Normalize, normalizeConfig)
	for name, rs := range laborious() {
		if v, _ := normalized(caller, rs); v.Outcome == host.TooLong {
			continue
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				normalized(caller, rs)
			}
		})
	}
}

// BenchmarkNormalize asks for two paths. Most requests have nothing to change.
func BenchmarkNormalize(b *testing.B) {
	caller := loaded(b, normalize(b), host.Normalize, normalizeConfig)
	for name, asked := range map[string]string{
		"unchanged": "read users/alice/projects/alpha, write users/alice/projects/beta/files",
		"letters":   "read users/jürgen/projects/alpha, write users/alice/projects/beta/files",
		"capital":   "read users/alice/projects/Alpha, write users/alice/projects/beta/files",
		"marks":     "read users/ju\u0308rgen/projects/alpha, write users/alice/projects/beta/files",
		"alias":     "read home/alice/projects/alpha, write users/alice/projects/beta/files",
	} {
		rs := resources(b, asked)
		q := &host.Request{Namespace: "tenant-1", Identity: &host.Identity{}, Operation: host.Lock}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				q.Resources = append(q.Resources[:0], rs...)
				if v := caller.Judge(q); v.Outcome != host.Allowed {
					b.Fatal(v)
				}
			}
		})
	}
}
