package host

import "github.com/tetratelabs/wazero/experimental"

// allocator gives one guest its memory, which doesn't move and is given back at once when the instance
// is closed: a new instance of a small guest costs a fifth of what it does with the heap.
type allocator struct {
	check func() // ends the call if it has taken longer than it may
	given experimental.LinearMemory
}

// Allocate implements experimental.MemoryAllocator.
func (a *allocator) Allocate(capacity, most uint64) experimental.LinearMemory {
	a.given = &heap{make([]byte, 0, capacity)}
	if m := reserve(most); m != nil {
		m.check = a.check
		a.given = m
	}
	return a.given
}

// free takes the memory back from an instance that wazero gave up before it was complete: it forgets
// memories then.
func (a *allocator) free() {
	if a.given != nil {
		a.given.Free()
	}
}

// reserved is address space of a memory's largest size.
type reserved struct {
	b       []byte
	all     []byte // as the system gave it
	touched uint64 // how much the system has been asked to really give
	check   func() // ends the call if it has taken longer than it may
}

// touchStep is how much is touched between two looks at the clock.
const touchStep = 64 << 10

// Reallocate implements experimental.LinearMemory. It has the system give the memory now: a guest that was the
// first to touch it would take a page fault for each page, and there are virtual machines in which 16 MiB take
// 60 ms in that way, all of them between two looks at the clock. Here it is looked at in between.
func (m *reserved) Reallocate(size uint64) []byte {
	if size > uint64(len(m.b)) {
		return nil
	}
	for m.touched < size {
		m.check()
		end := min(m.touched+touchStep, size)
		touch(m.b[m.touched:end])
		m.touched = end
	}
	return m.b[:size]
}

// touch writes to each page of memory that nobody has written to.
func touch(b []byte) {
	for k := 0; k < len(b); k += smallPage {
		b[k] = 0
	}
}

// smallPage is no larger than a page is anywhere.
const smallPage = 4 << 10

// Free implements experimental.LinearMemory. It may be called again.
func (m *reserved) Free() {
	if m.all != nil {
		unreserve(m.all)
	}
	*m = reserved{}
}

// heap is a memory where address space can't be reserved.
type heap struct{ b []byte }

// Reallocate implements experimental.LinearMemory.
func (m *heap) Reallocate(size uint64) []byte {
	if grown := int64(size) - int64(len(m.b)); grown > 0 {
		m.b = append(m.b, make([]byte, grown)...)
	}
	return m.b
}

// Free implements experimental.LinearMemory.
func (m *heap) Free() { m.b = nil }
