package engine_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/engine"
)

// TestCursorsAsTextsGoOnWhereTheyWere inspects in small pages, with each cursor written and read.
func TestCursorsAsTextsGoOnWhereTheyWere(t *testing.T) {
	e := engine.New(engine.Limits{}, 0)
	for i := range 50 {
		lock(t, e, fmt.Sprintf("%s /a/%d", []string{"read", "write"}[i%2], i%7))
	}
	require.Empty(t, engine.Cursor{}.Text())
	seen, text := map[uint64]bool{}, ""
	for more := true; more; {
		from, err := engine.ParseCursor(text)
		require.NoError(t, err)
		require.Equal(t, text, from.Text())
		views, next, rest := e.Inspect(nil, from, 3)
		for _, v := range views {
			require.False(t, seen[v.Seq], "%d is shown twice", v.Seq)
			seen[v.Seq] = true
		}
		text, more = next.Text(), rest
	}
	require.Len(t, seen, 50)
}

// TestLineBreaksAreNoCursor: base64 skips them.
func TestLineBreaksAreNoCursor(t *testing.T) {
	for _, text := range []string{"\r", "\n", "AA\n"} {
		_, err := engine.ParseCursor(text)
		require.ErrorIs(t, err, engine.ErrCursor, "%q", text)
	}
}

// FuzzCursorsAreSafe inspects from places that somebody made up.
func FuzzCursorsAreSafe(f *testing.F) {
	e := engine.New(engine.Limits{}, 0)
	for _, text := range []string{"read /", "write /a/b", "read /a", "permit 1/3 /p", "write /a/b/c"} {
		lock(f, e, text)
	}
	_, c, _ := e.Inspect(nil, engine.Cursor{}, 2)
	for _, text := range []string{"", "AA", c.Text(), c.Text() + "AQ", "////", "_____w8BAgMEBQ", "\r"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := engine.ParseCursor(text)
		if err != nil {
			require.ErrorIs(t, err, engine.ErrCursor)
			return
		}
		require.Equal(t, text, c.Text())
		for _, path := range [][][]byte{nil, {[]byte("a")}, {[]byte("none"), []byte("b")}} {
			views, _, _ := e.Inspect(path, c, 10)
			require.LessOrEqual(t, len(views), 5)
		}
	})
}
