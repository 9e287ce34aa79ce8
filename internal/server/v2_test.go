package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/plugins/host"
	"github.com/locktopus-project/locktopus/v2/wsnet"
)

func v2Request(query string) *wsnet.Request {
	return &wsnet.Request{
		Path: "/v2", RawQuery: query, Header: http.Header{"X-Who": {"me"}}, Remote: netip.MustParseAddrPort("127.0.0.1:1"),
		Protocols: []string{"locktopus.v2"},
	}
}

// welcome is what a client must keep of one.
type welcomeV2 struct {
	Op, Session, Secret, Error string
	LastID                     uint64 `json:"last_id"`
}

// greet says hello and returns the welcome.
func (c *fakeConn) greet(t testing.TB, hello string) (w welcomeV2) {
	t.Helper()
	c.say(hello)
	require.NotEmpty(t, c.sent)
	require.NoError(t, json.Unmarshal([]byte(c.sent[0]), &w))
	require.Equal(t, "welcome", w.Op, c.sent[0])
	c.sent = c.sent[1:]
	return w
}

func (w welcomeV2) resume(event int) string {
	return fmt.Sprintf(`{"op":"hello","resume":{"session":%q,"secret":%q,"event":%d}}`, w.Session, w.Secret, event)
}

func lockV2(id int, more string) string {
	return fmt.Sprintf(`{"op":"lock","id":%d,"resources":[{"type":"write","path":["a"]}]%s}`, id, more)
}

func TestV2LocksGrantAcrossConnections(t *testing.T) {
	n := newFake(testSettings(), nil)
	a, b := n.connectV2(t), n.connectV2(t)
	a.greet(t, helloV2)
	b.greet(t, helloV2)
	a.say(lockV2(1, ""))
	require.Equal(t, []string{`{"id":1,"state":"acquired","token":"1"}`}, a.heard())
	b.say(lockV2(5, ""))
	require.Equal(t, []string{`{"id":5,"state":"enqueued","ahead":1}`}, b.heard())
	a.say(`{"op":"release","id":2,"lock":1}`)
	require.Equal(t, []string{`{"id":2,"lock":1,"state":"released"}`}, a.heard())
	require.Empty(t, b.heard(), "told on its own loop")
	n.deliver(0)
	require.Equal(t, []string{`{"event":1,"lock":5,"state":"acquired","token":"2"}`}, b.heard())
	b.say(`{"op":"bye","id":6}`)
	require.Equal(t, []string{`{"id":6,"state":"bye"}`}, b.heard())
	require.Equal(t, uint16(1000), b.closing)
}

func TestV1AndV2RespectEachOther(t *testing.T) {
	n := newFake(testSettings(), nil)
	old, c := n.mustConnect(t, "namespace=n"), n.connectV2(t)
	old.say(writeA)
	require.Equal(t, []string{answer(1, "lock", "acquired")}, old.heard())
	c.greet(t, helloV2)
	c.say(lockV2(1, ""))
	require.Contains(t, c.heard()[0], `"enqueued"`)
	old.say(release)
	old.say(writeA)
	require.Equal(t, []string{answer(1, "release", "ready"), answer(3, "lock", "enqueued")}, old.heard())
	n.deliver(0)
	require.Equal(t, []string{`{"event":1,"lock":1,"state":"acquired","token":"2"}`}, c.heard())
	c.say(`{"op":"release","id":2,"lock":1}`)
	n.deliver(0)
	require.Equal(t, []string{answer(3, "lock", "acquired")}, old.heard())
	old.drop()
	c.drop()
}

func TestV2ResumeKeepsLocksAndTellsWhatWasMissed(t *testing.T) {
	n := newFake(testSettings(), nil)
	a, b := n.connectV2(t), n.connectV2(t)
	a.greet(t, helloV2)
	w := b.greet(t, helloV2)
	a.say(lockV2(1, ""))
	b.say(lockV2(1, ""))
	b.drop()
	a.say(`{"op":"release","id":2,"lock":1}`)
	n.deliver(0)
	again := n.connectV2(t)
	w2 := again.greet(t, w.resume(0))
	require.Equal(t, w.Session, w2.Session)
	require.NotEqual(t, w.Secret, w2.Secret)
	require.Equal(t, []string{`{"event":1,"lock":1,"state":"acquired","token":"2"}`}, again.heard())
	again.say(lockV2(1, ""))
	require.Equal(t, []string{`{"id":1,"state":"acquired","token":"2"}`}, again.heard(), "a retry has no effect")

	other := n.connectV2(t)
	other.greet(t, w2.resume(1))
	n.deliver(0)
	require.Contains(t, again.heard()[0], `"error":"taken_over"`)
	require.Equal(t, uint16(3001), again.closing)
	for range 2 {
		third := n.connectV2(t)
		third.say(w2.resume(1)) // the secret before the last one: still good until the next is heard
		require.Contains(t, third.heard()[0], `"op":"welcome"`)
	}
}

