package engine_test

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/engine/enginetest"
	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

// resources reads them as scripts write them.
func resources(t testing.TB, text string) []engine.Resource {
	t.Helper()
	rs, err := enginetest.ParseResources(text)
	require.NoError(t, err)
	return rs
}

func lock(t testing.TB, e *engine.Engine, text string) engine.Placed {
	t.Helper()
	p, err := e.Lock(0, resources(t, text))
	require.NoError(t, err)
	return p
}

func release(t testing.TB, e *engine.Engine, h engine.Handle) engine.Released {
	t.Helper()
	r, err := e.Release(h)
	require.NoError(t, err)
	return r
}

func TestSequenceNumbersFollowTheLastOne(t *testing.T) {
	e := engine.New(engine.Limits{}, 41)
	require.EqualValues(t, 41, e.Last())
	require.EqualValues(t, 42, lock(t, e, "write /a").Seq)
	_, err := e.Lock(0, nil)
	require.Error(t, err)
	require.EqualValues(t, 43, lock(t, e, "write /a").Seq)
	require.EqualValues(t, 43, e.Last())
}

func TestStaleHandleIsNobodysLock(t *testing.T) {
	e := engine.New(engine.Limits{}, 0)
	_, err := e.Release(0)
	require.ErrorIs(t, err, engine.ErrStale)
	first := lock(t, e, "write /a").Handle
	release(t, e, first)
	for range 3000 { // in the same place of memory, and in memory that was given back meanwhile
		second := lock(t, e, "write /a")
		require.NotEqual(t, first, second.Handle)
		_, err = e.Release(first)
		require.ErrorIs(t, err, engine.ErrStale)
		_, err = e.Slots(first, nil)
		require.ErrorIs(t, err, engine.ErrStale)
		release(t, e, second.Handle)
	}
	for h := range engine.Handle(5000) {
		_, err = e.Release(h << 20)
		require.ErrorIs(t, err, engine.ErrStale)
	}
}

func TestTheEngineCopiesWhatItKeeps(t *testing.T) {
	e := engine.New(engine.Limits{}, 0)
	rs := resources(t, "write /short/"+strings.Repeat("long", 50))
	_, err := e.Lock(0, rs)
	require.NoError(t, err)
	for _, seg := range rs[0].Path {
		clear(seg)
	}
	require.False(t, lock(t, e, "read /short/"+strings.Repeat("long", 50)).Acquired)
	require.True(t, lock(t, e, "read /\"\\x00\\x00\\x00\\x00\\x00\"").Acquired)
}

func TestUnknownModeIsTheCallersFault(t *testing.T) {
	e := engine.New(engine.Limits{}, 0)
	require.PanicsWithValue(t, "engine: a resource has the unknown mode 3", func() {
		_, _ = e.Lock(0, []engine.Resource{{Mode: 3}})
	})
}

