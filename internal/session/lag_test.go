package session

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

func TestWatchesAreBounded(t *testing.T) {
	l := Defaults
	l.Watches, l.AllWatches = 2, 3
	w := newWorld(t, l)
	a, atA := w.open(wire.V2None)
	b, atB := w.open(wire.V2None)
	for id := range uint64(2) {
		w.do(a, atA, looking(wire.V2Watch, id+1, path("x")))
		require.Equal(t, wire.V2Watching, w.state())
	}
	w.do(a, atA, looking(wire.V2Watch, 3, path("x")))
	w.lastIs(`{"id":3,"error":"limit","message":"the session has 2 watches already, more are not allowed (limits.session_watches): end some first"}`)
	w.do(b, atB, looking(wire.V2Watch, 1, path("y")))
	require.Equal(t, wire.V2Watching, w.state())
	w.do(b, atB, looking(wire.V2Watch, 2, path("y")))
	w.lastIs(`{"id":2,"error":"try_later","message":"the namespace has 3 watches already, more are not allowed (limits.namespace_watches)"}`)
	w.do(a, atA, with(request(wire.V2Unwatch, 4, 0), func(r *Request) { r.Watch = 1 }))
	w.lastIs(`{"id":4,"state":"unwatched"}`)
	w.do(b, atB, looking(wire.V2Watch, 3, path("y")))
	require.Equal(t, wire.V2Watching, w.state())
	w.space.Detach(w.now, b, atB, &w.fx)
	require.Equal(t, 1, w.space.watched.count)
	w.do(a, atA, request(wire.V2Bye, 5, 0))
	require.Zero(t, w.space.watched.count)
	require.Zero(t, w.space.watched.bytes())
	l.Watches = 0
	w.space.SetLimits(l)
	c, atC := w.open(wire.V2None)
	w.do(c, atC, looking(wire.V2Watch, 1, nil))
	require.Equal(t, wire.V2Limit, w.lastError())
}

// TestOneWatchLagsAlone: its client is told once, memory goes back, and others are told all.
func TestOneWatchLagsAlone(t *testing.T) {
	w := newWorld(t, Defaults)
	slow, atSlow := w.open(wire.V2None)
	quick, atQuick := w.open(wire.V2None)
	w.do(slow, atSlow, looking(wire.V2Watch, 1, path("x")))
	w.do(slow, atSlow, looking(wire.V2Watch, 2, path("y")))
	w.do(quick, atQuick, looking(wire.V2Watch, 1, path("x")))
	before := w.space.watched.bytes()
	heard, id := uint64(0), uint64(1)
	hear := func() {
		for _, m := range w.fx.Messages {
			if m.Watch != 0 {
				heard++
				require.Equal(t, heard, m.N)
			}
		}
	}
	for range mostChanges/2 + 1 {
		w.do(quick, atQuick, lockRequest(id+1, write("x")))
		hear()
		w.do(quick, atQuick, request(wire.V2Release, id+2, id+1))
		hear()
		id += 2
		w.space.Collect(w.now, quick, atQuick, &w.fx)
		hear()
		if heard == mostChanges {
			require.Greater(t, w.space.watched.bytes(), before+mostChanges*100)
			require.NotNil(t, slow.watches[0].group, "it is in time yet")
		}
	}
	require.Greater(t, heard, uint64(mostChanges))
	require.Less(t, w.space.watched.bytes(), before, "what the one that lags was to be told is gone")
	w.do(quick, atQuick, lockRequest(id+1, write("y")))
	w.space.Collect(w.now, slow, atSlow, &w.fx)
	require.Len(t, w.fx.Messages, 2)
	require.Equal(t, `{"watch":1,"n":1,"change":"lagged"}`, string(wire.AppendV2(nil, &w.fx.Messages[0])))
	require.Contains(t, string(wire.AppendV2(nil, &w.fx.Messages[1])), `{"watch":2,"n":1,"change":"acquired"`)
	w.do(slow, atSlow, with(request(wire.V2Unwatch, 3, 0), func(r *Request) { r.Watch = 1 }))
	w.lastIs(`{"id":3,"state":"unwatched"}`)
	w.do(slow, atSlow, looking(wire.V2Watch, 4, path("x")))
	require.Equal(t, wire.V2Watching, w.state())
}

