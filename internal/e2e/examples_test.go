package e2e

import (
	"net/url"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/example"
)

// startExample starts a server with an example of a plugin, built and configured as its README says, and
// with more configuration behind that.
func startExample(t *testing.T, folder, more string) *server {
	t.Helper()
	x := example.Read(t, filepath.Join("../../plugins/examples", folder))
	return start(t, setup{config: x.ConfigOf(t, x.Make(t)) + more, within: compilation})
}

// compilation is how long a server may take to compile Go's runtime, which a plugin in Go brings along. It
// is a second of work, and more than ten with the race detector.
const compilation = 5 * patience

// anyName is a plugin that takes clients for whom they say they are.
var anyName = plugin("who", "testdata/who.wasm", "authenticate", "*")

// as is where a client connects that says who it is.
func (s *server) as(name, roles string) target {
	to := s.target("n")
	to.query += "&as=" + url.QueryEscape(name) + "&roles=" + url.QueryEscape(roles)
	return to
}

const acquired = "acquired"

// told locks and releases, with a connection of its own, and is what the client is told: acquired, or why not.
func told(t *testing.T, dial dialer, to target, rs ...resource) string {
	t.Helper()
	c := connect(t, dial, to)
	c.send(lockText(rs...))
	text, err := c.Recv()
	require.NoError(t, err)
	a, err := parseAnswer(text)
	if err != nil {
		_, err = c.Recv()
		require.NoError(t, wantClosed(err, 3000))
		return text
	}
	if a.state == "enqueued" { // behind the same of another library, for a moment
		text, err := c.Recv()
		require.NoError(t, err)
		a, err = parseAnswer(text)
		require.NoError(t, err)
	}
	require.Equal(t, answer{a.id, "lock", acquired}, a)
	c.release(a.id)
	return acquired
}

func TestSmallestExamples(t *testing.T) {
	folders, err := filepath.Glob("../../plugins/examples/smallest-*")
	require.NoError(t, err)
	tried := 0
	for _, folder := range folders {
		if !example.Read(t, folder).CanMake() {
			continue
		}
		tried++
		t.Run(filepath.Base(folder), func(t *testing.T) {
			srv := startExample(t, filepath.Base(folder), anyName)
			eachDialer(t, func(t *testing.T, dial dialer) {
				const denied = `communication error: denied by plugin "smallest" (code 1): only what is below your own name is yours to write`
				alice, nobody := srv.as("alice", ""), srv.as("", "")
				require.Equal(t, acquired, told(t, dial, alice, write("alice", t.Name()), read("bob")))
				require.Equal(t, denied, told(t, dial, alice, write("alice", t.Name()), write("bob", "inbox")))
				require.Equal(t, denied, told(t, dial, alice, write("alicex")))
				require.Equal(t, acquired, told(t, dial, nobody, read("bob")))
				require.Equal(t, denied, told(t, dial, nobody, write("", "x")))
			})
			require.Equal(t, statistics{}, srv.stats("n"))
		})
	}
	require.GreaterOrEqual(t, tried, 2)
}

func TestNormalizeExample(t *testing.T) {
	srv := startExample(t, "normalize", "")
	for _, same := range [][2]resource{
		{write("Users", "J\u00dcRGEN"), write("users", "ju\u0308rgen")},
		{write("home", "anna", "x "), read("users", "Anna")},
		{write("srv", "", "www"), write("SITES", "blog.")},
		{write("home", "BOB"), read("users", "robert", "x")},
	} {
		one, two := connect(t, dialGorilla, srv.target("n")), connect(t, dialCoder, srv.target("n"))
		held := one.mustAcquire(same[0])
		waiting := two.mustEnqueue(same[1])
		one.release(held)
		two.mustBeGranted(waiting)
		two.release(waiting)
	}
	one, two := connect(t, dialGorilla, srv.target("n")), connect(t, dialCoder, srv.target("n"))
	held := one.mustAcquire(write("users", "jurgen"))
	two.release(two.mustAcquire(write("users", "ju\u0308rgen")))
	one.release(held)
	const denied = `communication error: denied by plugin "normalize" (code 1): resources[0]: nothing is left of the path`
	require.Equal(t, denied, told(t, dialGorilla, srv.target("n"), write(" ", "...")))
	require.Equal(t, acquired, told(t, dialGorilla, srv.target("n"), write()))
	require.Zero(t, srv.stats("n").Locks)
}
