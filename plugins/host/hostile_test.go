package host

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/hostile"
)

func TestEndlessGuestsAreEnded(t *testing.T) {
	for _, hook := range allHooks {
		o, log := recorded(Options{})
		g := loaded(t, o, mean(t, hook, impatient))
		for _, d := range hostile.Endless {
			t.Run(hook.name()+"/"+d.About, func(t *testing.T) { endsBadly(t, g, log, hook, d) })
		}
	}
}

func TestGuestsThatTrapAreReplaced(t *testing.T) {
	for _, hook := range allHooks {
		o, log := recorded(Options{})
		g := loaded(t, o, mean(t, hook, patient))
		for _, d := range slices.Concat(hostile.Trapping, hostile.Deep) {
			t.Run(hook.name()+"/"+d.About, func(t *testing.T) { endsBadly(t, g, log, hook, d) })
		}
	}
}

func TestWrongAnswersAreBreaches(t *testing.T) {
	for _, hook := range allHooks {
		o, log := recorded(Options{})
		g := loaded(t, o, mean(t, hook, patient))
		for _, d := range slices.Concat(hostile.Wrong, hostile.WrongFor(hook.name())) {
			t.Run(hook.name()+"/"+d.About, func(t *testing.T) { endsBadly(t, g, log, hook, d) })
		}
	}
}

// endsBadly asks once, and looks at all that must come of it: a failure that says why, an instance that
// is replaced, a line in the log, and a guest that is as good as new.
func endsBadly(t *testing.T, g *Gate, log *recorder, hook Hooks, d hostile.Deed) {
	mended(g)
	log.all()
	g.current.Load().plugins[0].tells = bucket{} // nobody else looks: no call is on
	before := g.Stats()[0]
	c := g.Caller()
	v := put(c, hook, d.Namespace)
	require.Equal(t, Failed, v.Outcome, "%q", v.Reason)
	require.Equal(t, "mean", v.Plugin)
	require.Equal(t, d.Reason, string(v.Reason))
	require.Contains(t, log.text(), d.Log)
	mended(g)
	want := before
	want.Calls++
	want.Replaced++
	*map[string]*uint64{hostile.Slow: &want.Overruns, hostile.Failed: &want.Traps, hostile.Breach: &want.Breaches}[d.Reason]++
	after := g.Stats()[0]
	after.LogsLost = before.LogsLost
	require.Equal(t, want, after)
	v = put(c, hook, hostile.Allows)
	require.Equal(t, Allowed, v.Outcome, "%q", v.Reason)
}

// TestTextsAreCutBetweenRunes has the guest say more than is passed on.
func TestTextsAreCutBetweenRunes(t *testing.T) {
	g := loaded(t, Options{}, mean(t, Authorize, patient))
	c := g.Caller()
	for _, x := range []struct{ about, text, want string }{
		{"nothing", "", ""},
		{"all", strings256("a"), strings256("a")},
		{"a byte more", strings256("a") + "a", strings256("a")},
		{"a rune of two bytes that just fits", strings256("é"), strings256("é")},
		{"one that doesn't", "a" + strings256("é"), "a" + strings256("é")[:254]},
		{"one of three", strings256("漢")[:255] + "漢", strings256("漢")[:255]},
		{"one of four", "abc" + strings256("😀"), "abc" + strings256("😀")[:252]},
		{"NUL, control characters and what isn't one", "\x00\n\x1b[31m\u2028\ufffd", "\x00\n\x1b[31m\u2028\ufffd"},
	} {
		v := put(c, Authorize, hostile.Saying(hostile.Deny, 9, x.text))
		require.Equal(t, Denied, v.Outcome, x.about)
		require.Equal(t, x.want, string(v.Reason), x.about)
		require.Equal(t, uint8(9), v.Code)
	}
}

// strings256 repeats s up to 256 bytes.
func strings256(s string) string {
	out := ""
	for len(out)+len(s) <= 256 {
		out += s
	}
	return out
}

