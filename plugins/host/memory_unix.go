//go:build unix

package host

import "golang.org/x/sys/unix"

// reserve takes address space for n bytes that costs memory only as it is used. It returns nil if
// the system doesn't give it.
func reserve(n uint64) []byte {
	if n == 0 || n > 1<<32 {
		return nil
	}
	b, err := unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil
	}
	return b
}

func unreserve(b []byte) {
	if err := unix.Munmap(b); err != nil {
		panic("host: munmap of what mmap gave: " + err.Error())
	}
}
