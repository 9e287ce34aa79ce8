package histories

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
)

func permit(limit, weight uint32, path ...string) oracle.Resource {
	return oracle.Resource{Limit: limit, Weight: weight, Path: path}
}

// in gives the permits of a request their slots.
func (r *Record) in(slots ...uint32) *Record {
	r.Slots = slots
	return r
}

// then adds changes.
func (r *Record) then(cs ...*Change) *Record {
	r.Changes = append(r.Changes, cs...)
	return r
}

// numbered is a request of a client of version 1, who was told its number when it enqueued.
func (r *Record) numbered(n uint64) *Record {
	r.Number = n
	return r
}

// up is an upgrade that was granted at once, upLater one that was granted later.
func up(asked, answered oracle.Moment, token uint64) *Change {
	return &Change{Asked: asked, Answered: answered, Answer: Granted, Token: token, Told: answered}
}

func upLater(asked, answered, told oracle.Moment, token uint64) *Change {
	return &Change{Asked: asked, Answered: answered, Answer: Enqueued, Token: token, Told: told}
}

// upInVain is one that was taken back, upRefused one that wasn't to wait or was in another one's way.
func upInVain(asked, answered, ended, gone oracle.Moment) *Change {
	return &Change{Asked: asked, Answered: answered, Answer: Enqueued, Waiting: true, Ended: ended, Gone: gone}
}

func upRefused(asked, answered oracle.Moment, why Answer) *Change {
	return &Change{Asked: asked, Answered: answered, Answer: why}
}

// upLost is one that nobody was told of.
func upLost(asked oracle.Moment) *Change { return &Change{Asked: asked, Ended: asked} }

func down(asked, answered oracle.Moment) *Change {
	return &Change{Down: true, Asked: asked, Answered: answered}
}

type planted struct {
	name    string
	ok      bool
	history []*Record
}

// judge checks that the right ones of some histories are found to be right, and the wrong ones wrong.
func judge(t *testing.T, all []planted) {
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			err := Check(c.history, time.Minute)
			if c.ok {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			require.NotErrorIs(t, err, ErrUndecided)
		})
	}
}

