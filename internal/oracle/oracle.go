// Package oracle judges locks by what their clients saw, and by that alone: it believes clocks, not the
// server. It is for tests, and for tools that test a server from outside.
package oracle

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Moment is a time on the monotonic clock, since the process began. All clients of a history are
// goroutines of one process, so moments of different clients compare.
type Moment time.Duration

// Never is later than every moment.
const Never = Moment(math.MaxInt64)

var dawn = time.Now()

// Now is the time.
func Now() Moment { return Moment(time.Since(dawn)) + 1 } // never zero: zero means "not yet"

// Ending says how a request came to its end.
type Ending uint8

// The ways in which a request ends.
const (
	Alive    Ending = iota
	Released        // the client asked
	Dropped         // the client went: closing, by a reset, or without a word
)

// Resource is one thing that a request wants: to read a path, to write it, or a permit of it. Judge and Owed take
// permits for reads, and nothing else.
type Resource struct {
	Write  bool
	Path   []string
	Limit  uint32 // of a permit; zero: it is none
	Weight uint32 // of a permit
}

// Record is one request as its client saw it. Its moments are taken so that what the client claims
// is never more than what it may believe: before sending, after receiving.
type Record struct {
	Space     string
	Member    int
	Resources []Resource
	ID        uint64 // 0: the answer never came
	Asked     Moment // before lock was sent
	Answered  Moment // after the answer to it was received
	Acquired  Moment // after the news was received; zero if it never was
	Ended     Moment // before the release was sent, or before the connection was dropped
	How       Ending
	Held      Moment // for an acquired one that was dropped: it is still locked until then
}

// String is all of it in a line.
func (r *Record) String() string {
	how := [...]string{"alive", "released", "dropped"}[r.How]
	return fmt.Sprintf("id %d of %q by member %d: %s; asked %v, answered %v, acquired %v, %s %v, held %v",
		r.ID, r.Space, r.Member, Text(r.Resources), time.Duration(r.Asked), time.Duration(r.Answered),
		time.Duration(r.Acquired), how, time.Duration(r.Ended), time.Duration(r.Held))
}

// Text is resources as people read them; segments that aren't plain words are quoted.
func Text(rs []Resource) string {
	var all []string
	for _, r := range rs {
		text := "read /"
		switch {
		case r.Limit != 0:
			text = fmt.Sprintf("permit %d of %d /", r.Weight, r.Limit)
		case r.Write:
			text = "write /"
		}
		for i, seg := range r.Path {
			if i > 0 {
				text += "/"
			}
			if q := strconv.Quote(seg); seg == "" || q != `"`+seg+`"` || strings.ContainsAny(seg, "/, ") {
				seg = q
			}
			text += seg
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// Conflict is the rule of the tree: of two resources one lies on or above the other, and one of them at
// least is written.
func Conflict(a, b []Resource) bool {
	for _, x := range a {
		for _, y := range b {
			n := min(len(x.Path), len(y.Path))
			if (x.Write || y.Write) && slices.Equal(x.Path[:n], y.Path[:n]) {
				return true
			}
		}
	}
	return false
}

func conflict(a, b *Record) bool { return Conflict(a.Resources, b.Resources) }

// end is the moment from which a request no longer stands in anybody's way: no earlier than that.
func (r *Record) end() Moment {
	if r.How == Alive {
		return Never
	}
	return max(r.Ended, r.Held)
}

// Judge looks for broken promises in the history of all namespaces and words each of them. Requests
// may be alive: Judge says nothing of what they still wait for, see Owed.
func Judge(history []*Record) []string {
	var verdicts []string
	spaces := map[string][]*Record{}
	for _, r := range history {
		spaces[r.Space] = append(spaces[r.Space], r)
	}
	for _, rs := range spaces {
		verdicts = append(verdicts, judgeIDs(rs)...)
		verdicts = append(verdicts, judgeExclusion(rs)...)
		verdicts = append(verdicts, judgeOrder(rs)...)
	}
	return verdicts
}

// judgeIDs: every id is given once, and whoever asks after another was answered gets a larger one.
func judgeIDs(rs []*Record) (verdicts []string) {
	known := withID(rs)
	for i := 1; i < len(known); i++ {
		if known[i].ID == known[i-1].ID {
			verdicts = append(verdicts, fmt.Sprintf("an id was given twice:\n\t%v\n\t%v", known[i-1], known[i]))
		}
	}
	byAnswer := slices.SortedFunc(slices.Values(known), func(a, b *Record) int { return cmp.Compare(a.Answered, b.Answered) })
	byAsking := slices.SortedFunc(slices.Values(known), func(a, b *Record) int { return cmp.Compare(a.Asked, b.Asked) })
	var largest *Record
	for _, r := range byAsking {
		for len(byAnswer) > 0 && byAnswer[0].Answered < r.Asked {
			if largest == nil || byAnswer[0].ID > largest.ID {
				largest = byAnswer[0]
			}
			byAnswer = byAnswer[1:]
		}
		if largest != nil && largest.ID > r.ID {
			verdicts = append(verdicts, fmt.Sprintf("ids went back:\n\t%v\n\tand then %v", largest, r))
		}
	}
	return verdicts
}

// withID returns the requests whose id is known, in its order.
func withID(rs []*Record) []*Record {
	known := slices.DeleteFunc(slices.Clone(rs), func(r *Record) bool { return r.ID == 0 })
	slices.SortFunc(known, func(a, b *Record) int { return cmp.Compare(a.ID, b.ID) })
	return known
}

// judgeExclusion: the times in which two conflicting requests are held don't overlap. It believes
// clocks, not ids.
func judgeExclusion(rs []*Record) (verdicts []string) {
	held := slices.DeleteFunc(slices.Clone(rs), func(r *Record) bool { return r.Acquired == 0 })
	slices.SortFunc(held, func(a, b *Record) int { return cmp.Compare(a.Acquired, b.Acquired) })
	var holding []*Record
	for _, r := range held {
		holding = slices.DeleteFunc(holding, func(h *Record) bool { return h.end() <= r.Acquired })
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
func judgeOrder(rs []*Record) (verdicts []string) {
	known := withID(rs)
	// soonest[i] is when the first of known[i:] was acquired: who had ended by then is in nobody's way.
	soonest := make([]Moment, len(known)+1)
	soonest[len(known)] = Never
	for i := len(known) - 1; i >= 0; i-- {
		soonest[i] = soonest[i+1]
		if a := known[i].Acquired; a != 0 {
			soonest[i] = min(soonest[i], a)
		}
	}
	var earlier []*Record
	for i, r := range known {
		earlier = slices.DeleteFunc(earlier, func(e *Record) bool { return e.end() <= soonest[i] })
		for _, e := range earlier {
			if r.Acquired != 0 && e.end() > r.Acquired && conflict(e, r) {
				verdicts = append(verdicts, fmt.Sprintf("a later request overtook an earlier one:\n\t%v\n\t%v", e, r))
			}
		}
		earlier = append(earlier, r)
	}
	return verdicts
}

// Owed returns the requests that nothing stands in the way of and that were not told to be acquired.
// Once nothing is under way and everybody who went has been noticed, there must be none.
func Owed(history []*Record) []*Record {
	live := slices.DeleteFunc(withID(history), func(r *Record) bool { return r.How != Alive })
	var all []*Record
	for i, r := range live {
		blocked := slices.ContainsFunc(live[:i], func(e *Record) bool { return e.Space == r.Space && conflict(e, r) })
		if r.Acquired == 0 && !blocked {
			all = append(all, r)
		}
	}
	return all
}
