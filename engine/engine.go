package engine

import (
	"errors"
	"hash/maphash"
	"math"
	"slices"
	"strconv"
)

// Mode is how a resource is wanted.
type Mode uint8

const (
	// Read is shared: any number of reads hold a path and its subtree together.
	Read Mode = iota
	// Write is exclusive: alone in its path's subtree and on the way down to it.
	Write
	// Permit is a Read towards everything else, and one of a bounded number on its exact path.
	Permit
)

// String is the mode's name, in lower case.
func (m Mode) String() string {
	switch m {
	case Read:
		return "read"
	case Write:
		return "write"
	case Permit:
		return "permit"
	}
	return "unknown mode " + strconv.Itoa(int(m))
}

// Resource is what a request wants. The engine reads it during the call only and copies what it
// keeps.
type Resource struct {
	Mode Mode
	// Path is a list of opaque segments. The empty path is the whole namespace.
	Path [][]byte
	// Limit is what the weights of the permits of this path may add up to, Weight what this one
	// counts: 1 <= Weight <= Limit. Of no meaning for the other modes.
	Limit, Weight uint32
}

// Handle names a living request. The zero Handle names none, ever. A handle whose request was
// released stays stale, also when its memory serves another request.
type Handle uint64

// A handle is the index of the request in its slab and, above it, the low bits of the sequence
// number, which no later request in the same place shares for the next 2^36 requests.
const handleIndexBits = 28

func handleOf(r uint32, seq uint64) Handle { return Handle(seq<<handleIndexBits | uint64(r)) }

func (h Handle) index() uint32 { return uint32(h) & (1<<handleIndexBits - 1) }

// ErrStale is the answer to a handle whose request was released, or that never was.
var ErrStale = errors.New("no such lock: it was released before, or never existed")

// ErrNoNumbers is the answer to a Lock when all numbers are used up that SetReserved allowed.
var ErrNoNumbers = errors.New("no number is reserved for another lock")

// Placed is the answer to a request that was taken on.
type Placed struct {
	Handle Handle
	Seq    uint64 // its place in the order, also of those that wait
	Token  uint64 // the fencing token; zero while the request waits
	// Acquired is false while the request waits; a Grant tells when it no longer does.
	Acquired bool
}

// Grant tells that a waiting request is acquired now, or that an upgrade came true that was pending.
type Grant struct {
	Handle  Handle
	Owner   uint64 // as given to Lock
	Seq     uint64
	Token   uint64 // from now on
	Upgrade bool
}

// Released is the answer to a release.
type Released struct {
	Owner, Seq uint64 // of the released request
	Token      uint64 // zero: it was waiting
	Acquired   bool   // it was acquired, and not waiting
	// Grants are the requests that this acquired, in the order of their sequence numbers. The
	// slice is the engine's and good until the next call.
	Grants []Grant
	// More says that the engine has work left over, see Advance.
	More bool
}

// request is a list of resources, acquired as a whole. Dead when it has no entry.
type request struct {
	permits    uint32 // its permits, in the order of its resources; of a special one its special
	entries    uint32 // its entries, the last placed first
	pending    uint32 // entries and permits not granted, and one if it is held; at zero the request is acquired
	resources  uint16
	flags      uint16
	seq, owner uint64
}

// Flags of requests.
const (
	isSpecial = 1 << iota // it has a special
	upgrading             // its upgrade is pending
	seen                  // by the search that is being made
)

// leaving is the pending count of a request that is being released: its own entries may be granted
// meanwhile, and it must not be acquired by that.
const leaving = ^uint32(0)

// slice is how many entries and permits one call grants at most; the rest is left to Advance.
const slice = 1024

// keptScratch is how many items of scratch memory an engine without requests keeps.
const keptScratch = 64

