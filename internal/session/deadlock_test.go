package session

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/engine/enginetest"
	"github.com/locktopus-project/locktopus/v2/internal/testseed"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// graph is a space in which parties hold and wait, beside requests in the model's form. Whether some of them are
// stuck it finds out by letting go on whoever can.
type graph struct {
	*world
	r      *rand.Rand
	locks  enginetest.Model
	tasks  []*task
	script []string
	closed int // deadlocks that were refused
}

// task is a party of a session; one without a session is a foreign owner.
type task struct {
	name    string
	s       *Session
	at      uint64
	number  uint64
	held    []*holding
	foreign engine.Handle
}

type holding struct {
	id      uint64
	request *enginetest.Request
}

func newGraph(t testing.TB, r *rand.Rand) *graph {
	g := &graph{world: newWorld(t, Defaults), r: r}
	for k := range 4 {
		s, at := g.open(wire.V2MaxID)
		for number := range uint64(2) {
			g.tasks = append(g.tasks, &task{name: fmt.Sprintf("%d.%d", k+1, number), s: s, at: at, number: number})
		}
	}
	for k := range uint64(2) {
		g.tasks = append(g.tasks, &task{name: fmt.Sprintf("v1.%d", k+1), number: k + 1})
	}
	return g
}

// owners names the requests' tasks, by their places from 1 on.
func (g *graph) task(r *enginetest.Request) *task { return g.tasks[r.Owner-1] }

// stuck are the tasks that never get on, found out by doing: whoever waits for nobody else gives up all that he
// has, again and again.
func (g *graph) stuck() (names []string) {
	var m enginetest.Model
	for _, r := range g.locks.Alive {
		c := *r
		m.Alive = append(m.Alive, &c)
	}
	free := func(owner uint64) bool {
		for _, r := range m.Alive {
			if r.Owner == owner && slices.ContainsFunc(m.Blockers(r), func(o *enginetest.Request) bool { return o.Owner != owner }) {
				return false
			}
		}
		return true
	}
	for changed := true; changed; {
		changed = false
		settle(&m)
		for k := range g.tasks {
			owner := uint64(k + 1)
			before := len(m.Alive)
			if free(owner) {
				m.Alive = slices.DeleteFunc(m.Alive, func(r *enginetest.Request) bool { return r.Owner == owner })
			}
			changed = changed || len(m.Alive) < before
		}
	}
	for _, r := range m.Alive {
		names = append(names, g.task(r).name)
	}
	return names
}

// settle grants all that the rule grants.
func settle(m *enginetest.Model) {
	for changed := true; changed; {
		changed = false
		for _, r := range m.Alive {
			switch {
			case r.Upgrading && m.MayUpgrade(r):
				m.FinishUpgrade(r)
				changed = true
			case !r.Acquired && m.MayHold(r):
				r.Acquired, changed = true, true
			}
		}
	}
}

func (g *graph) log(format string, args ...any) {
	g.script = append(g.script, fmt.Sprintf(format, args...))
}

func (g *graph) String() string { return strings.Join(g.script, "\n") }

func (g *graph) step() {
	x := g.tasks[g.r.IntN(len(g.tasks))]
	switch n := g.r.IntN(10); {
	case x.s == nil:
		g.foreign(x)
	case len(x.held) == 0 || n < 5 && len(x.held) < 4:
		g.lock(x)
	case n < 8:
		g.release(x)
	default:
		g.change(x)
	}
	require.Empty(g.t, g.stuck(), "nobody was refused\n%s", g)
	require.Empty(g.t, broken(g.space), "%s", g)
}

func (g *graph) resources() (rs []engine.Resource) {
	for len(rs) == 0 || g.r.IntN(3) == 0 {
		k := g.r.IntN(4)
		x := engine.Resource{Mode: engine.Mode(g.r.IntN(3)), Path: path("abcd"[k : k+1])}
		if g.r.IntN(4) == 0 {
			x.Path = append(x.Path, []byte("below"))
		}
		if x.Mode == engine.Permit {
			x.Limit, x.Weight = 3, uint32(1+g.r.IntN(2))
		}
		rs = append(rs, x)
	}
	return rs
}

