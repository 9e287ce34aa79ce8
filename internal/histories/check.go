package histories

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
)

// Answer is what a client was told first about a request.
type Answer uint8

// The answers.
const (
	Unknown  Answer = iota // only that it is there, or not even that; or it was asked twice
	Granted                // acquired at once
	Enqueued               // it waits, so somebody is in the way
	Refused                // somebody is in the way, and it doesn't wait
)

// Record is one request as its client saw it.
type Record struct {
	Client    string
	Resources []oracle.Resource
	Asked     oracle.Moment // before it was sent first
	Answered  oracle.Moment // after the answer was received; zero: there was none before Gone
	Answer    Answer

	Token uint64        // zero: it was never known to be acquired
	Told  oracle.Moment // after the news that it is

	// It ended between these: not before the client gave it up, or stopped believing that it has it; and not
	// after the client learned that. Of one that was refused they mean nothing.
	Ended, Gone oracle.Moment
	Waiting     bool // it ended while it was waiting, so somebody was in the way even then
}

// String is all of it in a line.
func (r *Record) String() string {
	at := func(m oracle.Moment) time.Duration { return time.Duration(m).Round(time.Microsecond) }
	return fmt.Sprintf("%s: %s; asked %v, answered %v %s, token %d told %v, ended %v to %v", r.Client,
		oracle.Text(r.Resources), at(r.Asked), at(r.Answered), [...]string{"(unknown)", "(granted)", "(enqueued)", "(refused)"}[r.Answer],
		r.Token, at(r.Told), at(r.Ended), at(r.Gone))
}

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
	m := newModel(history)
	verdict, info := porcupine.CheckOperationsVerbose(m.porcupine(), m.operations(), patience)
	switch verdict {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return fmt.Errorf("%w; so far, %s", ErrUndecided, m.explain(&info))
	}
	return errors.New("histories: no order of what happened is one that a lock service could go through:\n" + m.explain(&info))
}

// check looks for times that contradict each other already.
func (r *Record) check() error {
	switch {
	case r.Answered != 0 && r.Answered < r.Asked, r.Told != 0 && r.Told < r.Asked:
		return fmt.Errorf("histories: something happened before it was asked for: %v", r)
	case r.Answer != Refused && r.Gone < r.Ended:
		return fmt.Errorf("histories: it was over before its time: %v", r)
	case (r.Token == 0) != (r.Told == 0):
		return fmt.Errorf("histories: a lock is acquired with its token: %v", r)
	}
	return nil
}

// kind is what happened to a request.
type kind uint8

const (
	asks    kind = iota // and is answered in a way that says nothing
	obtains             // it asks, and is granted at once
	queues              // it asks, and has to wait
	fails               // it asks, and doesn't wait
	begins              // it is granted
	ends                //
	leaves              // it ends without having been granted
)

var kinds = [...]string{"asks", "obtains", "queues", "fails", "begins", "ends", "leaves"}

// happening is the input of an operation.
type happening struct {
	kind kind
	r    int // index of the record
}

// queue is the model's state: who is there, in order, two bytes each; and the highest token. As the order of
// those that don't conflict is of no consequence, it is always the same: that of their numbers where nothing is
// against it.
type queue struct {
	order string
	last  uint64
}

type model struct {
	history   []*Record
	conflicts [][]bool
	before    map[uint64]uint64 // the token below each, 0 below the lowest
}

