package engine

import (
	"math/bits"
	"slices"
	"unsafe"
)

// Parties are what Cycle has to know about owners. A party is one who waits: as long as one of its
// requests waits, it is taken to give nothing back.
type Parties interface {
	// Party is whose request it is, by the owner that Lock was given. Zero: somebody who never waits
	// for long, and is in no cycle.
	Party(owner uint64) uint64
	// Waiting appends the requests of a party that wait, and those whose upgrades are pending. Others
	// do no harm. One is the request of the party that led to it: for those who have no other. It is zero for
	// the party that Cycle is called for.
	Waiting(party uint64, one Handle, dst []Handle) []Handle
}

// Wait is a part of a cycle: a request that waits, and whom it waits for.
type Wait struct {
	Handle            Handle
	Party, Owner, Seq uint64
	For               Blocker // a request of the next part's party
}

// Cycle says whether a party is in a deadlock, and gives a cycle: each waits for the next one, and the
// last one for the party itself. If it is in none, the cycle is empty.
//
// A deadlock is a set of parties in which nobody gets on even if all others give up all they have and
// want. Each of them has a request in it that waits for another one: because they conflict, or because
// the permits before it that belong to the set leave it no room. A party never waits for itself alone.
//
// The search goes from the party to those that are in its way, and on from there, and looks at each
// list once; where there are permits it may look several times. It looks at so many entries at most:
// if that isn't enough, done is false, and the answer is unknown.
//
// The slice and its paths are the engine's memory and good until the next call of any method.
func (e *Engine) Cycle(party uint64, who Parties, most int) (cycle []Wait, done bool) {
	v := e.look()
	s := &v.search
	s.begin(e, who, most)
	found := s.reach(party, false)
	if !found && s.pools && s.steps > 0 {
		if s.reach(party, true) && s.settle() {
			found = s.reachStuck()
		}
	}
	done = found || s.steps > 0
	if found {
		s.chain(v)
	}
	s.end()
	e.settleView()
	return v.waits, done
}

// search is one for a cycle.
type search struct {
	e       *Engine
	who     Parties
	steps   int // that are left
	parties []party
	handles []Handle // their requests that wait
	order   []uint32 // parties in the order in which they were reached
	number  table    // parties by their names: one more than their place
	looked  table    // lists, and pools: the last entry or permit that was looked at
	pools   bool     // there were permits without room
	whole   bool     // all are reached, also when a cycle is found before
	stuck   bool     // only parties that are stuck are reached, by what holds them up
	found   bool
	last    arc // closes the cycle
}

// party is one that the search has reached.
type party struct {
	name        uint64
	first, last uint32 // of its handles
	from        arc
	reached     bool
	stuck       bool
}

// arc is how a party was reached: from another one, whose request r has an obstacle.
type arc struct {
	from, r uint32
	by      obstacle
}

func (s *search) begin(e *Engine, who Parties, most int) {
	s.e, s.who, s.steps = e, who, max(0, most)
	s.number.secret, s.looked.secret = e.secret[0]|1, e.secret[1]|1
	s.stuck, s.pools = false, false
}

// end forgets whom it asked.
func (s *search) end() { s.e, s.who = nil, nil }

// reach goes from a party to those that it waits for, and says whether it came back: over conflicts
// until then, or over permits as well, to all.
func (s *search) reach(name uint64, pools bool) bool {
	s.parties, s.handles, s.order = s.parties[:0], s.handles[:0], s.order[:0]
	s.number.reset()
	s.looked.reset()
	s.pools, s.whole = false, pools
	s.visit(name, arc{})
	return s.spread(pools)
}

// reachStuck does the same among those that are stuck.
func (s *search) reachStuck() bool {
	for i := range s.parties {
		s.parties[i].reached = false
	}
	s.looked.reset()
	s.order, s.stuck, s.whole = append(s.order[:0], 0), true, false
	s.parties[0].reached = true
	return s.spread(true)
}

// visit reaches a party, if it is new.
func (s *search) visit(name uint64, from arc) {
	place := s.number.at(name)
	if *place == 0 {
		first := uint32(len(s.handles))
		s.handles = s.who.Waiting(name, s.leader(from), s.handles)
		s.parties = append(s.parties, party{name: name, from: from, first: first, last: uint32(len(s.handles))})
		*place = uint32(len(s.parties))
	}
	p := &s.parties[*place-1]
	if p.reached || s.stuck && !p.stuck {
		return
	}
	p.reached, p.from = true, from
	s.order = append(s.order, *place-1)
}