// place puts a request into the model; nil: it is refused.
func (g *graph) place(x *task, rs []engine.Resource) *enginetest.Request {
	q, err := g.locks.Lock(uint64(slices.Index(g.tasks, x)+1), rs)
	if err != nil {
		return nil
	}
	q.Acquired = g.locks.MayHold(q)
	return q
}

func (g *graph) foreign(x *task) {
	if len(x.held) > 0 {
		_, err := g.space.ReleaseForeign(g.now, x.foreign, &g.fx)
		require.NoError(g.t, err)
		g.gone(x, 0)
		return
	}
	rs := g.resources()
	g.log("%s locks %s", x.name, enginetest.FormatResources(rs))
	placed, err := g.space.LockForeign(g.now, x.number, rs, &g.fx)
	if q := g.place(x, rs); q != nil {
		require.NoError(g.t, err)
		require.Equal(g.t, q.Acquired, placed.Acquired)
		x.held, x.foreign = append(x.held, &holding{placed.Seq, q}), placed.Handle
	}
}

// ask sends a request with a new id and gives the answer.
func (g *graph) ask(x *task, r Request) wire.V2Message {
	r.ID, r.Party = x.s.lastID+1, x.number
	g.do(x.s, x.at, r)
	k := slices.IndexFunc(g.fx.Messages, func(m wire.V2Message) bool { return m.ID == r.ID })
	require.GreaterOrEqual(g.t, k, 0)
	m := g.fx.Messages[k]
	for g.fx.More { // what an upgrade held
		var fx Effects
		g.space.Tick(g.now, &fx)
		g.fx.More = fx.More
	}
	return m
}

func (g *graph) lock(x *task) {
	r := lockRequest(0, g.resources()...)
	if g.r.IntN(8) == 0 {
		r.WaitMS = 0
	}
	q := g.place(x, r.Wanted)
	want := wire.V2Enqueued
	switch {
	case q == nil:
		want = wire.V2NoState
	case q.Acquired:
		want = wire.V2Acquired
	case r.WaitMS == 0:
		want = wire.V2Unavailable
	case len(g.stuck()) > 0:
		want = wire.V2Deadlock
		g.closed++
	}
	g.log("%s locks %s: %v", x.name, enginetest.FormatResources(r.Wanted), want)
	m := g.ask(x, r)
	require.Equal(g.t, want, m.State, "%s\n%s", wire.AppendV2(nil, &m), g)
	require.Equal(g.t, want == wire.V2Deadlock, len(m.Cycle) > 0)
	switch want {
	case wire.V2Acquired, wire.V2Enqueued:
		x.held = append(x.held, &holding{m.ID, q})
	case wire.V2Deadlock:
		g.follow(x, m.Cycle, m.ID, q)
		g.locks.Release(q)
	case wire.V2Unavailable:
		g.locks.Release(q)
	}
}

// follow checks that a cycle is one: each lock in it is in the way of another one of the party before.
func (g *graph) follow(x *task, cycle []wire.V2Blocker, id uint64, q *enginetest.Request) {
	from := uint64(slices.Index(g.tasks, x) + 1)
	for i, b := range cycle {
		var o *enginetest.Request
		for _, y := range g.tasks {
			for _, h := range y.held {
				if h.id == b.Lock && (y.s == nil && string(b.Session) == "v1" || y.s != nil && string(b.Session) == y.s.id) {
					o = h.request
				}
			}
		}
		if x.s.id == string(b.Session) && b.Lock == id {
			o = q
		}
		require.NotNil(g.t, o, "%+v\n%s", b, g)
		require.True(g.t, slices.ContainsFunc(g.locks.Alive, func(r *enginetest.Request) bool {
			return r.Owner == from && slices.Contains(g.locks.Blockers(r), o)
		}), "%d of %s holds up nobody of the party before\n%s", b.Lock, b.Session, g)
		require.True(g.t, i < len(cycle)-1 || g.task(o) == x, "it doesn't come back\n%s", g)
		from = o.Owner
	}
}

