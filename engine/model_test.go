package engine_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/engine/enginetest"
	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

// play gives calls to a twin, with all invariants checked after each.
func play(t testing.TB, calls []enginetest.Call, limits engine.Limits, slice int) *enginetest.Twin {
	t.Helper()
	w := enginetest.NewTwin(limits)
	w.Engine.SetSlice(slice)
	for i, c := range calls {
		err := step(w, c)
		if err == nil && i%4 == 0 {
			err = ask(w)
		}
		if err != nil {
			t.Fatalf("slice %d, after\n%s%v", slice, enginetest.Format(calls[:i+1]), err)
		}
	}
	return w
}

// ask compares all answers about requests; asking changes nothing.
func ask(w *enginetest.Twin) error {
	before := w.Engine.Stats()
	err := w.Ask()
	w.Engine.Check()
	after := w.Engine.Stats()
	after.Capacity = before.Capacity
	if err == nil && before != after {
		err = fmt.Errorf("asking has changed %+v to %+v", before, after)
	}
	return err
}

func step(w *enginetest.Twin, c enginetest.Call) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	_, err = w.Do(c)
	w.Engine.Check()
	return err
}

// finish does what is left over and releases everything: nothing may stay behind.
func finish(t testing.TB, w *enginetest.Twin, locks int) {
	t.Helper()
	for i := range locks {
		if w.Engine.Stats().Requests == 0 {
			break
		}
		require.NoError(t, step(w, enginetest.Call{Op: enginetest.Release, Request: i}))
		for w.More() {
			require.NoError(t, step(w, enginetest.Call{Op: enginetest.Advance}))
		}
	}
	s := w.Engine.Stats()
	require.Zero(t, s.Requests+s.Nodes+s.Entries)
	require.Zero(t, s.Bytes)
}

func countLocks(calls []enginetest.Call) (n int) {
	for _, c := range calls {
		if c.Op == enginetest.Lock {
			n++
		}
	}
	return n
}

func TestRandomCallsAgreeWithTheModel(t *testing.T) {
	first := testseed.New(t)
	for s := first; s-first < 40; s++ {
		calls := enginetest.Random(s, 120)
		for _, slice := range []int{1, 3, 1024} {
			t.Logf("seed %d", s)
			finish(t, play(t, calls, enginetest.TestLimits, slice), countLocks(calls))
		}
	}
}

// FuzzEngineAgreesWithTheModel is the random test with a fuzzer's bytes; the first one is the slice.
func FuzzEngineAgreesWithTheModel(f *testing.F) {
	f.Add([]byte{1, 0, 0, 2, 3, 5, 0, 0, 0, 3, 5, 9, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 || len(data) > 2000 {
			return
		}
		calls := enginetest.Calls(data[1:])
		finish(t, play(t, calls, enginetest.TestLimits, 1+int(data[0]%8)), countLocks(calls))
	})
}

// Calls about a request that is alive.
var (
	releases = []enginetest.Op{enginetest.Release}
	changes  = []enginetest.Op{enginetest.Release, enginetest.Upgrade, enginetest.Cancel, enginetest.Downgrade}
)

// universes are sets of requests small enough to try every order of them, and of the calls about
// those that are alive.
var universes = map[string]struct {
	depth    int
	ops      []enginetest.Op
	requests []string
}{
	"tree":    {5, releases, []string{"write /", "read /", "write /a", "read /a", "write /a/b", "read /a/b"}},
	"several": {5, releases, []string{"write /a, read /b", "read /a, write /b", "write /a/x", "read /b", "write /b, write /a/x, read /a"}},
	"shadows": {5, releases, []string{"write /a, read /a/b", "read /a, read /a", "write /a, read /a", "read /, write /a", "write /a/b"}},
	"permits": {5, releases, []string{"permit 1/2 /a", "permit 2/2 /a", "permit 1/2 /a, permit 1/2 /a", "permit 1/2 /a, write /b", "write /b"}},
	"levels":  {5, releases, []string{"permit 1/1 /a", "permit 1/1 /a/b", "permit 1/1 /a, permit 1/1 /a/b", "read /a", "write /a/b"}},

	"upgrades":         {6, changes, []string{"read /a", "write /a"}},
	"upgrades below":   {5, changes, []string{"read /", "read /a", "read /a/b"}},
	"upgrades beside":  {5, changes, []string{"read /a, read /b", "read /a, write /b", "read /b"}},
	"upgrades shadow":  {5, changes, []string{"read /a, write /a/b", "read /a, permit 1/2 /a", "read /a/b, read /a/b, read /"}},
	"upgrades permits": {5, changes, []string{"permit 1/2 /, read /a", "permit 1/2 /", "read /a"}},
}

// TestEveryShortScript tries all sequences of calls up to a length: any of the requests, or a call
// about any that is alive.
func TestEveryShortScript(t *testing.T) {
	for name, u := range universes {
		for _, slice := range []int{1, 1024} {
			t.Run(fmt.Sprintf("%s/slice=%d", name, slice), func(t *testing.T) {
				t.Parallel()
				tries := enumerator{t: t, slice: slice, depth: u.depth, ops: u.ops}
				for _, text := range u.requests {
					rs, err := enginetest.ParseResources(text)
					require.NoError(t, err)
					tries.requests = append(tries.requests, rs)
				}
				tries.below(nil, nil)
				t.Logf("%d scripts", tries.count)
			})
		}
	}
}

type enumerator struct {
	t            *testing.T
	slice, depth int
	ops          []enginetest.Op
	requests     [][]engine.Resource
	count        int
}

// below tries every script that begins with these calls; alive are the requests not released.
func (n *enumerator) below(calls []enginetest.Call, alive []int) {
	n.count++
	if n.slice < 3 && len(calls) > 0 && calls[len(calls)-1].Op != enginetest.Lock {
		n.last(append(calls[:len(calls):len(calls)], enginetest.Call{Op: enginetest.Advance}))
	}
	n.last(calls)
	if len(calls) == n.depth {
		return
	}
	locks := countLocks(calls)
	for k, i := range alive {
		for _, op := range n.ops {
			rest := alive
			if op == enginetest.Release {
				rest = append(append([]int(nil), alive[:k]...), alive[k+1:]...)
			}
			n.below(append(calls[:len(calls):len(calls)], enginetest.Call{Op: op, Request: i}), rest)
		}
	}
	for _, rs := range n.requests {
		c := enginetest.Call{Op: enginetest.Lock, Owner: uint64(locks), Resources: rs}
		n.below(append(calls[:len(calls):len(calls)], c), append(alive[:len(alive):len(alive)], locks))
	}
}

// last plays a whole script, with the invariants checked at its end: those that it begins with are
// scripts of their own. After all but the longest ones it asks about requests, too.
func (n *enumerator) last(calls []enginetest.Call) {
	w := enginetest.NewTwin(engine.Limits{})
	w.Engine.SetSlice(n.slice)
	for i, c := range calls {
		var err error
		if i < len(calls)-1 {
			_, err = w.Do(c)
		} else {
			err = step(w, c)
			if err == nil && len(calls) < n.depth {
				err = ask(w)
			}
		}
		if err != nil {
			n.t.Fatalf("slice %d, after\n%s%v", n.slice, enginetest.Format(calls[:i+1]), err)
		}
	}
}
