package session

import (
	"math/bits"
	"unsafe"
)

const slabChunk = 64 // items: as many as a word has bits

// slab keeps items by index, from 1 on, at addresses that don't change. A chunk that nobody uses is given
// back, but for one. The zero value is an empty slab.
type slab[T any] struct {
	chunks []*chunk[T] // nil: given back
	roomy  []uint32    // chunks with room; the last one is used next
	holes  []uint32    // numbers of chunks that were given back
	spare  uint32      // chunk that was empty last, plus one; 0: none
	live   int
}

type chunk[T any] struct {
	items [slabChunk]T
	free  uint64 // a bit for each free item
	place int    // in roomy, while there is room
}

// unused is what free is in a chunk without items: index 0 is nobody's.
func unused(n uint32) uint64 {
	if n == 0 {
		return ^uint64(1)
	}
	return ^uint64(0)
}

// alloc gives the index of an item, which is zero.
func (s *slab[T]) alloc() uint32 {
	if len(s.roomy) == 0 {
		s.grow()
	}
	n := s.roomy[len(s.roomy)-1]
	c := s.chunks[n]
	k := bits.TrailingZeros64(c.free)
	c.free &^= 1 << k
	if c.free == 0 {
		s.roomy = s.roomy[:len(s.roomy)-1]
	}
	s.live++
	return n*slabChunk + uint32(k)
}

func (s *slab[T]) at(i uint32) *T { return &s.chunks[i/slabChunk].items[i%slabChunk] }

// free takes an item back.
func (s *slab[T]) free(i uint32) {
	n, k := i/slabChunk, i%slabChunk
	c := s.chunks[n]
	clear(c.items[k : k+1])
	if c.free == 0 {
		c.place = len(s.roomy)
		s.roomy = append(s.roomy, n)
	}
	c.free |= 1 << k
	s.live--
	if c.free == unused(n) && n != s.spare-1 {
		if s.spare != 0 && s.chunks[s.spare-1].free == unused(s.spare-1) {
			s.giveBack(s.spare - 1)
		}
		s.spare = n + 1
	}
}

// giveBack leaves an empty chunk to the garbage collector.
func (s *slab[T]) giveBack(n uint32) {
	c, last := s.chunks[n], s.roomy[len(s.roomy)-1]
	s.roomy[c.place] = last
	s.chunks[last].place = c.place
	s.roomy = s.roomy[:len(s.roomy)-1]
	s.chunks[n] = nil
	s.holes = append(s.holes, n)
}

func (s *slab[T]) grow() {
	n := uint32(len(s.chunks))
	if k := len(s.holes); k > 0 {
		n, s.holes = s.holes[k-1], s.holes[:k-1]
	} else {
		s.chunks = append(s.chunks, nil)
	}
	s.chunks[n] = &chunk[T]{free: unused(n)}
	s.roomy = append(s.roomy, n)
}

// bytes is the memory of its chunks.
func (s *slab[T]) bytes() int64 {
	return int64(len(s.chunks)-len(s.holes)) * int64(unsafe.Sizeof(chunk[T]{}))
}