func (g *graph) gone(x *task, k int) {
	g.log("%s releases %d", x.name, x.held[k].request.Seq)
	g.locks.Release(x.held[k].request)
	x.held = slices.Delete(x.held, k, k+1)
	settle(&g.locks)
}

func (g *graph) release(x *task) {
	k := g.r.IntN(len(x.held))
	g.ask(x, request(wire.V2Release, 0, x.held[k].id))
	g.gone(x, k)
}

// change upgrades or downgrades.
func (g *graph) change(x *task) {
	h := x.held[g.r.IntN(len(x.held))]
	if !h.request.Acquired || g.r.IntN(4) == 0 {
		m := g.ask(x, request(wire.V2Downgrade, 0, h.id))
		require.Equal(g.t, h.request.Acquired, m.State == wire.V2Downgraded)
		if h.request.Acquired {
			g.log("%s downgrades %d", x.name, h.request.Seq)
			h.request.Upgrading = false
			require.NoError(g.t, g.locks.Downgrade(h.request))
			settle(&g.locks)
		}
		return
	}
	_, err := g.locks.Upgrade(h.request)
	want := wire.V2Upgrading
	code := wire.V2NoError
	switch {
	case err != nil:
		want, code = wire.V2NoState, wire.V2UpgradeConflict
	case len(g.stuck()) > 0:
		want, code = wire.V2NoState, wire.V2WouldDeadlock
		g.closed++
	case g.locks.MayUpgrade(h.request):
		want = wire.V2Upgraded
		g.locks.FinishUpgrade(h.request)
	}
	g.log("%s upgrades %d: %v %v", x.name, h.request.Seq, want, code)
	m := g.ask(x, request(wire.V2Upgrade, 0, h.id))
	require.Equal(g.t, want, m.State, "%s\n%s", wire.AppendV2(nil, &m), g)
	require.Equal(g.t, code, m.Error, "%s\n%s", wire.AppendV2(nil, &m), g)
	if code == wire.V2WouldDeadlock {
		g.follow(x, m.Cycle, 0, nil)
		require.NoError(g.t, g.locks.CancelUpgrade(h.request))
		settle(&g.locks)
	}
}

// TestDeadlocksAreRefusedExactly has parties of several sessions, and others, hold and wait at random. Who would close
// a cycle is refused, and nobody else; and none comes about in any other way.
func TestDeadlocksAreRefusedExactly(t *testing.T) {
	seed := testseed.New(t)
	rounds, closed := 200, 0
	if testing.Short() {
		rounds = 30
	}
	for round := range rounds {
		g := newGraph(t, rand.New(rand.NewPCG(seed, uint64(round))))
		for range 120 {
			g.step()
		}
		closed += g.closed
	}
	require.Greater(t, closed, rounds, "there is something to find")
	t.Logf("%d deadlocks were refused", closed)
}

// ring has n sessions hold something each, and all but the first wait for what the next one holds.
func ring(w *world, n int) (first *Session, at uint64) {
	name := func(k int) engine.Resource { return write(fmt.Sprint(k % n)) }
	first, at = w.open(wire.V2MaxID)
	w.do(first, at, lockRequest(1, name(0)))
	for k := 1; k < n; k++ {
		s, conn := w.open(wire.V2MaxID)
		w.do(s, conn, lockRequest(1, name(k)))
	}
	for k := 1; k < n; k++ {
		s := w.space.table[first.slot+uint32(k)]
		w.do(s, s.attachment, lockRequest(2, name(k+1)))
		require.Equal(w.t, wire.V2Enqueued, w.state())
	}
	return first, at
}

