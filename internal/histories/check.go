package histories

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
)

// recordsMax is how many records a history may have.
const recordsMax = 1 << 15

// ErrUndecided: the search took longer than it may.
var ErrUndecided = errors.New("histories: no verdict in time")

// Check looks for an order of a namespace's requests, for a while. The error says why there is none.
func Check(history []*Record, patience time.Duration) error {
	for _, r := range history {
		if err := r.check(); err != nil {
			return err
		}
	}
	if len(history) > recordsMax {
		return fmt.Errorf("histories: %d records are too many for one history", len(history))
	}
	return newModel(history).search(time.Now().Add(patience))
}

// firstBudget is how long the first search for one order may take.
const firstBudget = 250 * time.Millisecond

// search looks for an order with more and more patience for each attempt: to find out that there is none without some
// happening can take an age, when there is one with it that is found at once.
func (m *model) search(end time.Time) error {
	for budget := firstBudget; ; budget *= 4 {
		if err := m.searchWithin(budget, end); !errors.Is(err, ErrUndecided) || !time.Now().Before(end) {
			return err
		}
	}
}

// searchWithin looks for an order without those happenings of which nobody knows whether they changed anything: if there
// is one it is good, as nothing of that happened, or was over at once. If there is none, or none is found in time, it brings
// in those that could have been in the way where it got stuck, first as if they were there until then, and looks again. There
// is no order at all if there is none with all of them, whenever they ended.
func (m *model) searchWithin(budget time.Duration, end time.Time) error {
	s := &search{model: m, all: m.operations(), needed: map[int]int64{}, end: end}
	s.doubted = m.doubted(s.all)
	for a := s.try(budget); ; {
		switch late := !time.Now().Before(end); {
		case a.verdict == porcupine.Ok:
			return nil
		case len(s.doubted) > 0 && !late:
			a = s.goOn(a, budget)
		case len(s.needed) > 0 && !late:
			clear(s.needed)
			a = s.try(budget)
		case a.verdict == porcupine.Illegal && !late:
			return errors.New("histories: no order of what happened is one that a lock service could go through:\n" + m.explain(&a.info))
		default:
			return fmt.Errorf("%w; so far, %s", ErrUndecided, m.explain(&a.info))
		}
	}
}

// search is one for an order, with some of the doubted happenings.
type search struct {
	*model
	all     []porcupine.Operation
	doubted map[int]bool  // records whose doubtful happenings are left out
	needed  map[int]int64 // ghosts that are brought in, and until when they are there
	end     time.Time
}

// attempt is what came of one.
type attempt struct {
	verdict porcupine.CheckResult
	info    porcupine.LinearizationInfo
	trouble // if it isn't Ok
}

// try looks for an order with what is not doubted.
func (s *search) try(patience time.Duration) (a attempt) {
	s.lateness(s.doubted)
	sure := s.sure()
	patience = max(min(patience, time.Until(s.end)), time.Nanosecond)
	if a.verdict, a.info = porcupine.CheckOperationsVerbose(s.porcupine(), sure, patience); a.verdict != porcupine.Ok {
		a.trouble = s.stuck(sure, &a.info)
	}
	return a
}

// sure is what happened but for what is doubted.
func (s *search) sure() (ops []porcupine.Operation) {
	for _, op := range s.all {
		h := op.Input.(happening)
		if s.doubted[h.r] && s.doubtful(h) {
			continue
		}
		if until := s.needed[h.r]; h.kind == ends && s.history[h.r].ghost() && until <= op.Return {
			op.Call = max(op.Call, until)
		}
		ops = append(ops, op)
	}
	return ops
}

// suspects is how many doubted records are tried one by one.
const suspects = 6

// goOn brings in a doubted record: of those that can explain a trouble best the first one with which it goes further, or
// the first one of all.
func (s *search) goOn(from attempt, budget time.Duration) attempt {
	order := s.suspected(from.trouble)
	for _, r := range order[:min(suspects, len(order))] {
		s.bringIn(r, from.from)
		if a := s.try(budget / 4); a.verdict == porcupine.Ok || a.until > from.until {
			return a
		}
		s.doubted[r] = true
		delete(s.needed, r)
	}
	s.bringIn(order[0], from.from)
	return s.try(budget)
}