func newModel(history []*Record) *model {
	m := &model{history: history, conflicts: make([][]bool, len(history)), before: map[uint64]uint64{}}
	for i, a := range history {
		m.conflicts[i] = make([]bool, len(history))
		for k, b := range history {
			m.conflicts[i][k] = oracle.Conflict(a.Resources, b.Resources)
		}
	}
	last := uint64(0)
	for _, r := range slices.SortedFunc(slices.Values(history), func(a, b *Record) int { return cmp.Compare(a.Token, b.Token) }) {
		if r.Token != last {
			m.before[r.Token], last = last, r.Token
		}
	}
	return m
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

// operations is everything that happened.
func (m *model) operations() (all []porcupine.Operation) {
	for i, r := range m.history {
		add := func(k kind, from, to oracle.Moment) {
			all = append(all, porcupine.Operation{Input: happening{k, i}, Call: int64(from), Return: int64(to)})
		}
		answered := r.Answered
		if answered == 0 {
			answered = r.Gone
		}
		switch r.Answer {
		case Refused:
			add(fails, r.Asked, answered)
			continue
		case Granted:
			add(obtains, r.Asked, answered)
		case Enqueued:
			add(queues, r.Asked, answered)
		default:
			add(asks, r.Asked, answered)
		}
		if r.Answer != Granted && r.Token != 0 {
			add(begins, r.Asked, r.Told)
		}
		if r.Waiting {
			add(leaves, r.Ended, r.Gone)
		} else {
			add(ends, r.Ended, r.Gone)
		}
	}
	slices.SortStableFunc(all, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	return all
}

// step is what a lock service without concurrency does.
func (m *model) step(q queue, h happening) (bool, queue) {
	at := q.find(h.r)
	switch there := at < len(q.order); h.kind {
	case asks, obtains, queues, fails:
		blocked := m.blocked(q.order, h.r)
		waits := h.kind == queues || h.kind == fails || m.history[h.r].Waiting
		if there || blocked && h.kind == obtains || !blocked && waits {
			return false, q
		}
		if h.kind == fails {
			return true, q
		}
		return m.join(q, h.r, m.history[h.r].Token)
	case begins:
		if !there || m.blocked(q.order[:at], h.r) {
			return false, q
		}
		return true, queue{q.order[:at] + string([]byte{q.order[at] | begun, q.order[at+1]}) + q.order[at+2:], q.last}
	case ends:
		r := m.history[h.r]
		if !there || r.Token != 0 && r.Answer != Granted && q.order[at]&begun == 0 {
			return false, q // what has begun at some time has begun before it ends
		}
		return m.leave(q, at)
	case leaves:
		if !there {
			return false, q
		}
		return m.leave(q, at)
	}
	panic("histories: something unknown happened")
}

// blocked says whether some of these conflict with a request.
func (m *model) blocked(order string, r int) bool {
	for i := 0; i < len(order); i += 2 {
		if m.conflicts[r][number(order[i:])] {
			return true
		}
	}
	return false
}

// begun marks a request that has been granted after it had to wait. The other bits are its number.
const begun = 1 << 7

func number(order string) int { return int(order[0]&^begun)<<8 | int(order[1]) }

// find is where a request stands.
func (q queue) find(r int) int {
	for i := 0; i < len(q.order); i += 2 {
		if number(q.order[i:]) == r {
			return i
		}
	}
	return len(q.order)
}

// join puts a request behind the others. Its token, if it ever gets one, is higher than theirs: of those with one
// it is the next.
func (m *model) join(q queue, r int, token uint64) (bool, queue) {
	if token != 0 && m.before[token] != q.last {
		return false, q
	}
	return true, queue{m.settle(q.order + string([]byte{byte(r >> 8), byte(r)})), max(q.last, token)}
}

// leave takes a request out of the queue. Whoever is no longer blocked is granted in this step: it can't be one
// that ends while it is still waiting.
func (m *model) leave(q queue, at int) (bool, queue) {
	order := q.order[:at] + q.order[at+2:]
	for i := at; i < len(order); i += 2 {
		if r := number(order[i:]); m.history[r].Waiting && !m.blocked(order[:i], r) {
			return false, q
		}
	}
	return true, queue{m.settle(order), q.last}
}

// settle puts the lowest first that has nobody in its way, again and again.
func (m *model) settle(order string) string {
	out, rest := make([]byte, 0, len(order)), []byte(order)
	for len(rest) > 0 {
		best := 0
		for i := 2; i < len(rest); i += 2 {
			if number(string(rest[i:])) < number(string(rest[best:])) && !m.blocked(string(rest[:i]), number(string(rest[i:]))) {
				best = i
			}
		}
		out = append(out, rest[best:best+2]...)
		rest = append(rest[:best], rest[best+2:]...)
	}
	return string(out)
}

// explained is how many happenings an explanation lists.
const explained = 12

// explain shows where the longest order ends that could be found.
func (m *model) explain(info *porcupine.LinearizationInfo) string {
	var longest []porcupine.Operation
	for _, partition := range info.PartialLinearizationsOperations() {
		for _, found := range partition {
			if len(found) > len(longest) {
				longest = found
			}
		}
	}
	done, q := map[happening]bool{}, queue{}
	for _, op := range longest {
		h := op.Input.(happening)
		done[h] = true
		_, q = m.step(q, h)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "after %d of %d happenings there are, in this order,\n", len(longest), len(m.operations()))
	for i := 0; i < len(q.order); i += 2 {
		fmt.Fprintf(&b, "\t%v\n", m.history[number(q.order[i:])])
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
