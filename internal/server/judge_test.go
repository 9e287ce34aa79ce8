package server

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
	"github.com/locktopus-project/locktopus/v2/wsnet"
)

func TestClientThatPluginsDoNotLetInGetsItsAnswerAndLeavesNothing(t *testing.T) {
	reason := []byte("no such token")
	for _, tt := range []struct {
		verdict host.Verdict
		status  int
		body    string
	}{
		{host.Verdict{Plugin: "jwt", Reason: reason}, 401, `denied by plugin "jwt": no such token`},
		{host.Verdict{Plugin: "jwt", Code: 9, Reason: reason}, 401, `denied by plugin "jwt" (code 9): no such token`},
		{host.Verdict{Plugin: "jwt", Code: 9}, 401, `denied by plugin "jwt" (code 9)`},
		{host.Verdict{Plugin: "jwt"}, 401, `denied by plugin "jwt"`},
		{host.Verdict{}, 401, `denied by the server's plugins`},
		{host.Verdict{Outcome: host.Allowed + 1, Plugin: "jwt"}, 401, `denied by plugin "jwt"`},
		{host.Verdict{Plugin: "jwt", Code: host.CodeForbidden, Reason: reason}, 403, `denied by plugin "jwt" (code 3): no such token`},
		{host.Verdict{Outcome: host.Failed, Plugin: "jwt", Code: host.CodeForbidden, Reason: []byte("it took too long")}, 503, `plugin "jwt" could not judge this client: it took too long; try again later`},
		{host.Verdict{Outcome: host.Failed, Plugin: "jwt"}, 503, `plugin "jwt" could not judge this client; try again later`},
		{host.Verdict{Outcome: host.TooLong, Plugin: "jwt"}, 431, `the request is longer than plugin "jwt" can be asked about: send fewer or shorter headers and parameters`},
	} {
		j := &fakeJudge{active: true, connect: func(*host.Connect) (host.Identity, host.Verdict) {
			return host.Identity{Authenticated: true, Principal: "alice", TTL: time.Hour}, tt.verdict
		}}
		n := j.serve(testSettings())
		_, refused := n.connect("namespace=n")
		require.NotNil(t, refused, "%+v", tt.verdict)
		require.Equal(t, tt.status, refused.Status, "%+v", tt.verdict)
		require.Equal(t, tt.body, refused.Body)
		require.Equal(t, tt.status == 401, refused.Challenge != "", "a 401 has a challenge, and nothing else")
		require.Zero(t, n.s.spaces.count())
		require.Zero(t, n.s.connections.live)
		require.Zero(t, n.s.open.Load())
		require.Zero(t, n.s.expiries.count())
	}
}

// Asking a plugin costs more than all else that a connection is asked for.
func TestPluginsAreAskedOnlyAboutClientsThatMayElseConnect(t *testing.T) {
	set := testSettings()
	set.Origins, set.Abandoned = []string{"https://good.example"}, 1
	j := &fakeJudge{active: true}
	n := j.serve(set)
	request := func(path, query, origin string) *wsnet.Request {
		return &wsnet.Request{Path: path, RawQuery: query, Header: http.Header{"Origin": {origin}}, Remote: netip.MustParseAddrPort("127.0.0.1:1")}
	}
	for status, r := range map[int]*wsnet.Request{
		404: request("/v3", "namespace=n", "https://good.example"),
		403: request("/v1", "namespace=n", "https://bad.example"),
		400: request("/v1", "namespace=", "https://good.example"),
	} {
		_, refused := n.ask(r)
		require.Equal(t, status, refused.Status)
	}
	good := request("/v1", "namespace=n&abandon-timeout-ms=1", "https://good.example")
	for range 2 {
		c, refused := n.ask(good)
		require.Nil(t, refused)
		c.say(readA)
		c.drop()
	}
	require.Equal(t, 2, j.connects)
	_, refused := n.ask(good)
	require.Equal(t, 503, refused.Status, "too many locks left behind")
	n.s.abandoned.handOver(tomorrow)
	n.s.stage.Store(draining)
	_, refused = n.ask(good)
	require.Equal(t, 503, refused.Status, "draining")
	require.Equal(t, 2, j.connects)
}