// TestTheCheckerKnowsPermits and their pools: places, slots, turns, and limits.
func TestTheCheckerKnowsPermits(t *testing.T) {
	p := func(weight uint32) oracle.Resource { return permit(3, weight, "p") }
	refused := func(asked, answered oracle.Moment, why Answer, r oracle.Resource) *Record {
		return &Record{Resources: []oracle.Resource{r}, Asked: asked, Answered: answered, Answer: why}
	}
	ghost := func(asked, gone oracle.Moment, r oracle.Resource) *Record {
		return &Record{Resources: []oracle.Resource{r}, Asked: asked, Ended: asked, Gone: gone}
	}
	judge(t, []planted{
		{"as many as there is room for", true, []*Record{held(1, 2, 9, 10, 1, p(2)).in(0), held(3, 4, 9, 10, 2, p(1)).in(1)}},
		{"over the limit", false, []*Record{held(1, 2, 9, 10, 1, p(2)).in(0), held(3, 4, 9, 10, 2, p(2)).in(1)}},
		{"over the limit with one request", false, []*Record{held(1, 2, 9, 10, 1, p(2)).in(0), held(3, 4, 9, 10, 2, p(1), p(1)).in(1, 2)}},
		{"over the limit, believed to be held", false, []*Record{held(1, 2, 9, 20, 1, p(3)).in(0), held(5, 6, 11, 12, 2, p(1)).in(1)}},
		{"two in one slot", false, []*Record{held(1, 2, 9, 10, 1, p(1)).in(0), held(3, 4, 9, 10, 2, p(1)).in(0)}},
		{"two of one request in one slot", false, []*Record{held(1, 2, 9, 10, 1, p(1), p(1)).in(1, 1)}},
		{"a slot at the limit", false, []*Record{held(1, 2, 9, 10, 1, p(1)).in(3)}},
		{"a slot of another pool", true, []*Record{held(1, 2, 9, 10, 1, p(1)).in(0), held(3, 4, 9, 10, 2, permit(3, 1, "q")).in(0)}},
		{"a slot again", true, []*Record{held(1, 2, 3, 4, 1, p(1)).in(0), held(5, 6, 7, 8, 2, p(1)).in(0)}},
		{"a slot again while its release is on its way", true, []*Record{held(1, 2, 5, 9, 1, p(1)).in(0), held(6, 7, 8, 9, 2, p(1)).in(0)}},
		{"a slot before its owner stops believing", false, []*Record{held(1, 2, 8, 9, 1, p(1)).in(0), held(4, 5, 10, 11, 2, p(1)).in(0)}},
		{"one waits for room", true, []*Record{held(1, 2, 9, 10, 1, p(2)).in(0), waited(3, 4, 11, 12, 13, 2, p(2)).in(0)}},
		{"one waits where there is room", false, []*Record{held(1, 2, 9, 10, 1, p(2)).in(0), waited(3, 4, 11, 12, 13, 2, p(1)).in(0)}},
		{"a light one waits behind a heavy one", true, []*Record{
			held(1, 2, 9, 10, 1, p(2)).in(0), waited(3, 4, 11, 12, 13, 2, p(2)).in(0), waited(5, 6, 11, 12, 13, 3, p(1)).in(1),
		}},
		{"a light one overtakes a heavy one", false, []*Record{
			held(1, 2, 9, 10, 1, p(2)).in(0), waited(3, 4, 11, 12, 13, 2, p(2)).in(0), held(5, 6, 7, 8, 3, p(1)).in(1),
		}},
		{"a heavy one leaves, and a light one is next", true, []*Record{
			held(1, 2, 19, 20, 1, p(2)).in(0),
			{Resources: []oracle.Resource{p(2)}, Asked: 3, Answered: 4, Answer: Enqueued, Ended: 7, Gone: 8, Waiting: true},
			waited(5, 6, 9, 12, 13, 3, p(1)).in(1),
		}},
		{"refused for room", true, []*Record{held(1, 2, 9, 10, 1, p(2)).in(0), refused(3, 4, Refused, p(2))}},
		{"refused although there is room", false, []*Record{held(1, 2, 9, 10, 1, p(2)).in(0), refused(3, 4, Refused, p(1))}},
		{"readers and permits share", true, []*Record{held(1, 2, 9, 10, 1, read("p")), held(3, 4, 9, 10, 2, p(3)).in(0)}},
		{"a writer keeps permits out", false, []*Record{held(1, 2, 9, 10, 1, write("p")), held(3, 4, 9, 10, 2, p(3)).in(0)}},
		{"permits keep a writer above out", false, []*Record{held(1, 2, 9, 10, 1, p(1)).in(0), held(3, 4, 9, 10, 2, write())}},
		{"another limit", false, []*Record{held(1, 2, 9, 10, 1, p(1)).in(0), held(3, 4, 9, 10, 2, permit(4, 1, "p")).in(1)}},
		{"another limit, refused", true, []*Record{held(1, 2, 9, 10, 1, p(1)).in(0), refused(3, 4, Misfit, permit(4, 1, "p"))}},
		{"the same limit, refused", false, []*Record{held(1, 2, 9, 10, 1, p(1)).in(0), refused(3, 4, Misfit, p(1))}},
		{"another limit later", true, []*Record{held(1, 2, 3, 4, 1, p(1)).in(0), held(5, 6, 7, 8, 2, permit(4, 1, "p")).in(0)}},
		{"a ghost with another limit", true, []*Record{held(1, 2, 9, 10, 1, p(1)).in(0), ghost(3, 20, permit(4, 1, "p")), refused(11, 12, Refused, write("p"))}},
		{"granted, and nobody was told its slots", true, []*Record{held(1, 2, 9, 10, 1, p(1)), held(3, 4, 9, 10, 2, p(1)).in(0)}},
		{"a slot for nothing", false, []*Record{held(1, 2, 9, 10, 1, p(1), read("q")).in(0, 1)}},
	})
}

