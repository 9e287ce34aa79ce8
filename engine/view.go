package engine

import (
	"cmp"
	"math"
	"slices"
	"unsafe"
)

// view is the memory that answers about requests are made of. It is used again for the next answer.
type view struct {
	views     []View
	blockers  []Blocker
	waits     []Wait
	resources []Resource
	segments  [][]byte
	text      []byte
	size      int      // at which Inspect ends
	marked    []uint32 // requests, or nodes that a request writes
	route     []uint32 // nodes of a path, from the root
	search    search
}

// keptView is how many bytes of it an engine without requests keeps.
const keptView = 16 << 10

// look begins an answer.
func (e *Engine) look() *view {
	if e.view == nil {
		e.view = &view{}
	}
	v := e.view
	v.views, v.blockers, v.waits = v.views[:0], v.blockers[:0], v.waits[:0]
	v.resources, v.segments, v.text = v.resources[:0], v.segments[:0], v.text[:0]
	v.marked, v.route = v.marked[:0], v.route[:0]
	return v
}

func (v *view) heldBytes() int64 {
	if v == nil {
		return 0
	}
	return int64(unsafe.Sizeof(*v)) + int64(cap(v.views))*int64(unsafe.Sizeof(View{})) +
		int64(cap(v.blockers))*int64(unsafe.Sizeof(Blocker{})) + int64(cap(v.waits))*int64(unsafe.Sizeof(Wait{})) +
		int64(cap(v.resources))*int64(unsafe.Sizeof(Resource{})) + int64(cap(v.segments))*int64(unsafe.Sizeof([]byte{})) +
		int64(cap(v.text)) + int64(cap(v.marked)+cap(v.route))*4 + v.search.heldBytes()
}

// pathOf gives a node's path. Slices that were given before stay good when the memory grows: it is
// only added to.
func (e *Engine) pathOf(at uint32) [][]byte {
	v := e.view
	from := len(v.segments)
	for ; at != e.root; at = e.nodes.at(at).parent {
		n, start := e.nodes.at(at), len(v.text)
		if n.size <= inlineBytes {
			v.text = append(v.text, n.text[:n.size]...)
		} else {
			v.text = append(v.text, n.text[:headBytes]...)
			for b := n.firstBlock(); b != 0; b = e.blocks.at(b).next {
				v.text = append(v.text, e.blocks.at(b).text[:]...)
			}
		}
		end := start + int(n.size)
		v.text = v.text[:end]
		v.segments = append(v.segments, v.text[start:end:end])
	}
	path := v.segments[from:len(v.segments):len(v.segments)]
	slices.Reverse(path)
	return path
}

// View is a request as Look and Inspect show it.
type View struct {
	Handle     Handle
	Owner, Seq uint64
	Token      uint64 // zero while it waits
	Acquired   bool
	Upgrading  bool // an upgrade is pending; the resources are still the old ones
	// Resources are each path and mode once, permits one by one. A read is left out where the request
	// writes the path as well, or has permits for it.
	Resources []Resource
}

// Look shows a request with all its resources. They are the engine's memory and good until the next
// call of any method. Grants that the call before gave stay good. The only error is ErrStale.
func (e *Engine) Look(h Handle) (View, error) {
	q := e.living(h)
	if q == nil {
		return View{}, ErrStale
	}
	v := e.look()
	v.route = append(v.route, e.root)
	e.show(h.index(), q, 0, 0)
	e.settleView()
	return v.views[0], nil
}

// Reads are the paths that a request reads, each once, also of what it writes as well: an upgrade turns no
// others into writes. Those of permits alone aren't among them. They are the engine's memory and good
// until the next call of any method. The only error is ErrStale.
func (e *Engine) Reads(h Handle) ([]Resource, error) {
	q := e.living(h)
	if q == nil {
		return nil, ErrStale
	}
	v := e.look()
	for i := q.entries; i != 0; {
		en := e.entries.at(i)
		if en.mode() == read && en.owner&forPermits == 0 {
			v.resources = append(v.resources, Resource{Mode: Read, Path: e.pathOf(en.node)})
		}
		i = en.sibling
	}
	e.settleView()
	return v.resources, nil
}

