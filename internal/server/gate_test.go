package server

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/session"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
	"github.com/locktopus-project/locktopus/v2/wsnet"
)

// eachVerdict is every outcome that there could be, one of them with the meaning of allowed, with and without all
// else that a verdict says.
func eachVerdict(do func(host.Verdict)) {
	for outcome := range 256 {
		for _, v := range []host.Verdict{
			{},
			{Plugin: "p", Code: 255, Reason: []byte("because")},
			{Plugin: "p", Code: host.CodeForbidden},
			{Reason: []byte("allowed")},
		} {
			v.Outcome = host.Outcome(outcome)
			do(v)
		}
	}
}

func TestOneOutcomeLetsClientsIn(t *testing.T) {
	let := 0
	eachVerdict(func(v host.Verdict) {
		j := &fakeJudge{active: true, connect: func(*host.Connect) (host.Identity, host.Verdict) {
			return host.Identity{Authenticated: true, Principal: "alice", TTL: time.Hour}, v
		}}
		n := j.serve(testSettings())
		_, refused := n.connect("namespace=n")
		if v.Outcome == host.Allowed {
			let++
			require.Nil(t, refused, "%+v", v)
			return
		}
		require.NotNil(t, refused, "%+v", v)
		require.GreaterOrEqual(t, refused.Status, 400)
		require.Zero(t, n.s.connections.live)
		require.Zero(t, n.s.spaces.count())
		require.Zero(t, n.s.expiries.count())
	})
	require.Equal(t, 4, let)
}

func TestOneOutcomeLetsRequestsThrough(t *testing.T) {
	let := uint64(0)
	var verdict host.Verdict
	j := &fakeJudge{active: true, request: func(*host.Request) host.Verdict { return verdict }}
	n := j.serve(testSettings())
	n.mustConnect(t, "namespace=n") // so that the namespace stays
	eachVerdict(func(v host.Verdict) {
		verdict = v
		c := n.mustConnect(t, "namespace=n")
		c.say(writeA)
		if v.Outcome == host.Allowed {
			let++
			require.Equal(t, []string{answer(let, "lock", "acquired")}, c.heard(), "%+v", v)
			c.say(release)
		} else {
			require.NotZero(t, c.closing, "%+v", v)
			require.NotContains(t, c.heard()[0], "acquired")
		}
		_, last := statsOf(n, "n")
		require.Equal(t, let, last, "ids are drawn for what is allowed only")
		c.drop()
	})
	require.Equal(t, uint64(4), let)
}

// connectV2 connects a client of version 2, which has not said hello yet.
func (n *fakeNet) connectV2(t testing.TB) *fakeConn {
	c, refused := n.ask(&wsnet.Request{Path: "/v2", RawQuery: "namespace=n"})
	require.Nil(t, refused)
	return c
}

func settingsV2() Settings {
	set := testSettings()
	set.Sessions, set.SessionsMax = session.Defaults, 1000
	return set
}

const (
	helloV2 = `{"op":"hello"}`
	writeV2 = `{"op":"lock","id":1,"resources":[{"type":"write","path":["a"]}]}`
)

func TestOneOutcomeLetsClientsOfV2In(t *testing.T) {
	eachVerdict(func(v host.Verdict) {
		j := &fakeJudge{active: true, connect: func(*host.Connect) (host.Identity, host.Verdict) {
			return host.Identity{Authenticated: true, Principal: "alice", TTL: time.Hour}, v
		}}
		n := j.serve(settingsV2())
		c := n.connectV2(t)
		c.say(helloV2)
		require.Equal(t, v.Outcome == host.Allowed, c.closing == 0, "%+v", v)
		require.Equal(t, v.Outcome == host.Allowed, n.s.living.Load() == 1, "%+v", v)
		if v.Outcome != host.Allowed {
			require.NotContains(t, c.heard()[0], "session", "%+v", v)
			c.say(writeV2)
			require.Empty(t, c.heard(), "it is over")
		}
		c.drop()
	})
}

func TestOneOutcomeLetsRequestsOfV2Through(t *testing.T) {
	let := uint64(0)
	var verdict host.Verdict
	j := &fakeJudge{active: true, request: func(*host.Request) host.Verdict { return verdict }}
	n := j.serve(settingsV2())
	n.connectV2(t).say(helloV2)
	eachVerdict(func(v host.Verdict) {
		verdict = v
		c := n.connectV2(t)
		c.say(helloV2)
		c.heard()
		c.say(writeV2)
		said := strings.Join(c.heard(), "\n")
		require.Equal(t, v.Outcome == host.Allowed, strings.Contains(said, `"state":"acquired"`), "%+v: %s", v, said)
		require.Equal(t, v.Outcome != host.Allowed, isRefusal(said), "%+v: %s", v, said)
		if v.Outcome == host.Allowed {
			let++
		}
		_, last := statsOf(n, "n")
		require.Equal(t, let, last, "ids are drawn for what is allowed only")
		c.say(`{"op":"bye","id":2}`)
		c.drop()
	})
	require.Equal(t, uint64(4), let)
}

// isRefusal says whether a message of version 2 is one.
func isRefusal(said string) bool {
	return strings.Contains(said, `"error":`) || strings.Contains(said, `"state":"denied"`)
}

