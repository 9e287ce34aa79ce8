package server

import (
	"context"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

// timed is a server whose plugins let clients in for as long as *ttl says.
func timed(set Settings, ttl *time.Duration) *fakeNet {
	j := &fakeJudge{active: true, connect: func(*host.Connect) (host.Identity, host.Verdict) {
		return host.Identity{Authenticated: true, TTL: *ttl}, allowed
	}}
	return j.serve(set)
}

const expired = "communication error: the authentication of this connection has expired: connect again"

func TestAuthenticationHoldsForItsTimeAndNotLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ttl := 5 * time.Second
		n := timed(testSettings(), &ttl)
		n.run()
		c := n.mustConnect(t, "namespace=n")
		pass(ttl - 1)
		require.Zero(t, n.waiting(), "ended too early")
		pass(1)
		require.Equal(t, 1, n.waiting(), "ended too late")
		n.deliver(0)
		require.Equal(t, []string{expired}, c.heard())
		require.EqualValues(t, codeFault, c.closing)
		require.Zero(t, n.s.faults.Load())
		require.EqualValues(t, 1, n.s.judged.expired.Load())
		c.drop()
		require.NoError(t, n.s.Close())
	})
}

// The lock of a client whose time is over is like that of any client that was lost: others get it when
// the abandon timeout has passed. A request that waits goes at once.
func TestLockOutlivesAuthenticationForTheAbandonTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ttl := time.Second
		n := timed(testSettings(), &ttl)
		n.run()
		holder, waiter := n.mustConnect(t, "namespace=n&abandon-timeout-ms=3000"), n.mustConnect(t, "namespace=n")
		ttl = 0
		reader, last := n.mustConnect(t, "namespace=n"), n.mustConnect(t, "namespace=n")
		holder.say(readA)
		waiter.say(writeA)
		reader.say(readA)
		last.say(writeA)
		require.Equal(t, []string{answer(3, "lock", "enqueued")}, reader.heard())
		pass(time.Second)
		n.deliver(0)
		require.EqualValues(t, codeFault, holder.closing)
		require.EqualValues(t, codeFault, waiter.closing)
		n.deliver(0)
		require.Equal(t, []string{answer(3, "lock", "acquired")}, reader.heard(), "the waiter has left the queue")
		reader.say(release)
		n.deliver(0)
		require.Equal(t, []string{answer(4, "lock", "enqueued")}, last.heard(), "the holder's lock is still there")
		pass(3 * time.Second)
		n.deliver(0)
		require.Equal(t, []string{answer(4, "lock", "acquired")}, last.heard())
		require.NoError(t, n.s.Close())
	})
}

// The longest that a plugin can say, and what no plugin can: none ends at once, and none keeps the
// others from ending.
func TestAuthenticationMayHoldForCenturies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ttl := math.MaxUint32 * time.Second
		n := timed(testSettings(), &ttl)
		n.run()
		n.mustConnect(t, "namespace=n")
		ttl = math.MaxInt64
		n.mustConnect(t, "namespace=n")
		ttl = -1
		n.mustConnect(t, "namespace=n") // as long as the connection
		require.Equal(t, 2, n.s.expiries.count())
		pass(math.MaxUint32*time.Second - 1)
		require.Zero(t, n.waiting())
		ttl = time.Second
		n.mustConnect(t, "namespace=n")
		pass(1)
		require.Equal(t, 1, n.waiting())
		pass(time.Second - 1)
		require.Equal(t, 2, n.waiting())
		require.NoError(t, n.s.Close())
	})
}

func TestConnectionsThatEndFirstLeaveNothingBehind(t *testing.T) {
	ttl := time.Hour
	n := timed(testSettings(), &ttl)
	for i := range 1000 {
		c := n.mustConnect(t, "namespace=n")
		switch i % 3 {
		case 0:
			c.say("?") // closed by us; the client may take its time to answer
		case 1:
			c.drop()
		case 2:
			n.s.stage.Store(draining)
			c.w.Notify(c, tokenLook)
			n.s.stage.Store(serving)
		}
		require.Zero(t, n.s.expiries.count(), "%d", i)
		if i%3 == 1 {
			continue
		}
		c.w.Notify(c, tokenExpired) // it was on its way
		require.Zero(t, n.s.judged.expired.Load(), "%d", i)
		c.drop()
	}
	require.Less(t, cap(n.s.expiries.queue), 100)
}

// A refused client never was there, and neither was its time.
func TestClientThatFindsNoRoomLeavesNoTimeBehind(t *testing.T) {
	set := testSettings()
	set.Namespaces = 0
	ttl := time.Hour
	n := timed(set, &ttl)
	_, refused := n.connect("namespace=n")
	require.Equal(t, 503, refused.Status)
	require.Zero(t, n.s.expiries.count())
	require.Zero(t, n.s.connections.live)
}

// Whatever becomes of the plugins and the settings: what a client was given at connect holds.
func TestAuthenticationEndsAtItsTimeAlsoAfterReloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ttl := 2 * time.Second
		n := timed(testSettings(), &ttl)
		n.run()
		c := n.mustConnect(t, "namespace=n")
		pass(time.Second)
		n.judge.active = false
		n.s.Reload(testSettings())
		pass(time.Second - 1)
		require.Zero(t, n.waiting())
		pass(1)
		n.deliver(0)
		require.Equal(t, []string{expired}, c.heard())
		require.NoError(t, n.s.Close())
	})
}

func TestAuthenticationThatEndsWhileDrainingLetsShutdownEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ttl := 2 * time.Second
		n := timed(testSettings(), &ttl)
		n.run()
		c := n.mustConnect(t, "namespace=n")
		c.say(writeA)
		c.heard()
		ended := make(chan error)
		go func() { ended <- n.s.Shutdown(context.Background()) }()
		pass(ttl)
		n.deliver(0)
		require.Equal(t, []string{expired}, c.heard())
		c.drop()
		require.NoError(t, <-ended)
	})
}

// Each connection's end arrives once, in the order of time and not of arrival, whatever left in between.
func TestExpiriesComeInTheOrderOfTheirTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ttl time.Duration
		n := timed(testSettings(), &ttl)
		n.run()
		conns := map[time.Duration]*fakeConn{}
		for _, s := range []time.Duration{7, 3, 9, 1, 5, 8, 2, 6, 4} {
			ttl = s * time.Second
			conns[s] = n.mustConnect(t, "namespace=n")
		}
		conns[1].drop()
		conns[5].drop()
		for s := time.Duration(1); s <= 9; s++ {
			pass(time.Second)
			var want []posted
			if s != 1 && s != 5 {
				want = []posted{{conns[s].id, tokenExpired}}
			}
			require.Equal(t, fmt.Sprint(want), fmt.Sprint(n.collect(0)), "after %d seconds", s)
		}
		require.Zero(t, n.s.expiries.count())
		require.NoError(t, n.s.Close())
	})
}

// No fencing id is taken for a token of another meaning.
func TestTokensAreNoIDs(t *testing.T) {
	require.Greater(t, uint64(tokenExpired), uint64(math.MaxInt64))
	require.Less(t, uint64(tokenLook), uint64(1))
	n := timed(testSettings(), new(time.Duration))
	c := n.mustConnect(t, "namespace=n")
	for _, id := range []uint64{1, math.MaxInt64, tokenExpired - 1} {
		c.w.Notify(c, id)
	}
	require.Zero(t, c.closing)
	require.Empty(t, c.sent)
}