// Cursor is where Inspect goes on. The zero Cursor is the beginning.
type Cursor struct {
	list    int       // in the order of the walk
	seq     uint64    // of the request that was seen last there
	trail   [4]Handle // those that were seen last there, the last one first
	seeking bool      // up to seq nobody is shown
}

// Inspect shows the living requests that have a resource on a path, below it, or above it, with these
// resources: at most so many, beginning where a cursor says. If more is true, next is where to go on.
// It looks at a bounded number of entries, so that it may show fewer, or none, and still go on.
//
// What one call shows is in the order of sequence numbers. Over several calls the order is that of
// lists: first what is above the path, from the whole namespace downwards, then on it, then below,
// and in each case reads and then writes. Who comes, goes or changes between two calls may be missed or be
// shown twice. The views are the engine's memory and good until the next call of any method.
func (e *Engine) Inspect(path [][]byte, from Cursor, most int) (views []View, next Cursor, more bool) {
	return e.InspectWithin(path, from, most, math.MaxInt)
}

// InspectWithin is Inspect that shows no more once what it shows is of a size, see viewSize: it is over it by
// one request at most.
func (e *Engine) InspectWithin(path [][]byte, from Cursor, most, size int) (views []View, next Cursor, more bool) {
	v := e.look()
	v.size = size
	for i := e.root; i != 0; i = e.child(i, path[len(v.route)-1]) {
		if v.route = append(v.route, i); len(v.route) > len(path) {
			break
		}
	}
	next, most = from, max(1, most)
	looks := inspectSteps + 8*most
	for last := e.lastList(len(path)); next.list < last; next = (Cursor{list: next.list + 1}) {
		if !e.inspectList(&next, len(path), most, &looks) {
			more = true
			break
		}
	}
	slices.SortFunc(v.views, func(a, b View) int { return cmp.Compare(a.Seq, b.Seq) })
	e.settleView()
	return v.views, next, more
}

// What a view counts for the size of an answer, besides the bytes of its paths: about what it takes to write it
// down.
const (
	viewSize     = 128
	resourceSize = 32
	segmentSize  = 4
)

// large says whether an answer has come to its size.
func (v *view) large() bool {
	return viewSize*len(v.views)+resourceSize*len(v.resources)+segmentSize*len(v.segments)+len(v.text) >= v.size
}

// inspectSteps is how many entries Inspect looks at, besides eight for each request that it may show.
const inspectSteps = 1 << 10

// child is the node of a segment below another one; zero: there is none.
func (e *Engine) child(parent uint32, seg []byte) uint32 {
	h := e.edgeHash(parent, seg)
	return e.find(e.edges.bucket(h), parent, h, seg)
}

// The lists of a walk have numbers: two for each node above the path, with what ends there, and four
// for the path's own.

// lastList is the number of lists that there are for a path of that many segments.
func (e *Engine) lastList(depth int) int {
	if len(e.view.route) <= depth {
		return 2 * len(e.view.route)
	}
	return 2*depth + modes
}

// listOf is where a list of that number is.
func (e *Engine) listOf(number, depth int) (at uint32, mode uint8) {
	k := min(number/2, depth)
	switch number - 2*k {
	case 0:
		mode = read
	case 1:
		mode = write
	case 2:
		mode = intendRead
	default:
		mode = intendWrite
	}
	return e.view.route[k], mode
}

// inspectList goes on in a list. False: it stopped before the end.
func (e *Engine) inspectList(c *Cursor, depth, most int, looks *int) bool {
	at, mode := e.listOf(c.list, depth)
	l := &e.nodes.at(at).lists[mode%modes]
	i := e.resumeList(c, l, at, mode)
	for i != 0 {
		if *looks <= 0 || len(e.view.views) == most || len(e.view.views) > 0 && e.view.large() {
			return false
		}
		*looks--
		r := e.entries.at(i).request()
		q := e.requests.at(r)
		if c.seeking = c.seeking && q.seq <= c.seq; !c.seeking {
			c.seq = q.seq
			*looks -= e.show(r, q, c.list, depth)
		}
		copy(c.trail[1:], c.trail[:])
		c.trail[0] = handleOf(r, q.seq)
		i = l.behind(i, e.entries.at(i))
	}
	return true
}

