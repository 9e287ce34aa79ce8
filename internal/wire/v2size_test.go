package wire

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

// TestSizesAreEnough prints locks with random texts, among them such that grow most, and numbers of most digits.
func TestSizesAreEnough(t *testing.T) {
	r := testseed.Rand(t)
	pieces := []string{"a", "\x01", "\xff", `"`, `\`, "é", "€", "😀", "\u2028", "\x7f", "\xf0\x9f", "\xef\xbf\xbd", "/"}
	text := func() (b []byte) {
		for r.IntN(4) > 0 {
			b = append(b, pieces[r.IntN(len(pieces))]...)
		}
		return b
	}
	path := func() (p [][]byte) {
		for r.IntN(3) > 0 {
			p = append(p, text())
		}
		return p
	}
	states := []V2State{V2Enqueued, V2Acquired, V2UpgradeTimeout}
	for range 20_000 {
		s := text()
		require.Equal(t, len(appendText(nil, s)), textSize(s), "%q", s)
		x := Resource{Type: Type(r.IntN(3)), Limit: 1<<32 - 1, Weight: 1<<32 - 1, Path: path()}
		b := V2Blocker{Session: text(), Note: text(), Lock: r.Uint64(), Type: x.Type, Path: path(), State: states[r.IntN(3)], SinceMS: r.Int64()}
		l := V2Seen{
			Session: text(), Name: text(), Lock: r.Uint64(), Token: r.Uint64(), State: b.State, Note: text(), SinceMS: r.Int64(),
			Resources: []Resource{x, x}[:r.IntN(3)], WaitsFor: []V2Blocker{b, b}[:r.IntN(3)], Cut: r.IntN(2) == 0,
		}
		printed := appendSeen(nil, []V2Seen{l})
		n := len(bytes.TrimPrefix(printed, []byte(`,"locks":[`)))
		require.LessOrEqual(t, n, l.Size(), "%s", printed)
	}
}

func TestSeenThatIsCutSaysSo(t *testing.T) {
	l := V2Seen{Session: []byte("v1"), Lock: 7, State: V2Acquired, SinceMS: V2None, Cut: true}
	m := V2Message{Watch: 3, N: 1, Change: V2WasUpgrading, Locks: []V2Seen{l}}
	require.Equal(t, `{"watch":3,"n":1,"change":"upgrading","locks":[{"session":"v1","lock":7,"state":"acquired","resources":[],"cut":true}]}`, string(AppendV2(nil, &m)))
}