func TestV2FaultsEndTheConnection(t *testing.T) {
	for _, c := range []struct {
		name     string
		messages []string
		want     string
		code     uint16
	}{
		{"no hello", []string{lockV2(1, "")}, `{"error":"malformed","message":"op: the first message is a hello, such as {\"op\":\"hello\"}"}`, 3000},
		{"two hellos", []string{helloV2, helloV2}, `{"error":"malformed","message":"op: this connection has said hello already"}`, 3000},
		{"no JSON", []string{helloV2, `{`}, `malformed`, 3000},
		{"unknown", []string{helloV2, `{"op":"fly","id":1}`}, `malformed`, 3000},
		{"no sessions", []string{
			`{"op":"hello","resume":{"session":"a","secret":"b"}}`, `{"op":"hello","resume":{"session":"a","secret":"b"}}`,
			`{"op":"hello","resume":{"session":"a","secret":"b"}}`,
		}, `begin a new one","epoch":"`, 3000},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newFake(testSettings(), nil)
			conn := n.connectV2(t)
			for i, m := range c.messages {
				require.Zero(t, conn.closing, i)
				conn.say(m)
			}
			require.Contains(t, conn.sent[len(conn.sent)-1], c.want)
			require.Equal(t, c.code, conn.closing)
			conn.say(lockV2(1, ""))
			require.NotContains(t, conn.sent[len(conn.sent)-1], `"id"`, "nothing is answered any more")
		})
	}
}

func TestV2RefusesUpgradesOfOthers(t *testing.T) {
	n := newFake(testSettings(), nil)
	_, refused := n.ask(v2Request(""))
	require.Equal(t, 400, refused.Status)
	r := v2Request("namespace=n")
	r.Protocols = []string{"mqtt"}
	_, refused = n.ask(r)
	require.Equal(t, 400, refused.Status)
	require.Contains(t, refused.Body, `the subprotocol here is "locktopus.v2"`)
	r.Protocols = nil
	_, refused = n.ask(r)
	require.Nil(t, refused)
}

// TestV2SessionsEndInTime: silence, no hello, and a namespace that nobody uses any more.
func TestV2SessionsEndInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFake(testSettings(), nil)
		n.run()
		defer n.s.Close()
		a, b, late := n.connectV2(t), n.connectV2(t), n.connectV2(t)
		a.greet(t, `{"op":"hello","ttl_ms":2000}`)
		b.greet(t, `{"op":"hello","ttl_ms":60000}`)
		a.say(lockV2(1, ""))
		b.say(lockV2(1, ""))
		a.heard()
		b.heard()
		pass(1999 * time.Millisecond)
		a.say(`{"op":"renew","id":2}`)
		require.Equal(t, []string{`{"id":2,"state":"renewed","ttl_ms":2000}`}, a.heard())
		pass(1999 * time.Millisecond)
		n.deliver(0)
		require.Empty(t, b.heard())
		pass(2 * time.Millisecond)
		n.deliver(0)
		require.Equal(t, []string{`{"event":1,"lock":1,"state":"expired"}`, `{"error":"expired"}`}, a.heard())
		require.Equal(t, uint16(3002), a.closing)
		require.Equal(t, []string{`{"event":1,"lock":1,"state":"acquired","token":"2"}`}, b.heard())
		pass(2 * time.Second)
		n.deliver(0)
		require.Contains(t, late.heard()[0], `"error":"no_hello"`)
		require.Equal(t, uint16(3005), late.closing)
		late.drop()
		a.drop()
		b.drop()
		require.Equal(t, 1, n.s.spaces.count(), "b's session lives")
		pass(61 * time.Second)
		require.Zero(t, n.s.spaces.count())
		require.Zero(t, n.s.living.Load())
		require.Zero(t, n.s.memory.Load())
	})
}

func TestV2SessionsHaveALimit(t *testing.T) {
	set := testSettings()
	set.SessionsMax = 2
	n := newFake(set, nil)
	a := n.connectV2(t)
	a.greet(t, helloV2)
	n.connectV2(t).greet(t, helloV2)
	c := n.connectV2(t)
	c.say(helloV2)
	require.Contains(t, c.heard()[0], "limits.sessions)")
	require.Equal(t, uint16(1013), c.closing, "it isn't the client's fault")
	a.say(`{"op":"bye","id":1}`)
	n.connectV2(t).greet(t, helloV2)
}