func TestRequestThatPluginsRefuseEndsItsConnectionAndLeavesNothing(t *testing.T) {
	for _, tt := range refusals {
		j := &fakeJudge{active: true, request: func(*host.Request) host.Verdict { return tt.verdict }}
		n := j.serve(testSettings())
		c := n.mustConnect(t, "namespace=n")
		c.say(writeA)
		require.Equal(t, []string{"communication error: " + tt.text}, c.heard())
		require.Equal(t, tt.code, c.closing)
		es, last := statsOf(n, "n")
		require.Equal(t, engine.Stats{Capacity: es.Capacity}, es, "%+v", tt.verdict)
		require.Zero(t, last, "no id is drawn")
		wanted := uint64(0)
		if tt.verdict.Outcome == host.TooLong {
			wanted = 1 // it is the client who made it so long
		}
		require.Equal(t, wanted, n.s.faults.Load(), "%+v", tt.verdict)
		c.drop()
		require.Zero(t, n.s.spaces.count())
		require.Zero(t, n.s.memory.Load())
	}
}

// statsOf is what the engine of a namespace says of itself.
func statsOf(n *fakeNet, name string) (engine.Stats, uint64) {
	ns, _ := n.s.spaces.find(name)
	defer n.s.spaces.leave(ns)
	return ns.engine.Stats(), ns.engine.Last()
}

// Whatever clients say, in whatever order: while plugins deny everything, no id is ever drawn.
func TestNothingGetsAroundPluginsThatDenyEverything(t *testing.T) {
	says := []string{
		writeA, readA, release, `{"action":"lock","resources":[]}`, `{"action":"lock"}`, "?", ``,
		`{"resources":[{"path":["a","\u0062"],"type":"W"},{"x":1,"path":[],"type":"r"}],"action":"lock"}`,
	}
	const tokens = 3 // an id, a look, an expiry
	j := &fakeJudge{active: true, request: func(*host.Request) host.Verdict { return host.Verdict{} }}
	n := j.serve(testSettings())
	n.mustConnect(t, "namespace=n") // so that the namespace stays
	eachScript(len(says)+tokens+1, make([]int, 4), 0, func(script []int) {
		c := n.mustConnect(t, "namespace=n")
		for _, op := range script {
			switch {
			case op >= len(says):
				c.w.Notify(c, [tokens + 1]uint64{1, tokenLook, tokenExpired, 2}[op-len(says)])
			case c.closing == 0:
				c.say(says[op])
			}
		}
		c.drop()
	})
	es, last := statsOf(n, "n")
	require.Zero(t, last)
	require.Zero(t, es.Nodes)
	require.Positive(t, j.requests)
}

// What plugins are asked of a request is the whole request, in its order, and who made it.
func TestPluginsAreAskedAboutTheWholeRequest(t *testing.T) {
	who := host.Identity{Authenticated: true, Principal: "alice", Context: "\x00\xff", TTL: time.Hour}
	var got host.Request
	j := &fakeJudge{
		active:  true,
		connect: func(*host.Connect) (host.Identity, host.Verdict) { return who, allowed },
		request: func(q *host.Request) host.Verdict { got = *q; return allowed },
	}
	n := j.serve(testSettings())
	c := n.mustConnect(t, "namespace=team%20n")
	for range 2 { // the second time in memory that was used
		c.say(`{"action":"lock","resources":[{"type":"write","path":["b","a"]},{"type":"read","path":[]},{"type":"read","path":["a",""]},{"type":"write","path":["b","a"]}]}`)
		require.Equal(t, host.Request{
			Namespace: "team n", Identity: &who, Remote: "127.0.0.1:1", Operation: host.Lock,
			Resources: []host.Resource{
				{Mode: host.Write, Path: [][]byte{[]byte("b"), []byte("a")}},
				{Mode: host.Read, Path: [][]byte{}},
				{Mode: host.Read, Path: [][]byte{[]byte("a"), {}}},
				{Mode: host.Write, Path: [][]byte{[]byte("b"), []byte("a")}},
			},
		}, got)
		c.say(release)
	}
	require.Equal(t, 2, j.requests, "a release is nobody's to judge")
}

