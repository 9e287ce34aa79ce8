package host

import "golang.org/x/sys/unix"

// preferLargePages asks for them. Systems that have none say so, and go on as they did.
func preferLargePages(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }
