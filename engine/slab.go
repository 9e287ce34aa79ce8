package engine

import "unsafe"

const (
	// A chunk holds 1024 items. The first one of a slab starts with 8 and doubles, so that a tiny
	// engine is tiny in memory too.
	chunkShift = 10
	chunkLen   = 1 << chunkShift
	firstLen   = 8

	// keptLen is how many items a slab keeps memory for in any case, once it had that many.
	keptLen = 64

	// handLen is how many free items a slab of several chunks has in hand.
	handLen = 12
)

// slab holds items of one type, addressed by 32-bit indexes from 1; zero is free to mean "none".
// T must hold no Go pointers, and begin with a uint32 that links free items. The garbage collector
// looks at one slice header per chunk, however many items there are. Chunks don't move, but for
// the first while it grows: a pointer to an item is good until the next alloc of the same slab.
//
// New items go to the lowest chunk with room, so that the upper ones run empty and can be given
// back even while an item lives for ever. One wholly free chunk is kept for the next rise. The few
// items that were freed last are kept in hand, as if their chunks had them in use: they are still in
// the processor's cache, and what locks and releases one request after the other never gets as far
// as the chunks. An empty slab keeps memory for as many items as it had at most since it was empty
// the last time, up to a chunk, so that doing the same again allocates nothing.
// The zero value is an empty slab.
type slab[T any] struct {
	base   []*T   // the first item of each chunk: all that at needs
	hand   uint32 // index of the item that was freed last, which links the next; zero: none
	inHand int
	live   int // items in use
	chunks []chunk[T]
	lowest uint32 // chunk with room; if none has, a chunk without
	spare  uint32 // the chunk that was wholly free last and is kept; zero: none
	room   int    // items there is memory for
	open   bitset // chunks with room
	holes  bitset // chunks that were given back, but for those at the end
}

type chunk[T any] struct {
	items []T    // nil: given back
	free  uint32 // index of the item that was freed last; zero: none
	fresh uint16 // offset of the first item that was never used
	live  uint16 // items in use or in hand
}

// at is the item of an index that alloc gave and free has not taken back. It is on every path, so
// only the chunk's number is checked against bounds, not the place in the chunk: that is worth some
// ten percent of BenchmarkLockRelease. An index from outside goes through lookup.
func (s *slab[T]) at(i uint32) *T {
	p := s.base[i>>chunkShift]
	return (*T)(unsafe.Add(unsafe.Pointer(p), uintptr(i%chunkLen)*unsafe.Sizeof(*p)))
}

// lookup is at for an index that may be anything: nil if there is no memory behind it.
func (s *slab[T]) lookup(i uint32) *T {
	c, o := i>>chunkShift, i%chunkLen
	if int(c) >= len(s.chunks) || int(o) >= len(s.chunks[c].items) {
		return nil
	}
	return &s.chunks[c].items[o]
}

// link is where a free item names the next one.
func link[T any](item *T) *uint32 { return (*uint32)(unsafe.Pointer(item)) }

// alloc gives an item whose content is whatever was there before.
func (s *slab[T]) alloc() (uint32, *T) {
	i := s.hand
	if i == 0 {
		return s.take()
	}
	item := s.at(i)
	s.hand = *link(item)
	s.inHand--
	s.live++
	return i, item
}

// take gives an item of the lowest chunk with room.
func (s *slab[T]) take() (uint32, *T) {
	if len(s.chunks) == 0 || s.chunks[s.lowest].full() {
		s.makeRoom()
	}
	c := &s.chunks[s.lowest]
	c.live++
	s.live++
	i := c.free
	if i != 0 {
		item := s.at(i)
		c.free = *link(item)
		return i, item
	}
	i = s.lowest<<chunkShift | uint32(c.fresh)
	c.fresh++
	return i, s.at(i)
}

func (c *chunk[T]) full() bool { return c.free == 0 && int(c.fresh) == len(c.items) }

// free takes an item back, given its index and the pointer to it.
func (s *slab[T]) free(i uint32, item *T) {
	*link(item) = s.hand
	s.hand = i
	s.inHand++
	s.live--
	if s.live == 0 || s.inHand > handLen && len(s.chunks) > 1 {
		s.settle()
	}
}

// settle empties the hand into the chunks, or, if nothing is in use any more, starts anew.
func (s *slab[T]) settle() {
	if s.live == 0 {
		if s.room > keptLen {
			s.reset()
		}
		return
	}
	for i := s.hand; i != 0; {
		item := s.at(i)
		next := *link(item)
		s.putBack(i, item)
		i = next
	}
	s.hand, s.inHand = 0, 0
}