// The engine and the log get the paths that plugins say are meant, each in its place.
func TestPathsThatPluginsPutInPlaceAreLocked(t *testing.T) {
	var log bytes.Buffer
	set := testSettings()
	set.LogLocks = true
	moved := map[string]string{"A": "a", "B": "b"}
	j := &fakeJudge{active: true, request: func(q *host.Request) host.Verdict {
		for i, r := range q.Resources {
			if to, ok := moved[string(r.Path[0])]; ok {
				q.Resources[i].Path = [][]byte{[]byte(to), []byte("deep")}
				q.Resources[i].Mode = host.Read // not for plugins to change
			}
		}
		return allowed
	}}
	n := j.serveOf(Options{Settings: set, Log: slog.New(slog.NewJSONHandler(&log, nil))})
	holder, other, free := n.mustConnect(t, "namespace=n"), n.mustConnect(t, "namespace=n"), n.mustConnect(t, "namespace=n")
	holder.say(`{"action":"lock","resources":[{"type":"write","path":["A"]},{"type":"read","path":["x"]},{"type":"read","path":["B"]}]}`)
	require.Equal(t, []string{answer(1, "lock", "acquired")}, holder.heard())
	require.Contains(t, log.String(), `"resources":"write [\"a\",\"deep\"], read [\"x\"], read [\"b\",\"deep\"]"`)
	other.say(readA)
	require.Equal(t, []string{answer(2, "lock", "enqueued")}, other.heard(), "a/deep is written, whoever calls it A")
	free.say(`{"action":"lock","resources":[{"type":"read","path":["b","deep"]}]}`)
	require.Equal(t, []string{answer(3, "lock", "acquired")}, free.heard())
}

// A client must be able to tell its own paths from those that plugins made of them.
func TestLimitsOfTheEngineHoldForThePathsThatPluginsPutInPlace(t *testing.T) {
	set := testSettings()
	set.Engine.PathSegments, set.Engine.SegmentBytes = 2, 3
	segments := func(names ...string) (path [][]byte) {
		for _, s := range names {
			path = append(path, []byte(s))
		}
		return path
	}
	var path [][]byte
	j := &fakeJudge{active: true, request: func(q *host.Request) host.Verdict {
		q.Resources[1].Path = path
		return allowed
	}}
	n := j.serve(set)
	const message = `{"action":"lock","resources":[{"type":"read","path":["a"]},{"type":"read","path":["a","b","c"]}]}`
	for _, tt := range []struct {
		path [][]byte
		says string
	}{
		{segments("x", "yyy"), ""},
		{segments("x", "y", "z"), "communication error: resources[1].path has 3 segments, at most 2 are allowed (limits.path_segments): that is the path which the server's plugins have put in the place of the one sent"},
		{segments("x", "yyyy"), "communication error: resources[1].path[1] has 4 bytes, at most 3 are allowed (limits.segment_bytes): that is the path which the server's plugins have put in the place of the one sent"},
	} {
		path = tt.path
		c := n.mustConnect(t, "namespace=n")
		c.say(message)
		if tt.says == "" {
			require.Zero(t, c.closing, "at the limit: %q", c.sent)
			continue
		}
		require.Equal(t, []string{tt.says}, c.heard())
		require.EqualValues(t, codeFault, c.closing)
	}
	j.request = nil // the client's own
	c := n.mustConnect(t, "namespace=n")
	c.say(message)
	require.Equal(t, []string{"communication error: resources[1].path has 3 segments, at most 2 are allowed (limits.path_segments)"}, c.heard())
}

func TestV2SaysWhenALimitIsPassedByAPathThatPluginsPutInPlace(t *testing.T) {
	set := testSettings()
	set.Engine.PathSegments = 2
	j := &fakeJudge{active: true, request: func(q *host.Request) host.Verdict {
		q.Resources[0].Path = [][]byte{[]byte("x"), []byte("y"), []byte("z")}
		return allowed
	}}
	n := j.serve(set)
	c := n.connectV2(t)
	c.greet(t, helloV2)
	c.say(lockV2(1, ""))
	require.Equal(t, []string{`{"id":1,"error":"limit","message":"resources[0].path has 3 segments, at most 2 are allowed (limits.path_segments): ` +
		`that is the path which the server's plugins have put in the place of the one sent"}`}, c.heard())
	j.request = nil // the client's own
	c.say(`{"op":"lock","id":2,"resources":[{"type":"write","path":["a","b","c"]}]}`)
	require.Equal(t, []string{`{"id":2,"error":"limit","message":"resources[0].path has 3 segments, at most 2 are allowed (limits.path_segments)"}`}, c.heard())
}

