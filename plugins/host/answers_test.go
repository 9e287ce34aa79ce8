package host

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/hostile"
)

// TestIdentitiesAreTaken to the last byte that they may have.
func TestIdentitiesAreTaken(t *testing.T) {
	c := loaded(t, Options{}, mean(t, Authenticate, patient)).Caller()
	longName, longContext := strings.Repeat("é", 128), strings.Repeat("\x00\xff", 2048)
	for _, x := range []struct {
		said string
		want Identity
	}{
		{"", Identity{Authenticated: true}},
		{hostile.Identity(0, 1, 0, "a"), Identity{Authenticated: true, Principal: "a"}},
		{hostile.Identity(1, 5, 3, "alicectx"), Identity{Authenticated: true, Principal: "alice", Context: "ctx", TTL: time.Second}},
		{hostile.Identity(1<<32-1, 256, 4096, longName+longContext), Identity{Authenticated: true, Principal: longName, Context: longContext, TTL: (1<<32 - 1) * time.Second}},
		{hostile.Identity(0, 4, 0, "a\u00a0 "), Identity{Authenticated: true, Principal: "a\u00a0 "}}, // no controls
	} {
		id, v := c.Authenticate(&Connect{Namespace: hostile.Saying(hostile.Allow, 0, x.said)})
		require.Equal(t, Verdict{Outcome: Allowed}, v, "%q", x.said)
		require.Equal(t, x.want, id)
	}
	require.Positive(t, (1<<32-1)*time.Second, "the longest time is one")
}

// TestNoIdentityWithoutAllOfIt: no part of an answer that isn't right is used.
func TestNoIdentityWithoutAllOfIt(t *testing.T) {
	g := unmended(loaded(t, Options{}, mean(t, Authenticate, patient)))
	for _, d := range append(hostile.WrongFor("authenticate"), hostile.Trapping[0]) {
		id, v := g.Caller().Authenticate(&Connect{Namespace: d.Namespace})
		require.Equal(t, Failed, v.Outcome, d.About)
		require.Zero(t, id, d.About)
		renew(t, g)
	}
}

// TestIdentitiesOfAChain: the last one that names somebody holds, and the shortest time.
func TestIdentitiesOfAChain(t *testing.T) {
	name := func(ttl uint32, name, context string) Identity {
		return Identity{Authenticated: true, Principal: name, Context: context, TTL: time.Duration(ttl) * time.Second}
	}
	nobody := Identity{Authenticated: true}
	for _, x := range []struct{ first, second, want Identity }{
		{nobody, nobody, nobody},
		{name(5, "a", "x"), nobody, name(5, "a", "x")},
		{nobody, name(5, "b", "y"), name(5, "b", "y")},
		{name(5, "a", "x"), name(0, "b", ""), name(5, "b", "")},
		{name(0, "a", "x"), name(6, "b", "y"), name(6, "b", "y")},
		{name(5, "a", "x"), name(6, "b", "y"), name(5, "b", "y")},
		{name(7, "a", "x"), name(6, "b", "y"), name(6, "b", "y")},
	} {
		require.Equal(t, x.want, Identity{}.and(x.first).and(x.second), "%+v", x)
	}
}

// TestAnswersMayLieInTheQuestion: what the guest returns may be a part of what it was asked, or all its buffer.
func TestAnswersMayLieInTheQuestion(t *testing.T) {
	const namespace = hostile.Buffer + headerBytes // of a question without entries
	text := hostile.Answer(hostile.Deny, 5, 16, namespace+1, "")
	for _, hook := range allHooks {
		c := loaded(t, Options{}, mean(t, hook, patient)).Caller()
		v := put(c, hook, text)
		if hook == Authenticate {
			require.Equal(t, Verdict{Outcome: Denied, Plugin: "mean", Code: 5, Reason: []byte(text[1:17])}, v)
			continue
		}
		require.Equal(t, Denied, v.Outcome) // an entry is before the namespace
		require.Len(t, v.Reason, 16)
	}
	// "a", and NUL twice: the path of the question's only resource is its answer.
	c := loaded(t, Options{}, mean(t, Normalize, patient)).Caller()
	rs := oneOf("a", "") // its bytes are a path's of one segment, with its end
	at := uint32(hostile.Buffer + headerBytes + resourceBytes + 17)
	q := &Request{Namespace: hostile.Answer(hostile.Rewritten, 0, 3, at, ""), Identity: &alice, Resources: rs}
	require.Equal(t, Allowed, c.Judge(q).Outcome)
	require.Equal(t, oneOf("a"), q.Resources)
}

