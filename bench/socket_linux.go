package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// upgrade asks for the protocol v1. Without an abandon timeout nothing of a load stays behind.
const upgrade = "GET /v1?namespace=bench&abandon-timeout-ms=0 HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\n" +
	"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// dial connects from a loopback address of our choice, upgrades, and makes the socket non-blocking.
func dial(from [4]byte, to netip.AddrPort, patience unix.Timeval) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socket: %w", err)
	}
	if err := connect(fd, from, to, patience); err != nil {
		unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

func connect(fd int, from [4]byte, to netip.AddrPort, patience unix.Timeval) error {
	set := func(level, name, value int) error { return unix.SetsockoptInt(fd, level, name, value) }
	err := errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &patience),
		set(unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
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
	peer := &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}
	if err := again(func() error { return unix.Connect(fd, peer) }); err != nil {
		return fmt.Errorf("connecting from %v to %v: %w", netip.AddrFrom4(from), to, err)
	}
	if _, err := unix.Write(fd, []byte(upgrade)); err != nil {
		return fmt.Errorf("upgrading: %w", err)
	}
	if err := expectUpgrade(fd); err != nil {
		return err
	}
	return unix.SetNonblock(fd, true)
}

// expectUpgrade reads exactly the answer's head: no frame follows before we have sent one, but for
// pings, and those have their own time.
func expectUpgrade(fd int) error {
	var buf [1024]byte
	n := 0
	for !bytes.Contains(buf[:n], []byte("\r\n\r\n")) {
		var m int
		err := again(func() (err error) { m, err = unix.Read(fd, buf[n:]); return err })
		if err != nil || m == 0 {
			return fmt.Errorf("waiting for the answer to an upgrade, after %q: %w", buf[:n], errors.Join(err, errGone))
		}
		n += m
	}
	if !bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 101 ")) {
		return fmt.Errorf("the upgrade was refused: %q", buf[:n])
	}
	return nil
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
