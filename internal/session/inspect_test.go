package session

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// last is the last message.
func (w *world) last() *wire.V2Message { return &w.fx.Messages[len(w.fx.Messages)-1] }

func (w *world) lastError() wire.V2Code { return w.last().Error }

func TestInspectionsArePaged(t *testing.T) {
	l := Defaults
	l.AnswerBytes = 1 << 20
	w := newWorld(t, l)
	s, at := w.open(wire.V2None)
	for id := range uint64(1234) {
		w.do(s, at, lockRequest(id+1, read("x", fmt.Sprint(id))))
	}
	id := uint64(2000)
	for limit, want := range map[uint64]int{0: 100, 1: 1, 99: 99, 1000: 1000, 1001: 1000, wire.V2MaxID: 1000} {
		id++
		w.do(s, at, with(looking(wire.V2Inspect, id, path("x")), func(r *Request) { r.Limit = limit }))
		require.Len(t, w.last().Locks, want, "%d", limit)
	}
	seen := map[uint64]bool{}
	var places []uint64
	for next, pages := uint64(0), 0; next != 0 || pages == 0; pages++ {
		id++
		w.do(s, at, with(looking(wire.V2Inspect, id, path("x")), func(r *Request) { r.Limit, r.After = 97, next }))
		for _, l := range w.last().Locks {
			require.False(t, seen[l.Lock])
			seen[l.Lock] = true
		}
		if next = w.last().Next; next != 0 {
			places = append(places, next)
		}
	}
	require.Len(t, seen, 1234)

	// Places are kept up to the limit; nobody can make one up.
	require.Greater(t, len(places), placesKept)
	for back := range places {
		c, ok := s.places.find(places[len(places)-1-back])
		require.Equal(t, back < placesKept, ok, "%d back", back)
		require.Equal(t, ok, c != engine.Cursor{})
	}
	for _, place := range []uint64{places[0], s.places.last + 1, 1 << 63, 1<<64 - 1} {
		id++
		w.do(s, at, with(looking(wire.V2Inspect, id, path("x")), func(r *Request) { r.After = place }))
		require.Equal(t, wire.V2Forgotten, w.lastError(), "%d", place)
	}
	// A place on another path shows nothing of sense, and only what is there.
	w.do(s, at, with(looking(wire.V2Inspect, id+1, path("x", "7", "a", "b")), func(r *Request) { r.After = s.places.last }))
	require.LessOrEqual(t, len(w.last().Locks), 1)
}

