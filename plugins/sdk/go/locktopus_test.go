package locktopus

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/testseed"
	"github.com/locktopus-project/locktopus/v2/plugins/sdk/conformance"
)

// ask writes a golden request into the buffer, over whatever was there.
func ask(t testing.TB, name string) (n uint32) {
	t.Helper()
	for _, c := range conformance.Cases() {
		if c.Name == name {
			clear(buffer[copy(buffer[:], c.Request):])
			return uint32(len(c.Request))
		}
	}
	t.Fatalf("there is no case %q", name)
	return 0
}

// status, code and length of a verdict, whose address means nothing on a machine with larger ones.
func parts(v Verdict) []int { return []int{int(v & 0xff), int(v >> 8 & 0xff), int(v >> 16 & 0xffff)} }

func TestBufferIsGivenForWhatFits(t *testing.T) {
	require.Zero(t, abi1())
	require.Equal(t, unsafe.Pointer(&buffer), bufferOf(65536))
	require.Nil(t, bufferOf(65537))
}

func TestRequestIsRead(t *testing.T) {
	n := ask(t, "authorize/plain")
	r := NewRequest(n)
	require.Equal(t, []string{"prod", "alice", "roles=admin", "127.0.0.1:4711"},
		[]string{string(r.Namespace()), string(r.Principal()), string(r.Context()), string(r.Remote())})
	require.Equal(t, int64(1_700_000_000_123), r.Now())
	require.Equal(t, HookAuthorize, r.Hook())
	require.Equal(t, Lock, r.Operation())
	require.Equal(t, 2, r.Len())
	require.Equal(t, []Mode{Write, Read}, []Mode{r.At(0).Mode(), r.At(1).Mode()})
	require.Equal(t, Path("alice\x00inbox\x00"), r.At(0).Path())
	require.Equal(t, 2, r.At(0).Depth())
	require.Equal(t, buffer[:n], r.Bytes())
}

func TestLoopsCanBeLeft(t *testing.T) {
	r := NewRequest(ask(t, "authorize/many"))
	seen := 0
	for range r.Resources() {
		if seen++; seen == 3 {
			break
		}
	}
	c := NewConnect(ask(t, "authenticate/many"))
	for range c.Entries() {
		if seen++; seen == 6 {
			break
		}
	}
	for range Path("a\x00b\x00").Segments() {
		seen++
		break
	}
	require.Equal(t, 7, seen)
}

func TestReferencesOutOfBoundsPanic(t *testing.T) {
	r := NewRequest(ask(t, "authorize/plain"))
	for _, b := range [][]byte{{0, 0, 1, 0, 1, 0, 0, 0}, {1, 0, 0, 0, 0, 0, 1, 0}, {2, 0, 0, 0, 255, 255, 255, 255}} {
		copy(buffer[atPrincipal:], b)
		require.Panics(t, func() { r.Principal() }, "%x", b)
	}
}

// TestCallsDoNotAllocate is what keeps a guest's collector asleep.
func TestCallsDoNotAllocate(t *testing.T) {
	n := ask(t, "authorize/plain")
	segment := []byte("segment")
	calls := map[string]func(){
		"authorize": func() { judge(n) },
		"deny":      func() { Deny(3, NewRequest(n).Principal()) },
		"identity":  func() { Identity(5, NewRequest(n).Principal(), "context") },
		"rewrite": func() {
			var w Rewriter
			for resource := range NewRequest(n).Resources() {
				for s := range resource.Path().Segments() {
					w.Segment(s)
				}
				w.Segment(segment)
				w.End()
			}
			w.Verdict()
		},
	}
	for name, call := range calls {
		require.Zero(t, testing.AllocsPerRun(100, call), name)
	}
	ask(t, "authenticate/plain")
	c := NewConnect(n)
	require.Zero(t, testing.AllocsPerRun(100, func() { c.Find(Credential, "token") }))
}

// judge is an authorize such as plugins have.
func judge(n uint32) Verdict {
	r := NewRequest(n)
	if !r.Operation().Known() {
		return Deny(0, "unknown operation")
	}
	for resource := range r.Resources() {
		if resource.Mode() != Read && !resource.Path().UnderSegment(r.Principal()) {
			return Deny(1, "not yours")
		}
	}
	return Allow()
}

// TestTextOfALocalVariableOutlivesIt: were it on the stack, the server would read what is there by
// then.
func TestTextOfALocalVariableOutlivesIt(t *testing.T) {
	require.NotZero(t, testing.AllocsPerRun(100, func() {
		var local [8]byte
		Deny(0, local[:])
	}))
	Deny(0, []byte("kept"))
	require.Equal(t, "kept", answer)
}