// TestV2SessionsThatBeginTogetherHaveALimit: while one begins, for the last place there is, another loop is asked for one.
func TestV2SessionsThatBeginTogetherHaveALimit(t *testing.T) {
	set := testSettings()
	set.SessionsMax = 1
	n := newFake(set, nil)
	a, refused := n.ask(v2Request("namespace=n"))
	require.Nil(t, refused)
	elsewhere := v2Request("namespace=elsewhere")
	b, refused := n.ask(elsewhere)
	require.Nil(t, refused)
	ns, _ := n.s.spaces.find("n")
	ns.mu.Lock()
	greeted := make(chan struct{})
	go func() {
		a.say(helloV2)
		close(greeted)
	}()
	for n.s.homes.from(originOf(elsewhere.Remote.Addr())) == 0 {
		runtime.Gosched()
	}
	b.say(helloV2)
	ns.mu.Unlock()
	<-greeted
	require.Contains(t, a.heard()[0], "welcome")
	require.Contains(t, b.heard()[0], "limits.sessions)")
	require.EqualValues(t, 1, n.s.living.Load())
}

// TestV2SessionsOfOneAddressHaveALimit: a session lives on without a connection for as long as its client has asked
// for, so without a limit one address could begin so many that nobody else could for an hour.
func TestV2SessionsOfOneAddressHaveALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := testSettings()
		set.SessionsFrom = 2
		n := newFake(set, nil)
		n.run()
		defer n.s.Close()
		from := func(address string) *fakeConn {
			r := v2Request("namespace=n")
			r.Remote = netip.MustParseAddrPort(address)
			c, refused := n.ask(r)
			require.Nil(t, refused)
			return c
		}
		gone, stays := from("192.0.2.1:1"), from("192.0.2.1:2")
		gone.greet(t, `{"op":"hello","ttl_ms":5000}`)
		gone.drop()
		stays.greet(t, `{"op":"hello","ttl_ms":60000}`)
		third := from("192.0.2.1:3")
		third.say(helloV2)
		require.Contains(t, third.heard()[0], `{"error":"try_later","message":"this address has as many sessions as it may have (limits.sessions_per_address)`)
		require.Equal(t, uint16(1013), third.closing)
		from("192.0.2.2:1").greet(t, helloV2)
		pass(5 * time.Second)
		from("192.0.2.1:4").greet(t, `{"op":"hello","ttl_ms":5000}`)
		full := from("192.0.2.1:5")
		full.say(helloV2)
		require.Equal(t, uint16(1013), full.closing)
		stays.say(`{"op":"bye","id":1}`)
		from("192.0.2.1:6").greet(t, `{"op":"hello","ttl_ms":5000}`)
		pass(time.Minute)
		require.Zero(t, n.s.living.Load())
		require.Empty(t, n.s.homes.counts)
	})
}

func TestV2PluginsSeeCredentialsAndRewritePaths(t *testing.T) {
	var seen []host.Field
	principal := "alice"
	judge := &fakeJudge{active: true,
		connect: func(q *host.Connect) (host.Identity, host.Verdict) {
			seen = append([]host.Field(nil), q.Fields...)
			return host.Identity{Authenticated: true, Principal: principal}, allowed
		},
		request: func(q *host.Request) host.Verdict {
			require.Equal(t, principal, q.Identity.Principal)
			q.Resources[0].Path = [][]byte{[]byte("same")}
			return allowed
		},
	}
	n := newFake(testSettings(), nil)
	n.s.newJudge = func() Judge { return judge }
	a, refused := n.ask(v2Request("namespace=n"))
	require.Nil(t, refused)
	b := n.connectV2(t)
	w := a.greet(t, `{"op":"hello","credentials":{"z":"2","token":"abc"}}`)
	require.Contains(t, seen, host.Field{Kind: host.Header, Name: "x-who", Value: "me"})
	require.Equal(t, []host.Field{{Kind: host.Credential, Name: "token", Value: "abc"}, {Kind: host.Credential, Name: "z", Value: "2"}}, seen[len(seen)-2:])
	b.greet(t, helloV2)
	a.say(lockV2(1, ""))
	b.say(`{"op":"lock","id":1,"resources":[{"type":"write","path":["other"]}]}`)
	require.Contains(t, b.heard()[0], "enqueued")
	principal = "mallory"
	stranger := n.connectV2(t)
	stranger.say(w.resume(0))
	require.Contains(t, stranger.heard()[0], `"error":"denied"`)
	require.Equal(t, uint16(3004), stranger.closing)
}

func TestV2Drains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFake(testSettings(), nil)
		n.run()
		idle, busy := n.connectV2(t), n.connectV2(t)
		idle.greet(t, helloV2)
		busy.greet(t, helloV2)
		busy.say(lockV2(1, ""))
		busy.heard()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		done := make(chan error)
		go func() { done <- n.s.Shutdown(ctx) }()
		synctest.Wait()
		require.Contains(t, idle.heard()[0], `"error":"shutdown"`)
		require.Equal(t, uint16(1001), idle.closing)
		require.Equal(t, []string{`{"notice":"draining","ms":10000}`}, busy.heard())
		busy.say(lockV2(2, ""))
		require.Contains(t, busy.heard()[0], `"error":"draining"`)
		busy.say(`{"op":"release","id":3,"lock":1}`)
		require.Equal(t, `{"id":3,"lock":1,"state":"released"}`, busy.heard()[0])
		require.Equal(t, uint16(1001), busy.closing)
		idle.drop()
		busy.drop()
		require.NoError(t, <-done)
	})
}