// leader is the request that led to a party; zero: it is the first one.
func (s *search) leader(from arc) Handle {
	r := from.by.request
	if r == 0 {
		return 0
	}
	return handleOf(r, s.e.requests.at(r).seq)
}

// spread looks at what holds up the parties that were reached, one after the other.
func (s *search) spread(pools bool) bool {
	s.found = false
	for k := 0; k < len(s.order); k++ {
		i := s.order[k]
		for h := s.parties[i].first; h < s.parties[i].last; h++ {
			r := s.handles[h].index()
			q := s.e.living(s.handles[h])
			if q == nil {
				continue
			}
			if s.followEntries(i, r, q) || s.followPermits(i, r, q, pools) {
				return true
			}
			if s.steps == 0 {
				return false
			}
		}
	}
	return s.found
}

// step counts; false: enough.
func (s *search) step() bool {
	if s.steps == 0 {
		return false
	}
	s.steps--
	return true
}

// followEntries reaches those whose entries are in the way of a request. What was looked at for others
// isn't looked at again, but for the first party, whose own entries are nothing to itself.
func (s *search) followEntries(i, r uint32, q *request) bool {
	e := s.e
	for k, end := q.entries, e.endOfWanted(q); k != end; {
		if !s.step() {
			return false
		}
		en := e.entries.at(k)
		n := e.nodes.at(en.node)
		for _, c := range conflicts[en.mode()%modes] {
			l := &n.lists[c%modes]
			looked := s.looked.at(lookedKey(en.node, uint32(c), i == 0, q.pending == 0))
			for j := e.inFront(l, *looked, q); j != 0; j = e.inFront(l, j, q) {
				if !s.step() {
					return false
				}
				*looked = j
				o := e.entries.at(j).request()
				if e.holdsUp(o, r, q) && s.follow(i, arc{i, r, obstacle{request: o, own: k, other: j}}) {
					return true
				}
			}
		}
		k = en.sibling
	}
	return false
}

// followPermits does the same with permits.
func (s *search) followPermits(i, r uint32, q *request, pools bool) bool {
	e := s.e
	for k := e.firstWaitingPermit(q); k != 0; k = e.nextWaitingPermit(k) {
		s.pools = true
		p := e.permits.at(k)
		if !pools || s.stuck && !s.short(i, k) {
			continue
		}
		looked := s.looked.at(lookedKey(p.node, pool, i == 0, false))
		for j := *looked; ; *looked = j {
			if j != 0 && e.requests.at(e.permits.at(j).request).seq >= q.seq {
				break
			}
			if j = e.permitBefore(k, j); j == 0 {
				break
			}
			if !s.step() {
				return false
			}
			o := e.permits.at(j).request
			if o != r && s.follow(i, arc{i, r, obstacle{request: o, own: k, other: j, permits: true}}) {
				return true
			}
		}
	}
	return false
}

// pool stands for the permits of a node, where other numbers are those of modes.
const pool = modes

// lookedKey names a list, as far as it was looked at by the first party or by others, and for upgrades
// or for others.
func lookedKey(at, list uint32, first, upgrade bool) uint64 {
	key := uint64(at)<<8 | uint64(list)
	if first {
		key |= 1 << 4
	}
	if upgrade {
		key |= 1 << 5
	}
	return key
}

// follow goes on to the party of a request that is in the way of party i's. True: that closes the
// cycle, and nobody else is looked for.
func (s *search) follow(i uint32, by arc) bool {
	name := s.who.Party(s.e.requests.at(by.by.request).owner)
	switch name {
	case 0, s.parties[i].name:
		return false
	case s.parties[0].name:
		s.found, s.last = true, by
		return !s.whole
	}
	s.visit(name, by)
	return false
}

