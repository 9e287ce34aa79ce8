package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/fence"
	"github.com/locktopus-project/locktopus/v2/internal/session"
	"github.com/locktopus-project/locktopus/v2/wsnet"
)

// pass lets virtual time go by, and everything happen that is due then.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestAbandonedLockIsHeldForItsTimeAndNotLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFake(testSettings(), fence.Memory())
		n.run()
		holder := n.mustConnect(t, "namespace=n&abandon-timeout-ms=5000")
		waiter := n.mustConnect(t, "namespace=n")
		holder.say(writeA)
		waiter.say(writeA)
		require.Equal(t, []string{answer(2, "lock", "enqueued")}, waiter.heard())
		holder.drop()

		pass(5*time.Second - 1)
		require.Zero(t, n.waiting(), "released too early")

		pass(1)
		require.Equal(t, 1, n.waiting(), "released too late")
		n.deliver(0)
		require.Equal(t, []string{answer(2, "lock", "acquired")}, waiter.heard())
		require.NoError(t, n.s.Close())
	})
}

// The queue's order is by time, not by arrival: a later abandonment may be due earlier.
func TestAbandonedLocksAreReleasedInTheOrderOfTheirTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFake(testSettings(), fence.Memory())
		n.run()
		for _, query := range []string{"namespace=a&abandon-timeout-ms=3000", "namespace=b&abandon-timeout-ms=1000", "namespace=c&abandon-timeout-ms=2000"} {
			c := n.mustConnect(t, query)
			c.say(writeA)
			c.drop()
		}
		for left := 3; left > 0; left-- {
			synctest.Wait()
			require.Equal(t, left, n.s.spaces.count())
			require.Equal(t, left, n.s.abandoned.count())
			pass(time.Second)
		}
		synctest.Wait()
		require.Zero(t, n.s.spaces.count())
		require.NoError(t, n.s.Close())
	})
}

func TestAbandonTimeoutOfZeroReleasesAtOnce(t *testing.T) {
	n := newFake(testSettings(), fence.Memory())
	c := n.mustConnect(t, "namespace=n&abandon-timeout-ms=0")
	c.say(writeA)
	c.drop()
	require.Zero(t, n.s.spaces.count())
	require.Zero(t, n.s.abandoned.count())
}

func TestFaultIsToldAndEndsTheConnection(t *testing.T) {
	for _, tt := range []struct{ name, first, message, says string }{
		{"malformed", "", `{"action":`, ""},
		{"unknown action", "", `{"action":"unlock"}`, "unlock"},
		{"release without a lock", "", release, "no lock"},
		{"lock while locked", writeA, writeA, "release it first"},
		{"no resources", "", `{"action":"lock","resources":[]}`, "no resources"},
		{"no resources at all", "", `{"action":"lock"}`, "no resources"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newFake(testSettings(), fence.Memory())
			c := n.mustConnect(t, "namespace=n")
			if tt.first != "" {
				c.say(tt.first)
				c.heard()
			}
			c.say(tt.message)
			require.EqualValues(t, codeFault, c.closing)
			require.Len(t, c.sent, 1)
			require.True(t, strings.HasPrefix(c.sent[0], "communication error: "), c.sent[0])
			require.Contains(t, c.sent[0], tt.says)
			c.drop()
		})
	}
}

// A client at fault may leave its socket open for as long as the closing handshake may take. Its
// request must not stand in the way meanwhile.
func TestWaiterAtFaultLeavesTheQueueBeforeItsSocketCloses(t *testing.T) {
	n := newFake(testSettings(), fence.Memory())
	holder, faulty, reader := n.mustConnect(t, "namespace=n"), n.mustConnect(t, "namespace=n"), n.mustConnect(t, "namespace=n")
	holder.say(readA)
	faulty.say(writeA)
	reader.say(readA)
	require.Equal(t, []string{answer(3, "lock", "enqueued")}, reader.heard())
	faulty.say("?")
	n.deliver(0)
	require.Equal(t, []string{answer(3, "lock", "acquired")}, reader.heard())
}

