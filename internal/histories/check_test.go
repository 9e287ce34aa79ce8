package histories

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
)

func write(path ...string) oracle.Resource { return oracle.Resource{Write: true, Path: path} }
func read(path ...string) oracle.Resource  { return oracle.Resource{Path: path} }

// held is a request that was granted at once and released, at these times.
func held(asked, answered, ended, gone oracle.Moment, token uint64, rs ...oracle.Resource) *Record {
	return &Record{Resources: rs, Asked: asked, Answered: answered, Answer: Granted, Token: token, Told: answered, Ended: ended, Gone: gone}
}

// waited is one that was granted later.
func waited(asked, answered, told, ended, gone oracle.Moment, token uint64, rs ...oracle.Resource) *Record {
	return &Record{Resources: rs, Asked: asked, Answered: answered, Answer: Enqueued, Token: token, Told: told, Ended: ended, Gone: gone}
}

// TestTheCheckerCanFail has histories that are right beside some that differ little and are wrong.
func TestTheCheckerCanFail(t *testing.T) {
	a := write("a")
	refused := func(asked, answered oracle.Moment) *Record {
		return &Record{Resources: []oracle.Resource{a}, Asked: asked, Answered: answered, Answer: Refused}
	}
	left := func(asked, answered, ended, gone oracle.Moment) *Record {
		r := waited(asked, answered, 0, ended, gone, 0, a)
		r.Waiting = true
		return r
	}
	ghost := func(asked, gone oracle.Moment) *Record {
		return &Record{Resources: []oracle.Resource{a}, Asked: asked, Ended: asked, Gone: gone}
	}
	judge(t, []planted{
		{"one after the other", true, []*Record{held(1, 2, 3, 4, 1, a), held(5, 6, 7, 8, 2, a)}},
		{"two at once", false, []*Record{held(1, 2, 5, 6, 1, a), held(3, 4, 7, 8, 2, a)}},
		{"handed over while the release is on its way", true, []*Record{held(1, 2, 5, 8, 1, a), held(4, 6, 9, 10, 2, a)}},
		{"believed to be held after another was told", false, []*Record{held(1, 2, 7, 20, 1, a), held(4, 6, 9, 10, 2, a)}},
		{"readers share", true, []*Record{held(1, 2, 5, 6, 1, read("a")), held(3, 4, 7, 8, 2, read("a"))}},
		{"a subtree is in the way", false, []*Record{held(1, 2, 5, 6, 1, a), held(3, 4, 7, 8, 2, read("a", "b"))}},
		{"another branch isn't", true, []*Record{held(1, 2, 5, 6, 1, write("a", "c")), held(3, 4, 7, 8, 2, read("a", "b"))}},
		{"one of a set is in the way", false, []*Record{held(1, 2, 5, 6, 1, write("b"), a), held(3, 4, 7, 8, 2, write("c"), a)}},
		{"a token that was there before", false, []*Record{held(1, 2, 3, 4, 2, a), held(5, 6, 7, 8, 2, a)}},
		{"a token that goes back", false, []*Record{held(1, 2, 3, 4, 2, a), held(5, 6, 7, 8, 1, a)}},
		{"first come first served", true, []*Record{held(1, 2, 9, 10, 1, a), waited(3, 4, 11, 12, 13, 2, a), waited(5, 6, 14, 15, 16, 3, a)}},
		{"overtaken", false, []*Record{held(1, 2, 9, 10, 1, a), waited(3, 4, 14, 15, 16, 2, a), waited(5, 6, 11, 12, 13, 3, a)}},
		{"overtaken, and the tokens say so", false, []*Record{held(1, 2, 9, 10, 1, a), waited(3, 4, 14, 15, 16, 3, a), waited(5, 6, 11, 12, 13, 2, a)}},
		{"asked at once, in either order", true, []*Record{held(1, 2, 9, 10, 1, a), waited(3, 6, 14, 15, 16, 3, a), waited(3, 6, 11, 12, 13, 2, a)}},
		{"a reader overtakes a writer that waits", false, []*Record{
			held(1, 2, 9, 10, 1, read("a")), waited(3, 4, 11, 12, 13, 2, a), held(5, 6, 7, 8, 3, read("a")),
		}},
		{"made to wait for nothing", false, []*Record{held(1, 2, 3, 4, 1, a), waited(5, 6, 7, 8, 9, 2, a)}},
		{"refused for a reason", true, []*Record{held(1, 2, 5, 6, 1, a), refused(3, 4)}},
		{"refused for none", false, []*Record{held(1, 2, 3, 4, 1, a), refused(5, 6)}},
		{"gave up waiting", true, []*Record{held(1, 2, 9, 10, 1, a), left(3, 4, 5, 6), held(11, 12, 13, 14, 3, a)}},
		{"gave up waiting for nothing", false, []*Record{held(1, 2, 5, 6, 1, a), left(3, 4, 7, 8)}},
		{"a ghost that came", true, []*Record{ghost(1, 20), refused(3, 4)}},
		{"a ghost that didn't", true, []*Record{ghost(1, 20), held(2, 3, 18, 19, 1, a)}},
		{"a ghost that had not come yet", false, []*Record{ghost(7, 20), refused(3, 4)}},
		{"a ghost that is gone", false, []*Record{ghost(1, 2), refused(3, 4)}},
		{"lost before its time", false, []*Record{held(1, 2, 5, 4, 1, a)}},
	})
}

// TestGhostsAreBroughtInBeforeAllElseIsTried has a request that only a ghost can have been in the way of, among so many at
// the same time that nobody could try all orders without the ghost.
func TestGhostsAreBroughtInBeforeAllElseIsTried(t *testing.T) {
	var crowd []*Record
	for k := range 40 {
		crowd = append(crowd, &Record{Resources: []oracle.Resource{write("crowd", strconv.Itoa(k))}, Asked: 1, Answered: 100, Ended: 101, Gone: 200})
	}
	refused := &Record{Resources: []oracle.Resource{write("a")}, Asked: 95, Answered: 99, Answer: Refused}
	ghost := &Record{Resources: []oracle.Resource{write("a")}, Asked: 90, Ended: 90, Gone: 300}
	require.NoError(t, Check(append(crowd, refused, ghost), judgement))
	require.ErrorIs(t, Check(append(crowd, refused), firstBudget), ErrUndecided, "or it would be no test of that")
}
