package engine

import (
	"fmt"
	"slices"
)

// SetSlice makes calls grant less at once, so that small tests meet the backlog.
func (e *Engine) SetSlice(n int) { e.slice = n }

// Check panics unless all invariants hold.
func (e *Engine) Check() {
	c := checker{
		e: e, pending: map[uint32]uint32{}, entries: map[uint32]bool{}, permits: map[uint32]bool{}, special: map[uint32]bool{},
	}
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
	c.specials()
	s := e.Stats()
	must(s.Bytes < s.Capacity, "%d bytes are used of %d", s.Bytes, s.Capacity)
	must(s.Bytes <= e.limits.Bytes || e.More(), "%d bytes are used, allowed are %d", s.Bytes, e.limits.Bytes)
	must(e.floor <= e.last, "the floor is %d, the last number %d", e.floor, e.last)
	equal("numbers that are promised and not given", e.promised, 0)
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
	special                           map[uint32]bool
	upgrades                          int
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

// listed is an entry as it stands in its list.
type listed struct {
	request uint32
	seq     uint64
	waiting bool
	claim   bool // of a pending upgrade
}

// items lists the entries of a list.
func (e *Engine) items(n *node, mode uint8) (items []listed) {
	l := n.lists[mode]
	if l.tail == 0 {
		return nil
	}
	waiting := false
	for i := e.entries.at(l.tail).next; ; i = e.entries.at(i).next {
		r := e.entries.at(i).request()
		waiting = waiting || i == l.wait
		items = append(items, listed{r, e.requests.at(r).seq, waiting, e.isClaim(i)})
		if i == l.tail {
			return items
		}
	}
}

func (e *Engine) isClaim(entry uint32) bool {
	q := e.requests.at(e.entries.at(entry).request())
	if q.flags&upgrading == 0 {
		return false
	}
	for i := q.entries; i != e.specials.at(q.permits).base; i = e.entries.at(i).sibling {
		if i == entry {
			return true
		}
	}
	return false
}

// list checks that a list is well-formed and in order: of those that wait, and of those that were
// granted to requests that wait.
func (c *checker) list(at uint32, n *node, mode uint8) {
	e, l := c.e, n.lists[mode]
	if l.tail == 0 {
		equal("wait of an empty list", l.wait, 0)
		return
	}
	items := e.items(n, mode)
	last, prev := uint64(0), uint32(0)
	i := e.entries.at(l.tail).next
	for _, x := range items {
		en := e.entries.at(i)
		must(!c.entries[i] && en.node == at && en.mode() == mode, "entry %d is in the wrong list", i)
		c.entries[i] = true
		equal("prev", en.prev, prev)
		prev, i = i, en.next
		if e.requests.at(x.request).pending > 0 {
			must(x.seq > last, "%d comes before %d", last, x.seq)
			last = x.seq
		} else {
			must(!x.waiting, "entry of %d waits, which is acquired", x.seq)
		}
		if x.waiting {
			c.pending[x.request]++
		}
	}
	equal("list has a waiting entry", items[len(items)-1].waiting, l.wait != 0)
	c.rule(n, mode, items)
}

// rule checks that those are granted, and only those, that the rule grants; a node in the backlog may
// be behind. What was granted before an upgrade came may stand beside its claim.
func (c *checker) rule(n *node, mode uint8, items []listed) {
	var against []listed
	for _, m := range conflicts[mode] {
		against = append(against, c.e.items(n, m)...)
	}
	first := true
	for i, x := range items {
		if len(items)*len(against) > 10_000 && i > 0 && (!x.waiting || !first) {
			continue // it would take quadratic time
		}
		held, beside := false, false
		for _, y := range against {
			if y.request == x.request {
				continue
			}
			held = held || y.waiting && y.seq < x.seq && c.e.requests.at(x.request).pending > 0
			if !y.waiting {
				held = held || x.waiting || x.claim == y.claim
				beside = beside || x.claim != y.claim
			}
		}
		switch {
		case !x.waiting:
			must(!held, "entry of %d is granted too early", x.seq)
		case first:
			must(held || c.queued(n), "entry of %d waits for nothing", x.seq)
			first = false
		}
	}
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
		s := special{}
		if q.flags&isSpecial != 0 {
			s = *e.specials.at(q.permits)
			equal("request of a special", s.request, r)
			c.special[q.permits] = true
		}
		if q.flags&upgrading == 0 && s.in != 0 {
			c.pending[r]++
		}
		equal("pending", q.pending, c.pending[r])
		resources += int(q.resources)
		if q.pending == 0 {
			acquired++
		}
		c.upgrade(r, q, &s)
		nodes := map[uint32]bool{} // that the entries to come have to pass through
		var leaf *entry            // the read or write that came last
		for i := q.entries; i != 0; i = e.entries.at(i).sibling {
			en := e.entries.at(i)
			must(c.entries[i] && en.request() == r, "entry %d isn't of request %d", i, r)
			if m := en.mode(); m == read || m == write {
				leaf = en
			} else {
				must(leaf.mode() == m+read && e.isBelow(leaf.node, en.node), "intention %d comes behind another resource", i)
			}
			must(en.owner&forPermits == 0 || en.mode() == read && c.hasPermit(q, en.node), "entry %d is for no permit", i)
			delete(nodes, en.node)
			if p := e.nodes.at(en.node).parent; p != 0 {
				nodes[p] = true
			}
			entries++
		}
		equal("nodes without an intention", len(nodes), 0)
		for i := e.firstPermit(q); i != 0; i = e.permits.at(i).sibling {
			must(c.permits[i] && e.permits.at(i).request == r, "permit %d isn't of request %d", i, r)
			permits++
		}
	}
	equal("entries of the requests", entries, len(c.entries))
	equal("permits of the requests", permits, len(c.permits))
	equal("acquired", e.acquired, acquired)
	equal("resources", e.resources, resources)
}

