package host

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// ending is how a call ends that has no answer that counts.
type ending struct {
	about     string
	namespace string
	reason    error  // that the client is told
	log       string // what the log must say
}

// endless guests are ended by their limit, whatever they are busy with.
var endless = []ending{
	{"an empty loop", loops, errSlow, "took longer than call_timeout"},
	{"a loop that counts", "L", errSlow, ""},
	{"recursion without loops", "r", errSlow, ""},
	{"recursion through a table", "I", errSlow, ""},
	{"divisions", "d", errSlow, ""},
	{"square roots of tiny numbers", "f", errSlow, ""},
	{"filling memory", "F", errSlow, ""},
	{"copying memory", "C", errSlow, ""},
	{"loads that depend on each other, all over the memory", "c", errSlow, ""},
	{"stores across pages that were never touched", "t", errSlow, ""},
	{"growing memory", "M", errSlow, ""},
	{"growing tables", "T", errSlow, ""},
	{"filling and copying tables", "S", errSlow, ""},
	{"references", "n", errSlow, ""},
	{"random bytes, many", "R", errSlow, ""},
	{"random bytes, one at a time", "1", errSlow, ""},
	{"the time", "2", errSlow, ""},
	{"the clock's resolution", "3", errSlow, ""},
	{"log lines", "4", errSlow, ""},
	{"empty log lines", "5", errSlow, ""},
	{"writing", "6", errSlow, ""},
	{"writing nothing", "7", errSlow, ""},
	{"writing from outside of the memory", "8", errSlow, ""},
	{"yielding", "9", errSlow, ""},
}

// trapping guests end by themselves, or where they leave what they are given.
var trapping = []ending{
	{"too deep", "a", errTrapped, errStack.Error()},
	{"too deep in two functions", "b", errTrapped, errStack.Error()},
	{"too deep through a table", "e", errTrapped, errStack.Error()},
	{"too deep with much on the stack", "h", errTrapped, errStack.Error()},
	{"unreachable", unreachable, errTrapped, "unreachable"},
	{"division by zero", "B", errTrapped, "integer divide by zero"},
	{"overflow", "D", errTrapped, "integer overflow"},
	{"a load across the end of memory", "E", errTrapped, "out of bounds memory access"},
	{"a store far outside", "G", errTrapped, "out of bounds memory access"},
	{"filling outside", "H", errTrapped, "out of bounds memory access"},
	{"a call outside of the table", "J", errTrapped, "invalid table access"},
	{"a call of null", "K", errTrapped, "invalid table access"},
	{"nothing is selected", "~", errTrapped, "invalid table access"},
	{"a call of another type", "N", errTrapped, "indirect call type mismatch"},
	{"a conversion of NaN", "O", errTrapped, "invalid conversion to integer"},
	{"a conversion of what is too large", "P", errTrapped, "integer overflow"},
	{"setting outside of the table", "Q", errTrapped, "invalid table access"},
	{"abort", "U", errTrapped, errAbort.Error()},
	{"exit 0", "V\x00", errTrapped, errExit.Error()},
	{"exit 1", "V\x01", errTrapped, errExit.Error()},
	{"a log line from outside", "W", errTrapped, "log with memory that it doesn't have"},
}

// wrong answers come from calls that complete.
var wrong = []ending{
	{"no status", answers(0), errBreach, "status 0"},
	{"a status of all ones", answers(1<<64 - 1), errBreach, "status 255"},
	{"a text behind the memory", answers(result(answer{statusDeny, 0, 1, hostileMemory})), errBreach, "status 2"},
	{"a text across the end of memory", answers(result(answer{statusDeny, 0, 2, hostileMemory - 1})), errBreach, ""},
	{"a text across the end of addresses", answers(result(answer{statusFault, 0, 2, 1<<32 - 1})), errBreach, "status 4"},
	{"a text that is longer than it can be", answers(result(answer{statusDeny, 0, 1<<16 - 1, hostileMemory - 1<<16 + 2})), errBreach, ""},
	{"a text that is no UTF-8", saying(statusDeny, 0, "caf\xe9"), errBreach, ""},
	{"a fault that is no UTF-8", saying(statusFault, 0, "\xff"), errBreach, ""},
	{"a text that ends within a rune", saying(statusDeny, 0, "\xe6\xbc"), errBreach, ""},
}

func TestEndlessGuestsAreEnded(t *testing.T) {
	for _, hook := range allHooks {
		o, log := recorded(Options{})
		g := loaded(t, o, hostile(hook, impatient))
		for _, e := range endless {
			t.Run(hook.name()+"/"+e.about, func(t *testing.T) { endsBadly(t, g, log, hook, e) })
		}
	}
}

func TestGuestsThatTrapAreReplaced(t *testing.T) {
	for _, hook := range allHooks {
		o, log := recorded(Options{})
		g := loaded(t, o, hostile(hook, patient))
		for _, e := range trapping {
			t.Run(hook.name()+"/"+e.about, func(t *testing.T) { endsBadly(t, g, log, hook, e) })
		}
	}
}

func TestWrongAnswersAreBreaches(t *testing.T) {
	for _, hook := range allHooks {
		o, log := recorded(Options{})
		g := loaded(t, o, hostile(hook, patient))
		for _, e := range wrong {
			t.Run(hook.name()+"/"+e.about, func(t *testing.T) { endsBadly(t, g, log, hook, e) })
		}
	}
}