// TestALongCycleIsToldInPart, up to its limit and one past it.
func TestALongCycleIsToldInPart(t *testing.T) {
	for n, told := range map[int]int{2: 2, mostCycle: mostCycle, mostCycle + 1: mostCycle} {
		w := newWorld(t, Defaults)
		first, at := ring(w, n)
		w.do(first, at, lockRequest(2, write("1")))
		require.Equal(t, wire.V2Deadlock, w.state())
		cycle := w.fx.Messages[0].Cycle
		require.Len(t, cycle, told)
		require.Equal(t, first.id, string(cycle[told-1].Session), "it ends where it began")
	}
}

// TestASearchForADeadlockHasAnEnd: then the request is refused for now, as it might wait for ever.
func TestASearchForADeadlockHasAnEnd(t *testing.T) {
	w := newWorld(t, Defaults)
	first, at := ring(w, mostSteps)
	w.do(first, at, lockRequest(2, write("1")))
	require.Equal(t, wire.V2TryLater, w.fx.Messages[0].Error)
	locks := w.space.locks.live
	w.do(first, at, lockRequest(2, write("1")))
	w.lastIs(`{"id":2,"error":"try_later","message":"this request was refused before; begin another one"}`)
	require.Equal(t, locks, w.space.locks.live)
	require.Empty(t, broken(w.space))

	w.do(first, at, with(lockRequest(3, write("1")), func(r *Request) { r.Party = 1 }))
	require.Equal(t, wire.V2Enqueued, w.state(), "who holds nothing closes none, and nothing is looked for")
	w.do(first, at, nowOrNever(lockRequest(4, write("1"))))
	require.Equal(t, wire.V2Unavailable, w.state())
}

// TestAPartyMayHaveVeryManyThatWait: who waits for it is looked for from the new one on.
func TestAPartyMayHaveVeryManyThatWait(t *testing.T) {
	w := newWorld(t, Defaults)
	holder, atHolder := w.open(wire.V2MaxID)
	w.do(holder, atHolder, lockRequest(1, write("x")))
	s, at := w.open(wire.V2MaxID)
	w.do(s, at, lockRequest(1, write("y")))
	w.do(holder, atHolder, lockRequest(2, write("y")))
	other, atOther := w.open(wire.V2MaxID)
	w.do(other, atOther, lockRequest(1, write("z")))
	const id = mostSteps + 10
	for k := uint64(2); k < id; k++ {
		w.do(s, at, lockRequest(k, read("z")))
		require.Equal(t, wire.V2Enqueued, w.state())
	}
	w.do(s, at, lockRequest(id+1, write("x")))
	require.Equal(t, wire.V2Deadlock, w.state())
	w.do(other, atOther, lockRequest(2, write("y")))
	require.Equal(t, wire.V2Deadlock, w.state())
}

// TestAnUpgradeBesideVeryManyReadersWaits: where nobody waits, nothing is looked for.
func TestAnUpgradeBesideVeryManyReadersWaits(t *testing.T) {
	w := newWorld(t, Defaults)
	s, at := w.open(wire.V2MaxID)
	w.do(s, at, lockRequest(1, read("x")))
	readers, atReaders := w.open(wire.V2MaxID)
	for id := range uint64(mostSteps + 1) {
		w.do(readers, atReaders, lockRequest(id+1, read("x")))
	}
	w.do(s, at, request(wire.V2Upgrade, 2, 1))
	require.Equal(t, wire.V2Upgrading, w.state())
	w.do(s, at, request(wire.V2Downgrade, 3, 1))
	w.do(s, at, with(lockRequest(4, write("x")), func(r *Request) { r.Party = 1 }))
	require.Equal(t, wire.V2Enqueued, w.state())
	w.do(s, at, request(wire.V2Upgrade, 5, 1))
	require.Equal(t, wire.V2TryLater, w.fx.Messages[0].Error)
	require.Empty(t, broken(w.space))
}