func TestLimitsOfTheEngineAreSaidToTheClient(t *testing.T) {
	set := testSettings()
	set.Engine.PathSegments = 2
	n := newFake(set, fence.Memory())
	c := n.mustConnect(t, "namespace=n")
	c.say(`{"action":"lock","resources":[{"type":"read","path":["a","b"]}]}`)
	require.Equal(t, []string{answer(1, "lock", "acquired")}, c.heard(), "at the limit")
	c.say(release)
	c.heard()
	c.say(`{"action":"lock","resources":[{"type":"read","path":["a","b","c"]}]}`)
	require.Len(t, c.sent, 1, "one past it")
	require.Contains(t, c.sent[0], "segments")
	require.EqualValues(t, codeFault, c.closing)
}

// Ids that were never reserved durably are never given; that is no fault of the client, and the
// health page says so until ids can be reserved again.
func TestLockWithoutAReservedIDIsRefusedForNow(t *testing.T) {
	f, err := fence.Open(t.TempDir(), 2, nil)
	require.NoError(t, err)
	require.NoError(t, f.Close()) // reserves no more than the first two
	n := newFake(testSettings(), f)
	health := func() int {
		rec := httptest.NewRecorder()
		n.s.pages().ServeHTTP(rec, httptest.NewRequest("GET", "/healthz", nil))
		return rec.Code
	}
	for id := range uint64(2) {
		c := n.mustConnect(t, "namespace=n")
		c.say(readA)
		require.Equal(t, []string{answer(id+1, "lock", "acquired")}, c.heard())
	}
	require.Equal(t, 200, health())
	c := n.mustConnect(t, "namespace=n")
	c.say(readA)
	require.Contains(t, c.sent[0], "communication error: the server cannot reserve fencing ids")
	require.EqualValues(t, codeTryLater, c.closing)
	require.Zero(t, n.s.faults.Load())
	require.Equal(t, 503, health())
}

// TestHealthSaysThatNoSessionBegins: the disk can't be told of it, although there are ids.
func TestHealthSaysThatNoSessionBegins(t *testing.T) {
	dir := t.TempDir()
	f, err := fence.Open(dir, 100, nil)
	require.NoError(t, err)
	defer f.Close()
	n := newFake(testSettings(), f)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "fence.tmp", "in the way"), 0o700))
	f.Cover(time.Second)
	require.Eventually(t, func() bool { return f.Err() != nil }, time.Minute, time.Millisecond)
	health := func() *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		n.s.pages().ServeHTTP(rec, httptest.NewRequest("GET", "/healthz", nil))
		return rec
	}
	require.Equal(t, 200, health().Code, "nobody has wanted one")
	c := n.connectV2(t)
	c.say(`{"op":"hello"}`)
	require.Contains(t, c.heard()[0], `"try_later"`)
	require.Equal(t, 503, health().Code)
	require.Contains(t, health().Body.String(), "no session of version 2 begins")
}

// Where somebody upgrades a lock, those that waited get ids above its new one.
func TestAnIDMayRiseBetweenEnqueuedAndAcquired(t *testing.T) {
	n := newFake(testSettings(), fence.Memory())
	holder, first, second := n.mustConnect(t, "namespace=n"), n.mustConnect(t, "namespace=n"), n.mustConnect(t, "namespace=n")
	holder.say(readA)
	first.say(writeA)
	second.say(writeA)
	require.Equal(t, []string{answer(2, "lock", "enqueued")}, first.heard())
	require.Equal(t, []string{answer(3, "lock", "enqueued")}, second.heard())
	upgradeLock(t, n, holder) // gets 4
	holder.say(release)
	n.deliver(first.id)
	require.Equal(t, []string{answer(5, "lock", "acquired")}, first.heard())
	first.say(release)
	require.Equal(t, []string{answer(5, "release", "ready")}, first.heard())

	// The grant of the second one is on its way, and comes only when the connection waits for its
	// next lock.
	first.say(readA)
	require.Equal(t, []string{answer(7, "lock", "enqueued")}, first.heard())
	second.say(release)
	require.Equal(t, []string{answer(6, "lock", "acquired"), answer(6, "release", "ready")}, second.heard())
	n.deliver(first.id)
	require.Equal(t, []string{answer(7, "lock", "acquired")}, first.heard())
	second.say(writeA)
	require.Equal(t, []string{answer(8, "lock", "enqueued")}, second.heard())
	n.deliver(second.id)
	require.Empty(t, second.heard())
}

