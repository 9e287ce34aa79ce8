package histories

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
)

// model is what there is to know of a history before any order is looked for.
type model struct {
	history []*Record
	wants   []want
	sets    sets
	before  map[uint64]uint64 // the number below each that was given, 0 below the lowest
	late    []bool            // whether a request can have another token than the number that it came with
}

// want is what a request is about.
type want struct {
	modes   [modes]int // the set of its resources, in each mode
	news    [modes]int // the set of writes that an upgrade adds
	demands []demand
	places  []place
}

// The modes that a lock can be in.
const (
	asked    = iota // as it was asked for
	upgraded        // all that it read is written
	lowered         // all that it wrote is read
	modes
)

// demand is what a request wants of a pool: of the permits of a path.
type demand struct {
	pool          int
	weight, limit uint64
}

// place is a slot of a pool.
type place struct {
	pool int
	slot uint32
}

func newModel(history []*Record) *model {
	m := &model{history: history, wants: make([]want, len(history)), before: map[uint64]uint64{}}
	pools := map[string]int{}
	var numbers []uint64
	for i, r := range history {
		m.wants[i] = m.want(r, pools)
		numbers = append(numbers, r.Number, r.Token)
		for _, c := range r.Changes {
			numbers = append(numbers, c.Token)
		}
	}
	m.sets.compare()
	slices.Sort(numbers)
	last := uint64(0)
	for _, n := range slices.Compact(numbers) {
		if n != 0 {
			m.before[n], last = last, n
		}
	}
	return m
}

func (m *model) want(r *Record, pools map[string]int) (w want) {
	in := [modes][]oracle.Resource{r.Resources, r.Resources, r.Resources}
	if len(r.Changes) > 0 {
		in[upgraded], in[lowered] = with(r.Resources, true), with(r.Resources, false)
	}
	for k, rs := range in {
		w.modes[k], w.news[k] = m.sets.of(rs), m.sets.of(news(rs))
	}
	permits := 0
	for _, p := range r.Resources {
		if p.Limit == 0 {
			continue
		}
		path := fmt.Sprintf("%q", p.Path)
		pool, known := pools[path]
		if !known {
			pool = len(pools)
			pools[path] = pool
		}
		if r.Slots != nil {
			w.places = append(w.places, place{pool, r.Slots[permits]})
		}
		permits++
		k := slices.IndexFunc(w.demands, func(d demand) bool { return d.pool == pool })
		if k < 0 {
			k = len(w.demands)
			w.demands = append(w.demands, demand{pool: pool, limit: uint64(p.Limit)})
		}
		w.demands[k].weight += uint64(p.Weight)
	}
	return w
}

// with is resources that are all written, or all read. Permits stay what they are.
func with(rs []oracle.Resource, write bool) []oracle.Resource {
	rs = slices.Clone(rs)
	for i := range rs {
		rs[i].Write = write && rs[i].Limit == 0
	}
	return rs
}

// news are the writes that an upgrade adds.
func news(rs []oracle.Resource) (ws []oracle.Resource) {
	for _, a := range rs {
		written := func(b oracle.Resource) bool { return b.Write && slices.Equal(a.Path, b.Path) }
		if a.Limit == 0 && !slices.ContainsFunc(rs, written) {
			ws = append(ws, oracle.Resource{Write: true, Path: a.Path})
		}
	}
	return ws
}

// sets are resources that occur together, each known by a number. Number 0 is none.
type sets struct {
	numbers   map[string]int
	all       [][]oracle.Resource
	conflicts [][]bool
}

func (s *sets) of(rs []oracle.Resource) int {
	if s.numbers == nil {
		s.numbers, s.all = map[string]int{"": 0}, [][]oracle.Resource{nil}
	}
	text := oracle.Text(rs)
	n, known := s.numbers[text]
	if !known {
		n = len(s.all)
		s.numbers[text] = n
		s.all = append(s.all, rs)
	}
	return n
}

// compare is to be called once all of them are known.
func (s *sets) compare() {
	s.conflicts = make([][]bool, len(s.all))
	for i, a := range s.all {
		s.conflicts[i] = make([]bool, len(s.all))
		for k, b := range s.all {
			s.conflicts[i][k] = oracle.Conflict(a, b)
		}
	}
}