// TestAPartyWithManyLocksIsLookedAt: whether anybody waits for them is asked of few only.
func TestAPartyWithManyLocksIsLookedAt(t *testing.T) {
	for n, looked := range map[int]bool{mostWaited - 1: false, mostWaited: true} {
		w := newWorld(t, Defaults)
		other, atOther := w.open(wire.V2MaxID)
		w.do(other, atOther, lockRequest(1, write("x")))
		w.conns++
		_, err := w.space.LockForeign(w.now, w.conns, []engine.Resource{write("x")}, &w.fx)
		require.NoError(t, err)
		s, at := w.open(wire.V2MaxID)
		for k := range n {
			w.do(s, at, lockRequest(uint64(k+1), write(fmt.Sprint(k))))
		}
		w.do(s, at, lockRequest(1000, write("x")))
		require.Equal(t, wire.V2Enqueued, w.state())
		require.Equal(t, looked, w.space.mayBeWaitedFor(w.space.locks.at(s.roster.find(1000))), "%d and one", n)
	}
}

// TestWhatIsAboutToEndIsInNoCycle: locks of a session that is over, as they are still being given up, and requests that
// leave with their attachment, where they wait for somebody or keep a place in the queue.
func TestWhatIsAboutToEndIsInNoCycle(t *testing.T) {
	leaves := func(r *Request) { r.Leave = true }
	for name, c := range map[string]struct {
		b    []Request // with what party 0 of b begins
		last []Request // and goes on when very many others of its locks are to end before
		end  bool
	}{
		"session": {nil, []Request{lockRequest(5000, write("a")), lockRequest(5001, write("b"))}, true},
		"waits":   {[]Request{lockRequest(1, write("b"))}, []Request{with(lockRequest(5000, write("a")), leaves)}, false},
		"place":   {[]Request{lockRequest(1, write("a"))}, []Request{with(lockRequest(5000, write("b")), leaves)}, false},
	} {
		w := newWorld(t, Defaults)
		a, atA := w.open(wire.V2MaxID)
		b, atB := w.open(wire.V2MaxID)
		other, atOther := w.open(wire.V2MaxID)
		w.do(a, atA, lockRequest(1, write("a")))
		if name == "place" {
			w.do(other, atOther, lockRequest(1, read("b")))
		}
		for _, r := range c.b {
			w.do(b, atB, r)
		}
		for k := range 2 * sliceLocks {
			w.do(b, atB, with(lockRequest(uint64(k+2), write("a")), func(r *Request) { r.Leave, r.Party = true, 1 }))
		}
		for _, r := range c.last {
			w.do(b, atB, r)
		}
		live := b.roster.len()
		if c.end {
			w.space.End(w.now, b, "enough", &w.fx)
		} else {
			w.space.Detach(w.now, b, atB, &w.fx)
		}
		require.True(t, w.fx.More)
		require.Equal(t, live-sliceLocks, b.roster.len())
		w.do(a, atA, lockRequest(2, write("b")))
		require.Equal(t, wire.V2Enqueued, w.state(), name)
	}
}

// TestACycleOfWhoseTimeIsOverIsNone: while timers are behind nobody is refused for good.
func TestACycleOfWhoseTimeIsOverIsNone(t *testing.T) {
	w := newWorld(t, Defaults)
	a, atA := w.open(wire.V2MaxID)
	b, atB := w.open(wire.V2MaxID)
	w.do(a, atA, lockRequest(1, write("a")))
	w.do(b, atB, lockRequest(1, write("b")))
	for k := range 2 * sliceTimers {
		w.do(b, atB, with(lockRequest(uint64(k+2), write("a")), func(r *Request) { r.WaitMS, r.Party = 10, uint64(k+1) }))
	}
	w.do(b, atB, with(lockRequest(5000, write("a")), func(r *Request) { r.WaitMS = 10 }))
	w.now += 10 * ms
	w.do(a, atA, lockRequest(2, write("b")))
	require.Equal(t, wire.V2TryLater, w.fx.Messages[len(w.fx.Messages)-1].Error)
	for range 3 {
		w.space.Tick(w.now, &w.fx)
	}
	w.do(a, atA, lockRequest(3, write("b")))
	require.Equal(t, wire.V2Enqueued, w.state())
}