// TestAWatchLagsByBytes has changes with long paths.
func TestAWatchLagsByBytes(t *testing.T) {
	w := newWorld(t, Defaults)
	slow, atSlow := w.open(wire.V2None)
	o, at := w.open(wire.V2None)
	w.do(slow, atSlow, looking(wire.V2Watch, 1, nil))
	long := strings.Repeat("x", 60_000)
	told := 0
	for id := uint64(1); slow.watches[0].group != nil; id++ {
		told = len(slow.watches[0].changes)
		w.do(o, at, lockRequest(id, read(long)))
	}
	require.InDelta(t, mostChangeBytes/60_000, told, 2)
	w.space.Collect(w.now, slow, atSlow, &w.fx)
	require.Equal(t, wire.V2Lagged, w.fx.Messages[0].Change)
	w.do(slow, atSlow, looking(wire.V2Watch, 2, nil))
	w.do(o, at, lockRequest(1000, read(long)))
	w.space.Collect(w.now, slow, atSlow, &w.fx)
	require.True(t, w.fx.Messages[0].Locks[0].Cut, "one that is too long to be told")
}

// TestLongChangesAreToldInSlices: a call tells so many bytes of them, and one change more.
func TestLongChangesAreToldInSlices(t *testing.T) {
	w := newWorld(t, Defaults)
	c, atC := w.open(wire.V2None)
	for id := range uint64(5) {
		w.do(c, atC, looking(wire.V2Watch, id+1, nil))
	}
	o, at := w.open(wire.V2None)
	long := strings.Repeat("x", 60_000)
	for id := range uint64(10) {
		w.do(o, at, lockRequest(id+1, read(long)))
	}
	told := 0
	for rest := true; rest; rest = w.fx.Rest {
		w.space.Collect(w.now, c, atC, &w.fx)
		require.LessOrEqual(t, len(w.fx.Messages), sliceBytes/60_000+1)
		told += len(w.fx.Messages)
	}
	require.Equal(t, 50, told)
}

// TestManyWatchesAreToldInSlices gives very many changes to very many watches: no call looks at more watches than
// a slice and those of one change, and all are told everything.
func TestManyWatchesAreToldInSlices(t *testing.T) {
	l := Defaults
	l.Watches, l.AllWatches = 100, 10_000
	w := newWorld(t, l)
	type client struct {
		s     *Session
		at    uint64
		heard [100]uint64
	}
	var clients []*client
	for range 10 {
		c := &client{}
		c.s, c.at = w.open(wire.V2None)
		clients = append(clients, c)
		for id := range uint64(100) {
			p := path("x")
			if id%10 == 0 {
				p = path("x", fmt.Sprint(id), "y")
			}
			w.do(c.s, c.at, looking(wire.V2Watch, id+1, p))
		}
	}
	o, at := w.open(wire.V2None)
	for id := range uint64(100) {
		w.do(o, at, lockRequest(id+1, write("x")))
	}
	collect := func() {
		for _, c := range clients {
			for rest := true; rest; rest = w.fx.Rest {
				w.space.Collect(w.now, c.s, c.at, &w.fx)
				require.LessOrEqual(t, len(w.fx.Messages), sliceEvents)
				for i := range w.fx.Messages {
					m := &w.fx.Messages[i]
					if c.heard[m.Watch-1]++; m.N != c.heard[m.Watch-1] {
						t.Fatalf("%d was expected, not %d", c.heard[m.Watch-1], m.N)
					}
				}
			}
		}
		w.fx.More = len(w.space.watched.pending) > 0
	}
	for calls := 0; w.fx.More || calls == 0; calls++ {
		collect()
		w.space.Tick(w.now, &w.fx)
	}
	collect()
	w.do(o, at, request(wire.V2Bye, 101, 0)) // 100 locks end, and 99 are acquired in between
	require.True(t, w.fx.More)
	before, calls := len(w.space.watched.pending), 0
	for ; w.fx.More; calls++ {
		w.space.Tick(w.now, &w.fx)
		now := len(w.space.watched.pending)
		require.LessOrEqual(t, before-now, sliceWatches/1000+1)
		before = now
	}
	require.Greater(t, calls, 199/(sliceWatches/1000+1)-2)
	collect()
	for _, c := range clients {
		for _, n := range c.heard {
			require.Equal(t, uint64(100+100+99), n)
		}
	}
}