// A client that connected while there were no plugins was never asked who it is.
func TestConnectionOlderThanThePluginsGetsNoLock(t *testing.T) {
	for _, tt := range []struct{ atConnect, atLock bool }{{false, false}, {false, true}, {true, false}, {true, true}} {
		j := &fakeJudge{active: tt.atConnect}
		n := j.serve(testSettings())
		c := n.mustConnect(t, "namespace=n")
		c.say(writeA)
		require.Equal(t, []string{answer(1, "lock", "acquired")}, c.heard())
		j.active = tt.atLock
		c.say(release)
		require.Equal(t, []string{answer(1, "release", "ready")}, c.heard(), "what it holds it may give up")
		j.requests = 0
		c.say(writeA)
		if tt.atLock && !tt.atConnect {
			require.Equal(t, []string{"communication error: this connection is older than the server's plugins: connect again"}, c.heard())
			require.EqualValues(t, codeTryLater, c.closing)
			require.Zero(t, j.requests)
			require.Zero(t, n.s.faults.Load())
			continue
		}
		require.Equal(t, []string{answer(2, "lock", "acquired")}, c.heard(), "%+v", tt)
		require.Equal(t, tt.atLock, j.requests == 1)
	}
}

// What is wrong anyway isn't for plugins to judge: nor is anything while the server goes down.
func TestPluginsAreAskedOnlyAboutRequestsThatMayElseBeMade(t *testing.T) {
	j := &fakeJudge{active: true}
	n := j.serve(testSettings())
	for _, message := range []string{`{"action":"lock"}`, `{"action":"lock","resources":[]}`, release, "?"} {
		n.mustConnect(t, "namespace=n").say(message)
	}
	require.Zero(t, j.requests)
	c := n.mustConnect(t, "namespace=n")
	c.say(writeA)
	c.say(writeA)
	require.Equal(t, 1, j.requests)
	c = n.mustConnect(t, "namespace=n")
	n.s.stage.Store(draining)
	c.say(writeA)
	require.Equal(t, []string{"communication error: the server is shutting down"}, c.heard())
	require.Equal(t, 1, j.requests)
}

// A reason is a stranger's text. In an answer, a frame and a log it stays one line.
func TestReasonOfAPluginIsMadeOneLine(t *testing.T) {
	for reason, want := range map[string]string{
		"plain":                            ": plain",
		"grüße, 世界 🙂":                      ": grüße, 世界 🙂",
		"a\r\nWWW-Authenticate: Basic\r\n": ": a WWW-Authenticate: Basic",
		"a\x00b\x1b[31mc\x7f":              ": a b [31mc",
		"\u0085a\u2028b\u2029c":            ": a b c",
		"a\u202eb\u2066c\ufeffd":           ": a b c d",
		" \n\t ":                           "",
		"a\xffb":                           ": a\ufffdb",
		`"quoted" \ and {"json":1}`:        `: "quoted" \ and {"json":1}`,
		strings.Repeat("x", 1000):          ": " + strings.Repeat("x", 1000),
	} {
		var log bytes.Buffer
		set := testSettings()
		set.LogClients = true
		j := &fakeJudge{active: true}
		n := j.serveOf(Options{Settings: set, Log: slog.New(slog.NewJSONHandler(&log, nil))})
		v := host.Verdict{Plugin: "p", Reason: []byte(reason)}
		c := n.mustConnect(t, "namespace=n")
		j.request = func(*host.Request) host.Verdict { return v }
		c.say(writeA)
		full := `denied by plugin "p"` + want
		if len(reason) < 1000 {
			require.Equal(t, []string{"communication error: " + full}, c.heard())
		} else {
			require.Len(t, c.heard()[0], 512)
		}
		j.connect = func(*host.Connect) (host.Identity, host.Verdict) { return host.Identity{}, v }
		_, refused := n.connect("namespace=n")
		require.Equal(t, full, refused.Body)
		require.Equal(t, 3, strings.Count(log.String(), "\n"), "three lines: connected, refused, refused")
	}
}