// reset forgets all items. What there were more of than a chunk holds, or than half of the first one
// while it grows, was an exception; the memory for it goes.
func (s *slab[T]) reset() {
	if len(s.chunks) > 1 {
		*s = slab[T]{chunks: []chunk[T]{{fresh: 1}}, base: []*T{nil}}
		s.growFirst(keptLen)
		return
	}
	c := &s.chunks[0]
	if n := len(c.items); int(c.fresh) <= n/2 {
		s.hold(0, make([]T, n/2))
		s.room = n / 2
	}
	s.hand, s.inHand = 0, 0
	c.free, c.fresh, c.live = 0, 1, 0
	s.open.add(0)
}

// putBack gives a free item to its chunk.
func (s *slab[T]) putBack(i uint32, item *T) {
	n := i >> chunkShift
	c := &s.chunks[n]
	if c.full() || n < s.lowest {
		s.reopen(n)
	}
	*link(item) = c.free
	c.free = i
	if c.live--; c.live == 0 {
		s.emptied(n)
	}
}

// reopen knows of a chunk that will have room.
func (s *slab[T]) reopen(n uint32) {
	s.open.add(n)
	if n < s.lowest {
		if s.chunks[s.lowest].full() {
			s.open.remove(s.lowest)
		}
		s.lowest = n
	}
}

// makeRoom finds the lowest chunk with room, now that the one that was it is full. If none has, it
// gets more memory: a larger first chunk, the lowest that was given back, or one more at the end.
func (s *slab[T]) makeRoom() {
	s.open.remove(s.lowest)
	if n, ok := s.open.min(); ok {
		s.lowest = n
		return
	}
	if len(s.chunks) == 0 {
		s.chunks, s.base = []chunk[T]{{fresh: 1}}, []*T{nil} // index zero is nobody's
	}
	if n := len(s.chunks[0].items); n < chunkLen {
		s.growFirst(max(firstLen, 2*n))
		return
	}
	n, ok := s.holes.min()
	if ok {
		s.holes.remove(n)
	} else {
		n = uint32(len(s.chunks))
		s.chunks, s.base = append(s.chunks, chunk[T]{}), append(s.base, nil)
	}
	s.hold(n, make([]T, chunkLen))
	s.room += chunkLen
	s.open.add(n)
	s.lowest = n
}

// growFirst makes the first chunk hold n items.
func (s *slab[T]) growFirst(n int) {
	c := &s.chunks[0]
	s.room += n - len(c.items)
	s.hold(0, append(make([]T, 0, n), c.items...)[:n])
	s.open.add(0)
	s.lowest = 0
}

// hold gives a chunk its memory.
func (s *slab[T]) hold(n uint32, items []T) {
	s.chunks[n].items, s.base[n] = items, unsafe.SliceData(items)
}

// emptied decides what becomes of a chunk whose last item went.
func (s *slab[T]) emptied(n uint32) {
	if n > 0 && n != s.spare {
		if s.spare != 0 && s.chunks[s.spare].live == 0 {
			s.giveBack(max(n, s.spare))
			n = min(n, s.spare)
		}
		s.spare = n
	}
}

// giveBack leaves a chunk to the garbage collector.
func (s *slab[T]) giveBack(n uint32) {
	s.chunks[n], s.base[n] = chunk[T]{}, nil
	s.room -= chunkLen
	s.open.remove(n)
	if s.lowest == n {
		s.lowest, _ = s.open.min()
	}
	s.holes.add(n)
	for k := len(s.chunks); s.chunks[k-1].items == nil; k-- {
		s.chunks, s.base = s.chunks[:k-1], s.base[:k-1]
		s.holes.remove(uint32(k - 1))
	}
}

// liveBytes is the size of the items in use.
func (s *slab[T]) liveBytes() int64 {
	var t T
	return int64(s.live) * int64(unsafe.Sizeof(t))
}

// heldBytes is the memory that the slab holds: chunks and the tables of them.
func (s *slab[T]) heldBytes() int64 {
	var t T
	return int64(s.room)*int64(unsafe.Sizeof(t)) + s.open.bytes() + s.holes.bytes() +
		int64(cap(s.chunks))*int64(unsafe.Sizeof(chunk[T]{})) + int64(cap(s.base))*int64(unsafe.Sizeof(&t))
}
