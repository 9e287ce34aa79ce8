package main

import (
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dial connects from a loopback address of our choice, says hello, and makes the socket non-blocking.
func dial(from [4]byte, to netip.AddrPort, patience unix.Timeval, d *dialect) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socket: %w", err)
	}
	if err := connect(fd, from, to, patience, d); err != nil {
		unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

func connect(fd int, from [4]byte, to netip.AddrPort, patience unix.Timeval, d *dialect) error {
	err := errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &patience),
		prepare(fd, from),
	)
	if err != nil {
		return err
	}
	if err := again(func() error { return unix.Connect(fd, sockaddr(to)) }); err != nil {
		return fmt.Errorf("connecting from %v to %v: %w", netip.AddrFrom4(from), to, err)
	}
	if _, err := unix.Write(fd, d.hello); err != nil {
		return fmt.Errorf("saying hello: %w", err)
	}
	if err := expectGreeting(fd, d); err != nil {
		return err
	}
	return unix.SetNonblock(fd, true)
}

func sockaddr(a netip.AddrPort) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
}

// sendBytes is room for the longest message in a socket.
const sendBytes = 256 << 10

// prepare sets what a socket needs before it connects.
func prepare(fd int, from [4]byte) error {
	set := func(level, name, value int) error { return unix.SetsockoptInt(fd, level, name, value) }
	err := errors.Join(
		set(unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		set(unix.SOL_SOCKET, unix.SO_SNDBUF, sendBytes),
		// The cheapest congestion control there is, so that the generator's side costs less than the
		// server's, which has the system's.
		unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno"),
		// The port is chosen by connect, so that it need be unique only together with the peer's.
		set(unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: from}),
	)
	if err != nil {
		return fmt.Errorf("preparing a socket: %w", err)
	}
	return nil
}

// expectGreeting reads exactly the answer to hello: no message follows before we have sent one, but
// for pings, and those have their own time.
func expectGreeting(fd int, d *dialect) error {
	var buf [1024]byte
	for n := 0; ; {
		var m int
		err := again(func() (err error) { m, err = unix.Read(fd, buf[n:]); return err })
		if err != nil || m == 0 {
			return fmt.Errorf("waiting for the answer to hello, after %q: %w", buf[:n], errors.Join(err, errGone))
		}
		n += m
		if size, err := d.greeted(buf[:n]); size > 0 || err != nil {
			return err
		}
	}
}

// again repeats a call that a signal interrupted: the Go runtime sends itself some, and a socket with
// a timeout isn't restarted. A connect that is called again waits for the one that is under way.
func again(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

var errGone = errors.New("the server closed a connection")

// The generator's own system calls. They cannot block, and are made without telling the scheduler;
// recvfrom and sendto have less to do in the kernel than read and write.

func receive(fd int, p []byte) (int, unix.Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), e
}

func send(fd int, p []byte) (int, unix.Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return int(n), e
}

// pollNow is epoll_wait without a wait; epoll_pwait is what all architectures have.
func pollNow(epoll int, events []unix.EpollEvent) (int, unix.Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	return int(n), e
}

// raiseDescriptors raises the limit of descriptors of this process and of those it starts, as far
// towards want as it is allowed to, and returns it.
func raiseDescriptors(want int) (int, error) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 0, err
	}
	if lim.Max < uint64(want) {
		more := unix.Rlimit{Cur: uint64(want), Max: uint64(want)}
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &more) == nil { // root may
			return want, nil
		}
	}
	lim.Cur = lim.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 0, err
	}
	return int(min(lim.Cur, 1<<30)), nil
}