// TestTheCheckerKnowsUpgrades and downgrades: whom they wait for, whom they keep out, whom they let in.
func TestTheCheckerKnowsUpgrades(t *testing.T) {
	r, w := read("a"), write("a")
	left := func(asked, answered, ended, gone oracle.Moment, rs ...oracle.Resource) *Record {
		x := waited(asked, answered, 0, ended, gone, 0, rs...)
		x.Waiting = true
		return x
	}
	judge(t, []planted{
		{"alone", true, []*Record{held(1, 2, 9, 10, 1, r).then(up(3, 4, 2)), waited(5, 6, 11, 12, 13, 4, r)}},
		{"a reader comes to what is upgraded", false, []*Record{held(1, 2, 9, 10, 1, r).then(up(3, 4, 2)), held(5, 6, 9, 10, 4, r)}},
		{"upgraded beside a reader that stays", false, []*Record{held(1, 2, 9, 10, 1, r), held(1, 2, 9, 10, 2, r).then(up(3, 4, 3))}},
		{"upgraded when the reader has gone", true, []*Record{held(1, 2, 5, 6, 1, r), held(1, 2, 9, 10, 2, r).then(upLater(3, 4, 7, 3))}},
		{"upgraded while the reader believes", false, []*Record{held(1, 2, 8, 9, 1, r), held(1, 2, 9, 10, 2, r).then(upLater(3, 4, 7, 3))}},
		{"upgraded, and a permit stays", false, []*Record{held(1, 2, 9, 10, 1, permit(2, 1, "a", "b")).in(0), held(1, 2, 9, 10, 2, r).then(up(3, 4, 3))}},
		{"a permit is no read", true, []*Record{held(1, 2, 9, 10, 1, permit(2, 1, "a")).in(0), held(1, 2, 9, 10, 2, permit(2, 1, "a"), read("b")).in(1).then(up(3, 4, 3))}},
		{"made to wait for nobody", false, []*Record{held(1, 2, 9, 10, 1, r).then(upLater(3, 4, 5, 2))}},
		{"refused for a reader", true, []*Record{held(1, 2, 9, 10, 1, r), held(1, 2, 9, 10, 2, r).then(upRefused(3, 4, Refused))}},
		{"refused for nobody", false, []*Record{held(1, 2, 9, 10, 1, r).then(upRefused(3, 4, Refused))}},
		{"a writer waits, and isn't in the way", true, []*Record{held(1, 2, 9, 10, 1, r).then(up(5, 6, 4)), waited(3, 4, 11, 12, 13, 5, w)}},
		{"a reader comes while an upgrade waits", false, []*Record{
			held(1, 2, 9, 10, 1, r), held(1, 2, 12, 13, 2, r).then(upLater(3, 4, 11, 4)), held(5, 6, 7, 8, 3, r),
		}},
		{"a reader waits while an upgrade does", true, []*Record{
			held(1, 2, 9, 10, 1, r), held(1, 2, 12, 13, 2, r).then(upLater(3, 4, 11, 4)), waited(5, 6, 14, 15, 16, 5, r),
		}},
		{"a reader is let in between", false, []*Record{
			held(1, 2, 9, 10, 1, r), held(1, 2, 15, 16, 2, r).then(upLater(3, 4, 14, 4)), waited(5, 6, 11, 12, 13, 3, r),
		}},
		{"overlapping, refused", true, []*Record{
			held(1, 2, 12, 13, 1, r).then(upRefused(5, 6, Overlaps)), held(1, 2, 19, 20, 2, r).then(upLater(3, 4, 15, 3)),
		}},
		{"overlapping, and both wait", false, []*Record{
			held(1, 2, 9, 10, 1, r).then(upInVain(5, 6, 7, 8)), held(1, 2, 19, 20, 2, r).then(upLater(3, 4, 15, 3)),
		}},
		{"refused for an upgrade that isn't there", false, []*Record{held(1, 2, 12, 13, 1, r).then(upRefused(5, 6, Overlaps)), held(1, 2, 19, 20, 2, r)}},
		{"taken back, and a reader comes", true, []*Record{
			held(1, 2, 9, 10, 1, r), held(1, 2, 12, 13, 2, r).then(upInVain(3, 4, 5, 6)), held(7, 8, 9, 10, 3, r),
		}},
		{"taken back, and made to wait for nobody", false, []*Record{
			held(1, 2, 3, 4, 1, r), held(1, 2, 19, 20, 2, r).then(upInVain(2, 3, 12, 13)),
		}},
		{"taken back, and one who waited gets in", true, []*Record{
			held(1, 2, 29, 30, 1, r), held(1, 2, 29, 30, 2, r).then(upInVain(3, 4, 9, 10)), waited(5, 6, 11, 12, 13, 3, r),
		}},
		{"one that nobody was told of, done", true, []*Record{held(1, 2, 9, 20, 1, r).then(upLost(5)), left(6, 7, 8, 9, r)}},
		{"one that nobody was told of, not done", true, []*Record{held(1, 2, 9, 20, 1, r).then(upLost(5)), held(6, 7, 8, 9, 2, r)}},
		{"one that nobody was told of, before it was asked for", false, []*Record{held(1, 2, 9, 20, 1, r).then(upLost(8)), left(3, 4, 6, 7, r)}},
		{"a set of which a part is written", true, []*Record{
			held(1, 2, 9, 10, 1, w, read("b")).then(up(3, 4, 3)), held(1, 2, 9, 10, 2, read("c")),
		}},
		{"a set, and a reader of its other part stays", false, []*Record{
			held(1, 2, 9, 10, 1, w, read("b")).then(up(3, 4, 3)), held(1, 2, 9, 10, 2, read("b")),
		}},
	})
}