// TestV2MessageAllocatesNothingFromSocketToSocket is its namesake for v2: lock, renew and release, one of
// two connections waiting.
func TestV2MessageAllocatesNothingFromSocketToSocket(t *testing.T) {
	s := serveLoopback(t, Options{})
	a, b := dialRawV2(t, s), dialRawV2(t, s)
	id := 0
	frames := make(map[string][]byte)
	frame := func(text string) []byte {
		if frames[text] == nil {
			frames[text] = clientFrame(text)
		}
		return frames[text]
	}
	const rounds = 3000
	var locks, renews, releases [rounds][]byte
	for i := range rounds {
		locks[i], renews[i] = frame(lockV2(3*i+1, "")), frame(fmt.Sprintf(`{"op":"renew","id":%d}`, 3*i+2))
		releases[i] = frame(fmt.Sprintf(`{"op":"release","id":%d,"lock":%d}`, 3*i+3, 3*i+1))
	}
	round := func() {
		a.send(locks[id])
		a.expect(`}`)
		b.send(locks[id])
		b.expect(`}`)
		a.send(renews[id])
		a.expect(`}`)
		a.send(releases[id])
		a.expect(`"released"}`)
		b.expect(`}`)
		b.send(renews[id])
		b.expect(`}`)
		b.send(releases[id])
		b.expect(`"released"}`)
		id++
	}
	for range 1500 {
		round()
	}
	require.Zero(t, testing.AllocsPerRun(1000, round))
}

// dialRawV2 is dialRaw for v2; the session has begun.
func dialRawV2(t testing.TB, s *Server) *rawClient {
	conn := dial(t, s)
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	c := &rawClient{t: t, conn: conn, buf: make([]byte, 4096)}
	c.send([]byte(regexp.MustCompile("/v1").ReplaceAllString(rawHead, "/v2")))
	c.expect("\r\n\r\n")
	c.send(clientFrame(helloV2))
	c.expect("}")
	return c
}

// TestV2NumbersAtTheirLimits: the largest times and ids that there are mean what they say, and one more is refused.
func TestV2NumbersAtTheirLimits(t *testing.T) {
	const most, more = "9007199254740991", "9007199254740992"
	synctest.Test(t, func(t *testing.T) {
		n := newFake(testSettings(), nil)
		n.run()
		defer n.s.Close()
		a, b := n.connectV2(t), n.connectV2(t)
		a.say(`{"op":"hello","ttl_ms":` + most + `}`)
		require.Contains(t, a.heard()[0], `"ttl_ms":3600000,`)
		b.greet(t, `{"op":"hello","ttl_ms":3600000}`)
		a.say(lockV2(1, `,"lease_ms":`+most+`,"party":`+most))
		require.Regexp(t, `^{"id":1,"state":"acquired","token":"1","lease_ms":\d{13}}$`, a.heard()[0])
		b.say(lockV2(1, `,"wait_ms":`+most))
		require.Contains(t, b.heard()[0], `"enqueued"`)
		for range 3 {
			pass(59 * time.Minute)
			a.say(`{"op":"renew","id":1,"lock":1}`) // a retry has no effect, and is heard
			b.say(`{"op":"renew","id":1}`)
			n.deliver(0)
			require.Len(t, a.heard(), 1)
			require.Len(t, b.heard(), 1, "nothing has ended")
		}
		a.say(`{"op":"renew","id":` + most + `,"lock":1,"lease_ms":` + most + `}`)
		require.Contains(t, a.heard()[0], `{"id":`+most+`,"lock":1,"state":"renewed"`)
		a.say(`{"op":"release","id":` + most + `,"lock":1}`)
		require.NotContains(t, a.heard()[0], "released", "a retry has no effect")
		for _, text := range []string{
			`{"op":"renew","id":` + more + `}`, `{"op":"renew","id":0}`, `{"op":"renew","id":-1}`, `{"op":"renew","id":1e3}`,
			lockV2(2, `,"wait_ms":`+more), lockV2(2, `,"lease_ms":`+more), lockV2(2, `,"party":`+more),
		} {
			c := n.connectV2(t)
			c.greet(t, helloV2)
			c.say(text)
			require.Contains(t, c.heard()[0], `"error":"malformed"`, text)
			require.Equal(t, uint16(3000), c.closing)
		}
		a.drop()
		b.drop()
	})
}
