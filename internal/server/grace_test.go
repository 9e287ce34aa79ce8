package server

import (
	"context"
	"fmt"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/fence"
	"github.com/locktopus-project/locktopus/v2/internal/session"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
	"github.com/locktopus-project/locktopus/v2/wsnet"
)

const graceTime = 10 * time.Second

// inGrace runs a test in virtual time, with a server that has just begun its grace period.
func inGrace(t *testing.T, set Settings, test func(t *testing.T, n *fakeNet)) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeOf(Options{Settings: set, Grace: fence.Debt{Others: graceTime}})
		n.run()
		t.Cleanup(func() { require.NoError(t, n.s.Close()) })
		test(t, n)
	})
}

// serverInTheWay is how a client is told what it waits for.
const serverInTheWay = `{"session":"server","lock":1,"note":"grace period after a restart, until 00:00:10 UTC","type":"write","path":[],"state":"acquired","since_ms":%d}`

func TestInTheGraceAllWaitInOrder(t *testing.T) {
	inGrace(t, testSettings(), func(t *testing.T, n *fakeNet) {
		a, b, c, old := n.connectV2(t), n.connectV2(t), n.connectV2(t), n.mustConnect(t, "namespace=n")
		a.greet(t, helloV2)
		b.greet(t, helloV2)
		c.greet(t, helloV2)
		pass(time.Second)
		a.say(lockV2(1, ""))
		require.Equal(t, []string{`{"id":1,"state":"enqueued","ahead":1}`}, a.heard())
		b.say(lockV2(1, `,"wait_ms":0`))
		require.Equal(t, []string{fmt.Sprintf(`{"id":1,"state":"unavailable","blockers":[`+serverInTheWay+`,`+
			`{"session":%q,"lock":1,"type":"write","path":["a"],"state":"enqueued","since_ms":0}]}`, 1000, a.w.connection(a).v2.session.ID())}, b.heard())
		old.say(writeA)
		require.Equal(t, []string{answer(4, "lock", "enqueued")}, old.heard())
		c.say(`{"op":"lock","id":1,"resources":[{"type":"permit","path":["pool"],"limit":2}]}`)
		require.Equal(t, []string{`{"id":1,"state":"enqueued","ahead":1}`}, c.heard())
		b.say(`{"op":"lock","id":2,"resources":[{"type":"read","path":["b"]}],"wait_ms":1000}`)
		require.Contains(t, b.heard()[0], `"enqueued"`)
		pass(time.Second)
		n.deliver(0)
		require.Contains(t, b.heard()[0], `"state":"timeout","blockers":[`+fmt.Sprintf(serverInTheWay, 2000))
		pass(graceTime - 2*time.Second - 1)
		n.deliver(0)
		for _, x := range []*fakeConn{a, b, c, old} {
			require.Empty(t, x.heard())
		}
		pass(1)
		n.deliver(0)
		require.Equal(t, []string{`{"event":1,"lock":1,"state":"acquired","token":"2"}`}, a.heard())
		require.Equal(t, []string{`{"event":1,"lock":1,"state":"acquired","token":"5","slots":[0]}`}, c.heard())
		require.Empty(t, old.heard(), "it waits for a")
		a.say(`{"op":"release","id":2,"lock":1}`)
		n.deliver(0)
		require.Equal(t, []string{answer(4, "lock", "acquired")}, old.heard())
		c.say(`{"op":"upgrade","id":2,"lock":1,"wait_ms":0}`)
		require.Contains(t, c.heard()[0], `"state":"upgraded"`)
		for _, x := range []*fakeConn{b, c} {
			x.say(`{"op":"bye","id":9}`)
		}
		a.say(`{"op":"bye","id":9}`)
		for _, x := range []*fakeConn{a, b, c, old} {
			x.drop()
		}
		pass(2 * time.Minute)
		require.Zero(t, n.s.spaces.count())
		require.Zero(t, n.s.memory.Load())
	})
}

