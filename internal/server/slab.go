package server

import (
	"sync"
	"sync/atomic"
)

const (
	slabChunk  = 1 << 10 // items of a chunk
	slabChunks = 1 << 13 // chunks of a slab at most
	slabMax    = slabChunk * slabChunks
)

// slab keeps items by number at addresses that never change. Taking and giving back go through a
// mutex; at is one atomic load, from any goroutine, and the item behind it belongs to whoever took
// it. A chunk that nobody uses goes back to the heap, but for one.
type slab[T any] struct {
	chunks [slabChunks]atomic.Pointer[chunk[T]]

	mu    sync.Mutex // guards what follows, and the chunks' lists
	roomy []uint32   // chunks with a free item; the last one is used next
	spare []uint32   // numbers below next without a chunk
	next  uint32     // chunks from here on were never used
	live  int
}

type chunk[T any] struct {
	items [slabChunk]T
	free  [slabChunk]uint16 // a stack of the free items
	nfree int
	room  int // index in roomy; -1: not there
}

// take gives the number and the address of a zeroed item; ok is false when the slab is full.
func (s *slab[T]) take() (i uint32, item *T, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.roomy) == 0 && !s.grow() {
		return 0, nil, false
	}
	n := s.roomy[len(s.roomy)-1]
	c := s.chunks[n].Load()
	c.nfree--
	k := c.free[c.nfree]
	if c.nfree == 0 {
		s.unlist(c)
	}
	s.live++
	return n*slabChunk + uint32(k), &c.items[k], true
}

// give takes item i back.
func (s *slab[T]) give(i uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, k := i/slabChunk, uint16(i%slabChunk)
	c := s.chunks[n].Load()
	clear(c.items[k : k+1])
	c.free[c.nfree] = k
	c.nfree++
	s.live--
	if c.room < 0 {
		c.room = len(s.roomy)
		s.roomy = append(s.roomy, n)
	}
	if c.nfree == slabChunk && len(s.roomy) > 1 {
		s.unlist(c)
		s.chunks[n].Store(nil)
		s.spare = append(s.spare, n)
	}
}

// at is the item of a number that was taken and not given back.
func (s *slab[T]) at(i uint32) *T {
	return &s.chunks[i/slabChunk].Load().items[i%slabChunk]
}

func (s *slab[T]) grow() bool {
	n := s.next
	if k := len(s.spare); k > 0 {
		n, s.spare = s.spare[k-1], s.spare[:k-1]
	} else if n == slabChunks {
		return false
	} else {
		s.next++
	}
	c := &chunk[T]{nfree: slabChunk, room: len(s.roomy)}
	for k := range c.free {
		c.free[k] = uint16(slabChunk - 1 - k)
	}
	s.roomy = append(s.roomy, n)
	s.chunks[n].Store(c)
	return true
}

// unlist takes a chunk off the roomy ones; the last one fills its place.
func (s *slab[T]) unlist(c *chunk[T]) {
	last := s.roomy[len(s.roomy)-1]
	s.roomy[c.room] = last
	s.chunks[last].Load().room = c.room
	s.roomy = s.roomy[:len(s.roomy)-1]
	c.room = -1
}