// queue is the model's state, closed, so that it compares: who is there, four bytes each, and the highest number
// that was given. First those that are granted, by their indexes, then those that wait, in order. As the order of
// those that don't depend on each other is of no consequence, it is always the same.
type queue struct {
	order string
	last  uint64
}

// state is a queue, open.
type state struct {
	*model
	there  []entry
	last   uint64
	blamed int // whose request it is that what was to happen can't
}

// entry is a request that is there.
type entry struct {
	number  int // index of its record
	is      uint8
	changes int // how many of its changes have been asked for
}

// What a request is.
const (
	granted  uint8 = 1 << iota
	claiming       // it waits for an upgrade
	raised         // all that it read is written
	fallen         // all that it wrote is read
	late           // its token isn't the number that it came with
	passed         // it waits, and a number was given out of turn meanwhile: its own is no token any more
	perhaps        // the same, if a number was given of which nobody was told
)

// entryBytes is how long an entry is in a queue.
const entryBytes = 4

func (m *model) open(q queue) state {
	s := state{model: m, last: q.last, there: make([]entry, 0, len(q.order)/entryBytes+1)}
	for o := q.order; len(o) > 0; o = o[entryBytes:] {
		s.there = append(s.there, entry{is: o[0], changes: int(o[1]), number: int(o[2])<<8 | int(o[3])})
	}
	return s
}

// close sorts those that are there and forgets what will not matter.
func (s *state) close() queue {
	slices.SortStableFunc(s.there, func(a, b entry) int {
		if a.is&granted != 0 && b.is&granted != 0 {
			return cmp.Compare(a.number, b.number)
		}
		return cmp.Compare(b.is&granted, a.is&granted)
	})
	waiting := 0
	for waiting < len(s.there) && s.there[waiting].is&granted != 0 {
		waiting++
	}
	s.sortWaiting(s.there[waiting:])
	order := make([]byte, 0, len(s.there)*entryBytes)
	for _, e := range s.there {
		order = append(order, e.is, byte(e.changes), byte(e.number>>8), byte(e.number))
	}
	return queue{string(order), s.last}
}

// sortWaiting puts the lowest first that depends on nobody before it, again and again.
func (s *state) sortWaiting(rest []entry) {
	for ; len(rest) > 1; rest = rest[1:] {
		best := 0
		for i := 1; i < len(rest); i++ {
			first := func(e entry) bool { return s.depend(e.number, rest[i].number) }
			if rest[i].number < rest[best].number && !slices.ContainsFunc(rest[:i], first) {
				best = i
			}
		}
		e := rest[best]
		copy(rest[1:best+1], rest[:best])
		rest[0] = e
	}
}

// lateness finds the requests that an upgrade can have passed while they waited, or one that had been passed itself.
// What some records leave open is left out.
func (m *model) lateness(doubted map[int]bool) {
	var fresh []outside
	for i, r := range m.history {
		for k, c := range r.Changes {
			rises := !c.Down && !c.Waiting && c.Answer != Refused && c.Answer != Overlaps && c.Token != r.tokenBefore(k)
			if rises && !(doubted[i] && c.Answered == 0) {
				fresh = append(fresh, outside{c.Asked, either(c.Told, r.Gone), c.Token})
			}
		}
	}
	m.late = make([]bool, len(m.history))
	for n := -1; n < len(fresh); {
		n = len(fresh)
		for i, r := range m.history {
			waits := r.Answer != Granted && !r.refused() && !r.Waiting && !(doubted[i] && r.ghost())
			if waits && !m.late[i] && slices.ContainsFunc(fresh, r.passedBy) {
				m.late[i] = true
				fresh = append(fresh, outside{r.Asked, either(r.Told, r.Gone), r.Token})
			}
		}
	}
}

// outside is a number that was given out of turn, between these moments; zero: nobody knows which.
type outside struct {
	from, until oracle.Moment
	number      uint64
}

func (r *Record) passedBy(o outside) bool {
	return o.from <= either(r.Told, r.Gone) && r.Asked <= o.until && (r.Token == 0 || o.number < r.Token)
}

