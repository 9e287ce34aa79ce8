package host

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/hostile"
)

// A shape is what an answer brings besides its status and code.
type shape struct {
	about  string
	length uint16
	at     uint32
	said   string // what lies at hostile.Scratch
}

// saying is the shape of an answer that says this.
func saying(about, said string) shape {
	return shape{about, uint16(len(said)), hostile.Scratch, said}
}

const (
	identityShape = "an identity"
	pathsShape    = "paths"
)

// shapes are all that hooks may answer with, and what none may.
var shapes = []shape{
	{"nothing", 0, 0, ""},
	{"nothing, and nowhere", 0, 1<<32 - 1, ""},
	saying("text", "because"),
	saying("no UTF-8", "\xff\xfe"),
	saying(identityShape, hostile.Identity(60, 5, 3, "alicectx")),
	saying("an identity cut short", hostile.Identity(60, 5, 3, "alice")),
	saying(pathsShape, "a\x00b\x00\x00"),
	saying("paths cut short", "a\x00b\x00"),
	{"all that there is", 65535, 0, ""},
	{"bytes behind the memory", 1, hostile.Memory, ""},
	{"bytes across the end of memory", 65535, hostile.Memory - 1, ""},
	{"bytes across the end of addresses", 65535, 1<<32 - 1, ""},
}

// mayAllow says which completed calls allow. It is written down here once more, by hook, status and shape.
func mayAllow(hook Hooks, status int, s shape) bool {
	switch {
	case status == 1 && hook != Authenticate:
		return true // where it points to isn't looked at
	case status == 1:
		return s.length == 0 || s.about == identityShape
	case status == 3 && hook == Normalize:
		return s.about == pathsShape
	}
	return false
}

// TestOnlyGoodAnswersAllow tries every first byte of a result, with every hook and every shape of an answer.
func TestOnlyGoodAnswersAllow(t *testing.T) {
	for _, hook := range allHooks {
		g := unmended(loaded(t, Options{}, mean(t, hook, patient)))
		c := g.Caller()
		for status := range 256 {
			for _, s := range shapes {
				renew(t, g)
				v := put(c, hook, hostile.Answer(byte(status), 7, s.length, s.at, s.said))
				about := fmt.Sprintf("%s: status %d with %s: %v %q", hook.name(), status, s.about, v.Outcome, v.Reason)
				requireOneOfThree(t, v, about)
				require.Equal(t, mayAllow(hook, status, s), v.Outcome == Allowed, about)
				require.True(t, v.Outcome != Denied || status == 2, about)
			}
		}
	}
}

// requireOneOfThree wants a verdict that is whole: allowed, denied by a plugin's own word, or failed.
func requireOneOfThree(t *testing.T, v Verdict, about string) {
	switch v.Outcome {
	case Allowed:
		require.Equal(t, Verdict{Outcome: Allowed}, v, about)
	case Denied:
		require.Equal(t, "mean", v.Plugin, about)
		require.Equal(t, uint8(7), v.Code, about)
	case Failed:
		require.Equal(t, "mean", v.Plugin, about)
		require.Contains(t, []string{hostile.Breach, errFault.Error()}, string(v.Reason), about)
		require.Zero(t, v.Code, about)
	default:
		require.Fail(t, "another outcome", about)
	}
}

// TestZeroValuesDeny, whatever somebody forgets.
func TestZeroValuesDeny(t *testing.T) {
	var v Verdict
	require.NotEqual(t, Allowed, v.Outcome)
	require.Equal(t, Denied, v.Outcome)
	require.NotEqual(t, statusAllow, answer{}.status)
	require.NotEqual(t, statusRewritten, answer{}.status)
	require.False(t, Identity{}.Authenticated)
	_, ok := readIdentityIf(false, nil)
	require.False(t, ok)
}