// TestTheCheckerKnowsDowngrades and whom they let in.
func TestTheCheckerKnowsDowngrades(t *testing.T) {
	r, w := read("a"), write("a")
	judge(t, []planted{
		{"a reader is let in", true, []*Record{held(1, 2, 19, 20, 1, w).then(down(3, 4)), held(5, 6, 7, 8, 2, r)}},
		{"one who waits is let in", true, []*Record{held(1, 2, 19, 20, 1, w).then(down(5, 6)), waited(3, 4, 7, 8, 9, 2, r)}},
		{"a writer is let in", false, []*Record{held(1, 2, 19, 20, 1, w).then(down(3, 4)), held(5, 6, 7, 8, 2, w)}},
		{"a reader waits for nothing", false, []*Record{held(1, 2, 19, 20, 1, w).then(down(3, 4)), waited(5, 6, 21, 22, 23, 2, r)}},
		{"a reader waits behind a writer", true, []*Record{
			held(1, 2, 19, 20, 1, w).then(down(5, 6)), waited(3, 4, 21, 22, 23, 2, w), waited(7, 8, 24, 25, 26, 3, r),
		}},
		{"a reader is let in past a writer", false, []*Record{
			held(1, 2, 19, 20, 1, w).then(down(5, 6)), waited(3, 4, 21, 22, 23, 2, w), held(7, 8, 9, 10, 3, r),
		}},
		{"a reader is let in before", false, []*Record{held(1, 2, 19, 20, 1, w).then(down(7, 8)), held(3, 4, 5, 6, 2, r)}},
		{"perhaps, and a reader is let in", true, []*Record{held(1, 2, 19, 20, 1, w).then(down(3, 0)), held(5, 6, 7, 8, 2, r)}},
		{"perhaps, and none is", true, []*Record{held(1, 2, 19, 20, 1, w).then(down(3, 0)), waited(5, 6, 21, 22, 23, 2, r)}},
		{"down and up again", true, []*Record{held(1, 2, 19, 20, 1, w).then(down(3, 4), upLater(7, 8, 11, 3)), held(5, 6, 9, 10, 2, r)}},
		{"down and up again beside a reader", false, []*Record{held(1, 2, 19, 20, 1, w).then(down(3, 4), up(7, 8, 3)), held(5, 6, 9, 10, 2, r)}},
		{"up and down again, and a reader is let in", true, []*Record{held(1, 2, 19, 20, 1, r).then(up(3, 4, 2), down(5, 6)), held(7, 8, 9, 10, 3, r)}},
		{"an upgrade that waits is taken back", true, []*Record{
			held(1, 2, 19, 20, 1, r).then(&Change{Asked: 3, Answered: 4, Answer: Enqueued, Waiting: true}, down(5, 6)),
			held(1, 2, 19, 20, 2, r), held(7, 8, 9, 10, 3, r),
		}},
	})
}