// depend says whether the order of two that wait matters.
func (m *model) depend(a, b int) bool {
	if m.sets.conflicts[m.wants[a].modes[asked]][m.wants[b].modes[asked]] {
		return true
	}
	return slices.ContainsFunc(m.wants[a].demands, func(d demand) bool { return m.weight(b, d.pool) > 0 })
}

// concerned says whether one request can be in another one's way, in any of their modes.
func (m *model) concerned(a, b int) bool {
	for _, x := range m.wants[a].modes {
		for _, y := range m.wants[b].modes {
			if m.sets.conflicts[x][y] {
				return true
			}
		}
	}
	return slices.ContainsFunc(m.wants[a].demands, func(d demand) bool { return m.weight(b, d.pool) > 0 })
}

// weight is what a request wants of a pool.
func (m *model) weight(r, pool int) uint64 {
	for _, d := range m.wants[r].demands {
		if d.pool == pool {
			return d.weight
		}
	}
	return 0
}

func (e entry) mode() int {
	switch {
	case e.is&raised != 0:
		return upgraded
	case e.is&fallen != 0:
		return lowered
	}
	return asked
}

// String is for explanations.
func (e entry) String() string {
	text := "[waits"
	if e.is&granted != 0 {
		text = "[granted"
	}
	for _, x := range []struct {
		bit  uint8
		name string
	}{{claiming, "waits for an upgrade"}, {raised, "upgraded"}, {fallen, "downgraded"}, {late, "with a later token"}, {passed, "passed"}, {perhaps, "perhaps passed"}} {
		if e.is&x.bit != 0 {
			text += ", " + x.name
		}
	}
	return text + "]"
}

// holds is the set of an entry's resources as they are.
func (s *state) holds(e entry) int { return s.wants[e.number].modes[e.mode()] }

// keeps is the set of resources that an entry keeps others from: with those that it waits to upgrade.
func (s *state) keeps(e entry) int {
	if e.is&claiming != 0 {
		return s.wants[e.number].modes[upgraded]
	}
	return s.holds(e)
}

// adds is the set of writes that an upgrade adds to an entry.
func (s *state) adds(e entry) int { return s.wants[e.number].news[e.mode()] }

func (s *state) find(r int) int {
	return slices.IndexFunc(s.there, func(e entry) bool { return e.number == r })
}

// free says whether nobody is in the way of one that waits: none that came first, none that is granted, also with
// what it waits to upgrade; and whether each pool has room behind those.
func (s *state) free(i int) bool {
	w := &s.wants[s.there[i].number]
	for k, o := range s.there {
		if k != i && (k < i || o.is&granted != 0) && s.sets.conflicts[s.keeps(o)][w.modes[asked]] {
			return false
		}
	}
	for _, d := range w.demands {
		sum := d.weight
		for k, o := range s.there {
			if k != i && (k < i || o.is&granted != 0) {
				sum += s.weight(o.number, d.pool)
			}
		}
		if sum > d.limit {
			return false
		}
	}
	return true
}

// opposed says whether somebody has what an upgrade of an entry conflicts with.
func (s *state) opposed(i int) bool {
	adds := s.adds(s.there[i])
	for k, o := range s.there {
		if k != i && o.is&granted != 0 && s.sets.conflicts[s.holds(o)][adds] {
			return true
		}
	}
	return false
}

// overlapping says whether an upgrade waits that one of this entry conflicts with.
func (s *state) overlapping(i int) bool {
	adds := s.adds(s.there[i])
	for k, o := range s.there {
		if k != i && o.is&claiming != 0 && s.sets.conflicts[s.adds(o)][adds] {
			return true
		}
	}
	return false
}

// otherLimit says whether a pool that a request wants permits of has another limit.
func (s *state) otherLimit(r int) bool {
	for _, d := range s.wants[r].demands {
		for _, o := range s.there {
			other := func(x demand) bool { return x.pool == d.pool && x.limit != d.limit }
			if slices.ContainsFunc(s.wants[o.number].demands, other) {
				return true
			}
		}
	}
	return false
}
