package engine

import "unsafe"

// edges finds a node by its parent and segment: a table of chains that grows and shrinks by one
// bucket at a time (linear hashing; W. Litwin, VLDB 1980), so that no call ever pays for a rehash.
// Buckets are split in order of their number; those that were split in this round are told by one
// more bit of the hash than the others.
type edges struct {
	chunks []*bucket // the first bucket of each 1024; the first of these chunks may be smaller
	first  uint32    // buckets that it has memory for
	count  uint32    // buckets in use; zero: nothing was ever stored
	mask   uint32    // a power of two minus one: mask/2 < count-1 <= mask, or count is the least
}

// bucket is a chain of nodes. So that a node that isn't there is mostly known to be missing without
// a look at those that are, which are as far away as memory gets, it counts them by four bits of
// their hashes: sixteen counters of two bits (a counting Bloom filter; L. Fan et al., 2000). One that
// reaches three stays there until the bucket is empty.
type bucket struct{ head, counts uint32 }

const (
	leastBuckets = 16
	bucketBytes  = int64(unsafe.Sizeof(bucket{}))
)

// counter is where the counter of a hash begins. Its bits are the topmost, which no bucket's number
// is made of before there are 2^28 of them.
func counter(h uint32) uint32 { return h >> 28 << 1 }

// may says whether a node with this hash may be in the chain.
func (b *bucket) may(h uint32) bool { return b.counts>>counter(h)&3 != 0 }

// push puts a node in front of the chain.
func (b *bucket) push(i uint32, n *node) {
	n.chain, b.head = b.head, i
	if b.counts>>counter(n.hash)&3 < 3 {
		b.counts += 1 << counter(n.hash)
	}
}

// pull takes a node out of its chain.
func (e *Engine) pull(i uint32, n *node) {
	b := e.edges.bucket(n.hash)
	p := &b.head
	for *p != i {
		p = &e.nodes.at(*p).chain
	}
	*p = n.chain
	if b.head == 0 {
		b.counts = 0
	} else if b.counts>>counter(n.hash)&3 < 3 {
		b.counts -= 1 << counter(n.hash)
	}
}

// bucket is where a node with this hash belongs.
func (t *edges) bucket(h uint32) *bucket {
	b := h & t.mask
	if b >= t.count {
		b &= t.mask >> 1
	}
	return t.at(b)
}

// at is a bucket of those that there is memory for; as in slab.at, only the chunk's number is checked.
func (t *edges) at(b uint32) *bucket {
	return (*bucket)(unsafe.Add(unsafe.Pointer(t.chunks[b>>chunkShift]), uintptr(b%chunkLen)*unsafe.Sizeof(bucket{})))
}

// init makes the first buckets.
func (t *edges) init() {
	t.chunks, t.first = []*bucket{unsafe.SliceData(make([]bucket, leastBuckets))}, leastBuckets
	t.count, t.mask = leastBuckets, leastBuckets-1
}

// shrinkEdges follows a node that was just freed: at least half a node per bucket on average. Two
// buckets per node keep pace with the nodes down to none.
func (e *Engine) shrinkEdges() {
	for range 2 {
		if e.edges.count > leastBuckets && e.nodes.live() < int(e.edges.count/2) {
			e.mergeBucket()
		}
	}
}

// splitBucket makes room for one node more: at most one node per bucket on average.
func (e *Engine) splitBucket() {
	t := &e.edges
	last := t.count
	t.hold(last)
	if last > t.mask {
		t.mask = t.mask<<1 | 1
	}
	t.count++
	from, to := t.at(last&(t.mask>>1)), t.at(last)
	chain := from.head
	*from = bucket{}
	for chain != 0 {
		i, n := chain, e.nodes.at(chain)
		chain = n.chain
		if n.hash&t.mask == last {
			to.push(i, n)
		} else {
			from.push(i, n)
		}
	}
}

func (e *Engine) mergeBucket() {
	t := &e.edges
	last := t.count - 1
	from, to := t.at(last), t.at(last&(t.mask>>1))
	for from.head != 0 {
		i, n := from.head, e.nodes.at(from.head)
		from.head = n.chain
		to.push(i, n)
	}
	*from = bucket{}
	t.count--
	if t.count == t.mask>>1+1 && t.count >= leastBuckets {
		t.mask >>= 1
	}
	t.giveBack()
}

// hold gets memory for a bucket right behind those in use.
func (t *edges) hold(b uint32) {
	switch c := int(b >> chunkShift); {
	case c == len(t.chunks):
		t.chunks = append(t.chunks, unsafe.SliceData(make([]bucket, chunkLen)))
	case c == 0 && b >= t.first:
		larger := make([]bucket, 2*t.first)
		for k := range t.first {
			larger[k] = *t.at(k)
		}
		t.chunks[0], t.first = unsafe.SliceData(larger), 2*t.first
	}
}

// giveBack frees a chunk once half of the one before it isn't in use either. The first one stays: it
// is eight kilobytes at most.
func (t *edges) giveBack() {
	k := len(t.chunks)
	if k == 1 || int(t.count) > (k-1)*chunkLen-chunkLen/2 {
		return
	}
	t.chunks[k-1] = nil
	t.chunks = t.chunks[:k-1]
	if cap(t.chunks) > 4*k {
		t.chunks = append(make([]*bucket, 0, 2*k), t.chunks...)
	}
}

func (t *edges) heldBytes() int64 {
	return int64(cap(t.chunks))*8 + bucketBytes*int64(t.first) + bucketBytes*chunkLen*int64(max(0, len(t.chunks)-1))
}