// Queries, headers and contexts may hold credentials.
func TestCredentialsStayOutOfTheLog(t *testing.T) {
	var log bytes.Buffer
	set := testSettings()
	set.LogClients, set.LogLocks = true, true
	j := &fakeJudge{active: true, connect: func(*host.Connect) (host.Identity, host.Verdict) {
		return host.Identity{Authenticated: true, Principal: "alice", Context: "secret-context", TTL: time.Hour}, allowed
	}}
	n := j.serveOf(Options{Settings: set, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	r := func() *wsnet.Request {
		return &wsnet.Request{Path: "/v1", RawQuery: "namespace=n&token=secret-query", Header: http.Header{"Authorization": {"Bearer secret-header"}}}
	}
	c, refused := n.ask(r())
	require.Nil(t, refused)
	c.say(writeA)
	j.request = func(*host.Request) host.Verdict { return host.Verdict{} }
	c.say(release)
	c.say(writeA)
	c.drop()
	c, _ = n.ask(r())
	c.w.Notify(c, tokenExpired)
	c.drop()
	for _, outcome := range []host.Outcome{host.Denied, host.Failed, host.TooLong} {
		j.connect = func(*host.Connect) (host.Identity, host.Verdict) {
			return host.Identity{}, host.Verdict{Outcome: outcome}
		}
		_, refused = n.ask(r())
		require.NotContains(t, refused.Body, "secret")
	}
	require.Contains(t, log.String(), "principal=alice")
	require.Contains(t, log.String(), "denied by the server's plugins")
	require.NotContains(t, log.String(), "secret")
}

func TestStatusPageSaysWhatPluginsDid(t *testing.T) {
	stats := []host.Stats{
		{Name: "jwt", Calls: 12, Denied: 3, Traps: 4, Overruns: 5, Breaches: 6, Missing: 7, Replaced: 8},
		{Name: "acl"},
	}
	j := &fakeJudge{active: true}
	n := j.serveOf(Options{Settings: testSettings(), Plugins: func() []host.Stats { return stats }})
	page := func() string {
		rec := httptest.NewRecorder()
		n.s.pages().ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
		require.Equal(t, 200, rec.Code)
		return rec.Body.String()
	}
	for i, outcome := range []host.Outcome{host.Denied, host.Failed, host.Denied} {
		c := n.mustConnect(t, "namespace=n")
		j.request = func(*host.Request) host.Verdict { return host.Verdict{Outcome: outcome} }
		c.say(writeA)
		if i == 0 {
			continue
		}
		j.connect = func(*host.Connect) (host.Identity, host.Verdict) {
			return host.Identity{}, host.Verdict{Outcome: outcome}
		}
		_, refused := n.connect("namespace=n")
		require.NotNil(t, refused)
		j.connect = func(*host.Connect) (host.Identity, host.Verdict) { return host.Identity{TTL: time.Hour}, allowed }
	}
	c := n.mustConnect(t, "namespace=n")
	c.w.Notify(c, tokenExpired)
	for _, line := range []string{
		"denied       1 connections, 2 requests",
		"not judged   1 connections, 1 requests",
		"expired      1 authentications",
		"plugin       jwt: 12 calls, 3 denied, 4 traps, 5 overruns, 6 breaches, 7 missing, 8 replaced",
		"plugin       acl: 0 calls, 0 denied, 0 traps, 0 overruns, 0 breaches, 0 missing, 0 replaced",
	} {
		require.Contains(t, page(), "\n"+line+"\n")
	}
	require.Contains(t, page(), "faults       0 of clients")
	stats = nil
	require.NotContains(t, page(), "plugin")
}

// A connection that is refused while the server drains goes like any other: nothing waits for it.
func TestRefusedConnectionDoesNotHoldUpShutdown(t *testing.T) {
	j := &fakeJudge{active: true, request: func(*host.Request) host.Verdict { return host.Verdict{} }}
	n := j.serve(testSettings())
	c := n.mustConnect(t, "namespace=n")
	c.say(writeA)
	c.drop()
	require.NoError(t, n.s.Shutdown(t.Context()))
}