// TestAnswerOfTheWholeMemory has the longest answers that there can be.
func TestAnswerOfTheWholeMemory(t *testing.T) {
	g := loaded(t, Options{}, mean(t, Authorize, patient))
	v := put(g.Caller(), Authorize, hostile.Answer(hostile.Deny, 1, 1<<16-1, 0, ""))
	require.Equal(t, Denied, v.Outcome, "the lowest page of this guest is zeros, which are UTF-8")
	require.Equal(t, make([]byte, 256), v.Reason)
	v = put(g.Caller(), Authorize, hostile.Answer(hostile.Deny, 1, 1<<16-1, hostile.Memory-1<<16+1, ""))
	require.Equal(t, Denied, v.Outcome, "to the last byte")
	v = put(g.Caller(), Authorize, hostile.Answer(hostile.Deny, 1, 0, 1<<32-1, ""))
	require.Equal(t, Denied, v.Outcome, "of no bytes, and where they are doesn't matter")
	require.Empty(t, v.Reason)
}

// TestClobberedBuffer has the guest overwrite the question and all around it: the next one must not
// know of it.
func TestClobberedBuffer(t *testing.T) {
	for _, hook := range allHooks {
		g := loaded(t, Options{}, mean(t, hook, patient))
		c := g.Caller()
		for b := range 256 {
			require.Equal(t, Allowed, put(c, hook, "w"+string([]byte{byte(b)})).Outcome)
			require.Equal(t, Denied, put(c, hook, hostile.Saying(hostile.Deny, 0, "no")).Outcome)
		}
		require.Zero(t, g.Stats()[0].Replaced)
	}
}

// TestGoesBadAfterAMillionCalls is a guest that behaves for long.
func TestGoesBadAfterAMillionCalls(t *testing.T) {
	const calls = 1_000_000
	g := loaded(t, Options{}, mean(t, Authorize, impatient))
	c := g.Caller()
	q := &Request{Namespace: hostile.GoesBad(calls), Identity: &alice}
	for k := range calls {
		if v := c.Judge(q); v.Outcome != Allowed {
			require.Fail(t, "denied", "call %d: %q", k, v.Reason)
		}
	}
	v := c.Judge(q)
	require.Equal(t, Failed, v.Outcome)
	require.Equal(t, errSlow.Error(), string(v.Reason))
	mended(g)
	require.Equal(t, Allowed, c.Judge(q).Outcome, "a new instance has forgotten how often it was asked")
	st := g.Stats()[0]
	require.Equal(t, [...]uint64{calls + 2, 1, 1}, [...]uint64{st.Calls, st.Overruns, st.Replaced})
}

// TestGuestKeepsItsState from call to call, until its instance is discarded.
func TestGuestKeepsItsState(t *testing.T) {
	g := loaded(t, Options{}, mean(t, Authorize, patient))
	c := g.Caller()
	for k := range 5 {
		require.Equal(t, uint8(k+1), put(c, Authorize, "#").Code)
	}
	require.Equal(t, Failed, put(c, Authorize, "A").Outcome)
	mended(g)
	require.Equal(t, uint8(1), put(c, Authorize, "#").Code)
}

// TestOneBadInstanceHurtsNobodyElse has one instance of two fail: the other goes on, with its state.
func TestOneBadInstanceHurtsNobodyElse(t *testing.T) {
	g := loaded(t, Options{Instances: 2}, mean(t, Authorize, patient))
	a, b := g.Caller(), g.Caller()
	require.Equal(t, uint8(1), put(b, Authorize, "#").Code)
	require.Equal(t, Failed, put(a, Authorize, "A").Outcome)
	require.Equal(t, uint8(2), put(b, Authorize, "#").Code)
	mended(g)
	require.Equal(t, uint8(3), put(b, Authorize, "#").Code)
	require.Equal(t, uint8(1), put(a, Authorize, "#").Code)
}