// TestAllWatchesLagBeforeMemoryRunsOut: changes come without end, and none is given to watches.
func TestAllWatchesLagBeforeMemoryRunsOut(t *testing.T) {
	w := newWorld(t, Defaults)
	c, atC := w.open(wire.V2None)
	w.do(c, atC, looking(wire.V2Watch, 1, nil))
	w.do(c, atC, looking(wire.V2Watch, 2, path("a")))
	o, at := w.open(wire.V2None)
	w.do(o, at, lockRequest(1, read("a")))
	w.space.Collect(w.now, c, atC, &w.fx)
	h := w.space.locks.at(o.roster.find(1)).handle
	w.space.begin(w.now, nil, &w.fx)
	for range mostPending {
		w.space.changed(wire.V2WasUpgraded, h, wire.V2NoState)
	}
	require.Equal(t, 2, w.space.watched.count)
	w.space.changed(wire.V2WasUpgraded, h, wire.V2NoState)
	require.Zero(t, w.space.watched.count)
	require.Zero(t, w.space.watched.bytes())
	w.space.finish()
	require.Equal(t, []uint64{atC}, w.fx.Wake)
	w.space.Collect(w.now, c, atC, &w.fx)
	require.Len(t, w.fx.Messages, 2)
	for _, m := range w.fx.Messages {
		require.Equal(t, wire.V2Lagged, m.Change)
	}
}

// TestWatchesAreToldOfTheirPathsOnly: a lock has paths that aren't for everybody's eyes.
func TestWatchesAreToldOfTheirPathsOnly(t *testing.T) {
	w := newWorld(t, Defaults)
	c, atC := w.open(wire.V2None)
	w.do(c, atC, looking(wire.V2Watch, 1, path("a")))
	w.do(c, atC, looking(wire.V2Watch, 2, path("a", "b", "c")))
	w.do(c, atC, looking(wire.V2Watch, 3, path("ab")))
	w.do(c, atC, looking(wire.V2Watch, 4, nil))
	o, at := w.open(wire.V2None)
	w.do(o, at, lockRequest(1, write("secret"), read("a", "x"), read("a", "b"), read("a", "b", "d")))
	w.space.Collect(w.now, c, atC, &w.fx)
	told := map[uint64]string{}
	for _, m := range w.fx.Messages {
		for _, r := range m.Locks[0].Resources {
			told[m.Watch] += fmt.Sprintf("%s ", r.Path)
		}
	}
	require.Len(t, told, 3)
	require.NotContains(t, told[1]+told[2], "secret")
	require.Len(t, strings.Fields(told[1]), 2+2+3)
	require.Equal(t, "[a b] ", told[2])
	require.Contains(t, told[4], "secret")
}

// TestWatchedPathsAreFound compares with a look at every watch, for paths with segments that are parts of others.
func TestWatchedPathsAreFound(t *testing.T) {
	var all [][][]byte
	for _, a := range []string{"", "a", "ab", "\x00", "\x00\x00\x00\x01a"} {
		all = append(all, path(a))
		for _, b := range []string{"", "a", "b"} {
			all = append(all, path(a, b), path(a, b, a))
		}
	}
	all = append(all, nil)
	above := func(a, b [][]byte) bool {
		for i := range min(len(a), len(b)) {
			if string(a[i]) != string(b[i]) {
				return false
			}
		}
		return true
	}
	var w watched
	watches := map[*watch][][]byte{}
	for _, p := range all {
		for range 2 {
			x := &watch{}
			w.add(x, p)
			watches[x] = p
		}
	}
	for x, p := range watches {
		for _, q := range all {
			found, want := map[*watch]bool{}, 0
			w.meeting(q, func(g *group) bool {
				for _, y := range g.watches {
					require.False(t, found[y])
					found[y] = true
				}
				return true
			})
			for y, p := range watches {
				if y.group != nil && above(p, q) {
					want++
					require.True(t, found[y], "%q %q", p, q)
				}
			}
			require.Len(t, found, want)
			require.Equal(t, want > 0, w.concerned([]engine.Resource{{Path: q}}))
			require.Equal(t, above(p, q), pathKey(appendKey(nil, p)).meets(q))
		}
		w.remove(x)
	}
	require.Zero(t, w.bytes())
	require.Empty(t, w.groups)
}