// Engine is one namespace. Make it with New. Not safe for concurrent use.
type Engine struct {
	last     uint64 // the highest number that was given, as a sequence number or as a token
	limits   Limits
	requests slab[request]
	entries  slab[entry]
	nodes    slab[node]
	permits  slab[permit]
	extras   slab[extra]
	blocks   slab[block]
	edges    edges
	root     uint32 // the node of the empty path; zero: nothing is locked
	backlog  fifo   // nodes whose promotion was cut short
	ready    fifo   // lines whose requests needn't wait any longer
	slice    int    // the constant; tests lower it
	budget   int    // what this call may still grant
	grants   []Grant
	order    []uint32 // scratch of checkPermits

	acquired, resources int

	floor    uint64 // the highest number that was given as a token
	reserved uint64 // the highest number that may be given
	careful  uint64 // requests below it may be held when they have all they want: the floor; any while upgrades are pending
	upgrades int    // pending
	specials slab[special]
	lines    slab[line]
	short    uint32 // the line of those that wait for numbers to be reserved; zero: nobody
	promised uint64 // numbers that this call will draw

	view      *view // scratch of answers about requests; nil until somebody asks
	largeView bool  // it is worth giving back

	seed   maphash.Seed
	secret [5]uint64
}

// fifo is a list with both its ends.
type fifo struct{ head, tail uint32 }

// New makes an engine whose first sequence number is last+1. It holds no memory but itself until
// the first Lock. All numbers count as reserved until SetReserved says otherwise.
func New(limits Limits, last uint64) *Engine {
	e := &Engine{last: last, reserved: math.MaxUint64, slice: slice, seed: maphash.MakeSeed()}
	for i := range e.secret { // of other seeds, as no segment's hash may be equal to a secret
		e.secret[i] = maphash.Bytes(maphash.MakeSeed(), nil)
	}
	e.SetLimits(limits)
	return e
}

// Lock takes a request on, acquired or waiting, or refuses it with a *RequestError or ErrNoNumbers,
// having changed nothing. The owner is given back with every answer about the request and means
// nothing to the engine.
func (e *Engine) Lock(owner uint64, rs []Resource) (Placed, error) {
	if err := e.check(rs); err != nil {
		return Placed{}, err
	}
	if e.last >= e.reserved {
		return Placed{}, ErrNoNumbers
	}
	e.last++
	r := e.requests.alloc()
	q := e.requests.at(r)
	*q = request{seq: e.last, owner: owner, resources: uint16(len(rs))}
	e.resources += len(rs)
	p := placing{q: q, r: r}
	for i := range rs {
		e.place(&p, &rs[i])
	}
	if q.pending > 0 {
		return Placed{Handle: handleOf(r, q.seq), Seq: q.seq}, nil
	}
	e.acquire(q)
	return Placed{Handle: handleOf(r, q.seq), Seq: q.seq, Token: q.seq, Acquired: true}, nil
}

// Release ends a request, acquired or waiting, and tells which others are acquired by that. The
// only error is ErrStale.
func (e *Engine) Release(h Handle) (out Released, err error) {
	q := e.living(h)
	if q == nil {
		return out, ErrStale
	}
	e.begin()
	// Field by field: copying a struct that was just written in pieces stalls the processor.
	out.Owner, out.Seq, out.Acquired = q.owner, q.seq, q.pending == 0
	if out.Acquired {
		e.acquired--
		out.Token = q.seq
	}
	e.resources -= int(q.resources)
	if q.flags == 0 {
		e.leave(q, q.permits, out.Acquired)
	} else {
		if out.Acquired {
			out.Token = e.token(q)
		}
		e.leave(q, e.firstPermit(q), out.Acquired)
		e.endSpecial(q)
	}
	q.entries = 0
	e.requests.free(h.index())
	out.Grants, out.More = e.finish()
	return out, nil
}

// Advance does the next slice of the work that earlier calls left over and tells which requests it
// acquired, in the order of their sequence numbers, and whether there is still more to do. The
// slice of grants is the engine's and good until the next call.
func (e *Engine) Advance() (grants []Grant, more bool) {
	e.begin()
	for e.backlog.head != 0 && e.promoteAll(e.backlog.head) {
		e.unqueue(e.backlog.head)
	}
	return e.finish()
}

// Last is the highest number given so far, as a sequence number or as a token.
func (e *Engine) Last() uint64 { return e.last }

// SetReserved sets the highest number that may be given. A Lock that would need a higher one is
// refused, and a grant that would waits: see Starved.
func (e *Engine) SetReserved(highest uint64) {
	e.reserved = highest
	if e.short != 0 && e.last < highest {
		e.makeReady(e.short)
		e.short = 0
	}
}

// Reserved is what SetReserved set last.
func (e *Engine) Reserved() uint64 { return e.reserved }

