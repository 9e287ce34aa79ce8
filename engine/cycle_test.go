package engine_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/engine/enginetest"
	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

// TestDeadlocksAreFoundExactly has parties that hold locks and wait for more, of few paths and pools,
// and looks for cycles after each call, beside a search of every pair.
func TestDeadlocksAreFoundExactly(t *testing.T) {
	r := testseed.Rand(t)
	texts := []string{
		"write /a", "write /b", "read /a", "read /b", "read /a/x", "write /b/x", "read /a, read /b",
		"permit 1/2 /p", "permit 1/2 /p", "permit 2/2 /p", "permit 1/3 /q", "permit 2/3 /q", "permit 1/3 /q, permit 1/2 /p",
		"permit 1/2 /p, write /a", "write /q",
	}
	for range 60 {
		w := enginetest.NewTwin(engine.Limits{})
		var calls []enginetest.Call
		for locks := range 40 {
			next := []enginetest.Call{{Op: enginetest.Lock, Owner: r.Uint64N(10), Resources: resources(t, texts[r.IntN(len(texts))])}}
			for range r.IntN(3) {
				op := []enginetest.Op{enginetest.Release, enginetest.Release, enginetest.Upgrade, enginetest.Downgrade, enginetest.Cancel}[r.IntN(5)]
				next = append(next, enginetest.Call{Op: op, Request: max(0, locks-r.IntN(12))})
			}
			for _, c := range next {
				calls = append(calls, c)
				err := step(w, c)
				if err == nil {
					err = ask(w)
				}
				if err != nil {
					t.Fatalf("after\n%s%v", enginetest.Format(calls), err)
				}
			}
		}
	}
}

// parties say whose requests there are, by their owners, and which wait.
type parties map[uint64][]engine.Handle

func (parties) Party(owner uint64) uint64 { return owner }

func (p parties) Waiting(party uint64, _ engine.Handle, dst []engine.Handle) []engine.Handle {
	return append(dst, p[party]...)
}

// party locks something for one of them.
func (p parties) lock(t testing.TB, e *engine.Engine, party uint64, text string) engine.Handle {
	placed, err := e.Lock(party, resources(t, text))
	require.NoError(t, err)
	if !placed.Acquired {
		p[party] = append(p[party], placed.Handle)
	}
	return placed.Handle
}

func (p parties) cycle(t testing.TB, e *engine.Engine, party uint64) (names []uint64) {
	cycle, done := e.Cycle(party, p, 1<<20)
	require.True(t, done)
	for _, w := range cycle {
		names = append(names, w.Party)
	}
	return names
}

func TestACycleSaysWhoWaitsForWhatOfWhom(t *testing.T) {
	e, p := engine.New(engine.Limits{}, 0), parties{}
	p.lock(t, e, 1, "write /a")
	p.lock(t, e, 2, "write /b/c")
	p.lock(t, e, 1, "read /b, write /x")
	require.Empty(t, p.cycle(t, e, 1))
	h := p.lock(t, e, 2, "read /other, read /a/d")
	cycle, done := e.Cycle(2, p, 1000)
	require.True(t, done)
	require.Len(t, cycle, 2)
	require.Equal(t, h, cycle[0].Handle)
	require.EqualValues(t, []uint64{2, 2, 4}, []uint64{cycle[0].Party, cycle[0].Owner, cycle[0].Seq})
	pair := func(b engine.Blocker) string {
		return enginetest.FormatResources([]engine.Resource{b.Wants, b.Has})
	}
	require.Equal(t, "read /a/d, write /a", pair(cycle[0].For))
	require.Equal(t, "read /b, write /b/c", pair(cycle[1].For))
	require.True(t, cycle[1].For.Acquired)
	require.EqualValues(t, 2, cycle[1].For.Owner)
}

func TestAPoolThatSomebodyWillLeaveIsNoDeadlock(t *testing.T) {
	e, p := engine.New(engine.Limits{}, 0), parties{}
	p.lock(t, e, 1, "write /x")
	p.lock(t, e, 2, "permit 1/2 /pool")
	third := p.lock(t, e, 3, "permit 1/2 /pool")
	p.lock(t, e, 2, "write /x")
	p.lock(t, e, 1, "permit 1/2 /pool")
	require.Empty(t, p.cycle(t, e, 1), "party 3 waits for nobody")

	p.lock(t, e, 3, "write /x")
	require.Equal(t, []uint64{1, 2}, p.cycle(t, e, 1), "now it does")
	release(t, e, third)
	require.Empty(t, p.cycle(t, e, 1))
}