func (s *search) bringIn(r int, needed int64) {
	delete(s.doubted, r)
	s.needed[r] = needed
}

// doubtful says that nobody knows whether something changed anything.
func (m *model) doubtful(h happening) bool { return h.maybe || m.history[h.r].ghost() }

// doubted are the records with happenings that are doubtful.
func (m *model) doubted(all []porcupine.Operation) map[int]bool {
	records := map[int]bool{}
	for _, op := range all {
		if h := op.Input.(happening); m.doubtful(h) {
			records[h.r] = true
		}
	}
	return records
}

// trouble is where the longest order ends that could be found.
type trouble struct {
	from, until int64        // something had to happen between these, and couldn't
	blamed      map[int]bool // records that kept something from happening then, as nobody was in their way, or somebody was
}

func (m *model) stuck(ops []porcupine.Operation, info *porcupine.LinearizationInfo) trouble {
	done, q := m.replay(longest(info))
	at := trouble{until: math.MaxInt64, blamed: map[int]bool{}}
	for _, op := range ops {
		if !done[op.Input.(happening)] && op.Return < at.until {
			at.from, at.until = op.Call, op.Return
		}
	}
	for _, op := range ops {
		if h := op.Input.(happening); !done[h] && op.Call <= at.until {
			at.blamed[m.blame(q, h)] = true
		}
	}
	return at
}

// replay does what happened in an order.
func (m *model) replay(order []porcupine.Operation) (done map[happening]bool, q queue) {
	done = map[happening]bool{}
	for _, op := range order {
		h := op.Input.(happening)
		done[h] = true
		_, q = m.step(q, h)
	}
	return done, q
}

// suspected are the doubted records: those first that can have to do with a trouble, of these what happened at its time
// or next to it, and of several the youngest.
func (s *search) suspected(at trouble) (order []int) {
	var ops []porcupine.Operation
	for _, op := range s.all {
		if h := op.Input.(happening); s.doubted[h.r] && s.doubtful(h) {
			ops = append(ops, op)
		}
	}
	distance := func(op porcupine.Operation) int64 { return max(0, op.Call-at.until, at.from-op.Return) }
	unconcerned := func(op porcupine.Operation) int {
		for r := range at.blamed {
			if distance(op) == 0 && s.concerned(op.Input.(happening).r, r) {
				return 0
			}
		}
		return 1
	}
	slices.SortStableFunc(ops, func(a, b porcupine.Operation) int {
		return cmp.Or(cmp.Compare(unconcerned(a), unconcerned(b)), cmp.Compare(distance(a), distance(b)), cmp.Compare(b.Call, a.Call))
	})
	for _, op := range ops {
		if r := op.Input.(happening).r; !slices.Contains(order, r) {
			order = append(order, r)
		}
	}
	return order
}

// kind is what happened to a request.
type kind uint8

const (
	asks     kind = iota // and is answered in a way that says nothing
	obtains              // it asks, and is granted at once
	queues               // it asks, and has to wait
	fails                // it asks, and doesn't wait
	misfits              // it asks for permits of which others have another limit
	begins               // it is granted
	ends                 //
	leaves               // it ends without having been granted
	claims               // it asks for an upgrade
	rises                // its upgrade comes true
	yields               // its upgrade is taken back
	lowers               // it is downgraded
	unable               // it asks for an upgrade, and doesn't wait
	overlaps             // it asks for an upgrade that conflicts with another one
)

var kinds = [...]string{"asks", "obtains", "queues", "fails", "misfits", "begins", "ends", "leaves", "claims", "rises", "yields",
	"lowers", "unable", "overlaps"}

// happening is the input of an operation.
type happening struct {
	kind   kind
	r      int  // index of the record
	change int  // index of the change, if it is about one
	maybe  bool // it may have come too late to change anything, as the lock was over
}