func (e *Engine) isBelow(i, above uint32) bool {
	for i = e.nodes.at(i).parent; i != 0 && i != above; {
		i = e.nodes.at(i).parent
	}
	return i == above
}

func (c *checker) hasPermit(q *request, at uint32) bool {
	for i := c.e.firstPermit(q); i != 0; i = c.e.permits.at(i).sibling {
		if c.e.permits.at(i).node == at {
			return true
		}
	}
	return false
}

// upgrade checks a pending upgrade: it stands in a line, and nobody is in the way of those of its
// claims that count as clear.
func (c *checker) upgrade(r uint32, q *request, s *special) {
	e := c.e
	if q.flags&upgrading == 0 {
		return
	}
	c.upgrades++
	must(q.pending == 0 && s.in != 0, "an upgrade of %d stands nowhere", q.seq)
	clear := true
	for i := q.entries; i != s.base; i = e.entries.at(i).sibling {
		en := e.entries.at(i)
		must(en.mode() == write || en.mode() == intendWrite, "a claim of %d is for a read", q.seq)
		if clear = clear && i != s.claims; !clear {
			continue
		}
		for _, m := range conflicts[en.mode()] {
			for _, x := range e.items(e.nodes.at(en.node), m) {
				must(x.waiting || x.request == r, "%d is in the way of the upgrade of %d", x.seq, q.seq)
			}
		}
	}
}

// specials checks what is special, and the lines: who stands in one is in it, and who is waited for
// knows of it.
func (c *checker) specials() {
	e := c.e
	equal("upgrades", e.upgrades, c.upgrades)
	equal("specials of requests", len(checkSlab(&e.specials)), len(c.special))
	lines, ready, standing := checkSlab(&e.lines), map[uint32]bool{}, 0
	last := uint32(0)
	for i := e.ready.head; i != 0; i = e.lines.at(i).next {
		must(lines[i] && !ready[i], "line %d is ready twice, or free", i)
		ready[i], last = true, i
	}
	equal("last line that is ready", e.ready.tail, last)
	for i := range lines {
		l := e.lines.at(i)
		switch {
		case l.of != 0:
			must(!ready[i] && c.special[l.of] && e.specials.at(l.of).line == i, "line %d is of nobody", i)
		case i == e.short:
			must(!ready[i] && e.last >= e.reserved, "line %d waits for numbers", i)
		default:
			must(ready[i], "line %d is forgotten", i)
		}
		must(l.head != 0 || ready[i], "line %d is empty", i)
		prev := uint32(0)
		for k := l.head; k != 0; k = e.specials.at(k).next {
			s := e.specials.at(k)
			must(c.special[k] && s.in == i && s.prev == prev, "special %d isn't in line %d", k, i)
			prev = k
			standing++
		}
		equal("end of a line", l.tail, prev)
	}
	for k := range c.special {
		s := e.specials.at(k)
		q := e.requests.at(s.request)
		must(s.line != 0 || s.in != 0 || s.token != 0 || q.flags&upgrading != 0, "nothing is special about %d", q.seq)
		must(s.line == 0 || e.lines.at(s.line).of == k, "line %d isn't of special %d", s.line, k)
		must(s.token == 0 || s.token > q.seq && s.token <= e.floor && q.pending == 0, "%d has the token %d", q.seq, s.token)
		if s.in != 0 {
			standing--
		}
	}
	equal("specials in lines", standing, 0)
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

// has says whether a number is in the set.
func (b *bitset) has(i uint32) bool {
	return len(b.levels) > 0 && int(i/64) < len(b.levels[0]) && b.levels[0][i/64]>>(i%64)&1 == 1
}
