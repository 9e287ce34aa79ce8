package wsnet

import (
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernel makes the loops' system calls. The calls that cannot block are made raw: the runtime
// doesn't get to hear of them, so it doesn't retake the processor from a loop that makes a million
// of them a second (BenchmarkSystemCall shows the price of telling it). In tests a liar stands in
// front; a nil check is what it costs in production.
type kernel struct {
	lies  liar
	ahead time.Duration // of time, if somebody lies
}

// since is how long ago something was.
func (k *kernel) since(start time.Time) time.Duration {
	if k.lies != nil {
		if n, _ := k.lies.lie("clock", 1); n > 1 {
			k.ahead += turnTime
		}
	}
	return time.Since(start) + k.ahead
}

// read reads from a non-blocking descriptor; n is 0 at the end of input and whenever errno isn't 0.
func (k *kernel) read(fd int, b []byte) (int, unix.Errno) {
	if k.lies != nil {
		n, errno := k.lies.lie("read", len(b))
		if errno != 0 {
			return 0, unix.Errno(errno)
		}
		b = b[:n]
	}
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// write writes to a non-blocking descriptor. Go ignores SIGPIPE of sockets, so EPIPE comes back.
func (k *kernel) write(fd int, b []byte) (int, unix.Errno) {
	if k.lies != nil {
		n, errno := k.lies.lie("write", len(b))
		if errno != 0 {
			return 0, unix.Errno(errno)
		}
		b = b[:n]
	}
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// poll collects events that are there already.
func (k *kernel) poll(ep int, events []unix.EpollEvent) int {
	if k.lies != nil {
		k.lies.lie("poll", 0) // of which there is nothing to lie about
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(ep), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return k.seen(events, int(n))
}

// wait waits for events, in milliseconds, negative for ever.
func (k *kernel) wait(ep int, events []unix.EpollEvent, ms int) int {
	n, err := unix.EpollWait(ep, events, ms)
	if err != nil { // EINTR; all else would be our own mistake, and shows
		if err != unix.EINTR {
			panic("wsnet: epoll_wait: " + err.Error())
		}
		return 0
	}
	return k.seen(events, n)
}

// seen lets the liar withhold events, which come again because they are level-triggered, and
// repeat others, which are spurious then. The inbox's edge is never withheld: the kernel doesn't.
func (k *kernel) seen(events []unix.EpollEvent, n int) int {
	if k.lies == nil || n == 0 {
		return n
	}
	m, errno := k.lies.lie("events", n)
	if errno != 0 {
		m = 0
	}
	if m > n && n < len(events) {
		events[n] = unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT, Fd: events[0].Fd, Pad: events[0].Pad}
		return n + 1
	}
	kept := 0
	for i := range n {
		if i < m || events[i].Fd == dataInbox {
			events[kept] = events[i]
			kept++
		}
	}
	return kept
}

// add has an epoll instance watch a descriptor. Unlike its sisters it can fail through nobody's
// mistake: ENOSPC at fs.epoll.max_user_watches, ENOMEM.
func (k *kernel) add(ep, fd int, ev unix.EpollEvent) unix.Errno {
	if k.lies != nil {
		if _, errno := k.lies.lie("add", 1); errno != 0 {
			return unix.Errno(errno)
		}
	}
	errno, _ := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &ev).(unix.Errno)
	return errno
}

// accept takes a connection off the listener.
func (k *kernel) accept(ln int) (int, netip.Addr, unix.Errno) {
	if k.lies != nil {
		if _, errno := k.lies.lie("accept", 1); errno != 0 {
			return -1, netip.Addr{}, unix.Errno(errno)
		}
	}
	fd, from, err := unix.Accept4(ln, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		errno, _ := err.(unix.Errno)
		return -1, netip.Addr{}, errno
	}
	return fd, sockaddr(from).Addr(), 0
}

// remote is a connected socket's other end; invalid for unix sockets.
func (k *kernel) remote(fd int) netip.AddrPort {
	sa, err := unix.Getpeername(fd)
	if err != nil {
		return netip.AddrPort{}
	}
	return sockaddr(sa)
}

func sockaddr(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}