func TestRefusals(t *testing.T) {
	long := strings.Repeat("s", 11)
	tests := []struct {
		limits  engine.Limits
		request string
		want    engine.RequestError
		text    string
	}{
		{engine.Limits{}, "", engine.RequestError{Reason: engine.NoResources, Resource: -1, Allowed: 1},
			"a request needs at least one resource"},
		{engine.Limits{Resources: 1}, "read /, read /a", engine.RequestError{Reason: engine.TooManyResources, Resource: -1, Asked: 2, Allowed: 1},
			"the request has 2 resources, at most 1 are allowed"},
		{engine.Limits{PathSegments: 2}, "read /a/b, read /a/b/c", engine.RequestError{Reason: engine.TooManySegments, Resource: 1, Asked: 3, Allowed: 2},
			"resources[1].path has 3 segments, at most 2 are allowed"},
		{engine.Limits{SegmentBytes: 10}, "read /a/b/" + long, engine.RequestError{Reason: engine.SegmentTooLong, Segment: 2, Asked: 11, Allowed: 10},
			"resources[0].path[2] has 11 bytes, at most 10 are allowed"},
		{engine.Limits{Requests: 1}, "read /a", engine.RequestError{Reason: engine.TooManyRequests, Resource: -1, Asked: 2, Allowed: 1},
			"there would be 2 requests, at most 1 are allowed"},
		{engine.Limits{}, "permit 1/0 /a", engine.RequestError{Reason: engine.NoLimit, Allowed: 1},
			"resources[0]: the limit of a permit is 0, at least 1 is needed"},
		{engine.Limits{}, "permit 0/1 /a", engine.RequestError{Reason: engine.NoWeight, Allowed: 1},
			"resources[0]: the weight of a permit is 0, at least 1 is needed"},
		{engine.Limits{}, "permit 4/3 /a", engine.RequestError{Reason: engine.WeightOverLimit, Asked: 4, Allowed: 3},
			"resources[0]: permits of the request weigh 4 on this path, at most the limit of 3 is allowed"},
		{engine.Limits{}, "permit 2/3 /a, permit 2/3 /a", engine.RequestError{Reason: engine.WeightOverLimit, Resource: 1, Asked: 4, Allowed: 3},
			"resources[1]: permits of the request weigh 4 on this path, at most the limit of 3 is allowed"},
		{engine.Limits{}, "permit 1/8 /held", engine.RequestError{Reason: engine.OtherLimit, Asked: 8, Allowed: 7},
			"resources[0]: the limit of the permits of this path is 7 at present, not 8"},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			e := engine.New(engine.Limits{}, 0)
			lock(t, e, "permit 1/7 /held")
			e.SetLimits(test.limits)
			before := e.Stats()
			_, err := e.Lock(0, resources(t, test.request))
			var got *engine.RequestError
			require.ErrorAs(t, err, &got)
			require.Equal(t, test.want, *got)
			require.EqualError(t, err, test.text)
			after := e.Stats()
			after.Capacity = before.Capacity // scratch of the check
			require.Equal(t, before, after)
			require.EqualValues(t, 1, e.Last())
		})
	}
}

func TestBytesStayWithinTheLimit(t *testing.T) {
	e := engine.New(engine.Limits{Bytes: 100_000}, 0)
	var held []engine.Handle
	for i := range 10_000 {
		p, err := e.Lock(0, resources(t, fmt.Sprintf("write /%d/%s", i, strings.Repeat("x", i%300))))
		if err != nil {
			var refused *engine.RequestError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, engine.TooManyBytes, refused.Reason)
			require.EqualValues(t, 100_000, refused.Allowed)
			break
		}
		held = append(held, p.Handle)
	}
	require.Greater(t, e.Stats().Bytes, int64(80_000))
	e.Check()
	for _, h := range held {
		release(t, e, h)
	}
	lock(t, e, "write /again")
	e.Check()
}

func TestSameCallsSameAnswers(t *testing.T) {
	first := testseed.New(t)
	for s := first; s-first < 20; s++ {
		a := enginetest.Player{Engine: engine.New(enginetest.TestLimits, 0)}
		b := enginetest.Player{Engine: engine.New(enginetest.TestLimits, 0)}
		a.Engine.SetSlice(2)
		b.Engine.SetSlice(2)
		for i, c := range enginetest.Random(s, 500) {
			require.Equal(t, a.Do(c), b.Do(c), "seed %d, call %d", s, i)
			require.Equal(t, a.Engine.Stats(), b.Engine.Stats(), "seed %d, call %d", s, i)
		}
	}
}