// gains are all requests of version 2, and whether plugins are to be asked about them. What they aren't asked
// about gives nobody a lock or a look at what is another's. The client has the lock 1 when it sends them.
var gains = map[string]bool{
	helloV2: false, // they are asked who it is
	`{"op":"lock","id":2,"resources":[{"type":"write","path":["b"]}]}`:              true,
	`{"op":"release","id":2,"lock":1}`:                                              false,
	`{"op":"renew","id":2}`:                                                         false,
	`{"op":"upgrade","id":2,"lock":1}`:                                              true,
	`{"op":"downgrade","id":2,"lock":1,"resources":[{"type":"read","path":["a"]}]}`: false,
	`{"op":"locks","id":2}`:                                                         false, // one's own
	`{"op":"inspect","id":2,"path":[]}`:                                             true,
	`{"op":"watch","id":2,"path":[]}`:                                               true,
	`{"op":"unwatch","id":2,"watch":1}`:                                             false,
	`{"op":"bye","id":2}`:                                                           false,
	`{"op":"force-release","id":2}`:                                                 false, // there is no such thing
	`{"op":"lock","id":2,"resources":[]}`:                                           false,
}

// TestRequestsOfV2ThatGainSomethingAreJudged, or refused before that. A new one needs a line above.
func TestRequestsOfV2ThatGainSomethingAreJudged(t *testing.T) {
	for op := wire.V2Hello; op.String() != "bye"; op++ {
		require.True(t, strings.Contains(fmt.Sprint(gains), `"op":"`+op.String()+`"`), "%s: who gains what by it?", op)
	}
	for request, gain := range gains {
		verdict := allowed
		j := &fakeJudge{active: true, request: func(*host.Request) host.Verdict { return verdict }}
		n := j.serve(settingsV2())
		c := n.connectV2(t)
		c.say(helloV2)
		c.say(lockOn(1, "read", "a", ""))
		require.Contains(t, c.heard()[1], `"acquired"`)
		verdict = host.Verdict{}
		c.say(request)
		said := strings.Join(c.heard(), "\n")
		if gain {
			require.True(t, isRefusal(said), "%s: %s", request, said)
			require.True(t, j.requests == 2 || strings.Contains(said, `"error":"malformed"`), "%s: %s", request, said)
		} else {
			require.Equal(t, 1, j.requests, "%s: %s", request, said)
		}
	}
}

// A way is a call that may stand in one function only, behind another call there that asks plugins.
type way struct{ call, in, behind string }

// ways are all those on which requests get into an engine, or clients get at a session.
var ways = []way{
	{"engine.Lock", "lockV1", ""},
	{"engine.Lock", "guard", ""}, // the server's own
	{"space.LockForeign", "lockV1", ""},
	{"ns.lockV1", "enqueue", ""},
	{"w.enqueue", "lock", "w.authorize"},
	{"space.Do", "place", ""},
	{"w.place", "do", "w.refuseV2"},
	{"space.Open", "begin", ""},
	{"w.begin", "enter", ""},
	{"space.Resume", "resume", ""},
	{"w.resume", "enter", ""},
	{"w.enter", "hello", "w.identify"},
	{"w.park", "enter", ""},
	{"w.enter", "unpark", ""}, // what was parked
	{"connections.take", "Open", "w.authenticate"},
	{"connections.take", "openV2", ""}, // nothing can be done without a session, which begins with a hello
}

// TestNoWayGoesAroundPlugins reads the source. Whoever adds a way finds it here.
func TestNoWayGoesAroundPlugins(t *testing.T) {
	gone := map[way]bool{}
	eachFunction(t, func(name string, calls []string) {
		for k, call := range calls {
			known := slices.ContainsFunc(ways, func(w way) bool { return w.call == call })
			at := slices.IndexFunc(ways, func(w way) bool { return w.call == call && w.in == name })
			if !known {
				continue
			}
			require.GreaterOrEqual(t, at, 0, "%s calls %s, and doesn't ask plugins", name, call)
			require.True(t, ways[at].behind == "" || slices.Contains(calls[:k], ways[at].behind), "%s calls %s before %s", name, call, ways[at].behind)
			gone[ways[at]] = true
		}
	})
	require.Len(t, gone, len(ways), "some are no longer there: %v", gone)
}

// eachFunction gives the calls of each of the package's functions in their order, as "x.f" or "f".
func eachFunction(t *testing.T, do func(name string, calls []string)) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				do(f.Name.Name, callsIn(f))
			}
		}
	}
}

func callsIn(f *ast.FuncDecl) (calls []string) {
	ast.Inspect(f, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			calls = append(calls, callee(call.Fun))
		}
		return true
	})
	return calls
}

// callee is the called function's name, behind what it is of.
func callee(fun ast.Expr) string {
	s, ok := fun.(*ast.SelectorExpr)
	if !ok {
		if id, ok := fun.(*ast.Ident); ok {
			return id.Name
		}
		return ""
	}
	switch x := s.X.(type) {
	case *ast.Ident:
		return x.Name + "." + s.Sel.Name
	case *ast.SelectorExpr:
		return x.Sel.Name + "." + s.Sel.Name
	}
	return s.Sel.Name
}