// endsBadly asks once, and looks at all that must come of it: a failure that says why, an instance that
// is replaced, a line in the log, and a guest that is as good as new.
func endsBadly(t *testing.T, g *Gate, log *recorder, hook Hooks, e ending) {
	mended(g)
	log.all()
	g.current.Load().plugins[0].tells = bucket{} // nobody else looks: no call is on
	before := g.Stats()[0]
	c := g.Caller()
	v := put(c, hook, e.namespace)
	require.Equal(t, Failed, v.Outcome, "%q", v.Reason)
	require.Equal(t, "hostile", v.Plugin)
	require.Equal(t, e.reason.Error(), string(v.Reason))
	require.Contains(t, log.text(), e.log)
	mended(g)
	want := before
	want.Calls++
	want.Replaced++
	*map[error]*uint64{errSlow: &want.Overruns, errTrapped: &want.Traps, errBreach: &want.Breaches}[e.reason]++
	after := g.Stats()[0]
	after.LogsLost = before.LogsLost
	require.Equal(t, want, after)
	v = put(c, hook, allows)
	require.Equal(t, Allowed, v.Outcome, "%q", v.Reason)
}

// TestEveryStatus tries all that the first byte of a result can be, with every hook.
func TestEveryStatus(t *testing.T) {
	for _, hook := range allHooks {
		g := loaded(t, Options{}, hostile(hook, patient))
		c := g.Caller()
		for s := range 256 {
			mended(g)
			before := g.Stats()[0]
			v := put(c, hook, answers(result(answer{status: status(s), code: 7})))
			after := g.Stats()[0]
			about := fmt.Sprintf("%s, status %d: %q", hook.name(), s, v.Reason)
			switch {
			case s == 1, s == 3 && hook == Normalize:
				require.Equal(t, Verdict{Outcome: Allowed}, v, about)
			case s == 2:
				require.Equal(t, Verdict{Outcome: Denied, Plugin: "hostile", Code: 7, Reason: []byte{}}, v, about)
				require.Equal(t, before.Denied+1, after.Denied, about)
			case s == 4:
				require.Equal(t, Verdict{Outcome: Failed, Plugin: "hostile", Reason: []byte(errFault.Error())}, v, about)
				require.Equal(t, before.Traps+1, after.Traps, about)
			default:
				require.Equal(t, Verdict{Outcome: Failed, Plugin: "hostile", Reason: []byte(errBreach.Error())}, v, about)
				require.Equal(t, before.Breaches+1, after.Breaches, about)
			}
			mended(g)
			broken := s == 0 || s > 4 || s == 3 && hook != Normalize
			require.Equal(t, broken, g.Stats()[0].Replaced > before.Replaced, about)
		}
	}
}

// TestTextsAreCutBetweenRunes has the guest say more than is passed on.
func TestTextsAreCutBetweenRunes(t *testing.T) {
	g := loaded(t, Options{}, hostile(Authorize, patient))
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
		v := put(c, Authorize, saying(statusDeny, 9, x.text))
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
	g := loaded(t, Options{}, hostile(Authorize, patient))
	v := put(g.Caller(), Authorize, answers(result(answer{statusDeny, 1, 1<<16 - 1, 0})))
	require.Equal(t, Denied, v.Outcome, "the lowest page of this guest is zeros, which are UTF-8")
	require.Equal(t, make([]byte, 256), v.Reason)
	v = put(g.Caller(), Authorize, answers(result(answer{statusDeny, 1, 1<<16 - 1, hostileMemory - 1<<16 + 1})))
	require.Equal(t, Denied, v.Outcome, "to the last byte")
	v = put(g.Caller(), Authorize, answers(result(answer{statusDeny, 1, 0, 1<<32 - 1})))
	require.Equal(t, Denied, v.Outcome, "of no bytes, and where they are doesn't matter")
	require.Empty(t, v.Reason)
}

// TestClobberedBuffer has the guest overwrite the question and all around it: the next one must not
// know of it.
func TestClobberedBuffer(t *testing.T) {
	for _, hook := range allHooks {
		g := loaded(t, Options{}, hostile(hook, patient))
		c := g.Caller()
		for b := range 256 {
			require.Equal(t, Allowed, put(c, hook, "w"+string([]byte{byte(b)})).Outcome)
			require.Equal(t, Denied, put(c, hook, saying(statusDeny, 0, "no")).Outcome)
		}
		require.Zero(t, g.Stats()[0].Replaced)
	}
}

// TestGoesBadAfterAMillionCalls is a guest that behaves for long.
func TestGoesBadAfterAMillionCalls(t *testing.T) {
	const calls = 1_000_000
	g := loaded(t, Options{}, hostile(Authorize, impatient))
	c := g.Caller()
	q := &Request{Namespace: string(le.AppendUint32([]byte("g"), calls)), Identity: &alice}
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
	g := loaded(t, Options{}, hostile(Authorize, patient))
	c := g.Caller()
	for k := range 5 {
		require.Equal(t, uint8(k+1), put(c, Authorize, "#").Code)
	}
	require.Equal(t, Failed, put(c, Authorize, unreachable).Outcome)
	mended(g)
	require.Equal(t, uint8(1), put(c, Authorize, "#").Code)
}

// TestOneBadInstanceHurtsNobodyElse has one instance of two fail: the other goes on, with its state.
func TestOneBadInstanceHurtsNobodyElse(t *testing.T) {
	g := loaded(t, Options{Instances: 2}, hostile(Authorize, patient))
	a, b := g.Caller(), g.Caller()
	require.Equal(t, uint8(1), put(b, Authorize, "#").Code)
	require.Equal(t, Failed, put(a, Authorize, unreachable).Outcome)
	require.Equal(t, uint8(2), put(b, Authorize, "#").Code)
	mended(g)
	require.Equal(t, uint8(3), put(b, Authorize, "#").Code)
	require.Equal(t, uint8(1), put(a, Authorize, "#").Code)
}
