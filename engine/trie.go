package engine

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
)

const (
	inlineBytes = 14 // of a segment, in its node
	headBytes   = 10 // the same for a longer one, whose node also holds the index of a block
	blockBytes  = 28
)

// node is a path that a living request passes through or ends at. It fills a cache line.
type node struct {
	lists  [modes]list
	parent uint32
	hash   uint32            // of the edge from parent
	chain  uint32            // next node of the same bucket
	extra  uint32            // permits and backlog; zero: neither
	size   uint16            // of the segment, in bytes
	text   [inlineBytes]byte // the segment; a longer one: its head and the index of its first block
}

// list is the FIFO of the entries of one mode on a node. The tail's next is the head, so that to come
// and go at the end touches nothing else, however cold it is. Those before wait are granted, wait
// and those behind it aren't; zero: all are.
type list struct{ tail, wait uint32 }

// block is a piece of a segment that is too long for its node.
type block struct {
	next uint32
	text [blockBytes]byte
}

// edgeHash is the hash of an edge of the tree. Short segments are hashed here and not by maphash,
// whose call costs more than the multiplication (wyhash, Wang Yi 2019, does the same): its two
// words, which together hold every byte of the segment, are multiplied with secrets mixed in, and
// so is the parent: twice, as one multiplication alone leaves steps between parents that follow one
// another. Whoever picks segments and parents can't aim at a bucket without knowing the secrets.
func (e *Engine) edgeHash(parent uint32, seg []byte) uint32 {
	var a, b uint64
	switch n := len(seg); {
	case n > 16:
		a = maphash.Bytes(e.seed, seg)
	case n >= 8:
		a, b = binary.LittleEndian.Uint64(seg), binary.LittleEndian.Uint64(seg[n-8:])
	case n >= 4:
		a, b = uint64(binary.LittleEndian.Uint32(seg)), uint64(binary.LittleEndian.Uint32(seg[n-4:]))
	case n > 0:
		a = uint64(seg[0]) | uint64(seg[n/2])<<8 | uint64(seg[n-1])<<16
	}
	hi, lo := bits.Mul64(a^e.secret[0], b^e.secret[1]^uint64(parent)*e.secret[4])
	hi, lo = bits.Mul64(hi^lo^e.secret[2], uint64(len(seg))^e.secret[3])
	return uint32(hi ^ lo)
}

// find looks for a child in its bucket: zero if it isn't there.
func (e *Engine) find(b *bucket, parent, h uint32, seg []byte) uint32 {
	i := uint32(0)
	if b.may(h) {
		i = b.head
	}
	for i != 0 {
		n := e.nodes.at(i)
		if n.hash == h && n.parent == parent && e.same(n, seg) {
			break
		}
		i = n.chain
	}
	return i
}

// walk finds the node of a path; zero if there is none.
func (e *Engine) walk(path [][]byte) uint32 {
	i := e.root
	for k := 0; k < len(path) && i != 0; k++ {
		h := e.edgeHash(i, path[k])
		i = e.find(e.edges.bucket(h), i, h, path[k])
	}
	return i
}

// drop removes a node whose last entry went. Its children went before: whoever has an entry on a
// node has one on each node above, and leaves them from below.
func (e *Engine) drop(i uint32, n *node) {
	if n.extra != 0 { // its permits went before, so that it is only in the backlog
		e.unqueue(i)
	}
	if i == e.root {
		e.root = 0
		e.nodes.free(i)
		return
	}
	e.pull(i, n)
	if n.size > inlineBytes {
		e.freeText(n)
	}
	e.nodes.free(i)
	if e.edges.count > leastBuckets && e.nodes.live() < int(e.edges.count/2) {
		e.shrinkEdges()
	}
}

func (n *node) empty() bool {
	return n.lists[0].tail|n.lists[1].tail|n.lists[2].tail|n.lists[3].tail == 0
}

func (n *node) waited() bool {
	return n.lists[0].wait|n.lists[1].wait|n.lists[2].wait|n.lists[3].wait != 0
}

func (n *node) firstBlock() uint32 { return binary.LittleEndian.Uint32(n.text[headBytes:]) }

// blocksFor is how many blocks a segment of that many bytes takes.
func blocksFor(size int) int {
	if size <= inlineBytes {
		return 0
	}
	return (size - headBytes + blockBytes - 1) / blockBytes
}

// store keeps a segment. Short ones are moved and compared by words that overlap: it is done on every
// edge, and a call of memmove takes longer.
func (e *Engine) store(n *node, seg []byte) {
	switch k := len(seg); {
	case k > inlineBytes:
		e.storeLong(n, seg)
	case k >= 8:
		last := binary.LittleEndian.Uint64(seg[k-8:])
		binary.LittleEndian.PutUint64(n.text[:], binary.LittleEndian.Uint64(seg))
		binary.LittleEndian.PutUint64(n.text[k-8:], last)
	case k >= 4:
		last := binary.LittleEndian.Uint32(seg[k-4:])
		binary.LittleEndian.PutUint32(n.text[:], binary.LittleEndian.Uint32(seg))
		binary.LittleEndian.PutUint32(n.text[k-4:], last)
	default:
		copy(n.text[:], seg)
	}
}

// storeLong keeps a segment that is too long for its node.
func (e *Engine) storeLong(n *node, seg []byte) {
	copy(n.text[:headBytes], seg)
	seg = seg[headBytes:]
	next := uint32(0)
	for len(seg) > 0 { // from the end, as each block names the next one
		from := (len(seg) - 1) / blockBytes * blockBytes
		i := e.blocks.alloc()
		b := e.blocks.at(i)
		*b = block{next: next}
		copy(b.text[:], seg[from:])
		seg, next = seg[:from], i
	}
	binary.LittleEndian.PutUint32(n.text[headBytes:], next)
}

func (e *Engine) same(n *node, seg []byte) bool {
	if int(n.size) != len(seg) {
		return false
	}
	switch k := len(seg); {
	case k > inlineBytes:
		return e.sameLong(n, seg)
	case k >= 8:
		return binary.LittleEndian.Uint64(n.text[:]) == binary.LittleEndian.Uint64(seg) &&
			binary.LittleEndian.Uint64(n.text[k-8:]) == binary.LittleEndian.Uint64(seg[k-8:])
	default:
		return string(n.text[:k]) == string(seg)
	}
}

func (e *Engine) sameLong(n *node, seg []byte) bool {
	if string(n.text[:headBytes]) != string(seg[:headBytes]) {
		return false
	}
	seg = seg[headBytes:]
	for i := n.firstBlock(); i != 0; {
		b := e.blocks.at(i)
		k := min(len(seg), blockBytes)
		if string(b.text[:k]) != string(seg[:k]) {
			return false
		}
		seg, i = seg[k:], b.next
	}
	return true
}

func (e *Engine) freeText(n *node) {
	for i := n.firstBlock(); i != 0; {
		next := e.blocks.at(i).next
		e.blocks.free(i)
		i = next
	}
}