func (m *model) porcupine() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return queue{} },
		Step: func(state, input, _ any) (bool, any) { return m.step(state.(queue), input.(happening)) },
		Hash: func(state any) uint64 {
			h := uint64(14695981039346656037) // FNV-1a
			for _, c := range []byte(state.(queue).order) {
				h = (h ^ uint64(c)) * 1099511628211
			}
			return h
		},
	}
}

// timeline collects operations.
type timeline []porcupine.Operation

func (l *timeline) add(h happening, from, to oracle.Moment) {
	*l = append(*l, porcupine.Operation{Input: h, Call: int64(from), Return: int64(to)})
}

// operations is everything that happened.
func (m *model) operations() []porcupine.Operation {
	var all timeline
	for i, r := range m.history {
		asked := [...]kind{Unknown: asks, Granted: obtains, Enqueued: queues, Refused: fails, Misfit: misfits}[r.Answer]
		all.add(happening{kind: asked, r: i}, r.Asked, either(r.Answered, r.Gone))
		if r.refused() {
			continue
		}
		if r.Answer != Granted && r.Token != 0 {
			all.add(happening{kind: begins, r: i}, r.Asked, r.Told)
		}
		for k := range r.Changes {
			all.addChange(i, k, r)
		}
		if r.Waiting {
			all.add(happening{kind: leaves, r: i}, r.Ended, r.Gone)
		} else {
			all.add(happening{kind: ends, r: i}, r.Ended, r.Gone)
		}
	}
	slices.SortStableFunc(all, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	return all
}

// either is the first moment that is known.
func either(m, otherwise oracle.Moment) oracle.Moment {
	if m != 0 {
		return m
	}
	return otherwise
}

// addChange adds what happened in a change. Whatever has no answer comes before the lock's end is told, and if it
// comes behind that end it has done nothing.
func (l *timeline) addChange(i, k int, r *Record) {
	c := r.Changes[k]
	h := func(kind kind, maybe bool) happening { return happening{kind, i, k, maybe} }
	asked := func(kind kind) { l.add(h(kind, c.Answered == 0), c.Asked, either(c.Answered, r.Gone)) }
	switch {
	case c.Down:
		asked(lowers)
		return
	case c.Answer == Refused:
		asked(unable)
		return
	case c.Answer == Overlaps:
		asked(overlaps)
		return
	}
	asked(claims)
	if c.Token != 0 && c.Answer != Granted {
		l.add(h(rises, false), c.Asked, c.Told)
	}
	if c.Ended != 0 {
		l.add(h(yields, c.Gone == 0), c.Ended, either(c.Gone, r.Gone))
	}
}

// longest is the longest order that could be found.
func longest(info *porcupine.LinearizationInfo) (order []porcupine.Operation) {
	for _, partition := range info.PartialLinearizationsOperations() {
		for _, found := range partition {
			if len(found) > len(order) {
				order = found
			}
		}
	}
	return order
}

// explained is how many happenings an explanation lists.
const explained = 12

// explain shows where the longest order ends that could be found.
func (m *model) explain(info *porcupine.LinearizationInfo) string {
	found := longest(info)
	done, q := m.replay(found)
	var b strings.Builder
	fmt.Fprintf(&b, "after %d of %d happenings there are, in this order,\n", len(found), len(m.operations()))
	for _, e := range m.open(q).there {
		fmt.Fprintf(&b, "\t%s %v\n", e, m.history[e.number])
	}
	b.WriteString("and none of these can be next:\n")
	for n, ops := 0, m.operations(); len(ops) > 0 && n < explained; ops = ops[1:] {
		if h := ops[0].Input.(happening); !done[h] {
			n++
			fmt.Fprintf(&b, "\t%s between %v and %v: %v\n", kinds[h.kind], time.Duration(ops[0].Call), time.Duration(ops[0].Return), m.history[h.r])
		}
	}
	return b.String()
}