// TestTheServersLockTakesNothingFromClients: not of their limits, and nothing stays of it.
func TestTheServersLockTakesNothingFromClients(t *testing.T) {
	set := testSettings()
	set.Engine.Requests = 1
	inGrace(t, set, func(t *testing.T, n *fakeNet) {
		only := func(enqueued string) {
			a, b := n.mustConnect(t, "namespace=n"), n.mustConnect(t, "namespace=n")
			a.say(writeA)
			require.Contains(t, a.heard()[0], enqueued)
			b.say(writeA)
			require.Contains(t, b.heard()[0], "there would be ")
			b.drop()
			a.say(release)
			a.drop()
		}
		only("enqueued")
		require.Zero(t, n.s.spaces.count())
		require.Zero(t, n.s.memory.Load())
		a := n.mustConnect(t, "namespace=n")
		n.s.Reload(set)
		only("enqueued")
		pass(graceTime)
		only("acquired")
		a.drop()
		only("acquired")
		require.Zero(t, n.s.spaces.count())
		require.Zero(t, n.s.memory.Load())
	})
}

func TestIDsGoOnWhereANamespaceComesAndGoesInTheGrace(t *testing.T) {
	inGrace(t, testSettings(), func(t *testing.T, n *fakeNet) {
		for i := range uint64(3) {
			a := n.mustConnect(t, "namespace=n")
			a.say(writeA)
			require.Equal(t, []string{answer(2*i+2, "lock", "enqueued")}, a.heard())
			a.drop()
			require.Zero(t, n.s.spaces.count())
		}
		pass(graceTime)
		a := n.mustConnect(t, "namespace=n")
		a.say(writeA)
		require.Equal(t, []string{answer(7, "lock", "acquired")}, a.heard())
	})
}

func TestAnAdministratorEndsTheGraceOfANamespace(t *testing.T) {
	inGrace(t, testSettings(), func(t *testing.T, n *fakeNet) {
		a, b, other := n.connectV2(t), n.mustConnect(t, "namespace=n"), n.mustConnect(t, "namespace=m")
		a.greet(t, helloV2)
		a.say(`{"op":"watch","id":1,"path":["z"]}`)
		require.Regexp(t, `"locks":\[{"session":"server","lock":1,"note":"grace period after a restart, until 00:00:10 UTC","token":"1","state":"acquired","since_ms":0,"resources":\[{"type":"write","path":\[\]}\]}\]}$`, a.heard()[0])
		a.say(lockV2(2, ""))
		b.say(readA)
		other.say(writeA)
		a.heard()
		b.heard()
		other.heard()

		locks := n.locksAt(t, 10, "a")
		require.Len(t, locks, 3)
		require.Equal(t, []any{"server", uint64(1), "acquired", int64(0), uint64(0)},
			[]any{locks[0].Session, locks[0].Lock, locks[0].State, locks[0].Since, locks[0].Conn})
		require.Contains(t, locks[0].Note, "grace period after a restart")
		require.Equal(t, "server", locks[1].WaitsFor[0].Session)
		require.Equal(t, locks[0].Note, locks[1].WaitsFor[0].Note)

		for session, lock := range map[string]uint64{"server": 2, "v1": 1} {
			_, err := n.s.AdminRelease("n", session, lock, "why")
			require.ErrorIs(t, err, ErrNoLock)
		}
		info, err := n.s.AdminRelease("n", "server", 1, "nobody is left")
		require.NoError(t, err)
		require.Equal(t, locks[0].Note, info.Note)
		_, err = n.s.AdminRelease("n", "server", 1, "again")
		require.ErrorIs(t, err, ErrNoLock)
		n.deliver(0)
		require.Regexp(t, `^{"watch":1,"n":1,"change":"ended","locks":\[{"session":"server","lock":1,.*"state":"revoked"`, a.sent[len(a.sent)-1])
		require.Contains(t, a.heard()[0], `"state":"acquired","token":"2"`)
		require.Empty(t, b.heard(), "it stands behind")
		a.say(`{"op":"release","id":3,"lock":2}`)
		n.deliver(0)
		require.Equal(t, []string{answer(3, "lock", "acquired")}, b.heard())
		require.Empty(t, other.heard(), "the grace of other namespaces goes on")

		a.say(`{"op":"bye","id":4}`)
		b.say(release)
		a.drop()
		b.drop()
		require.Equal(t, 1, n.s.spaces.count())
		again := n.mustConnect(t, "namespace=n")
		again.say(writeA)
		require.Equal(t, []string{answer(4, "lock", "acquired")}, again.heard(), "nobody is left there, also when it comes again")
		pass(graceTime)
		n.deliver(0)
		require.Len(t, other.heard(), 1)
	})
}