// TestTheCheckerKnowsTokens where upgrades have some of their own, and of clients of version 1, who are told their
// places in the queue.
func TestTheCheckerKnowsTokens(t *testing.T) {
	r, w := read("a"), write("a")
	judge(t, []planted{
		{"an upgrade has the old one", false, []*Record{held(1, 2, 9, 10, 1, r).then(up(3, 4, 1))}},
		{"an upgrade of nothing has the old one", true, []*Record{held(1, 2, 9, 10, 1, w).then(up(3, 4, 1))}},
		{"an upgrade of nothing has a new one", false, []*Record{held(1, 2, 9, 10, 1, w).then(up(3, 4, 2))}},
		{"an upgrade goes back", false, []*Record{held(1, 2, 9, 10, 5, r).then(up(3, 4, 3))}},
		{"an upgrade has one that is lower than another's", false, []*Record{
			held(1, 2, 9, 10, 1, r).then(up(5, 6, 2)), held(3, 4, 9, 10, 3, write("b")),
		}},
		{"who waited has a lower one than the upgrade", false, []*Record{held(1, 2, 9, 10, 1, r).then(up(5, 6, 3)), waited(3, 4, 11, 12, 13, 2, w)}},
		{"who waited has a higher one", true, []*Record{held(1, 2, 9, 10, 1, r).then(up(5, 6, 3)), waited(3, 4, 11, 12, 13, 4, w)}},
		{"one who has not been passed has a later one", false, []*Record{
			held(1, 2, 9, 10, 1, w), waited(3, 4, 11, 12, 13, 3, w), waited(5, 6, 14, 15, 16, 2, w),
		}},
		{"passed by an upgrade that nobody was told of", true, []*Record{
			held(1, 2, 9, 20, 1, r).then(upLost(5)), waited(3, 4, 21, 22, 23, 7, w), held(5, 6, 7, 8, 3, write("b")),
		}},
		{"two that were passed, in their order", true, []*Record{
			held(1, 2, 9, 10, 1, r).then(up(7, 8, 4)), waited(3, 4, 11, 12, 13, 5, w), waited(5, 6, 14, 15, 16, 6, w),
		}},
		{"two that were passed, in another order", false, []*Record{
			held(1, 2, 9, 10, 1, r).then(up(7, 8, 4)), waited(3, 4, 11, 12, 13, 6, w), waited(5, 6, 14, 15, 16, 5, w),
		}},
		{"version 1 beside version 2", false, []*Record{held(1, 2, 9, 10, 1, w), held(3, 4, 9, 10, 2, r).numbered(2)}},
		{"version 1 behind version 2", true, []*Record{held(1, 2, 9, 10, 1, w), waited(3, 4, 11, 12, 13, 2, r).numbered(2)}},
		{"version 1 has a later place than one who came after", false, []*Record{
			held(1, 2, 9, 10, 1, w), waited(3, 4, 11, 12, 13, 3, w).numbered(3), waited(5, 6, 14, 15, 16, 2, w).numbered(2),
		}},
		{"version 1 is passed by an upgrade, and keeps its place's number", false, []*Record{
			held(1, 2, 9, 10, 1, r).then(up(5, 6, 3)), waited(3, 4, 11, 12, 13, 2, w).numbered(2),
		}},
		{"version 1 is passed by an upgrade, and has another token", true, []*Record{
			held(1, 2, 9, 10, 1, r).then(up(5, 6, 3)), waited(3, 4, 11, 12, 13, 4, w).numbered(2),
		}},
		{"version 1 has another token for nothing", false, []*Record{held(1, 2, 9, 10, 1, w), waited(3, 4, 11, 12, 13, 3, w).numbered(2)}},
		{"an abandoned lock of version 1 is given away too early", false, []*Record{held(1, 2, 50, 99, 1, w).numbered(1), held(40, 41, 60, 61, 2, w)}},
		{"and in time", true, []*Record{held(1, 2, 50, 99, 1, w).numbered(1), waited(40, 41, 55, 60, 61, 2, w)}},
	})
}