func TestZeroVerdictIsNone(t *testing.T) {
	var v Verdict
	require.Equal(t, []int{0, 0, 0}, parts(v))
}

func TestTextIsCutBetweenCharacters(t *testing.T) {
	for _, c := range []struct {
		text string
		want int
	}{
		{"", 0},
		{strings.Repeat("x", 65535), 65535},
		{strings.Repeat("x", 65536), 65535},
		{strings.Repeat("é", 32768), 65534},
		{strings.Repeat("漢", 30000), 65535},
		{"x" + strings.Repeat("漢", 30000), 65533},
		{strings.Repeat("🐙", 20000), 65532},
		{strings.Repeat("\x80", 70000), 0},
	} {
		require.Equal(t, []int{int(StatusDeny), 200, c.want}, parts(Deny(200, c.text)), "%d bytes", len(c.text))
		require.Equal(t, c.text[:c.want], answer)
	}
}

func TestRewriterFillsItsRoomToTheLastByte(t *testing.T) {
	for _, more := range []int{-1, 0, 1, 2} {
		var w Rewriter
		w.Segment(bytes.Repeat([]byte("a"), len(rewritten)-2+more))
		w.End()
		if more <= 0 {
			require.Equal(t, []int{int(StatusRewritten), 0, len(rewritten) + more}, parts(w.Verdict()), more)
			continue
		}
		require.Equal(t, StatusFault, w.Verdict().Status(), more)
		require.Equal(t, "the rewritten paths take more than 65535 bytes", answer)
	}
}

func TestWholePathsAreRewritten(t *testing.T) {
	var w Rewriter
	w.Path(Path("a\x00bc\x00"))
	w.Path(nil)
	w.Path(NewRequest(ask(t, "authorize/plain")).At(0).Path())
	require.Equal(t, StatusRewritten, w.Verdict().Status())
	require.Equal(t, "a\x00bc\x00\x00\x00alice\x00inbox\x00\x00", answer)
	for path, want := range map[string]string{
		"\x00":           "an empty segment cannot be rewritten",
		"a\x00\x00b\x00": "an empty segment cannot be rewritten",
		"a\x00b":         "the segments of a path each end in NUL",
	} {
		var w Rewriter
		w.Path(Path(path))
		require.Equal(t, StatusFault, w.Verdict().Status(), "%q", path)
		require.Equal(t, want, answer)
	}
	for _, more := range []int{0, 1} {
		var w Rewriter
		w.Path(append(bytes.Repeat([]byte("a"), len(rewritten)-2+more), 0))
		require.Equal(t, more == 0, w.Verdict().Status() == StatusRewritten)
	}
}

func TestUnderIsTheSubtreeTest(t *testing.T) {
	random := testseed.Rand(t)
	for range 10_000 {
		path, prefix := randomPath(random), randomPath(random)
		want := len(prefix) <= len(path) && slices.Equal(prefix, path[:len(prefix)])
		require.Equal(t, want, joined(path).Under(joined(prefix)), "path %q, prefix %q", path, prefix)
		name := randomPath(random)
		want = len(path) > 0 && len(name) > 0 && name[0] != "" && path[0] == name[0]
		require.Equal(t, want, joined(path).UnderSegment([]byte(strings.Join(name[:min(1, len(name))], ""))), "path %q, name %q", path, name)
		var got []string
		for segment := range joined(path).Segments() {
			got = append(got, string(segment))
		}
		require.Equal(t, path, got)
	}
}

// randomPath has few and short segments, so that paths meet.
func randomPath(random *rand.Rand) (path []string) {
	for range random.IntN(4) {
		path = append(path, []string{"", "a", "ab", "b"}[random.IntN(4)])
	}
	return path
}

func joined(path []string) (p Path) {
	for _, segment := range path {
		p = append(append(p, segment...), 0)
	}
	return p
}

func TestLogHasALevel(t *testing.T) {
	before := logLine
	defer func() { logLine = before }()
	var level Level
	var line string
	logLine = func(l Level, text string) { level, line = l, text }
	Log(Warn, []byte("careful"))
	require.Equal(t, Warn, level)
	require.Equal(t, "careful", line)
	Log(Error, "broken")
	require.Equal(t, Error, level)
	require.Equal(t, "broken", line)
}

func BenchmarkAuthorize(b *testing.B) {
	n := ask(b, "authorize/plain")
	b.ReportAllocs()
	for b.Loop() {
		judge(n)
	}
}
