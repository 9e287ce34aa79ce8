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

	// handLen is how many free items a slab has in hand at most, smallHand the same while it only
	// loses items.
	handLen   = 16
	smallHand = 4
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
	chunks   []chunk[T]
	hand     [handLen]uint32 // free items, the one that was freed last at the end
	inHand   uint32          // of them
	settleAt uint32          // when that many are in hand, free settles
	taken    uint32          // items in use or in hand
	lowest   uint32          // chunk with room; if none has, a chunk without
	spare    uint32          // the chunk that was wholly free last and is kept; zero: none
	first    uint32          // items that the first chunk has memory for
	room     int             // items that all have memory for
	open     bitset          // chunks with room
	holes    bitset          // chunks that were given back, but for those at the end
}

type chunk[T any] struct {
	items *T     // the first one; nil: given back
	free  uint32 // index of the item that was freed last; zero: none
	fresh uint16 // offset of the first item that was never used
	live  uint16 // items in use or in hand
}

// live is how many items are in use.
func (s *slab[T]) live() int { return int(s.taken - s.inHand) }

// at is the item of an index that alloc gave and free has not taken back. It is on every path, so
// only the chunk's number is checked against bounds, not the place in the chunk: that is worth some
// ten percent of BenchmarkLockRelease. An index from outside goes through lookup.
func (s *slab[T]) at(i uint32) *T {
	p := s.chunks[i>>chunkShift].items
	return (*T)(unsafe.Add(unsafe.Pointer(p), uintptr(i%chunkLen)*unsafe.Sizeof(*p)))
}

// lookup is at for an index that may be anything: nil if there is no memory behind it.
func (s *slab[T]) lookup(i uint32) *T {
	c := i >> chunkShift
	if int(c) >= len(s.chunks) || int(i%chunkLen) >= s.size(c) {
		return nil
	}
	return s.at(i)
}

// size is how many items a chunk has memory for.
func (s *slab[T]) size(n uint32) int {
	switch {
	case n == 0:
		return int(s.first)
	case s.chunks[n].items == nil:
		return 0
	}
	return chunkLen
}

// full says whether a chunk has no room.
func (s *slab[T]) full(n uint32) bool {
	return s.chunks[n].free == 0 && int(s.chunks[n].fresh) == s.size(n)
}

// link is where a free item names the next one.
func link[T any](item *T) *uint32 { return (*uint32)(unsafe.Pointer(item)) }

// alloc gives the index of an item whose content is whatever was there before. The compiler inlines
// it, and free.
func (s *slab[T]) alloc() uint32 {
	if s.inHand == 0 {
		s.take()
	}
	s.inHand--
	return s.hand[s.inHand%handLen]
}

// take puts an item of the lowest chunk with room in hand, which is empty.
func (s *slab[T]) take() {
	if len(s.chunks) == 0 || s.full(s.lowest) {
		s.makeRoom()
	}
	c := &s.chunks[s.lowest]
	c.live++
	i := c.free
	if i != 0 {
		c.free = *link(s.at(i))
	} else {
		i = s.lowest<<chunkShift | uint32(c.fresh)
		c.fresh++
	}
	s.hand[0], s.inHand = i, 1
	s.taken++
	s.settleAt = min(s.taken, handLen)
}

// free takes an item back.
func (s *slab[T]) free(i uint32) {
	s.hand[s.inHand%handLen] = i
	if s.inHand++; s.inHand == s.settleAt {
		s.settle()
	}
}

// settle gives what is in hand back to the chunks, or, if nothing is in use any more, starts anew.
// Until the next take the hand is smaller then: what only frees would leave items of as many chunks
// in it as it has room for.
func (s *slab[T]) settle() {
	if s.live() == 0 {
		if s.room > keptLen {
			s.reset()
		}
		return
	}
	for _, i := range s.hand[:s.inHand] {
		s.putBack(i)
	}
	s.taken -= s.inHand
	s.inHand = 0
	s.settleAt = min(s.taken, smallHand)
}

// reset forgets all items. What there were more of than a chunk holds, or than half of the first one
// while it grows, was an exception; the memory for it goes.
func (s *slab[T]) reset() {
	if len(s.chunks) > 1 {
		*s = slab[T]{chunks: []chunk[T]{{fresh: 1}}}
		s.sizeFirst(keptLen)
		return
	}
	c := &s.chunks[0]
	if n := int(s.first) / 2; int(c.fresh) <= n {
		s.sizeFirst(n)
	}
	s.inHand, s.taken = 0, 0
	c.free, c.fresh, c.live = 0, 1, 0
	s.open.add(0)
}

// putBack gives a free item to its chunk.
func (s *slab[T]) putBack(i uint32) {
	n := i >> chunkShift
	c := &s.chunks[n]
	if n < s.lowest || s.full(n) {
		s.reopen(n)
	}
	*link(s.at(i)) = c.free
	c.free = i
	if c.live--; c.live == 0 {
		s.emptied(n)
	}
}

// reopen knows of a chunk that will have room.
func (s *slab[T]) reopen(n uint32) {
	s.open.add(n)
	if n < s.lowest {
		if s.full(s.lowest) {
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
		s.chunks = []chunk[T]{{fresh: 1}} // index zero is nobody's
	}
	if s.first < chunkLen {
		s.sizeFirst(max(firstLen, 2*int(s.first)))
		return
	}
	n, ok := s.holes.min()
	if ok {
		s.holes.remove(n)
	} else {
		n = uint32(len(s.chunks))
		s.chunks = append(s.chunks, chunk[T]{})
	}
	s.chunks[n].items = unsafe.SliceData(make([]T, chunkLen))
	s.room += chunkLen
	s.open.add(n)
	s.lowest = n
}

// sizeFirst makes the first chunk hold n items, of which it has the first ones already.
func (s *slab[T]) sizeFirst(n int) {
	c, items := &s.chunks[0], make([]T, n)
	for o := range min(s.first, uint32(n)) {
		items[o] = *s.at(o)
	}
	c.items = unsafe.SliceData(items)
	s.room += n - int(s.first)
	s.first = uint32(n)
	s.open.add(0)
	s.lowest = 0
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
	s.chunks[n] = chunk[T]{}
	s.room -= chunkLen
	s.open.remove(n)
	if s.lowest == n {
		s.lowest, _ = s.open.min()
	}
	s.holes.add(n)
	for k := len(s.chunks); s.chunks[k-1].items == nil; k-- {
		s.chunks = s.chunks[:k-1]
		s.holes.remove(uint32(k - 1))
	}
}

// liveBytes is the size of the items in use.
func (s *slab[T]) liveBytes() int64 {
	var t T
	return int64(s.live()) * int64(unsafe.Sizeof(t))
}

// heldBytes is the memory that the slab holds: chunks and the tables of them.
func (s *slab[T]) heldBytes() int64 {
	var t T
	return int64(s.room)*int64(unsafe.Sizeof(t)) + s.open.bytes() + s.holes.bytes() +
		int64(cap(s.chunks))*int64(unsafe.Sizeof(chunk[T]{}))
}
