package e2e

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// moment is a time on the tests' monotonic clock, since the run began. All members of a workload are
// goroutines of one process, so moments of different members compare.
type moment time.Duration

// never is later than every moment.
const never = moment(math.MaxInt64)

var dawn = time.Now()

func now() moment { return moment(time.Since(dawn)) + 1 } // never zero: zero means "not yet"

// ending says how a request came to its end.
type ending uint8

const (
	alive    ending = iota
	released        // the client asked
	dropped         // the client went: closing, by a reset, or without a word
)

// record is one request as its client saw it. Its moments are taken so that what the client claims
// is never more than what it may believe: before sending, after receiving.
type record struct {
	space     string
	member    int
	resources []resource
	id        uint64 // 0: the answer never came
	asked     moment // before lock was sent
	answered  moment // after the answer to it was received
	acquired  moment // after the news was received; zero if it never was
	ended     moment // before the release was sent, or before the connection was dropped
	how       ending
	held      moment // for an acquired one that was dropped: it is still locked until then
}

func (r *record) String() string {
	how := [...]string{"alive", "released", "dropped"}[r.how]
	return fmt.Sprintf("id %d of %q by member %d: %s; asked %v, answered %v, acquired %v, %s %v, held %v",
		r.id, r.space, r.member, resourcesText(r.resources), time.Duration(r.asked), time.Duration(r.answered),
		time.Duration(r.acquired), how, time.Duration(r.ended), time.Duration(r.held))
}

func resourcesText(rs []resource) string {
	var all []string
	for _, r := range rs {
		kind := "read"
		if r.write {
			kind = "write"
		}
		all = append(all, fmt.Sprintf("%s /%s", kind, strings.Join(r.path, "/")))
	}
	return strings.Join(all, ", ")
}

// conflict is the rule of the tree: of two resources one lies on or above the other, and one of them
// at least is written.
func conflict(a, b *record) bool {
	for _, x := range a.resources {
		for _, y := range b.resources {
			n := min(len(x.path), len(y.path))
			if (x.write || y.write) && slices.Equal(x.path[:n], y.path[:n]) {
				return true
			}
		}
	}
	return false
}

// end is the moment from which a request no longer stands in anybody's way: no earlier than that.
func (r *record) end() moment {
	if r.how == alive {
		return never
	}
	return max(r.ended, r.held)
}

// judge looks for broken promises in the history of all namespaces and words each of them. Requests
// may be alive: judge says nothing of what they still wait for, see owed.
func judge(history []*record) []string {
	var verdicts []string
	spaces := map[string][]*record{}
	for _, r := range history {
		spaces[r.space] = append(spaces[r.space], r)
	}
	for _, rs := range spaces {
		verdicts = append(verdicts, judgeIDs(rs)...)
		verdicts = append(verdicts, judgeExclusion(rs)...)
		verdicts = append(verdicts, judgeOrder(rs)...)
	}
	return verdicts
}

// judgeIDs: every id is given once, and whoever asks after another was answered gets a larger one.
func judgeIDs(rs []*record) (verdicts []string) {
	known := withID(rs)
	for i := 1; i < len(known); i++ {
		if known[i].id == known[i-1].id {
			verdicts = append(verdicts, fmt.Sprintf("an id was given twice:\n\t%v\n\t%v", known[i-1], known[i]))
		}
	}
	byAnswer := slices.SortedFunc(slices.Values(known), func(a, b *record) int { return cmp.Compare(a.answered, b.answered) })
	byAsking := slices.SortedFunc(slices.Values(known), func(a, b *record) int { return cmp.Compare(a.asked, b.asked) })
	var largest *record
	for _, r := range byAsking {
		for len(byAnswer) > 0 && byAnswer[0].answered < r.asked {
			if largest == nil || byAnswer[0].id > largest.id {
				largest = byAnswer[0]
			}
			byAnswer = byAnswer[1:]
		}
		if largest != nil && largest.id > r.id {
			verdicts = append(verdicts, fmt.Sprintf("ids went back:\n\t%v\n\tand then %v", largest, r))
		}
	}
	return verdicts
}

// withID returns the requests whose id is known, in its order.
func withID(rs []*record) []*record {
	known := slices.DeleteFunc(slices.Clone(rs), func(r *record) bool { return r.id == 0 })
	slices.SortFunc(known, func(a, b *record) int { return cmp.Compare(a.id, b.id) })
	return known
}

// judgeExclusion: the times in which two conflicting requests are held don't overlap. It believes
// clocks, not ids.
func judgeExclusion(rs []*record) (verdicts []string) {
	held := slices.DeleteFunc(slices.Clone(rs), func(r *record) bool { return r.acquired == 0 })
	slices.SortFunc(held, func(a, b *record) int { return cmp.Compare(a.acquired, b.acquired) })
	var holding []*record
	for _, r := range held {
		holding = slices.DeleteFunc(holding, func(h *record) bool { return h.end() <= r.acquired })
		for _, h := range holding {
			if conflict(h, r) {
				verdicts = append(verdicts, fmt.Sprintf("two conflicting requests were held at once:\n\t%v\n\t%v", h, r))
			}
		}
		holding = append(holding, r)
	}
	return verdicts
}

// judgeOrder: among conflicting requests a later one is acquired only after each earlier one has come
// to its end, whether that one was ever acquired or not.
func judgeOrder(rs []*record) (verdicts []string) {
	known := withID(rs)
	// soonest[i] is when the first of known[i:] was acquired: who had ended by then is in nobody's way.
	soonest := make([]moment, len(known)+1)
	soonest[len(known)] = never
	for i := len(known) - 1; i >= 0; i-- {
		soonest[i] = soonest[i+1]
		if a := known[i].acquired; a != 0 {
			soonest[i] = min(soonest[i], a)
		}
	}
	var earlier []*record
	for i, r := range known {
		earlier = slices.DeleteFunc(earlier, func(e *record) bool { return e.end() <= soonest[i] })
		for _, e := range earlier {
			if r.acquired != 0 && e.end() > r.acquired && conflict(e, r) {
				verdicts = append(verdicts, fmt.Sprintf("a later request overtook an earlier one:\n\t%v\n\t%v", e, r))
			}
		}
		earlier = append(earlier, r)
	}
	return verdicts
}

// owed returns the requests that nothing stands in the way of and that were not told to be acquired.
// Once nothing is under way and everybody who went has been noticed, there must be none.
func owed(history []*record) []*record {
	live := slices.DeleteFunc(withID(history), func(r *record) bool { return r.how != alive })
	var all []*record
	for i, r := range live {
		blocked := slices.ContainsFunc(live[:i], func(e *record) bool { return e.space == r.space && conflict(e, r) })
		if r.acquired == 0 && !blocked {
			all = append(all, r)
		}
	}
	return all
}