// A grant that needs an id waits until one is reserved.
func TestAGrantWaitsForAReservedID(t *testing.T) {
	f, err := fence.Open(t.TempDir(), 3, nil)
	require.NoError(t, err)
	defer f.Close()
	n := newFake(testSettings(), f)
	holder, waiter := n.mustConnect(t, "namespace=n"), n.mustConnect(t, "namespace=n")
	holder.say(readA)
	waiter.say(writeA)
	require.Equal(t, []string{answer(2, "lock", "enqueued")}, waiter.heard())
	upgradeLock(t, n, holder) // gets 3
	holder.say(release)
	n.s.work.Wait() // until the fence has allowed another one
	n.deliver(waiter.id)
	require.Equal(t, []string{answer(4, "lock", "acquired")}, waiter.heard())
	require.True(t, f.Allows(4))
}

// upgradeLock turns what a client reads into writes. Protocol v1 has no word for that.
func upgradeLock(t *testing.T, n *fakeNet, c *fakeConn) {
	conn, fx := c.w.connection(c), session.Effects{}
	conn.ns.mu.Lock()
	require.True(t, n.s.mayDraw(conn.ns))
	changed, err := conn.ns.engine.Upgrade(conn.lock)
	n.s.finish(conn.ns, &fx)
	require.NoError(t, err)
	require.False(t, changed.Pending)
}

func TestMemoryOfAllNamespacesIsLimited(t *testing.T) {
	set := testSettings()
	n := newFake(set, fence.Memory())
	first := n.mustConnect(t, "namespace=a&abandon-timeout-ms=0")
	first.say(writeA)
	require.Positive(t, n.s.memory.Load())
	set.MemoryBytes = n.s.memory.Load() + 1
	n.s.Reload(set)
	n.mustConnect(t, "namespace=b").say(writeA) // below the limit
	c := n.mustConnect(t, "namespace=c")
	c.say(writeA)
	require.Contains(t, c.sent[0], "limits.memory_bytes")
	require.EqualValues(t, codeTryLater, c.closing)

	first.drop()
	c = n.mustConnect(t, "namespace=c")
	c.say(writeA)
	require.Len(t, c.sent, 1)
	require.Zero(t, c.closing, "memory that was given back can be used")
}

func TestLocksLeftBehindFromOneAddressAreLimited(t *testing.T) {
	set := testSettings()
	set.Abandoned = 2
	n := newFake(set, fence.Memory())
	for range set.Abandoned + 1 {
		c := n.mustConnect(t, "namespace=n")
		c.say(readA)
		c.drop()
	}
	_, refused := n.connect("namespace=n")
	require.Equal(t, 503, refused.Status)
	require.Contains(t, refused.Body, "limits.abandoned_per_address")
	n.s.abandoned.handOver(tomorrow)
	n.mustConnect(t, "namespace=n")
}

// Releasing takes time, and what has become due meanwhile must not wait for as long again.
func TestAbandonedLocksThatBecomeDueMeanwhileAreReleasedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var released []time.Duration
		start := time.Now()
		a := newAbandoned(func(abandonment) {
			<-time.After(50 * time.Millisecond)
			released = append(released, time.Since(start))
		})
		for range 10 {
			a.add(start, abandonment{})
		}
		a.add(start.Add(400*time.Millisecond), abandonment{})
		require.Equal(t, time.Hour, a.handOver(time.Now))
		require.Equal(t, 550*time.Millisecond, released[10])
	})
}