// Draws is how many numbers the next call may draw at most, if it is none of Lock and Upgrade, which
// draw one. It is zero as long as nobody asked for an upgrade.
func (e *Engine) Draws() uint64 {
	if e.floor == 0 && e.upgrades == 0 {
		return 0
	}
	return uint64(e.slice)
}

// Starved says that requests or upgrades wait for numbers to be reserved, as far as the engine has
// looked: something else may have come in their way since. Once SetReserved has allowed more, there
// is More to do.
func (e *Engine) Starved() bool { return e.short != 0 }

// More says that there is work for Advance.
func (e *Engine) More() bool { return e.backlog.head != 0 || e.ready.head != 0 }

// Slots appends to dst the slot numbers of an acquired request's permits, in the order of its
// resources. A request that waits has none yet. The only error is ErrStale.
func (e *Engine) Slots(h Handle, dst []uint32) ([]uint32, error) {
	q := e.living(h)
	if q == nil {
		return dst, ErrStale
	}
	if q.pending > 0 {
		return dst, nil
	}
	for i := e.firstPermit(q); i != 0; {
		p := e.permits.at(i)
		dst, i = append(dst, p.slot), p.sibling
	}
	return dst, nil
}

// living is the request of a handle; nil if it is stale.
func (e *Engine) living(h Handle) *request {
	q := e.requests.lookup(h.index())
	if q == nil || q.entries == 0 || handleOf(h.index(), q.seq) != h {
		return nil
	}
	return q
}

func (e *Engine) begin() { e.grants, e.budget = e.grants[:0], e.slice }

// granted counts down a request one of whose entries or permits was granted.
func (e *Engine) granted(r uint32) {
	q := e.requests.at(r)
	if q.pending--; q.pending > 0 {
		return
	}
	token := q.seq
	if token < e.careful {
		if e.held(r, q) {
			return
		}
		if token < e.floor {
			token = 0
		}
	}
	e.addGrant(r, q, token, false)
}

// addGrant writes a grant where it stays, field by field: as with Released, a copy would stall.
func (e *Engine) addGrant(r uint32, q *request, token uint64, upgrade bool) {
	n := len(e.grants)
	if n == cap(e.grants) {
		e.grants = slices.Grow(e.grants, 1)
	}
	e.grants = e.grants[:n+1]
	g := &e.grants[n]
	g.Handle, g.Owner, g.Seq, g.Token, g.Upgrade = handleOf(r, q.seq), q.owner, q.seq, token, upgrade
}

// held says that a request which has all it wants must wait in a line nevertheless.
func (e *Engine) held(r uint32, q *request) bool {
	if e.upgrades > 0 {
		if u := e.bar(r, q); u != 0 {
			e.hold(r, q, e.lineOf(u))
			return true
		}
	}
	if q.seq < e.floor && !e.promise() {
		e.hold(r, q, e.shortLine())
		return true
	}
	return false
}

// finish does what has become ready, puts a call's grants in order, and only then gives out tokens
// and slots, in that order.
func (e *Engine) finish() (grants []Grant, more bool) {
	if e.ready.head != 0 {
		e.settle()
	}
	grants = e.grants
	if len(grants) > 1 {
		slices.SortFunc(grants, func(a, b Grant) int {
			if a.Seq < b.Seq {
				return -1
			}
			return 1
		})
	}
	for i := range grants {
		q := e.requests.at(grants[i].Handle.index())
		if grants[i].Token == 0 {
			e.issue(&grants[i], q)
		}
		if !grants[i].Upgrade {
			e.acquire(q)
		}
	}
	if e.requests.live() == 0 && (cap(e.grants)+cap(e.order) > keptScratch || e.largeView) {
		e.grants, e.order, e.view, e.largeView = nil, nil, nil, false
	}
	return grants, e.backlog.head|e.ready.head != 0
}

// acquire counts a request as acquired, and gives its permits their slots.
func (e *Engine) acquire(q *request) {
	e.acquired++
	if q.permits != 0 {
		e.takeSlots(q)
	}
}

func (e *Engine) takeSlots(q *request) {
	for i := e.firstPermit(q); i != 0; {
		p := e.permits.at(i)
		x := e.extras.at(e.nodes.at(p.node).extra)
		e.takeSlot(x, i)
		i = p.sibling
	}
}