// settle finds out who is stuck, among those that were reached: first all that wait, and then without
// those, again and again, whom nobody stuck holds up. It says whether the first one is.
func (s *search) settle() bool {
	for i := range s.parties {
		s.parties[i].stuck = s.parties[i].first < s.parties[i].last
	}
	for changed := true; changed && s.parties[0].stuck; {
		changed = false
		for i := len(s.parties) - 1; i >= 0; i-- {
			if s.parties[i].stuck && !s.heldUp(uint32(i)) {
				if s.steps == 0 {
					return false
				}
				s.parties[i].stuck, changed = false, true
			}
		}
	}
	return s.parties[0].stuck
}

// heldUp says whether a stuck party holds up party i.
func (s *search) heldUp(i uint32) bool {
	e := s.e
	for h := s.parties[i].first; h < s.parties[i].last; h++ {
		q := e.living(s.handles[h])
		if q == nil {
			continue
		}
		held, roomy := false, uint32(0) // the permit that was found to have room
		e.ahead(s.handles[h].index(), q, &s.steps, func(o obstacle) bool {
			if o.permits && o.own == roomy || !s.isStuck(i, o.request) {
				return true
			}
			if held = !o.permits || s.short(i, o.own); !held {
				roomy = o.own
			}
			return !held
		})
		if held {
			return true
		}
	}
	return false
}

// isStuck says whether a request belongs to a stuck party other than i.
func (s *search) isStuck(i, r uint32) bool {
	name := s.who.Party(s.e.requests.at(r).owner)
	if name == 0 || name == s.parties[i].name {
		return false
	}
	k := *s.number.at(name)
	return k != 0 && s.parties[k-1].stuck
}

// short says whether a permit of party i has no room even if only those before it stay that belong to
// stuck parties, among them its own.
func (s *search) short(i, k uint32) bool {
	e := s.e
	p := e.permits.at(k)
	left := int64(e.extras.at(e.nodes.at(p.node).extra).limit) - int64(p.weight)
	for j := e.permitBefore(k, 0); j != 0 && left >= 0; j = e.permitBefore(k, j) {
		if !s.step() {
			return true // nobody believes it: there are no steps left
		}
		o := e.permits.at(j)
		if s.isStuck(i, o.request) || s.who.Party(e.requests.at(o.request).owner) == s.parties[i].name {
			left -= int64(o.weight)
		}
	}
	return left < 0
}

// chain makes the answer of how the parties were reached.
func (s *search) chain(v *view) {
	for l := s.last; ; l = s.parties[l.from].from {
		q := s.e.requests.at(l.r)
		v.waits = append(v.waits, Wait{
			Handle: handleOf(l.r, q.seq), Party: s.parties[l.from].name, Owner: q.owner, Seq: q.seq, For: s.e.blocker(l.by),
		})
		if l.from == 0 {
			break
		}
	}
	slices.Reverse(v.waits)
}

func (s *search) heldBytes() int64 {
	return int64(cap(s.parties))*int64(unsafe.Sizeof(party{})) + int64(cap(s.handles))*8 + int64(cap(s.order))*4 +
		int64(cap(s.number.slots)+cap(s.looked.slots))*int64(unsafe.Sizeof(slot{}))
}

// table maps numbers to numbers that are zero at first. It is emptied in one step.
type table struct {
	slots  []slot // a power of two
	used   int
	round  uint32 // slots of other rounds are empty
	secret uint64
}

type slot struct {
	key        uint64
	round, val uint32
}

func (t *table) reset() {
	t.used = 0
	if t.round++; t.round == 0 { // after 2^32 of them
		clear(t.slots)
		t.round = 1
	}
}

// at is the place of a key's value, good until the next call.
func (t *table) at(key uint64) *uint32 {
	if 2*t.used >= len(t.slots) {
		t.grow()
	}
	x := t.find(key)
	if x.round != t.round {
		*x = slot{key: key, round: t.round}
		t.used++
	}
	return &x.val
}

// find is the slot of a key, or the empty one where it belongs.
func (t *table) find(key uint64) *slot {
	hi, lo := bits.Mul64(key^t.secret, t.secret*0x9e3779b97f4a7c15|1)
	for i := hi ^ lo; ; i++ {
		x := &t.slots[i&uint64(len(t.slots)-1)]
		if x.round != t.round || x.key == key {
			return x
		}
	}
}

func (t *table) grow() {
	old := t.slots
	t.slots = make([]slot, max(16, 2*len(old)))
	for i := range old {
		if old[i].round == t.round {
			*t.find(old[i].key) = old[i]
		}
	}
}
