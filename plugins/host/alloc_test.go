package host

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/hostile"
)

// TestCallsAllocateNothing in a steady state, whatever their answers are; an identity is two copies.
func TestCallsAllocateNothing(t *testing.T) {
	for _, x := range []struct {
		hook      Hooks
		namespace string
		want      Outcome
		allocs    float64
	}{
		{Authorize, hostile.Allows, Allowed, 0},
		{Authorize, hostile.Saying(hostile.Deny, 7, "no"), Denied, 0},
		{Authorize, strings.Repeat("x", bufferBytes), TooLong, 0},
		{Normalize, hostile.Allows, Allowed, 0},
		{Normalize, hostile.Saying(hostile.Deny, 7, "no"), Denied, 0},
		{Normalize, hostile.Saying(hostile.Rewritten, 0, "z\x00\x00y\x00x\x00\x00"), Allowed, 0},
		{Normalize | Authorize, hostile.Allows, Allowed, 0},
		{Authenticate, hostile.Allows, Allowed, 0},
		{Authenticate, hostile.Saying(hostile.Deny, 7, "no"), Denied, 0},
		{Authenticate, hostile.Saying(hostile.Allow, 0, hostile.Identity(0, 5, 3, "alicectx")), Allowed, 2},
	} {
		c := loaded(t, Options{}, mean(t, x.hook, patient)).Caller()
		connect := &Connect{Namespace: x.namespace, Fields: []Field{{Header, "authorization", "Bearer x"}}}
		request, path := &Request{Namespace: x.namespace, Identity: &alice, Remote: "10.1.2.3:51234", Operation: Lock}, path("a", "b")
		var v Verdict
		call := func() {
			if x.hook == Authenticate {
				_, v = c.Authenticate(connect)
				return
			}
			request.Resources = append(request.Resources[:0], Resource{Write, path}, Resource{Read, path})
			v = c.Judge(request)
		}
		call()
		require.Equal(t, x.want, v.Outcome, "%s %.20s: %q", x.hook.name(), x.namespace, v.Reason)
		require.Equal(t, x.allocs, testing.AllocsPerRun(200, call), "%s %.20s", x.hook.name(), x.namespace)
		require.Equal(t, x.want, v.Outcome)
	}
}

// TestLongCallsAllocateNothing either, though they look at the clock.
func TestLongCallsAllocateNothing(t *testing.T) {
	g := loaded(t, Options{}, mean(t, Authorize, patient))
	c, i := g.Caller(), g.current.Load().plugins[0].slots[0].instance
	q := &Request{Namespace: hostile.Answer(hostile.Allow, 0, 0, 0, strings.Repeat("x", 20_000)), Identity: &alice}
	require.Zero(t, testing.AllocsPerRun(100, func() { c.Judge(q) }))
	require.NotZero(t, i.deadline, "it did look")
}

// TestNoPluginsCostNothing: nothing is allocated.
func TestNoPluginsCostNothing(t *testing.T) {
	g := New(Options{})
	defer g.Close()
	c := g.Caller()
	q, connect := &Request{Namespace: "n", Identity: &alice, Resources: oneOf("a")}, &Connect{}
	require.False(t, c.Active())
	require.Zero(t, testing.AllocsPerRun(100, func() {
		c.Active()
		c.Judge(q)
		c.Authenticate(connect)
	}))
}
