package engine

// edges finds a node by its parent and segment: a table of chains that grows and shrinks by one
// bucket at a time (linear hashing; W. Litwin, VLDB 1980), so that no call ever pays for a rehash.
// Buckets are split in order of their number; those that were split in this round are told by one
// more bit of the hash than the others.
type edges struct {
	chunks [][]uint32 // of 1024 buckets, the first one smaller
	count  uint32     // buckets in use; zero: nothing was ever stored
	mask   uint32     // a power of two minus one: mask/2 < count-1 <= mask, or count is the least
}

const leastBuckets = 16

// bucket is where the chain of a hash begins.
func (t *edges) bucket(h uint32) *uint32 {
	b := h & t.mask
	if b >= t.count {
		b &= t.mask >> 1
	}
	return t.at(b)
}

func (t *edges) at(b uint32) *uint32 { return &t.chunks[b>>chunkShift][b%chunkLen] }

// init makes the first buckets.
func (t *edges) init() {
	t.chunks = [][]uint32{make([]uint32, leastBuckets)}
	t.count, t.mask = leastBuckets, leastBuckets-1
}

// shrinkEdges follows a node that was just freed: at least half a node per bucket on average. Two
// buckets per node keep pace with the nodes down to none.
func (e *Engine) shrinkEdges() {
	for range 2 {
		if e.edges.count > leastBuckets && e.nodes.live < int(e.edges.count/2) {
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
	for *from != 0 {
		i := *from
		n := e.nodes.at(i)
		if n.hash&t.mask != last {
			from = &n.chain
			continue
		}
		*from = n.chain
		n.chain, *to = *to, i
	}
}

func (e *Engine) mergeBucket() {
	t := &e.edges
	last := t.count - 1
	from, to := t.at(last), t.at(last&(t.mask>>1))
	for *to != 0 {
		to = &e.nodes.at(*to).chain
	}
	*to, *from = *from, 0
	t.count--
	if t.count == t.mask>>1+1 && t.count >= leastBuckets {
		t.mask >>= 1
	}
	t.giveBack()
}

// hold gets memory for a bucket right behind those in use.
func (t *edges) hold(b uint32) {
	c := int(b >> chunkShift)
	if c == len(t.chunks) {
		t.chunks = append(t.chunks, make([]uint32, chunkLen))
	}
	if n := len(t.chunks[c]); int(b%chunkLen) >= n {
		t.chunks[c] = append(make([]uint32, 0, 2*n), t.chunks[c]...)[:2*n]
	}
}

// giveBack frees a chunk once half of the one before it isn't in use either. The first one stays: it
// is four kilobytes at most.
func (t *edges) giveBack() {
	k := len(t.chunks)
	if k == 1 || int(t.count) > (k-1)*chunkLen-chunkLen/2 {
		return
	}
	t.chunks[k-1] = nil
	t.chunks = t.chunks[:k-1]
	if cap(t.chunks) > 4*k {
		t.chunks = append(make([][]uint32, 0, 2*k), t.chunks...)
	}
}

func (t *edges) heldBytes() int64 {
	n := int64(cap(t.chunks)) * 24
	for _, c := range t.chunks {
		n += int64(len(c)) * 4
	}
	return n
}
