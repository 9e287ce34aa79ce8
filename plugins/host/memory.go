package host

import "github.com/tetratelabs/wazero/experimental"

// allocator gives guests memories that don't move and are given back at once when an instance is
// closed: a new instance of a small guest costs a fifth of what it does with the heap.
type allocator struct{}

// Allocate implements experimental.MemoryAllocator.
func (allocator) Allocate(capacity, most uint64) experimental.LinearMemory {
	if b := reserve(most); b != nil {
		return &reserved{b}
	}
	return &heap{make([]byte, 0, capacity)}
}

// reserved is address space of a memory's largest size.
type reserved struct{ b []byte }

// Reallocate implements experimental.LinearMemory.
func (m *reserved) Reallocate(size uint64) []byte {
	if size > uint64(len(m.b)) {
		return nil
	}
	return m.b[:size]
}

// Free implements experimental.LinearMemory.
func (m *reserved) Free() {
	unreserve(m.b)
	m.b = nil
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