// resumeList is the entry of a list to go on with; zero: there is none. If all that were seen last are
// gone, that is the first one whose number is higher than theirs.
func (e *Engine) resumeList(c *Cursor, l *list, at uint32, mode uint8) uint32 {
	for _, h := range c.trail {
		q := e.living(h)
		if q == nil {
			continue
		}
		for i := q.entries; i != 0; i = e.entries.at(i).sibling {
			if en := e.entries.at(i); en.node == at && en.mode() == mode {
				return l.behind(i, en)
			}
		}
	}
	c.seeking = c.seq != 0
	if l.tail == 0 {
		return 0
	}
	return e.entries.at(l.tail).next
}

// show adds a request to the views, with the resources that meet the route, unless it was in a list
// with a lower number. It says how many entries it looked at.
func (e *Engine) show(r uint32, q *request, list, depth int) (looks int) {
	v := e.view
	from := len(v.resources)
	v.marked = v.marked[:0]
	first := q.entries
	if q.flags&upgrading != 0 {
		first = e.specials.at(q.permits).base // its claims aren't what it has
	}
	for i := first; i != 0; looks++ {
		en := e.entries.at(i)
		i = en.sibling
		number, mode := -1, en.mode()
		switch {
		case mode == read || mode == write:
			number = e.meets(en.node, depth)
		case len(v.route) > depth && en.node == v.route[depth]:
			number = 2*depth + 2
		}
		if number >= 0 && number+int(mode&1) < list {
			v.resources = v.resources[:from]
			return looks
		}
		if mode == write && number >= 0 {
			v.resources = append(v.resources, Resource{Mode: Write, Path: e.pathOf(en.node)})
			v.marked = append(v.marked, en.node)
		}
	}
	looks += e.showReads(q, first, depth)
	view := View{
		Handle: handleOf(r, q.seq), Owner: q.owner, Seq: q.seq, Acquired: q.pending == 0,
		Upgrading: q.flags&upgrading != 0, Resources: v.resources[from:len(v.resources):len(v.resources)],
	}
	if view.Acquired {
		view.Token = e.token(q)
	}
	v.views = append(v.views, view)
	return looks
}

// showReads adds a request's permits that meet the route, and the reads of other nodes than those and
// than the written ones, which are marked.
func (e *Engine) showReads(q *request, first uint32, depth int) (looks int) {
	v := e.view
	for i := e.firstPermit(q); i != 0; looks++ {
		p := e.permits.at(i)
		v.marked = append(v.marked, p.node)
		if e.meets(p.node, depth) >= 0 {
			v.resources = append(v.resources, e.permitResource(p))
		}
		i = p.sibling
	}
	slices.Sort(v.marked)
	for i := first; i != 0; looks++ {
		en := e.entries.at(i)
		i = en.sibling
		if en.mode() != read || en.owner&forPermits != 0 || e.meets(en.node, depth) < 0 {
			continue
		}
		if _, known := slices.BinarySearch(v.marked, en.node); !known {
			v.resources = append(v.resources, Resource{Mode: Read, Path: e.pathOf(en.node)})
		}
	}
	return looks
}

func (e *Engine) permitResource(p *permit) Resource {
	x := e.extras.at(e.nodes.at(p.node).extra)
	return Resource{Mode: Permit, Path: e.pathOf(p.node), Limit: x.limit, Weight: p.weight}
}

// meets says where a node lies that is on the route or below its end: the number of its list of
// reads; -1: it is elsewhere.
func (e *Engine) meets(at uint32, depth int) int {
	level := 0
	for i := at; i != e.root; i = e.nodes.at(i).parent {
		level++
	}
	number := 2 * level
	if level > depth {
		number = 2*depth + modes
	}
	for ; level > depth; level-- {
		at = e.nodes.at(at).parent
	}
	if level < len(e.view.route) && e.view.route[level] == at {
		return number
	}
	return -1
}

// settleView remembers whether there is memory to give back when no request is left.
func (e *Engine) settleView() { e.largeView = e.view.heldBytes() > keptView }
