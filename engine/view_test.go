package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/engine/enginetest"
)

func TestAnswersAboutStaleHandles(t *testing.T) {
	e := engine.New(engine.Limits{}, 0)
	h := lock(t, e, "write /a").Handle
	release(t, e, h)
	lock(t, e, "write /a")
	_, _, err := e.Blockers(h, 1)
	require.ErrorIs(t, err, engine.ErrStale)
	_, _, err = e.Ahead(h, 1)
	require.ErrorIs(t, err, engine.ErrStale)
	_, err = e.Look(h)
	require.ErrorIs(t, err, engine.ErrStale)
}

func TestInspectShowsWhatMeetsAPath(t *testing.T) {
	e := engine.New(engine.Limits{}, 0)
	long := strings.Repeat("long", 20)
	for _, text := range []string{
		"permit 1/3 /, read /", "read /a, read /a", "read /x", "write /a/b/" + long, "permit 2/5 /a/b, read /a/b/c, read /y", "write /a/b", "read /",
	} {
		lock(t, e, text)
	}
	shown := func(path string) (lines []string) {
		views, _, more := e.Inspect(resources(t, "read "+path)[0].Path, engine.Cursor{}, 100)
		require.False(t, more)
		for _, v := range views {
			lines = append(lines, fmt.Sprintf("%d %v: %s", v.Seq, v.Acquired, enginetest.FormatResources(v.Resources)))
		}
		return lines
	}
	root, a, b := "1 true: permit 1/3 /", "2 true: read /a", "4 false: write /a/b/"+long
	permit, write, last := "5 false: permit 2/5 /a/b, read /a/b/c", "6 false: write /a/b", "7 false: read /"
	require.Equal(t, []string{root, a, b, permit, write, last}, shown("/a"))
	require.Equal(t, []string{root, a, b, permit, write, last}, shown("/a/b"))
	require.Equal(t, []string{root, a, b, "5 false: permit 2/5 /a/b", write, last}, shown("/a/b/"+long))
	require.Equal(t, []string{root, "3 true: read /x", last}, shown("/x/nothing/there"))
	require.Equal(t, []string{root, last}, shown("/nobody"))
	require.Len(t, shown("/"), 7)
	e = engine.New(engine.Limits{}, 0)
	require.Empty(t, shown("/"))
	require.Empty(t, shown("/a"))
}

// TestInspectGoesOnWhenWhatItSawIsGone releases all that a call has shown before the next one, or
// some of it, in a list of which some are shown and in others that come later.
func TestInspectGoesOnWhenWhatItSawIsGone(t *testing.T) {
	for _, keep := range []int{1 << 30, 2, 3, 7} { // one in so many
		e := engine.New(engine.Limits{}, 0)
		left := map[uint64]bool{}
		for i := range 3000 {
			texts := []string{fmt.Sprintf("read /a/%d", i), "read /a", "read /", fmt.Sprintf("read /a/b/%d, read /a", i)}
			p := lock(t, e, texts[i%len(texts)])
			left[p.Seq] = true
		}
		var from engine.Cursor
		for more := true; more; {
			var views []engine.View
			views, from, more = e.Inspect(resources(t, "read /a")[0].Path, from, 25)
			var gone []engine.Handle
			for _, v := range views {
				require.True(t, left[v.Seq], "%d is shown twice", v.Seq)
				delete(left, v.Seq)
				if v.Seq%uint64(keep) != 0 {
					gone = append(gone, v.Handle)
				}
			}
			for _, h := range gone {
				release(t, e, h)
			}
		}
		require.Empty(t, left)
	}
}

// TestInspectSeeksInSlices has lost its place at the end of a list that is longer than one call looks at.
func TestInspectSeeksInSlices(t *testing.T) {
	const many = 5000
	e := engine.New(engine.Limits{}, 0)
	var held []engine.Handle
	for range many {
		held = append(held, lock(t, e, "read /a").Handle)
	}
	var from engine.Cursor
	for shown := 0; shown < many-50; {
		var views []engine.View
		views, from, _ = e.Inspect(nil, from, 10)
		shown += len(views)
	}
	for _, h := range held[many-100 : many-30] {
		release(t, e, h)
	}
	calls, shown := 0, 0
	for more := true; more; calls++ {
		var views []engine.View
		views, from, more = e.Inspect(nil, from, 10)
		shown += len(views)
	}
	require.Equal(t, 30, shown)
	require.Greater(t, calls, 4)
}

