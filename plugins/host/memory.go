package host

import "github.com/tetratelabs/wazero/experimental"

// allocator gives one guest its memory, which doesn't move and is given back at once when the instance
// is closed: a new instance of a small guest costs a fifth of what it does with the heap.
type allocator struct{ given experimental.LinearMemory }

// Allocate implements experimental.MemoryAllocator.
func (a *allocator) Allocate(capacity, most uint64) experimental.LinearMemory {
	a.given = &heap{make([]byte, 0, capacity)}
	if m := reserve(most); m != nil {
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
	b   []byte
	all []byte // as the system gave it
}

// Reallocate implements experimental.LinearMemory.
func (m *reserved) Reallocate(size uint64) []byte {
	if size > uint64(len(m.b)) {
		return nil
	}
	return m.b[:size]
}

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