// TestPathsAreTaken from a guest to the last segment and byte that they may have.
func TestPathsAreTaken(t *testing.T) {
	g := unmended(loaded(t, Options{}, mean(t, Normalize, patient)))
	g.SetBounds(Bounds{Segments: 3, SegmentBytes: 4})
	c := g.Caller()
	for _, x := range []struct {
		said string
		want []Resource // nil: a breach
	}{
		{"a\x00b\x00c\x00\x00", oneOf("a", "b", "c")},
		{"a\x00b\x00c\x00d\x00\x00", nil},
		{"abcd\x00\x00", oneOf("abcd")},
		{"abcde\x00\x00", nil},
		{"漢a\x00\x00", oneOf("漢a")},
		{"漢éa\x00\x00", nil},
		{"\x00", oneOf()},
		{"\x00\x00", nil},
		{"", nil},
	} {
		q := &Request{Namespace: hostile.Saying(hostile.Rewritten, 0, x.said), Identity: &alice, Resources: oneOf("x", "y")}
		v := c.Judge(q)
		if x.want == nil {
			require.Equal(t, Verdict{Outcome: Failed, Plugin: "mean", Reason: []byte(hostile.Breach)}, v, "%q", x.said)
			require.Equal(t, oneOf("x", "y"), q.Resources)
			renew(t, g)
			continue
		}
		require.Equal(t, Verdict{Outcome: Allowed}, v, "%q", x.said)
		require.Equal(t, len(x.want[0].Path), len(q.Resources[0].Path))
		require.True(t, slices.EqualFunc(x.want[0].Path, q.Resources[0].Path, slices.Equal), "%q", q.Resources[0].Path)
		require.Equal(t, Write, q.Resources[0].Mode, "not the guest's to change")
	}
}

// TestPathsAreCopies: the guest's next call must not change what it said in the one before.
func TestPathsAreCopies(t *testing.T) {
	g := loaded(t, Options{}, mean(t, Normalize, patient))
	a, b := g.Caller(), g.Caller()
	one := &Request{Namespace: hostile.Saying(hostile.Rewritten, 0, "one\x00\x00"), Identity: &alice, Resources: oneOf("x")}
	two := &Request{Namespace: hostile.Saying(hostile.Rewritten, 0, "two\x00\x00"), Identity: &alice, Resources: oneOf("x")}
	require.Equal(t, Allowed, a.Judge(one).Outcome)
	require.Equal(t, Allowed, b.Judge(two).Outcome)
	require.Equal(t, oneOf("one"), one.Resources)
	require.Equal(t, oneOf("two"), two.Resources)
}

// TestQuestionsFillTheBuffer has the longest question that there can be, and one byte more, for each hook.
func TestQuestionsFillTheBuffer(t *testing.T) {
	allows := func(n int) string { return hostile.Allows + strings.Repeat("x", n-1) }
	for _, hook := range allHooks {
		c := loaded(t, Options{}, mean(t, hook, patient)).Caller()
		ask := func(n int) Verdict {
			if hook == Authenticate {
				_, v := c.Authenticate(&Connect{Namespace: allows(n)})
				return v
			}
			return c.Judge(&Request{Namespace: allows(n), Identity: &Identity{}})
		}
		require.Equal(t, Allowed, ask(bufferBytes-headerBytes).Outcome)
		require.Equal(t, TooLong, ask(bufferBytes-headerBytes+1).Outcome)
		require.Equal(t, Allowed, ask(1).Outcome, "the next one is none the worse")
	}
}

// TestCredentialsAreWiped from the guest's buffer after each way in which authenticate can go on.
func TestCredentialsAreWiped(t *testing.T) {
	g := loaded(t, Options{}, mean(t, Authenticate|Authorize, patient))
	c := g.Caller()
	buffer := func() []byte {
		i := g.current.Load().plugins[0].slots[0].instance
		b, ok := i.memory.Read(i.buffer, bufferBytes)
		require.True(t, ok)
		return b
	}
	secret := []Field{{Header, "authorization", "Bearer secret"}}
	for _, namespace := range []string{
		hostile.Allows, hostile.Saying(hostile.Deny, 1, "no"), hostile.Saying(hostile.Fault, 1, "no"), hostile.Saying(hostile.Allow, 0, hostile.Identity(0, 1, 0, "a")),
	} {
		c.Authenticate(&Connect{Namespace: namespace, Fields: secret})
		require.Equal(t, make([]byte, bufferBytes), buffer(), namespace)
	}
	long := &Connect{Namespace: hostile.Allows, Fields: append(secret, Field{Header, "long", strings.Repeat("x", bufferBytes)})}
	_, v := c.Authenticate(long)
	require.Equal(t, TooLong, v.Outcome)
	require.Equal(t, make([]byte, bufferBytes), buffer(), "what fits of a question that is too long")
	put(c, Authorize, hostile.Allows)
	require.NotEqual(t, make([]byte, bufferBytes), buffer(), "of other questions it may remember what it likes")
}
