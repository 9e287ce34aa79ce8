package engine

import (
	"fmt"
	"slices"
)

// SetSlice makes calls grant less at once, so that small tests meet the backlog.
func (e *Engine) SetSlice(n int) { e.slice = n }

// Check panics unless all invariants hold.
func (e *Engine) Check() {
	c := checker{e: e, pending: map[uint32]uint32{}, entries: map[uint32]bool{}, permits: map[uint32]bool{}}
	c.requests = checkSlab(&e.requests)
	c.nodes = checkSlab(&e.nodes)
	c.edges()
	blocks, extras := 0, 0
	for i := range c.nodes {
		n := e.nodes.at(i)
		c.node(i, n)
		if n.size > inlineBytes {
			for b := n.firstBlock(); b != 0; b = e.blocks.at(b).next {
				blocks++
			}
		}
		if n.extra != 0 {
			extras++
			c.extra(i, n, e.extras.at(n.extra))
		}
	}
	equal("blocks", len(checkSlab(&e.blocks)), blocks)
	equal("extras", len(checkSlab(&e.extras)), extras)
	equal("entries of the nodes", len(checkSlab(&e.entries)), len(c.entries))
	equal("permits of the nodes", len(checkSlab(&e.permits)), len(c.permits))
	c.allRequests()
	c.backlog()
	s := e.Stats()
	must(s.Bytes < s.Capacity, "%d bytes are used of %d", s.Bytes, s.Capacity)
	must(s.Bytes <= e.limits.Bytes, "%d bytes are used, allowed are %d", s.Bytes, e.limits.Bytes)
	must(s.Requests <= e.limits.Requests, "%d requests", s.Requests)
}

func must(ok bool, format string, args ...any) {
	if !ok {
		panic("engine: broken invariant: " + fmt.Sprintf(format, args...))
	}
}

func equal[T comparable](what string, got, want T) {
	must(got == want, "%s: %v, not %v", what, got, want)
}

// checkSlab returns the items in use.
func checkSlab[T any](s *slab[T]) map[uint32]bool {
	used, hand := map[uint32]bool{}, map[uint32]bool{}
	for _, i := range s.hand[:s.inHand] {
		must(!hand[i], "item %d is twice in hand", i)
		hand[i] = true
	}
	room := 0
	for n := range s.chunks {
		c := &s.chunks[n]
		if c.items == nil {
			must(n == 0 || s.holes.has(uint32(n)), "chunk %d is no hole", n)
			continue
		}
		room += s.size(uint32(n))
		must(!s.holes.has(uint32(n)), "chunk %d is a hole", n)
		must(s.full(uint32(n)) || s.open.has(uint32(n)), "chunk %d has room and isn't open", n)
		must(!s.full(uint32(n)) || !s.open.has(uint32(n)) || int(s.lowest) == n, "chunk %d is open without room", n)
		must(s.full(uint32(n)) || int(s.lowest) <= n, "chunk %d has room, but the lowest is %d", n, s.lowest)
		for o := range uint32(c.fresh) {
			used[uint32(n)<<chunkShift|o] = true
		}
		for i := c.free; i != 0; i = *link(s.at(i)) {
			must(used[i], "item %d is free twice", i)
			delete(used, i)
		}
		delete(used, 0)
		live := 0
		for i := range used {
			if int(i>>chunkShift) == n {
				live++
			}
		}
		equal("items in a chunk", int(c.live), live)
		must(live > 0 || n == 0 || int(s.spare) == n, "chunk %d is kept for nothing", n)
	}
	for i := range hand {
		must(used[i], "item %d is in hand and free", i)
		delete(used, i)
	}
	equal("room", s.room, room)
	equal("items", s.live(), len(used))
	must(s.live() > 0 || s.room <= chunkLen, "an empty slab holds %d items", s.room)
	return used
}

type checker struct {
	e                                 *Engine
	requests, nodes, entries, permits map[uint32]bool
	pending                           map[uint32]uint32 // by request
}