// TestAnAdministratorsWordIsKept where nobody uses the namespace, and for the next server.
func TestAnAdministratorsWordIsKept(t *testing.T) {
	inGrace(t, testSettings(), func(t *testing.T, n *fakeNet) {
		free := func(name string, lock uint64) (LockInfo, error) {
			return n.s.AdminRelease(name, "server", lock, "nobody is left")
		}
		_, err := free("n", 2)
		require.ErrorIs(t, err, ErrNoNamespace)
		_, err = free("a\x00", 1)
		require.ErrorIs(t, err, ErrNoNamespace, "nobody ever can")
		info, err := free("n", 1)
		require.NoError(t, err)
		require.Equal(t, LockInfo{
			Session: "server", Lock: 1, State: "acquired", Resources: []engine.Resource{{Mode: engine.Write, Path: [][]byte{}}},
			Note: "grace period after a restart, until 00:00:10 UTC; nobody uses the namespace at present",
		}, info)
		_, err = free("n", 1)
		require.ErrorIs(t, err, ErrNoNamespace, "it is done")
		require.Equal(t, fence.Debt{Others: graceTime, Named: map[string]time.Duration{"n": 0}}, n.s.Owed())

		a := n.connectV2(t)
		a.greet(t, `{"op":"hello","ttl_ms":4000}`)
		a.say(lockV2(1, ""))
		require.Contains(t, a.heard()[0], "acquired")
		require.Equal(t, fence.Debt{Others: graceTime, Named: map[string]time.Duration{"n": 4001 * time.Millisecond}}, n.s.Owed(), "to a new one")
		a.say(`{"op":"release","id":2,"lock":1}`)
		_, err = free("n", 1)
		require.ErrorIs(t, err, ErrNoLock, "it is done")
		pass(graceTime - time.Second)
		require.Equal(t, fence.Debt{Others: time.Second, Named: map[string]time.Duration{"n": 0}}, n.s.Owed())
		pass(time.Second)
		require.Zero(t, owed(n))
	})
}

func TestSoManyNamespacesAreExcused(t *testing.T) {
	inGrace(t, testSettings(), func(t *testing.T, n *fakeNet) {
		for i := range excusedMax {
			_, err := n.s.AdminRelease(fmt.Sprint("n", i), "server", 1, "why")
			require.NoError(t, err)
		}
		_, err := n.s.AdminRelease("n", "server", 1, "why")
		require.ErrorIs(t, err, ErrManyExcused)
		a := n.mustConnect(t, "namespace=n")
		a.say(writeA)
		require.Contains(t, a.heard()[0], "enqueued")
	})
}

// TestTheGraceOfNamespacesEndsOneByOne as the server before knew what is owed where.
func TestTheGraceOfNamespacesEndsOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeOf(Options{Settings: testSettings(), Grace: fence.Debt{
			Others: 2 * time.Second, Named: map[string]time.Duration{"short": time.Second, "none": 0, "long": 5 * time.Second},
		}})
		n.run()
		t.Cleanup(func() { require.NoError(t, n.s.Close()) })
		ask := func(name string) *fakeConn {
			c := n.mustConnect(t, "namespace="+name)
			c.say(writeA)
			return c
		}
		require.Contains(t, ask("none").heard()[0], "acquired")
		short, other, long := ask("short"), ask("other"), ask("long")
		told := func(c *fakeConn, state string) {
			n.deliver(0)
			require.Len(t, c.sent, 1)
			require.Contains(t, c.heard()[0], state)
		}
		told(short, "enqueued")
		told(other, "enqueued")
		told(long, "enqueued")
		require.Equal(t, "grace period after a restart, until 00:00:05 UTC", n.noteIn(t, "long"))
		pass(time.Second)
		told(short, "acquired")
		pass(time.Second - 1)
		n.deliver(0)
		require.Empty(t, other.heard())
		pass(1)
		told(other, "acquired")
		require.Contains(t, ask("new").heard()[0], "acquired")
		require.Equal(t, fence.Debt{Named: map[string]time.Duration{"short": 0, "none": 0, "long": 3 * time.Second}}, n.s.Owed())
		require.Contains(t, n.page(t, "/healthz"), "ok, but no lock is granted in 1 of the namespaces for another 3s: ")
		long.drop()
		long = ask("long")
		told(long, "enqueued")
		pass(3 * time.Second)
		told(long, "acquired")
		require.Equal(t, "ok\n", n.page(t, "/healthz"))
	})
}

// noteIn is what people are told of the server's lock in a namespace.
func (n *fakeNet) noteIn(t *testing.T, name string) string {
	locks, _, err := n.s.AdminLocks(name, nil, "", 1)
	require.NoError(t, err)
	return locks[0].Note
}

// page is a page that is there.
func (n *fakeNet) page(t *testing.T, path string) string {
	rec := httptest.NewRecorder()
	n.s.pages().ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
	require.Equal(t, 200, rec.Code)
	return rec.Body.String()
}

// TestADrainDoesNotWaitForTheGrace where that is longer: nobody there can get anything before the end.
func TestADrainDoesNotWaitForTheGrace(t *testing.T) {
	inGrace(t, testSettings(), func(t *testing.T, n *fakeNet) {
		waits, old := n.connectV2(t), n.mustConnect(t, "namespace=n")
		waits.greet(t, helloV2)
		waits.say(lockV2(1, ""))
		old.say(writeA)
		holder := n.mustConnect(t, "namespace=excused")
		_, err := n.s.AdminRelease("excused", "server", 1, "nobody is left")
		require.NoError(t, err)
		holder.say(writeA)
		require.Contains(t, holder.heard()[0], "acquired")
		ctx, cancel := context.WithTimeout(t.Context(), graceTime-1)
		defer cancel()
		done := make(chan error)
		go func() { done <- n.s.Shutdown(ctx) }()
		synctest.Wait()
		require.Contains(t, waits.sent[len(waits.sent)-1], `"error":"shutdown"`)
		for _, x := range []*fakeConn{waits, old} {
			require.Equal(t, uint16(codeGoingAway), x.closing)
			x.end(wsnet.ReasonServerClosed)
		}
		require.Zero(t, holder.closing, "who holds something has the time to finish")
		pass(time.Second)
		holder.say(release)
		holder.drop()
		require.NoError(t, <-done)
		require.Equal(t, graceTime-time.Second, owed(n))
	})
}