func TestNothingIsAllocatedInASteadyState(t *testing.T) {
	tests := map[string][]string{
		"one":      {"write /group/entity/id-42"},
		"four":     {"write /group/entity/id-42, read /group/entity/id-43, write /group2/entity/id-42, read /schema"},
		"long":     {"write /f81d4fae-7dec-11d0-a765-00a0c91e6bf6/" + strings.Repeat("x", 500)},
		"hand-off": {"write /a/b", "write /a/b", "write /a", "read /a/b/c", "read /"},
		"deep":     {"write " + strings.Repeat("/segment", 1000)},
		"permits":  {"permit 1/3 /pool", "permit 2/3 /pool, permit 1/9 /p", "permit 1/3 /pool, permit 1/3 /pool"},
	}
	for name, texts := range tests {
		t.Run(name, func(t *testing.T) {
			e := engine.New(engine.Limits{}, 0)
			var requests [][]engine.Resource
			for _, text := range texts {
				requests = append(requests, resources(t, text))
			}
			held := make([]engine.Handle, len(requests))
			slots := make([]uint32, 0, 8)
			require.Zero(t, testing.AllocsPerRun(200, func() {
				for i, rs := range requests {
					p, _ := e.Lock(0, rs)
					held[i] = p.Handle
				}
				for _, h := range held {
					slots, _ = e.Slots(h, slots[:0])
					_, _ = e.Release(h)
				}
			}))
		})
	}
}

// TestMemoryIsGivenBack counts what the engine says that it holds, and what the runtime says.
func TestMemoryIsGivenBack(t *testing.T) {
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	e := engine.New(engine.Limits{}, 0)
	release(t, e, lock(t, e, "permit 1/2 /a/b/c").Handle)
	require.Less(t, e.Stats().Capacity, int64(8<<10), "a tiny engine")
	for _, heldForEver := range []bool{false, true} {
		if heldForEver {
			lock(t, e, "read /for/ever")
		}
		base := int64(0)
		for round := range 2 {
			before := heap()
			handles := make([]engine.Handle, 100_000)
			rs := resources(t, "write /group/x/y, permit 1/2 /pool/z")
			for i := range handles {
				rs[0].Path[1] = strconv.AppendInt(rs[0].Path[1][:0], int64(i%100), 10)
				rs[0].Path[2] = strconv.AppendInt(rs[0].Path[2][:0], int64(i), 10)
				rs[1].Path[1] = rs[0].Path[2]
				p, err := e.Lock(0, rs)
				require.NoError(t, err)
				handles[i] = p.Handle
			}
			require.Greater(t, e.Stats().Capacity, int64(20<<20))
			for i := range handles {
				k := i // the oldest go first
				if round == 0 {
					k = i * 77_773 % len(handles) // in no order
				}
				_, err := e.Release(handles[k])
				require.NoError(t, err)
			}
			e.Check()
			s := e.Stats()
			if round == 0 {
				base = s.Capacity
			}
			require.LessOrEqual(t, s.Capacity, base, "round %d", round)
			handles = nil
			require.Less(t, heap()-before, int64(1<<20), "round %d", round)
		}
		if !heldForEver {
			require.Less(t, base, int64(32<<10))
		} else {
			require.Less(t, base, int64(512<<10))
		}
	}
	runtime.KeepAlive(e)
}

// TestAReleaseIsCutInSlices has more readers behind a writer than one call grants.
func TestAReleaseIsCutInSlices(t *testing.T) {
	const readers = 10_000
	e := engine.New(engine.Limits{}, 0)
	w := lock(t, e, "write /a")
	rs := resources(t, "read /a/b")
	handles := make([]engine.Handle, readers)
	for i := range handles {
		p, err := e.Lock(uint64(i), rs)
		require.NoError(t, err)
		handles[i] = p.Handle
	}
	r := release(t, e, w.Handle)
	require.True(t, r.More)
	require.LessOrEqual(t, len(r.Grants), 1024)

	// In between a younger request waits for its turn, and one that isn't granted yet can go.
	young := lock(t, e, "read /a/b")
	require.False(t, young.Acquired)
	require.False(t, release(t, e, handles[readers-1]).Acquired)

	next := uint64(len(r.Grants))
	for more := true; more; {
		var grants []engine.Grant
		grants, more = e.Advance()
		require.LessOrEqual(t, len(grants), 1024)
		for _, g := range grants {
			require.True(t, g.Owner == next || g.Seq == young.Seq)
			next++
		}
	}
	require.EqualValues(t, readers, next)
	require.Zero(t, e.Stats().Waiting)
	e.Check()
}