func (c *checker) edges() {
	e, t := c.e, &c.e.edges
	if t.count == 0 {
		equal("nodes", len(c.nodes), min(len(c.nodes), 1))
		return
	}
	must(t.mask&(t.mask+1) == 0 && t.count <= t.mask+1 && (t.count > t.mask/2 || t.count == leastBuckets),
		"%d buckets with mask %x", t.count, t.mask)
	must(e.nodes.live() <= int(t.count), "%d nodes in %d buckets", e.nodes.live(), t.count)
	must(int(t.count) <= max(leastBuckets, 2*e.nodes.live()+2), "%d buckets for %d nodes", t.count, e.nodes.live())
	found := 0
	for b := range uint32(len(t.chunks)) << chunkShift {
		if b < chunkLen && b >= t.first {
			continue
		}
		var counts [16]uint32
		for i := t.at(b).head; i != 0; i = e.nodes.at(i).chain {
			counts[e.nodes.at(i).hash>>28]++
			must(c.nodes[i] && b < t.count && t.bucket(e.nodes.at(i).hash) == t.at(b), "node %d is in bucket %d", i, b)
			found++
		}
		for k, n := range counts {
			got := t.at(b).counts >> (2 * k) & 3
			must(got == n || got == 3 && t.at(b).head != 0, "bucket %d counts %d nodes and has %d", b, got, n)
		}
	}
	equal("nodes in buckets", found, max(0, len(c.nodes)-1))
}

func (c *checker) node(i uint32, n *node) {
	e := c.e
	must(!n.empty(), "node %d is empty", i)
	if i == e.root {
		equal("parent of the root", n.parent, 0)
	} else {
		must(c.nodes[n.parent], "node %d has no parent", i)
		seg := c.segment(n)
		equal("hash of a node", n.hash, e.edgeHash(n.parent, seg))
		equal("child", e.find(e.edges.bucket(n.hash), n.parent, n.hash, seg), i)
	}
	for mode := range uint8(modes) {
		c.list(i, n, mode)
	}
}

func (c *checker) segment(n *node) []byte {
	if n.size <= inlineBytes {
		return n.text[:n.size]
	}
	seg := slices.Clone(n.text[:headBytes])
	for b := n.firstBlock(); b != 0; b = c.e.blocks.at(b).next {
		seg = append(seg, c.e.blocks.at(b).text[:]...)
	}
	return seg[:n.size]
}

// list checks the order, and that those are granted, and only those, that the rule grants; a node
// in the backlog may be behind.
func (c *checker) list(at uint32, n *node, mode uint8) {
	e, l := c.e, n.lists[mode]
	if l.tail == 0 {
		equal("wait of an empty list", l.wait, 0)
		return
	}
	oldest := e.oldestAgainst(n, mode)
	last, waiting := uint64(0), false
	prev := uint32(0)
	for i := e.entries.at(l.tail).next; ; {
		en := e.entries.at(i)
		seq := e.requests.at(en.request()).seq
		must(!c.entries[i] && en.node == at && en.mode() == mode, "entry %d is in the wrong list", i)
		c.entries[i] = true
		must(seq > last, "%d comes before %d", last, seq)
		last = seq
		if i == l.wait {
			waiting = true
			must(seq > oldest || c.queued(n), "entry %d waits for nothing", i)
		}
		if waiting {
			c.pending[en.request()]++
		} else {
			must(seq <= oldest, "entry %d is granted too early", i)
		}
		equal("prev", en.prev, prev)
		if prev = i; i == l.tail {
			break
		}
		i = en.next
	}
	equal("list has a waiting entry", waiting, l.wait != 0)
}

func (c *checker) queued(n *node) bool { return n.extra != 0 && c.e.extras.at(n.extra).queued }