// TestADrainWaitsForAGraceThatEndsBefore: who waits is granted yet.
func TestADrainWaitsForAGraceThatEndsBefore(t *testing.T) {
	inGrace(t, testSettings(), func(t *testing.T, n *fakeNet) {
		waits, old := n.connectV2(t), n.mustConnect(t, "namespace=n")
		waits.greet(t, helloV2)
		waits.say(lockV2(1, ""))
		old.say(writeA)
		waits.heard()
		ctx, cancel := context.WithTimeout(t.Context(), graceTime)
		defer cancel()
		done := make(chan error)
		go func() { done <- n.s.Shutdown(ctx) }()
		synctest.Wait()
		require.Equal(t, []string{`{"notice":"draining","ms":10000}`}, waits.heard())
		require.Zero(t, old.closing)
		pass(graceTime - 1)
		waits.say(`{"op":"renew","id":2}`)
		require.Zero(t, waits.closing)
		waits.drop()
		old.drop()
		require.NoError(t, <-done)
	})
}

// TestTheServerIsInNoDeadlock: who waits for it waits for nobody who waits.
func TestTheServerIsInNoDeadlock(t *testing.T) {
	inGrace(t, testSettings(), func(t *testing.T, n *fakeNet) {
		a, b := n.connectV2(t), n.connectV2(t)
		a.greet(t, helloV2)
		b.greet(t, helloV2)
		lock := func(c *fakeConn, id int, path string) string {
			c.say(fmt.Sprintf(`{"op":"lock","id":%d,"resources":[{"type":"write","path":[%q]}]}`, id, path))
			return c.heard()[0]
		}
		require.Contains(t, lock(a, 1, "x"), "enqueued")
		require.Contains(t, lock(a, 2, "y"), "enqueued")
		require.Contains(t, lock(b, 1, "z"), "enqueued")
		require.Contains(t, lock(b, 2, "x"), "enqueued")
		cycle := lock(a, 3, "z")
		require.Contains(t, cycle, `"state":"deadlock"`, "that is one after the grace, too")
		require.NotContains(t, cycle, "server")
	})
}

func TestPluginsDoNotHideTheServersLock(t *testing.T) {
	j := &fakeJudge{active: true, request: func(q *host.Request) host.Verdict {
		if q.Operation == host.Inspect {
			return host.Verdict{Outcome: host.Denied}
		}
		return allowed
	}}
	n := j.serveOf(Options{Settings: testSettings(), Grace: fence.Debt{Others: time.Hour}})
	a := n.connectV2(t)
	a.greet(t, helloV2)
	a.say(lockV2(1, ""))
	a.heard()
	a.say(lockV2(2, `,"wait_ms":0`))
	require.Regexp(t, `^{"id":2,"state":"unavailable","blockers":\[{"session":"server",[^{]*}\]}$`, a.heard()[0], "but others' locks")
}

func TestTheGraceIsTold(t *testing.T) {
	inGrace(t, testSettings(), func(t *testing.T, n *fakeNet) {
		pass(2500 * time.Millisecond)
		require.Contains(t, n.page(t, "/healthz"), "ok, but no lock is granted for another 7.5s: ")
		require.Contains(t, n.page(t, "/"), "\ngrace        no lock is granted for another 7.5s: ")
		pass(graceTime)
		require.Equal(t, "ok\n", n.page(t, "/healthz"))
		require.NotContains(t, n.page(t, "/"), "grace")
	})
}

func TestNoGraceIsNoLock(t *testing.T) {
	n := newFake(testSettings(), nil)
	a := n.mustConnect(t, "namespace=n")
	a.say(writeA)
	require.Equal(t, []string{answer(1, "lock", "acquired")}, a.heard())
	_, err := n.s.AdminRelease("n", "server", 1, "why")
	require.ErrorIs(t, err, ErrNoLock)
}

// TestTheGraceNeedsIDs as everything that draws one: without, nobody is let in.
func TestTheGraceNeedsIDs(t *testing.T) {
	dir := t.TempDir()
	f, err := fence.Open(dir, 1, nil)
	require.NoError(t, err)
	require.NoError(t, f.Close()) // nothing is reserved any more
	n := newFakeOf(Options{Settings: testSettings(), Fence: f, Grace: fence.Debt{Others: time.Hour}})
	n.mustConnect(t, "namespace=n").drop()
	_, refused := n.connect("namespace=n")
	require.Equal(t, 503, refused.Status)
	require.Equal(t, errNoIDs.text, refused.Body)
	require.Zero(t, n.s.spaces.count())
}

