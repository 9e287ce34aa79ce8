//go:build unix

package host

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is the size of large pages, and the alignment that they need.
const hugePage = 2 << 20

// reserve takes address space for n bytes that costs memory only as it is used. It returns nil if
// the system doesn't give it.
//
// What lies behind the first hugePage comes in large pages where there are any, with fewer faults. The
// beginning comes in small pages, because most guests are small and would take ten times the memory.
func reserve(n uint64) *reserved {
	if n == 0 || n > 1<<32 {
		return nil
	}
	all, err := unix.Mmap(-1, 0, int(n)+hugePage, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil
	}
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(all))) % hugePage
	b := all[skip:][:n]
	if n > hugePage {
		preferLargePages(b[hugePage:])
	}
	return &reserved{b: b, all: all}
}

func unreserve(b []byte) {
	if err := unix.Munmap(b); err != nil {
		panic("host: munmap of what mmap gave: " + err.Error())
	}
}
