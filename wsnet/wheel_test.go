package wsnet

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

// TestWheelAgainstAMap compares the wheel with a map of deadlines over random changes: everything
// comes up exactly when it is due, or at the horizon.
func TestWheelAgainstAMap(t *testing.T) {
	s := testseed.New(t)
	rnd := rand.New(rand.NewPCG(s, 2))
	w := wheel{now: 4_294_967_000} // across the wrap-around
	w.grow(2999)
	want, now := map[int32]instant{}, w.now
	for range 20_000 {
		slot := rnd.Int32N(3000)
		switch rnd.IntN(5) {
		case 0:
			w.remove(slot)
			delete(want, slot)
		case 1:
			at := w.now + instant(rnd.IntN(2*wheelSize))
			w.set(slot, at)
			want[slot] = clamp(&w, at)
		case 2, 3:
			at := w.now + instant(rnd.IntN(2*wheelSize))
			w.sooner(slot, at)
			if old, ok := want[slot]; !ok || int32(old-at) > 0 {
				want[slot] = clamp(&w, at)
			}
		case 4:
			checkNext(t, &w, want, now)
			now += instant(rnd.IntN(20))
			if rnd.IntN(100) == 0 {
				now += 10 * wheelSize
			}
			was, left := w.now, rnd.IntN(100)
			w.advance(now, func(slot int32) bool {
				require.True(t, now.reached(want[slot]))
				delete(want, slot)
				left--
				return left > 0
			})
			if w.late {
				require.LessOrEqual(t, left, 0)
				require.True(t, w.now.reached(was))
				break
			}
			for slot, at := range want {
				require.False(t, now.reached(at), slot)
			}
		}
	}
}

func clamp(w *wheel, at instant) instant {
	if int32(at-w.now) < 1 {
		return w.now + 1
	}
	if int32(at-w.now) > wheelSize-1 {
		return w.now + wheelSize - 1
	}
	return at
}

// checkNext expects a time no later than any deadline, or than the last advance if that was stopped.
func checkNext(t *testing.T, w *wheel, want map[int32]instant, last instant) {
	at, some := w.next()
	require.Equal(t, len(want) > 0, some)
	for _, due := range want {
		if w.late && last.reached(due) {
			due = last
		}
		require.LessOrEqual(t, int32(at-due), int32(0))
	}
}

func TestInstantAfterIsNeverEarly(t *testing.T) {
	require.Equal(t, instant(12), instant(10).after(tick))
	require.Equal(t, instant(13), instant(10).after(tick+1))
	require.True(t, instant(3).reached(instant(4294967290)))
	require.False(t, instant(4294967290).reached(3))
}
