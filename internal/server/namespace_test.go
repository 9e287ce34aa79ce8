package server

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestASessionIsCountedBeforeAnybodyCanEndIt: it is a user of its namespace as soon as somebody else can get at it. Else
// its end could be counted first, and the namespace would be forgotten while others hold locks there.
func TestASessionIsCountedBeforeAnybodyCanEndIt(t *testing.T) {
	n := newFake(testSettings(), nil)
	c := n.connectV2(t)
	ns, others := n.s.spaces.find("n")
	require.Equal(t, 1, others)
	n.s.spaces.mu.Lock() // whoever waits for it here has given the namespace away already
	greeted := make(chan struct{})
	go func() {
		c.greet(t, helloV2)
		close(greeted)
	}()
	for begun := false; !begun; {
		ns.mu.Lock()
		if begun = ns.space != nil && !ns.space.Empty(); begun {
			require.EqualValues(t, 3, ns.users.Load(), "the connection, this test, and the session")
		}
		ns.mu.Unlock()
	}
	n.s.spaces.mu.Unlock()
	<-greeted
}

// TestAForgottenNamespaceTakesNoOtherOneAlong that has come by its name.
func TestAForgottenNamespaceTakesNoOtherOneAlong(t *testing.T) {
	r := &registry{byName: map[string]*namespace{}, max: 9, limits: testSettings().Engine}
	first, err := r.join("n")
	require.NoError(t, err)
	r.share(first)
	r.leave(first)
	require.Equal(t, 1, r.count(), "there is another user")
	r.leave(first)
	require.Zero(t, r.count())
	second, err := r.join("n")
	require.NoError(t, err)
	require.NotSame(t, first, second)
	r.share(first)
	r.leave(first)
	found, others := r.find("n")
	require.Same(t, second, found)
	require.Equal(t, 1, others)
}

// TestWhoSharesANamespaceAtTheLastMomentKeepsIt, as who is at work in it may.
func TestWhoSharesANamespaceAtTheLastMomentKeepsIt(t *testing.T) {
	r := &registry{byName: map[string]*namespace{}, max: 9, limits: testSettings().Engine}
	ns, err := r.join("n")
	require.NoError(t, err)
	ns.mu.Lock()
	left := make(chan struct{})
	go func() {
		r.leave(ns)
		close(left)
	}()
	for ns.users.Load() > 0 {
	}
	r.share(ns)
	ns.mu.Unlock()
	<-left
	require.Equal(t, 1, r.count())
	r.leave(ns)
	require.Zero(t, r.count())
}

// TestANamespaceThatIsGoneIsKeptByNoTimer: a session that has ended would have lived for a minute.
func TestANamespaceThatIsGoneIsKeptByNoTimer(t *testing.T) {
	n := newFake(testSettings(), nil)
	for range 2 {
		c := n.connectV2(t)
		c.greet(t, `{"op":"hello","ttl_ms":60000}`)
		require.Equal(t, 1, n.s.ticks.count())
		c.say(lockV2(1, ""))
		c.say(`{"op":"bye","id":2}`)
		require.Zero(t, n.s.ticks.count())
		c.drop()
		require.Zero(t, n.s.spaces.count())
	}
	c := n.connectV2(t)
	c.greet(t, helloV2)
	c.say(`{"op":"bye","id":1}`)
	other := n.connectV2(t)
	other.greet(t, helloV2)
	require.Equal(t, 1, n.s.ticks.count(), "the next session in a namespace that has stayed has one again")
}
