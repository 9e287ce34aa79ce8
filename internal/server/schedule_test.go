package server

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

// The schedule against a model that is a list: things added, taken out, also twice or too late, and
// handed over.
func TestScheduleFollowsTheModel(t *testing.T) {
	type thing struct {
		at time.Time
		x  *appointment[int]
	}
	r := testseed.Rand(t)
	start := time.Now()
	now := start
	var got []int
	s := newSchedule(func(k int) { got = append(got, k) })
	model := map[int]thing{}
	var gone []*appointment[int]
	for k := range 20_000 {
		switch r.IntN(10) {
		case 0:
			now = now.Add(time.Duration(r.IntN(300)))
			due := []int{}
			for k, m := range model {
				if !m.at.After(now) {
					due = append(due, k)
				}
			}
			slices.SortFunc(due, func(a, b int) int { return model[a].at.Compare(model[b].at) })
			got = []int{}
			wait := s.handOver(func() time.Time { return now })
			require.ElementsMatch(t, due, got, "step %d", k)
			require.True(t, slices.IsSortedFunc(got, func(a, b int) int { return model[a].at.Compare(model[b].at) }), "step %d", k)
			for _, k := range got {
				gone = append(gone, model[k].x)
				delete(model, k)
			}
			want := time.Hour
			for _, m := range model {
				want = min(want, m.at.Sub(now))
			}
			require.Equal(t, want, wait, "step %d", k)
		case 1, 2, 3:
			for k, m := range model { // any
				s.remove(m.x)
				gone = append(gone, m.x)
				delete(model, k)
				break
			}
		case 4:
			if len(gone) > 0 {
				s.remove(gone[r.IntN(len(gone))])
			}
		default:
			at := now.Add(time.Duration(r.IntN(1000)))
			model[k] = thing{at, s.add(at, k)}
		}
		require.Equal(t, len(model), s.count(), "step %d", k)
	}
}
