package session

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// world is a space without a model, for tests that count.
type world struct {
	t      testing.TB
	engine *engine.Engine
	space  *Space
	now    int64
	fx     Effects
	conns  uint64
}

func newWorld(t testing.TB, l Limits) *world {
	e := engine.New(engine.Limits{}, 0)
	return &world{t: t, engine: e, space: New(e, l)}
}

func (w *world) open(ttl int64) (*Session, uint64) {
	w.conns++
	s, err := w.space.Open(w.now, w.conns, Hello{ID: secretOf("id", int(w.conns)), Secret: []byte("secret"), TTL: ttl}, &w.fx)
	require.NoError(w.t, err)
	return s, w.conns
}

func (w *world) do(s *Session, conn uint64, r Request) {
	w.space.Do(w.now, s, conn, &r, &w.fx)
}

// state is what the last message says.
func (w *world) state() wire.V2State { return w.fx.Messages[len(w.fx.Messages)-1].State }

func TestSteadyStatesAllocateNothing(t *testing.T) {
	for watches, others := range map[string][][]byte{"none": nil, "elsewhere": path("group", "other"), "gone": path("group")} {
		t.Run(watches, func(t *testing.T) { steadyStateAllocatesNothing(t, watches, others) })
	}
}

func steadyStateAllocatesNothing(t *testing.T, watches string, watched [][]byte) {
	w := newWorld(t, Defaults)
	if watched != nil {
		c, atC := w.open(never)
		w.do(c, atC, looking(wire.V2Watch, 1, watched))
		if watches == "gone" {
			w.do(c, atC, with(request(wire.V2Unwatch, 2, 0), func(r *Request) { r.Watch = 1 }))
		}
	}
	a, atA := w.open(wire.V2None)
	b, atB := w.open(wire.V2None)
	shared := []engine.Resource{{Mode: engine.Write, Path: path("group", "entity")}, {Mode: engine.Permit, Path: path("p"), Limit: 3, Weight: 1}}
	note := []byte("a note that takes more than a single block, as it is longer than sixty bytes")
	id := uint64(0)
	var fxB Effects
	round := func() {
		w.now += int64(time.Millisecond)
		id++
		r := Request{V2Request: wire.V2Request{Op: wire.V2Lock, ID: id, WaitMS: 1000, LeaseMS: 1000, Note: note, Party: 7}, Wanted: shared}
		w.space.Do(w.now, a, atA, &r, &w.fx)
		w.space.Do(w.now, b, atB, &r, &fxB)
		if w.state() != wire.V2Acquired || fxB.Messages[0].State != wire.V2Enqueued {
			t.Fatal("a has it and b waits")
		}
		lock := id
		id++
		r = Request{V2Request: wire.V2Request{Op: wire.V2Renew, ID: id, Lock: lock, LeaseMS: wire.V2None}}
		w.space.Do(w.now, a, atA, &r, &w.fx)
		id++
		r = Request{V2Request: wire.V2Request{Op: wire.V2Release, ID: id, Lock: lock}}
		w.space.Do(w.now, a, atA, &r, &w.fx)
		if len(w.fx.Wake) != 1 {
			t.Fatal("b is woken")
		}
		w.space.Collect(w.now, b, atB, &fxB)
		if fxB.Messages[0].State != wire.V2Acquired {
			t.Fatal("b has it")
		}
		w.space.Do(w.now, b, atB, &r, &fxB)
		w.space.Tick(w.now, &w.fx)
	}
	for range 3000 { // until what is kept for retries and resumes is as much as it may be
		round()
	}
	require.Zero(t, testing.AllocsPerRun(1000, round))
}

// TestManyLocksOfASessionAllocateNothing has a session with very many locks come and go with others.
func TestManyLocksOfASessionAllocateNothing(t *testing.T) {
	w := newWorld(t, Defaults)
	s, at := w.open(wire.V2None)
	id := uint64(0)
	lock := func() uint64 {
		id++
		var name [3]byte
		name[0], name[1], name[2] = byte(id), byte(id>>8), byte(id>>16)
		r := Request{V2Request: wire.V2Request{Op: wire.V2Lock, ID: id, WaitMS: wire.V2None, LeaseMS: wire.V2None}, Wanted: []engine.Resource{{Mode: engine.Write, Path: [][]byte{name[:]}}}}
		w.do(s, at, r)
		return id
	}
	held := make([]uint64, 0, 20000)
	for range 20000 {
		held = append(held, lock())
	}
	n := 0
	round := func() {
		id++
		w.do(s, at, Request{V2Request: wire.V2Request{Op: wire.V2Release, ID: id, Lock: held[n]}})
		held[n] = lock()
		n = (n + 1) % len(held)
	}
	for range 100000 {
		round()
	}
	allocs := testing.AllocsPerRun(20000, round)
	require.LessOrEqual(t, allocs, 2.0, "the request's own two slices: the test makes them")
}

// TestInspectGrowsNothingAnew of a queue of which the notes alone are longer than the answer may be. The path's key is
// a string of its own.
func TestInspectGrowsNothingAnew(t *testing.T) {
	l := Defaults
	l.NoteBytes = 4096
	w := newWorld(t, l)
	s, at := w.open(wire.V2None)
	for k := range 2000 {
		w.do(s, at, with(lockRequest(uint64(k+1), write("x")), func(r *Request) { r.Party, r.Note = uint64(k), bytes.Repeat([]byte("n"), k%400) }))
	}
	for _, limit := range []uint64{100, 1000} {
		r := looking(wire.V2Inspect, 0, path("x"))
		r.Limit = limit
		round := func() {
			r.ID = s.lastID + 1
			w.space.Do(w.now, s, at, &r, &w.fx)
		}
		for range 300 { // until as many answers are kept for retries as may be
			round()
		}
		require.LessOrEqual(t, testing.AllocsPerRun(300, round), 1.0, "at most %d", limit)
	}
}
