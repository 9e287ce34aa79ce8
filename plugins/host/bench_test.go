package host

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// guest is the smallest plugin, in WebAssembly text: a client writes below its own name only.
func guest(t testing.TB) string {
	t.Helper()
	path, err := filepath.Abs("../examples/smallest-wat/plugin.wasm")
	require.NoError(t, err)
	return path
}

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

// twoResources is a request that the smallest plugin allows alice.
func twoResources() *Request {
	return &Request{
		Namespace: "tenant-1", Identity: &alice, Remote: "10.1.2.3:51234", Operation: Lock,
		Resources: []Resource{
			{Mode: Read, Path: path("alice", "projects", "alpha")},
			{Mode: Write, Path: path("alice", "projects", "beta", "files")},
		},
	}
}

func BenchmarkAuthorize(b *testing.B) {
	files := map[string]string{"wat": guest(b), "c": os.Getenv("GUEST_C"), "go": os.Getenv("GUEST_GO")}
	for _, name := range []string{"wat", "c", "go"} {
		b.Run(name, func(b *testing.B) {
			g := loaded(b, Options{}, Spec{Name: name, Path: files[name], Hooks: Authorize})
			c, q := g.Caller(), twoResources()
			b.ReportAllocs()
			for b.Loop() {
				if v := c.Judge(q); v.Outcome != Allowed {
					b.Fatal(v)
				}
			}
		})
	}
}