// TestInspectEndsAtASize shows long paths: no call shows much more than it is asked for, each shows
// something, and all are shown once.
func TestInspectEndsAtASize(t *testing.T) {
	e := engine.New(engine.Limits{}, 0)
	long := strings.Repeat("long", 100)
	for i := range 300 {
		lock(t, e, fmt.Sprintf("read /a/%s/%d, read /a/%d/%s", long, i, i, long))
	}
	for size, each := range map[int]int{0: 1, 1000: 1, 1100: 2, 10_000: 10} {
		var from engine.Cursor
		last := uint64(0)
		for more := true; more; {
			var views []engine.View
			views, from, more = e.InspectWithin(nil, from, 100, size)
			require.LessOrEqual(t, len(views), each, "%d", size)
			if more {
				require.Len(t, views, each, "%d", size)
			}
			for _, v := range views {
				require.Greater(t, v.Seq, last)
				last = v.Seq
			}
		}
		require.Equal(t, uint64(300), last, "%d", size)
	}
}

func TestBlockersWithinCountsItsSteps(t *testing.T) {
	e := engine.New(engine.Limits{}, 0)
	for range 10 {
		lock(t, e, "read /a")
	}
	w := lock(t, e, "write /a").Handle
	steps := 25
	for _, want := range []struct{ found, left int }{{10, 14}, {10, 3}, {3, 0}, {0, 0}} {
		found, more, err := e.BlockersWithin(w, 100, &steps, nil)
		require.NoError(t, err)
		require.Len(t, found, want.found)
		require.Equal(t, want.left, steps)
		require.Equal(t, want.found < 10, more)
	}
}

// TestBlockersAreShownWhereTheyCount: one may be in the way in several places.
func TestBlockersAreShownWhereTheyCount(t *testing.T) {
	e := engine.New(engine.Limits{}, 0)
	lock(t, e, "write /a, write /b/c, write /d")
	lock(t, e, "read /b/e")
	w := lock(t, e, "write /d, write /b, write /a").Handle
	for _, want := range []string{"a", "b", "d"} {
		steps := 5000
		found, more, err := e.BlockersWithin(w, 100, &steps, func(path [][]byte) bool { return string(path[0]) == want })
		require.NoError(t, err)
		require.False(t, more)
		require.Len(t, found, map[string]int{"a": 1, "b": 2, "d": 1}[want])
		for _, b := range found {
			require.Equal(t, want, string(b.Has.Path[0]))
		}
	}
}

func TestBlockersAreBounded(t *testing.T) {
	const readers = 40_000
	e := engine.New(engine.Limits{}, 0)
	reader := lock(t, e, "read /a")
	for range readers - 1 {
		lock(t, e, "read /a")
	}
	w := lock(t, e, "write /a").Handle
	n, more, err := e.Ahead(w, 1<<30)
	require.NoError(t, err)
	require.True(t, more)
	require.Equal(t, 1<<14, n)
	n, more, _ = e.Ahead(w, 7)
	require.True(t, more)
	require.Equal(t, 7, n)
	found, more, err := e.Blockers(w, 3)
	require.NoError(t, err)
	require.True(t, more)
	require.Len(t, found, 3)
	require.True(t, found[0].Handle == reader.Handle && found[0].Acquired)
	n, more, _ = e.Ahead(reader.Handle, 7)
	require.False(t, more)
	require.Zero(t, n)
}

func TestMemoryOfAnswersIsGivenBack(t *testing.T) {
	e := engine.New(engine.Limits{}, 0)
	var held []engine.Handle
	for i := range 2000 {
		held = append(held, lock(t, e, fmt.Sprintf("read /a/%d", i)).Handle)
	}
	views, _, _ := e.Inspect(nil, engine.Cursor{}, 5000)
	require.Len(t, views, 2000)
	require.Greater(t, e.Stats().Capacity, int64(400<<10))
	for _, h := range held {
		release(t, e, h)
	}
	require.Less(t, e.Stats().Capacity, int64(64<<10))
}