// TestAllOfTheTreeIsReleasedWithABacklog lets nodes go that still have work left over.
func TestAllOfTheTreeIsReleasedWithABacklog(t *testing.T) {
	e := engine.New(engine.Limits{}, 0)
	e.SetSlice(1)
	handles := []engine.Handle{lock(t, e, "write /").Handle}
	for i := range 50 {
		handles = append(handles, lock(t, e, fmt.Sprintf("permit 1/90 /a/%d, read /b", i%5)).Handle)
	}
	for _, h := range handles {
		release(t, e, h)
		e.Check()
	}
	grants, more := e.Advance()
	require.Empty(t, grants)
	require.False(t, more)
	require.Zero(t, e.Stats().Nodes)
}

// TestDeepPaths was a fault of Locktopus 1: paths of ten segments and more were compared wrongly.
func TestDeepPaths(t *testing.T) {
	e := engine.New(engine.Limits{}, 0)
	for depth := 9; depth < 1000; depth += 33 {
		path := strings.Repeat("/s", depth)
		a := lock(t, e, "write "+path)
		b := lock(t, e, "write "+path+"/x")
		c := lock(t, e, "read "+path[2:])
		d := lock(t, e, "write "+path[2:]+"/y")
		require.True(t, a.Acquired)
		require.False(t, b.Acquired)
		require.False(t, c.Acquired)
		require.False(t, d.Acquired)
		e.Check()
		require.Len(t, release(t, e, a.Handle).Grants, 1)
		require.Len(t, release(t, e, b.Handle).Grants, 1)
		require.Len(t, release(t, e, c.Handle).Grants, 1)
		release(t, e, d.Handle)
	}
	require.Zero(t, e.Stats().Nodes)
}

func TestEmptyListOfResources(t *testing.T) {
	_, err := engine.New(engine.Limits{}, 0).Lock(0, []engine.Resource{})
	var refused *engine.RequestError
	require.True(t, errors.As(err, &refused) && refused.Reason == engine.NoResources)
}

// TestOneHeldLockCostsNothing was a fault of Locktopus 1: everything else became slower for as long
// as one lock was held. Memory stands for steps here: no request leaves anything behind.
func TestOneHeldLockCostsNothing(t *testing.T) {
	e := engine.New(engine.Limits{}, 0)
	lock(t, e, "read /held")
	before := e.Stats()
	for i := range 20_000 {
		a := lock(t, e, fmt.Sprintf("write /x/%d", i%7))
		b := lock(t, e, fmt.Sprintf("read /x/%d, read /held", i%7))
		release(t, e, a.Handle)
		release(t, e, b.Handle)
		after := e.Stats()
		before.Capacity = max(before.Capacity, after.Capacity)
		if i > 10 {
			require.Equal(t, before, after)
		}
	}
	require.Less(t, before.Capacity, int64(8<<10))
}

func TestSlotsAreTheLowestFree(t *testing.T) {
	e := engine.New(engine.Limits{}, 0)
	rs := resources(t, "permit 1/5000 /pool")
	taken := make(map[uint32]engine.Handle)
	free := make(map[uint32]bool)
	take := func() {
		p, err := e.Lock(0, rs)
		require.NoError(t, err)
		slots, err := e.Slots(p.Handle, nil)
		require.NoError(t, err)
		least := uint32(len(taken) + len(free))
		for f := range free {
			least = min(least, f)
		}
		require.Equal(t, least, slots[0])
		delete(free, slots[0])
		taken[slots[0]] = p.Handle
	}
	for i := range uint32(2000) {
		take()
		if i%3 != 0 {
			slot := i * 7919 % uint32(len(taken)+len(free))
			if h, ok := taken[slot]; ok {
				release(t, e, h)
				delete(taken, slot)
				free[slot] = true
			}
		}
	}
	e.Check()
}
