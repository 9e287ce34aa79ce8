package session

import (
	"fmt"
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
	for _, most := range []int{1024, 5000, 64 << 10, 256 << 10} {
		for _, piece := range []string{"a", "\x01", "\xff", `"`} {
			l := Defaults
			l.AnswerBytes = most
			w := newWorld(t, l)
			s, err := w.space.Open(w.now, 1, Hello{ID: strings.Repeat("i", 32), Name: []byte(strings.Repeat(`"`, 128)), TTL: wire.V2None}, &w.fx)
			require.NoError(t, err)
			long, locks := strings.Repeat(piece, 1000), 0
			for id := range uint64(200) {
				rs := []engine.Resource{read("x", fmt.Sprint(id))}
				if id%3 == 0 {
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
			require.True(t, most < 5000 || locks >= 60, "%d of %d with %q are whole", locks, most, piece)
		}
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