// TestAWatchIsToldNothingOfBefore begins one while others are still to be given changes.
func TestAWatchIsToldNothingOfBefore(t *testing.T) {
	l := Defaults
	l.Watches, l.AllWatches = 3000, 10_000
	w := newWorld(t, l)
	c, atC := w.open(wire.V2None)
	for id := range uint64(3000) {
		w.do(c, atC, looking(wire.V2Watch, id+1, path("x")))
	}
	o, at := w.open(wire.V2None)
	for id := range uint64(30) {
		w.do(o, at, lockRequest(id+1, write("x")))
	}
	w.do(o, at, request(wire.V2Bye, 31, 0)) // they end, and all but the first are acquired before
	late, atLate := w.open(wire.V2None)
	w.do(late, atLate, looking(wire.V2Watch, 1, path("x")))
	w.do(late, atLate, looking(wire.V2Watch, 2, path("x")))
	require.NotEmpty(t, w.space.watched.pending)
	w.do(late, atLate, lockRequest(3, read("x")))
	w.do(late, atLate, looking(wire.V2Watch, 1, path("x"))) // again: it knows of the lock, and the other doesn't
	require.Len(t, w.last().Locks, 1)
	require.NotEmpty(t, w.space.watched.pending)
	for w.fx.More = true; w.fx.More; {
		w.space.Tick(w.now, &w.fx)
	}
	w.space.Collect(w.now, late, atLate, &w.fx)
	require.Len(t, w.fx.Messages, 1)
	require.Contains(t, string(wire.AppendV2(nil, &w.fx.Messages[0])), `{"watch":2,"n":1,"change":"acquired"`)
}

func TestWatchesAreToldThatAnUpgradeIsTakenBack(t *testing.T) {
	w := newWorld(t, Defaults)
	c, atC := w.open(wire.V2None)
	w.do(c, atC, looking(wire.V2Watch, 1, path("x")))
	a, atA := w.open(wire.V2None)
	b, atB := w.open(wire.V2None)
	w.do(a, atA, lockRequest(1, read("x")))
	w.do(b, atB, lockRequest(1, read("x")))
	upgrade := func(id uint64, wait int64) Request {
		return with(request(wire.V2Upgrade, id, 1), func(r *Request) { r.WaitMS = wait })
	}
	w.do(a, atA, upgrade(2, 0))
	w.do(a, atA, upgrade(3, 5))
	w.now += 6 * ms
	w.space.Tick(w.now, &w.fx)
	w.do(a, atA, upgrade(4, wire.V2None))
	w.do(a, atA, with(request(wire.V2Downgrade, 5, 1), func(r *Request) { r.Upgrade = 4 }))
	w.do(a, atA, upgrade(6, wire.V2None))
	w.do(a, atA, request(wire.V2Downgrade, 7, 1))
	w.space.Collect(w.now, c, atC, &w.fx)
	var told []string
	for _, m := range w.fx.Messages {
		told = append(told, fmt.Sprint(m.Change, " ", m.Locks[0].State))
	}
	require.Equal(t, []string{
		"acquired acquired", "acquired acquired",
		"upgrading upgrading", "acquired acquired",
		"upgrading upgrading", "acquired acquired",
		"upgrading upgrading", "acquired acquired", "downgraded acquired",
	}, told, "an upgrade that doesn't wait is no change")
}

// TestRetriesOfLooksAreJudged: others are answered whatever the verdict, as they have no effect.
func TestRetriesOfLooksAreJudged(t *testing.T) {
	w := newWorld(t, Defaults)
	s, at := w.open(wire.V2None)
	w.do(s, at, lockRequest(1, write("x")))
	no := &Refusal{Code: wire.V2NotAllowed, Text: "no", Plugin: "p", Number: 7}
	for id, op := range map[uint64]wire.V2Op{2: wire.V2Inspect, 3: wire.V2Watch} {
		for range 2 {
			w.do(s, at, with(looking(op, id, nil), func(r *Request) { r.Refusal = no }))
			w.lastIs(fmt.Sprintf(`{"id":%d,"error":"denied","plugin":"p","code":7,"message":"no"}`, id))
		}
	}
	require.Zero(t, w.space.watched.count)
	w.do(s, at, with(lockRequest(1, write("x")), func(r *Request) { r.Refusal = no }))
	require.Equal(t, wire.V2Acquired, w.state())
}