func TestTwoThatHoldAPermitAndWantAnotherAreInADeadlock(t *testing.T) {
	e, p := engine.New(engine.Limits{}, 0), parties{}
	p.lock(t, e, 1, "permit 1/2 /pool")
	p.lock(t, e, 2, "permit 1/2 /pool")
	p.lock(t, e, 1, "permit 1/2 /pool")
	require.Empty(t, p.cycle(t, e, 1))
	p.lock(t, e, 2, "permit 1/2 /pool")
	require.Equal(t, []uint64{2, 1}, p.cycle(t, e, 2))
}

func TestAPartyThatWaitsForItselfAloneIsInNoCycle(t *testing.T) {
	e, p := engine.New(engine.Limits{}, 0), parties{}
	p.lock(t, e, 1, "write /a")
	p.lock(t, e, 1, "write /a/b")
	p.lock(t, e, 2, "write /a")
	require.Empty(t, p.cycle(t, e, 1))
	require.Empty(t, p.cycle(t, e, 2))
	require.Empty(t, p.cycle(t, e, 0))
}

// TestPartyZeroIsInNoCycle: it is nobody who waits for long.
func TestPartyZeroIsInNoCycle(t *testing.T) {
	e, p := engine.New(engine.Limits{}, 0), parties{}
	p.lock(t, e, 0, "write /a")
	p.lock(t, e, 2, "write /b")
	p.lock(t, e, 0, "write /b")
	p.lock(t, e, 2, "write /a")
	require.Empty(t, p.cycle(t, e, 2))
}

func TestAnUpgradeCanCloseACycle(t *testing.T) {
	e, p := engine.New(engine.Limits{}, 0), parties{}
	first := p.lock(t, e, 1, "permit 1/2 /p, read /q")
	second := p.lock(t, e, 2, "permit 1/2 /q, read /p")
	require.True(t, upgrade(t, e, first).Pending)
	p[1] = append(p[1], first)
	require.Empty(t, p.cycle(t, e, 1))
	require.True(t, upgrade(t, e, second).Pending)
	p[2] = append(p[2], second)
	require.Equal(t, []uint64{2, 1}, p.cycle(t, e, 2))
}

// TestASearchIsBounded has a chain that is longer than a search may be.
func TestASearchIsBounded(t *testing.T) {
	const long = 1000
	e, p := engine.New(engine.Limits{}, 0), parties{}
	for i := range uint64(long) {
		p.lock(t, e, i+1, fmt.Sprintf("write /%d", i))
	}
	for i := range uint64(long) {
		p.lock(t, e, i+1, fmt.Sprintf("write /%d", (i+1)%long))
	}
	for _, most := range []int{0, 1, 10, long} {
		cycle, done := e.Cycle(1, p, most)
		require.Empty(t, cycle)
		require.False(t, done, "%d steps", most)
	}
	require.Len(t, p.cycle(t, e, 1), long)

	pool := parties{}
	e = engine.New(engine.Limits{}, 0)
	for range 2 {
		for i := range uint64(100) {
			pool.lock(t, e, i+1, "permit 1/100 /pool")
		}
	}
	most, done := 0, false
	for ; !done; most++ {
		var cycle []engine.Wait
		cycle, done = e.Cycle(1, pool, most)
		require.Equal(t, done, len(cycle) > 0, "%d steps", most)
	}
	require.Greater(t, most, 100)
}

func TestAnswersAboutRequestsAllocateNothingInASteadyState(t *testing.T) {
	e, p := engine.New(engine.Limits{}, 0), parties{}
	p.lock(t, e, 1, "permit 1/2 /p, write /f81d4fae-7dec-11d0-a765-00a0c91e6bf6/a")
	p.lock(t, e, 2, "permit 1/2 /p, write /b")
	h := p.lock(t, e, 2, "permit 1/2 /p, write /f81d4fae-7dec-11d0-a765-00a0c91e6bf6")
	p.lock(t, e, 1, "permit 1/2 /p, write /b")
	path := resources(t, "read /f81d4fae-7dec-11d0-a765-00a0c91e6bf6")[0].Path
	var who engine.Parties = p
	require.Zero(t, testing.AllocsPerRun(200, func() {
		blockers, _, _ := e.Blockers(h, 10)
		n, _, _ := e.Ahead(h, 10)
		v, _ := e.Look(h)
		inspected := len(v.Resources)
		views, _, _ := e.Inspect(path, engine.Cursor{}, 10)
		seen := len(views)
		cycle, _ := e.Cycle(1, who, 1000)
		if len(cycle) != 2 || len(blockers) != 2 || n != 2 || inspected != 2 || seen != 2 {
			panic(fmt.Sprint(len(cycle), len(blockers), n, inspected, seen))
		}
	}))
}