// owed is what the next server has to wait for, in the longest case.
func owed(n *fakeNet) time.Duration {
	owed := n.s.Owed()
	return owed.Longest()
}

// end ends a connection for a reason.
func (c *fakeConn) end(why wsnet.Reason) {
	delete(c.n.conns, c.id)
	c.w.Closed(c, why)
}

// TestWhatIsOwedAfterAStop is the time of those who hold something and may not know that it is lost.
func TestWhatIsOwedAfterAStop(t *testing.T) {
	const holds, waits = true, false
	for _, c := range []struct {
		name string
		lock bool
		end  func(*fakeConn) // once it was told of the end
		want time.Duration
	}{
		{"it has answered", holds, func(c *fakeConn) { c.end(wsnet.ReasonServerClosed) }, 0},
		{"it hung up by itself", holds, func(c *fakeConn) { c.end(wsnet.ReasonClientClosed) }, 20*time.Second + time.Millisecond},
		{"it didn't answer", holds, func(c *fakeConn) { c.end(wsnet.ReasonUnanswered) }, 20*time.Second + time.Millisecond},
		{"it was cut off", holds, func(c *fakeConn) { c.end(wsnet.ReasonCloseTimeout) }, 20*time.Second + time.Millisecond},
		{"it holds nothing", waits, func(c *fakeConn) { c.end(wsnet.ReasonLost) }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFake(testSettings(), nil)
				n.run()
				holder := n.connectV2(t)
				holder.greet(t, `{"op":"hello","ttl_ms":20000}`)
				if c.lock {
					holder.say(lockV2(1, ""))
				}
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				done := make(chan error, 1)
				go func() { done <- n.s.Shutdown(ctx) }()
				synctest.Wait()
				require.Contains(t, holder.sent[len(holder.sent)-1], `"error":"shutdown"`)
				c.end(holder)
				<-done
				require.Equal(t, c.want, owed(n))
			})
		})
	}
}

// TestWhatIsOwedCountsFromTheLastWord: a session without a connection, one that has another one by now, and what is
// left of the grace.
func TestWhatIsOwedCountsFromTheLastWord(t *testing.T) {
	inGrace(t, testSettings(), func(t *testing.T, n *fakeNet) {
		require.Equal(t, graceTime, owed(n))
		pass(graceTime - time.Second)
		require.Equal(t, time.Second, owed(n))
		pass(time.Second)
		require.Zero(t, owed(n))
		a := n.connectV2(t)
		w := a.greet(t, `{"op":"hello","ttl_ms":60000}`)
		a.say(lockV2(1, ""))
		a.drop()
		pass(20 * time.Second)
		require.Equal(t, 40*time.Second+time.Millisecond, owed(n))
		again := n.connectV2(t)
		again.say(w.resume(0))
		require.Equal(t, time.Minute+time.Millisecond, owed(n))
		again.w.connection(again).v2.farewell = true
		again.end(wsnet.ReasonServerClosed)
		require.Zero(t, owed(n))
		last := n.connectV2(t)
		last.say(w.resume(0))
		require.Contains(t, last.heard()[0], "welcome")
		require.Equal(t, time.Minute+time.Millisecond, owed(n), "it goes on, and believes")
		pass(time.Hour)
		require.Zero(t, owed(n))
	})
}

// TestTheServerIsNoConnection: its locks' owner is one that no connection ever has.
func TestTheServerIsNoConnection(t *testing.T) {
	require.NotZero(t, uint32(session.Server&(1<<32-1)))
	require.Equal(t, "255.16777215.4294967295", wsnet.ConnID(session.Server).String(), "the last generation of the last slot")
}
