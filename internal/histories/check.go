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

// search looks for an order without those happenings of which nobody knows whether they changed anything: if there is
// one it is good, as nothing of that happened, or was over at once. If there is none it brings in those that could have
// been in the way where it got stuck, and looks again. There is no order at all if there is none with all of them.
func (m *model) search(end time.Time) error {
	all := m.operations()
	doubted := m.doubted(all)
	for {
		m.lateness(doubted)
		sure := slices.DeleteFunc(slices.Clone(all), func(op porcupine.Operation) bool {
			h := op.Input.(happening)
			return doubted[h.r] && m.doubtful(h)
		})
		verdict, info := porcupine.CheckOperationsVerbose(m.porcupine(), sure, max(time.Until(end), time.Nanosecond))
		switch {
		case verdict == porcupine.Ok:
			return nil
		case verdict == porcupine.Unknown:
			return fmt.Errorf("%w; so far, %s", ErrUndecided, m.explain(&info))
		case len(doubted) == 0:
			return errors.New("histories: no order of what happened is one that a lock service could go through:\n" + m.explain(&info))
		}
		m.believe(doubted, all, m.stuck(sure, &info))
	}
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

// believe takes one from the records that are doubted: of those that can have to do with a trouble, or else of all, the
// one that happened at its time or next to it, and of several the youngest.
func (m *model) believe(doubted map[int]bool, all []porcupine.Operation, at trouble) {
	var best *porcupine.Operation
	rank := func(op *porcupine.Operation) (concerned int, distance int64) {
		distance = max(0, op.Call-at.until, at.from-op.Return)
		for r := range at.blamed {
			if distance == 0 && m.concerned(op.Input.(happening).r, r) {
				concerned = 1
			}
		}
		return concerned, distance
	}
	for i := range all {
		op := &all[i]
		if h := op.Input.(happening); !doubted[h.r] || !m.doubtful(h) {
			continue
		}
		if best != nil {
			concerned, distance := rank(op)
			most, least := rank(best)
			if cmp.Or(cmp.Compare(concerned, most), cmp.Compare(least, distance), cmp.Compare(op.Call, best.Call)) <= 0 {
				continue
			}
		}
		best = op
	}
	delete(doubted, best.Input.(happening).r)
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