// TestAnswersFit lists locks whose paths, notes and names are as long as they can be, and such that grow when they
// are printed.
func TestAnswersFit(t *testing.T) {
	for _, most := range []int{1024, 5000, 256 << 10} {
		for _, piece := range []string{"a", "\x01", "\xff", `"`} {
			l := Defaults
			l.AnswerBytes = most
			w := newWorld(t, l)
			s, err := w.space.Open(w.now, 1, Hello{ID: strings.Repeat("i", 32), Name: []byte(strings.Repeat(`"`, 128)), TTL: wire.V2None}, &w.fx)
			require.NoError(t, err)
			long, locks := strings.Repeat(piece, 1000), 0
			for id := range uint64(200) {
				rs := []engine.Resource{read("x", fmt.Sprint(id))}
				if id%10 == 0 {
					for k := range int(id) {
						rs = append(rs, read("x", fmt.Sprint(k), long))
					}
				}
				w.do(s, 1, with(lockRequest(id+1, rs...), func(r *Request) { r.Note = []byte(strings.Repeat(`\`, 256)) }))
				require.Equal(t, wire.V2Acquired, w.state())
			}
			last, next, id := uint64(0), uint64(0), s.lastID
			for more := true; more; more = next != 0 {
				id++
				w.do(s, 1, with(looking(wire.V2Inspect, id, nil), func(r *Request) { r.Limit, r.After = 1000, next }))
				m := w.last()
				next = m.Next
				require.LessOrEqual(t, len(wire.AppendV2(nil, m)), most+200)
				require.NotEmpty(t, m.Locks, "each answer is of use")
				for _, l := range m.Locks {
					require.Equal(t, last+1, l.Lock)
					last++
					if len(l.Resources) > 0 && !l.Cut {
						locks++
					}
				}
			}
			require.Equal(t, uint64(200), last)
			require.True(t, most < 5000 || locks >= 40, "%d of %d with %q are whole", locks, most, piece)
		}
	}
}

// TestAWelcomeFits: a session that has very many slots can be gone on with all the same.
func TestAWelcomeFits(t *testing.T) {
	const locks, permits = 50, 100
	for _, most := range []int{1024, 5000, 256 << 10} {
		l := Defaults
		l.AnswerBytes = most
		w := newWorld(t, l)
		s, at := w.open(wire.V2None)
		for id := range uint64(locks) {
			p := engine.Resource{Mode: engine.Permit, Path: path("p"), Limit: math.MaxUint32, Weight: 1}
			rs := slices.Repeat([]engine.Resource{p}, 1+int(id)%2*permits)
			w.do(s, at, with(lockRequest(never/1024+id, rs...), func(r *Request) { r.LeaseMS = math.MaxInt32 }))
			require.Equal(t, wire.V2Acquired, w.state())
		}
		_, err := w.space.Resume(w.now, 9, Resumption{ID: s.id, Secret: []byte("secret"), New: []byte("new"), Event: 1 << 40}, &w.fx)
		require.NoError(t, err)
		require.LessOrEqual(t, len(wire.AppendV2Welcome(nil, &w.fx.Welcome)), max(most, heldBytes+slotBytes*(1+permits))+500)
		listed, next := len(w.fx.Welcome.Held), w.fx.Welcome.Next
		for next != 0 {
			w.do(s, 9, with(request(wire.V2Locks, never/512, 0), func(r *Request) { r.After = next }))
			require.NotEmpty(t, w.last().Held)
			require.LessOrEqual(t, len(wire.AppendV2(nil, w.last())), max(most, heldBytes+slotBytes*(1+permits))+200)
			listed, next = listed+len(w.last().Held), w.last().Next
		}
		require.Equal(t, locks, listed)
	}
}

// TestEffectsAreTheCallers: what a call has told stays as it is while other calls use other Effects.
func TestEffectsAreTheCallers(t *testing.T) {
	w := newWorld(t, Defaults)
	s, at := w.open(wire.V2None)
	w.do(s, at, with(lockRequest(1, write("x", "y"), read("z")), func(r *Request) { r.Note = []byte("a note") }))
	w.do(s, at, looking(wire.V2Inspect, 2, path("x")))
	told := w.fx
	w.fx = Effects{}
	w.do(s, at, request(wire.V2Release, 3, 1))
	for id := range uint64(100) {
		w.do(s, at, with(lockRequest(id+4, write("y", "x"), read("u")), func(r *Request) { r.Note = []byte("no one") }))
		w.do(s, at, looking(wire.V2Watch, id+105, path("y")))
	}
	w.fx = told
	w.lastIs(`{"id":2,"state":"inspected","locks":[{"session":"secret-id-1","lock":1,"note":"a note","token":"1","state":"acquired","since_ms":0,"resources":[{"type":"write","path":["x","y"]}]}]}`)
}

// TestInspectionsSayWhoWaitsForWhom and tell nothing of what lies elsewhere.
func TestInspectionsSayWhoWaitsForWhom(t *testing.T) {
	w := newWorld(t, Defaults)
	a, atA := w.open(wire.V2None)
	b, atB := w.open(wire.V2None)
	w.do(a, atA, with(lockRequest(1, read("x"), write("secret")), func(r *Request) { r.Note = []byte("a note") }))
	_, err := w.space.LockForeign(w.now, 7, []engine.Resource{read("x", "y")}, &w.fx)
	require.NoError(t, err)
	w.now += 5 * ms
	w.do(b, atB, lockRequest(1, write("x", "y"), write("secret")))
	w.do(b, atB, lockRequest(2, write("secret")))
	w.do(a, atA, with(request(wire.V2Upgrade, 2, 1), func(r *Request) { r.WaitMS = 1000 }))
	w.now += 2 * ms
	w.do(b, atB, looking(wire.V2Inspect, 3, path("x")))
	var got []string
	for _, l := range w.last().Locks {
		for _, x := range l.WaitsFor {
			got = append(got, fmt.Sprintf("%s %d: %s %d %s %s %s %d", l.Session, l.Lock, x.Session, x.Lock, x.Type, x.Path, x.State, x.SinceMS))
		}
	}
	require.Equal(t, []string{
		"secret-id-1 1: v1 2 read [x y] acquired -1",
		"secret-id-2 1: secret-id-1 1 write [x] upgrading 7",
		"secret-id-2 1: v1 2 read [x y] acquired -1",
	}, got)
	w.do(b, atB, looking(wire.V2Inspect, 4, path("secret")))
	require.Len(t, w.last().Locks, 3)
	for i, want := range []int{0, 1, 2} {
		require.Len(t, w.last().Locks[i].WaitsFor, want)
		for _, x := range w.last().Locks[i].WaitsFor {
			require.Equal(t, path("secret"), x.Path)
		}
	}
}

// TestExplanationsAreBounded has very many that wait, each for very many: in time, and in room.
func TestExplanationsAreBounded(t *testing.T) {
	l := Defaults
	l.AnswerBytes = 8 << 20
	w := newWorld(t, l)
	s, at := w.open(wire.V2None)
	var readers []engine.Resource
	for k := range 1000 {
		readers = append(readers, read("x", fmt.Sprint(k)))
	}
	for id := range uint64(5) { // each is in the way of all that follow a thousand times
		w.do(s, at, lockRequest(id+1, readers...))
	}
	id := uint64(5)
	for range 300 {
		id++
		w.do(s, at, with(lockRequest(id, readers[0], write("x"), write("y")), func(r *Request) { r.Party = id }))
	}
	explained := func(answer int) (blockers, size int) {
		l.AnswerBytes = answer
		w.space.SetLimits(l)
		w.do(s, at, with(looking(wire.V2Inspect, s.lastID+1, path("x")), func(r *Request) { r.Limit = 1000 }))
		for _, l := range w.last().Locks {
			require.LessOrEqual(t, len(l.WaitsFor), mostBlockers)
			require.True(t, l.State == wire.V2Enqueued || len(l.WaitsFor) == 0)
			blockers, size = blockers+len(l.WaitsFor), size+l.Size()
		}
		return blockers, size
	}
	blockers, _ := explained(8 << 20)
	require.Less(t, blockers, 300*mostBlockers)
	require.Greater(t, blockers, mostBlockers)
	for _, most := range []int{1024, 10_000, 256 << 10} {
		_, size := explained(most)
		require.LessOrEqual(t, size, most)
	}
}