func (c *checker) extra(at uint32, n *node, x *extra) {
	e := c.e
	must(x.head != 0 || x.queued, "node %d has an empty extra", at)
	if x.head == 0 {
		return
	}
	taken := map[uint32]bool{}
	used, waiting, last := uint64(0), false, uint64(0)
	for i := x.head; ; {
		p := e.permits.at(i)
		q := e.requests.at(p.request)
		must(!c.permits[i] && p.node == at, "permit %d is in the wrong list", i)
		c.permits[i] = true
		must(q.seq >= last, "permit of %d comes before %d", last, q.seq)
		last = q.seq
		waiting = waiting || i == x.wait
		equal("granted permit", p.granted, !waiting)
		must(i != x.wait || used+uint64(p.weight) > uint64(x.limit) || x.queued, "permit %d waits for nothing", i)
		if waiting {
			c.pending[p.request]++
		} else {
			used += uint64(p.weight)
		}
		if q.pending == 0 {
			must(!taken[p.slot] && p.slot < x.limit, "slot %d is taken twice, or not below %d", p.slot, x.limit)
			taken[p.slot] = true
		}
		if i = p.next; i == x.head {
			break
		}
	}
	equal("used", uint64(x.used), used)
	must(used <= uint64(x.limit), "%d of %d are used", used, x.limit)
	equal("slots", c.slots(x.slots, 0, 1<<slotBits(x.limit), taken), uint32(len(taken)))
}

// slots checks a tree of slots that are in a range, the top one the least.
func (c *checker) slots(i uint32, from, to uint64, taken map[uint32]bool) uint32 {
	if i == 0 {
		return 0
	}
	p := c.e.permits.at(i)
	must(taken[p.slot] && uint64(p.slot) >= from && uint64(p.slot) < to, "slot %d isn't in %d to %d", p.slot, from, to)
	for _, k := range []uint32{p.left, p.right} {
		must(k == 0 || c.e.permits.at(k).slot > p.slot, "slot %d is below a greater one", p.slot)
	}
	mid := (from + to) / 2
	n := 1 + c.slots(p.left, from, mid, taken) + c.slots(p.right, mid, to, taken)
	equal("count of slots", p.count, n)
	return n
}

func (c *checker) allRequests() {
	e := c.e
	acquired, resources, entries, permits := 0, 0, 0, 0
	for r := range c.requests {
		q := e.requests.at(r)
		equal("pending", q.pending, c.pending[r])
		resources += int(q.resources)
		if q.pending == 0 {
			acquired++
		}
		nodes := map[uint32]bool{} // that the entries to come have to pass through
		for i := q.entries; i != 0; i = e.entries.at(i).sibling {
			en := e.entries.at(i)
			must(c.entries[i] && en.request() == r, "entry %d isn't of request %d", i, r)
			delete(nodes, en.node)
			if p := e.nodes.at(en.node).parent; p != 0 {
				nodes[p] = true
			}
			entries++
		}
		equal("nodes without an intention", len(nodes), 0)
		for i := q.permits; i != 0; i = e.permits.at(i).sibling {
			must(c.permits[i] && e.permits.at(i).request == r, "permit %d isn't of request %d", i, r)
			permits++
		}
	}
	equal("entries of the requests", entries, len(c.entries))
	equal("permits of the requests", permits, len(c.permits))
	equal("acquired", e.acquired, acquired)
	equal("resources", e.resources, resources)
}

func (c *checker) backlog() {
	e := c.e
	queued, before := 0, uint32(0)
	for i := e.backlog.head; i != 0; i = e.extras.at(e.nodes.at(i).extra).after {
		x := e.extras.at(e.nodes.at(i).extra)
		must(x.queued && x.before == before, "node %d isn't in the backlog", i)
		before = i
		queued++
	}
	equal("tail of the backlog", e.backlog.tail, before)
	for i := range c.nodes {
		if c.queued(e.nodes.at(i)) {
			queued--
		}
	}
	equal("nodes in the backlog", queued, 0)
}