// TestNoErrorAllows has verdicts made of every error that a call can end with, and of none of them.
func TestNoErrorAllows(t *testing.T) {
	c, p := New(Options{}).Caller(), &plugin{name: "p"}
	for _, err := range []error{
		errMissing, errTrapped, errSlow, errBreach, errFault, errTooLong, errRetired, &denial{}, errOverrun, errStack,
		errAbort, errExit, errClosed, errors.New("another"), fmt.Errorf("wrapped: %w", errMissing),
	} {
		v := c.verdict(p, err)
		require.NotEqual(t, Allowed, v.Outcome, "%v", err)
		require.Equal(t, "p", v.Plugin)
	}
}

// An end is a way in which a question ends without a completed call.
type end struct {
	about   string
	prepare func(t *testing.T, g *Gate)
	ask     string // the namespace
	want    Verdict
}

// failed is the verdict of a plugin that couldn't judge.
func failed(why string) Verdict {
	return Verdict{Outcome: Failed, Plugin: "mean", Reason: []byte(why)}
}

// ends are all but those of TestOnlyGoodAnswersAllow.
var ends = []end{
	{"a trap", nil, "A", failed(hostile.Failed)},
	{"an exit", nil, "V0", failed(hostile.Failed)},
	{"an abort", nil, "U", failed(hostile.Failed)},
	{"too deep", nil, "a", failed(hostile.Failed)},
	{"an overrun", nil, "l", failed(hostile.Slow)},
	{"no instance", func(_ *testing.T, g *Gate) { lose(g) }, hostile.Allows, failed("no instance of it is ready")},
	{"too long", nil, strings.Repeat("o", bufferBytes), Verdict{Outcome: TooLong, Plugin: "mean", Reason: []byte("the question is too long")}},
	{"the gate is closed", func(_ *testing.T, g *Gate) { g.Close() }, hostile.Allows, Verdict{Outcome: Failed, Reason: []byte("the server is shutting down")}},
	{"closed, and loaded again", func(t *testing.T, g *Gate) {
		g.Close()
		require.ErrorIs(t, g.Load(nil), errClosed)
		require.ErrorIs(t, g.Load([]Spec{mean(t, Authorize, patient)}), errClosed)
	}, hostile.Allows, Verdict{Outcome: Failed, Reason: []byte("the server is shutting down")}},
}

// lose takes all instances away and has nobody make new ones.
func lose(g *Gate) {
	p := unmended(g).current.Load().plugins[0]
	for k := range p.slots {
		s := &p.slots[k]
		s.mu.Lock()
		p.discard(s)
		s.mu.Unlock()
	}
}

// TestNoOtherEndAllows goes through them, alone and in a chain with a plugin that allows: before and behind.
func TestNoOtherEndAllows(t *testing.T) {
	good := func(t *testing.T, hook Hooks) Spec {
		return Spec{Name: "good", Path: file(t, hostile.Guest), Hooks: hook, Config: []byte("{}"), Namespaces: []string{hostile.Allows + "*"}, Limits: patient}
	}
	for _, hook := range allHooks {
		for _, e := range ends {
			chains := [][]Spec{{mean(t, hook, patient)}, {mean(t, hook, patient), good(t, hook)}}
			for _, specs := range chains {
				t.Run(fmt.Sprint(hook.name(), "/", e.about, " of ", len(specs)), func(t *testing.T) {
					if e.want.Reason != nil && string(e.want.Reason) == hostile.Slow {
						specs[0].Limits.Call = time.Millisecond
					}
					g := loaded(t, Options{}, specs...)
					if e.prepare != nil {
						e.prepare(t, g)
					}
					require.Equal(t, e.want, put(g.Caller(), hook, e.ask))
				})
			}
		}
	}
}

// TestOneOfSeveralDenies puts a plugin that denies before, between and behind ones that allow.
func TestOneOfSeveralDenies(t *testing.T) {
	for _, hook := range allHooks {
		for at := range 3 {
			specs := make([]Spec, 3)
			for k := range specs {
				// "o" is asked of those that allow, the denial of all; each has its own namespaces.
				specs[k] = Spec{Name: fmt.Sprint(k), Path: file(t, hostile.Guest), Hooks: hook, Namespaces: []string{hostile.Allows}, Limits: patient}
			}
			denial := hostile.Saying(hostile.Deny, 3, "no")
			specs[at].Namespaces = []string{denial, hostile.Allows}
			c := loaded(t, Options{}, specs...).Caller()
			require.Equal(t, Verdict{Outcome: Allowed}, put(c, hook, hostile.Allows))
			require.Equal(t, Verdict{Outcome: Denied, Plugin: fmt.Sprint(at), Code: 3, Reason: []byte("no")}, put(c, hook, denial))
		}
	}
}