func TestParametersOfAConnection(t *testing.T) {
	set := testSettings()
	set.Namespaces = 2
	n := newFake(set, fence.Memory())
	name := strings.Repeat("n", set.NamespaceName)
	for _, tt := range []struct {
		query  string
		status int
		says   string
	}{
		{"", 400, "required"},
		{"namespace=", 400, "required"},
		{"namespace=" + name, 0, ""},
		{"namespace=" + name + "x", 400, "at most 32"},
		{"namespace=%ff", 400, "UTF-8"},
		{"namespace=a%00b", 400, "control"},
		{"namespace=%zz", 400, "query"},
		{"namespace=n&abandon-timeout-ms=3600000", 0, ""},
		{"namespace=n&abandon-timeout-ms=3600001", 400, "at most 3600000"},
		{"namespace=n&abandon-timeout-ms=-1", 400, "whole number"},
		{"namespace=n&abandon-timeout-ms=1.5", 400, "whole number"},
		{"namespace=n&abandon-timeout-ms=", 400, "whole number"},
		{"namespace=n&abandon-timeout-ms=99999999999999999999", 400, "whole number"},
		{"namespace=third", 503, "namespaces"},
	} {
		_, refused := n.connect(tt.query)
		if tt.status == 0 {
			require.Nil(t, refused, tt.query)
			continue
		}
		require.NotNil(t, refused, tt.query)
		require.Equal(t, tt.status, refused.Status, tt.query)
		require.Contains(t, refused.Body, tt.says, tt.query)
	}
}

func TestFencingIDsGoOnWhenANamespaceComesBack(t *testing.T) {
	n := newFake(testSettings(), fence.Memory())
	for want := uint64(1); want < 4; want++ {
		c := n.mustConnect(t, "namespace=n&abandon-timeout-ms=0")
		c.say(writeA)
		require.Equal(t, []string{answer(want, "lock", "acquired")}, c.heard())
		c.drop()
		require.Zero(t, n.s.spaces.count())
	}
}

// While draining a client without a lock is told to go, one with a lock when it has released it,
// and nobody gets another.
func TestShutdownLetsHoldersReleaseFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFake(testSettings(), fence.Memory())
		n.run()
		idle, holder, waiter := n.mustConnect(t, "namespace=n"), n.mustConnect(t, "namespace=n"), n.mustConnect(t, "namespace=n")
		holder.say(writeA)
		waiter.say(writeA)
		ended := make(chan error)
		go func() { ended <- n.s.Shutdown(context.Background()) }()
		synctest.Wait()

		require.False(t, n.accepting)
		_, refused := n.connect("namespace=n")
		require.Equal(t, 503, refused.Status)
		require.EqualValues(t, codeGoingAway, idle.closing)
		require.Zero(t, holder.closing)
		idle.drop()

		holder.say(release)
		require.EqualValues(t, codeGoingAway, holder.closing)
		holder.drop()
		n.deliver(0)
		require.Equal(t, []string{answer(2, "lock", "enqueued"), answer(2, "lock", "acquired")}, waiter.heard())
		waiter.say(release)
		require.EqualValues(t, codeGoingAway, waiter.closing)
		waiter.drop()
		require.NoError(t, <-ended)
		require.True(t, n.closed)
	})
}

func TestLockWhileDrainingIsRefusedWithAReason(t *testing.T) {
	n := newFake(testSettings(), fence.Memory())
	c := n.mustConnect(t, "namespace=n")
	n.s.stage.Store(draining)
	c.say(writeA)
	require.Equal(t, []string{"communication error: the server is shutting down"}, c.heard())
	require.EqualValues(t, codeGoingAway, c.closing)
}

func TestShutdownEndsWhenTheDrainTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFake(testSettings(), fence.Memory())
		n.run()
		holder := n.mustConnect(t, "namespace=n")
		holder.say(writeA)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		start := time.Now()
		require.ErrorIs(t, n.s.Shutdown(ctx), context.DeadlineExceeded)
		require.Equal(t, 11*time.Second, time.Since(start), "drain and closing handshake")
		require.EqualValues(t, codeGoingAway, holder.closing)
		require.True(t, n.closed)
	})
}

func TestReloadChangesLimitsOfLiveNamespaces(t *testing.T) {
	n := newFake(testSettings(), fence.Memory())
	c := n.mustConnect(t, "namespace=n")
	set := testSettings()
	set.Engine.Resources = 1
	n.s.Reload(set)
	c.say(`{"action":"lock","resources":[{"type":"r","path":["a"]},{"type":"r","path":["b"]}]}`)
	require.EqualValues(t, codeFault, c.closing)
}

func TestPages(t *testing.T) {
	set := testSettings()
	set.Origins = []string{"https://good.example"}
	n := newFake(set, fence.Memory())
	c := n.mustConnect(t, "namespace=n")
	c.say(writeA)
	pages := n.s.pages()
	for _, tt := range []struct {
		method, url string
		status      int
		says        string
	}{
		{"GET", "/", 200, "Locktopus test"},
		{"GET", "/", 200, "memory only"},
		{"GET", "/healthz", 200, "ok"},
		{"GET", "/stats?namespace=n", 200, `"GroupsAcquired":1`},
		{"GET", "/stats_v1?namespace=n", 200, `"LastGroupID":1`},
		{"GET", "/stats_v1?namespace=m", 404, "nobody uses"},
		{"GET", "/stats_v1", 400, `"namespace" is required`},
		{"GET", "/v1", 400, `"namespace" is required`},
		{"GET", "/v1?namespace=n&abandon-timeout-ms=x", 400, "abandon-timeout-ms"},
		{"GET", "/v1?namespace=n", 426, "WebSocket"},
		{"GET", "/nowhere", 404, ""},
		{"POST", "/stats", 405, ""},
		{"OPTIONS", "/v1", 204, ""},
	} {
		rec := httptest.NewRecorder()
		pages.ServeHTTP(rec, httptest.NewRequest(tt.method, tt.url, nil))
		require.Equal(t, tt.status, rec.Code, "%s %s", tt.method, tt.url)
		require.Contains(t, rec.Body.String(), tt.says, "%s %s", tt.method, tt.url)
	}
	for origin, allowed := range map[string]string{"https://good.example": "https://good.example", "https://bad.example": ""} {
		rec := httptest.NewRecorder()
		r := httptest.NewRequest("OPTIONS", "/stats", nil)
		r.Header.Set("Origin", origin)
		pages.ServeHTTP(rec, r)
		require.Equal(t, allowed, rec.Header().Get("Access-Control-Allow-Origin"))
	}
}

func TestOriginIsCheckedBeforeTheUpgrade(t *testing.T) {
	for _, tt := range []struct {
		origins []string
		origin  string
		ok      bool
	}{
		{[]string{"*"}, "https://any.example", true},
		{[]string{"https://good.example"}, "https://good.example", true},
		{[]string{"https://good.example"}, "https://GOOD.example", true},
		{[]string{"https://good.example"}, "https://good.example.bad.example", false},
		{[]string{"https://good.example"}, "http://good.example", false},
		{[]string{"https://good.example"}, "null", false},
		{[]string{"https://good.example"}, "", true},
		{nil, "https://any.example", false},
	} {
		set := Settings{Origins: tt.origins}
		require.Equal(t, tt.ok, set.allows(tt.origin), "%v %q", tt.origins, tt.origin)
	}
	set := testSettings()
	set.Origins = []string{"https://good.example"}
	n := newFake(set, fence.Memory())
	r := &wsnet.Request{Path: "/v1", RawQuery: "namespace=n", Header: http.Header{"Origin": {"https://bad.example"}}}
	w := n.s.newWorker()
	require.Equal(t, http.StatusForbidden, w.Open(&fakeConn{n: n, w: w, id: 1}, r).Status)
}