// TestNoPluginsAllow is the one case in which nobody is asked.
func TestNoPluginsAllow(t *testing.T) {
	g := New(Options{})
	defer g.Close()
	for _, hook := range allHooks {
		require.Equal(t, Verdict{Outcome: Allowed}, put(g.Caller(), hook, "A"))
	}
	require.NoError(t, g.Load([]Spec{mean(t, Authorize, patient)}))
	require.Equal(t, Failed, put(g.Caller(), Authorize, "A").Outcome)
	require.NoError(t, g.Load(nil), "the last plugin goes")
	require.Equal(t, Verdict{Outcome: Allowed}, put(g.Caller(), Authorize, "A"))
}

// TestOnlyItsHooksAndNamespacesAreAskedOfAPlugin, and nothing else changes the answer.
func TestOnlyItsHooksAndNamespacesAreAskedOfAPlugin(t *testing.T) {
	for _, hook := range allHooks {
		spec := mean(t, hook, patient)
		spec.Namespaces = []string{"A", "B*"}
		g := unmended(loaded(t, Options{}, spec))
		c := g.Caller()
		for _, other := range allHooks {
			for namespace, covered := range map[string]bool{"A": true, "AA": false, "B": true, "BB": true, "b": false, "": false} {
				v := put(c, other, namespace)
				asked := covered && (other == hook || hook != Authenticate && other != Authenticate)
				want := Allowed
				if asked {
					want = Failed
				}
				require.Equal(t, want, v.Outcome, "%s of %q", other.name(), namespace)
				renew(t, g)
			}
		}
	}
}

// TestConnectionsOlderThanThePluginAreDenied, if it is one that authenticates and is for their namespace.
func TestConnectionsOlderThanThePluginAreDenied(t *testing.T) {
	spec := mean(t, Authenticate, patient)
	spec.Namespaces = []string{hostile.Allows}
	c := loaded(t, Options{}, spec).Caller()
	for _, x := range []struct {
		who       Identity
		namespace string
		want      Outcome
	}{
		{Identity{}, hostile.Allows, Denied},
		{Identity{Principal: "alice"}, hostile.Allows, Denied}, // only Authenticated counts
		{Identity{Authenticated: true}, hostile.Allows, Allowed},
		{Identity{}, "elsewhere", Allowed},
	} {
		v := c.Judge(&Request{Namespace: x.namespace, Identity: &x.who, Operation: Lock, Resources: oneOf("a")})
		require.Equal(t, x.want, v.Outcome, "%+v", x)
		require.Equal(t, x.want == Denied, slices.Equal(reasonUnknown, v.Reason), "%+v", x)
	}
}

// TestPathsChangeOnlyIfAllAllow: whoever is refused finds the request as it was.
func TestPathsChangeOnlyIfAllAllow(t *testing.T) {
	rewriting := hostile.Saying(hostile.Rewritten, 0, "z\x00y\x00\x00")
	g := loaded(t, Options{}, mean(t, Normalize, patient))
	q := &Request{Namespace: rewriting, Identity: &alice, Operation: Lock, Resources: oneOf("a")}
	require.Equal(t, Allowed, g.Caller().Judge(q).Outcome)
	require.Equal(t, oneOf("z", "y"), q.Resources)
	second := mean(t, Authorize, patient)
	second.Name = "second"
	g = loaded(t, Options{}, mean(t, Normalize, patient), second)
	q.Resources = oneOf("a")
	v := g.Caller().Judge(q) // rewritten is no answer of authorize
	require.Equal(t, Verdict{Outcome: Failed, Plugin: "second", Reason: []byte(hostile.Breach)}, v)
	require.Equal(t, oneOf("a"), q.Resources)
}
