package wsnet

import (
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// acceptor takes connections off the listener, for all loops; it belongs to the first. One acceptor
// that knows every loop's load spreads few long connections better than SO_REUSEPORT does.
type acceptor struct {
	ln         net.Listener // kept for its path, if it has one; else nil
	fd         int          // a descriptor of our own, which the runtime's poller doesn't watch
	spare      int          // given up for a moment when there are no others
	restsUntil instant      // 0: it listens
	loops      []*loop
}

// restTime is how long no connection is accepted after an error: long enough not to spin on it.
const restTime = time.Second

// acceptsPerTurn leaves room for the other connections' events.
const acceptsPerTurn = 64

// newAcceptor takes over a listener of package net; nil: it is of another kind.
func newAcceptor(ln net.Listener) (*acceptor, error) {
	switch ln.(type) {
	case *net.TCPListener, *net.UnixListener:
	default:
		return nil, nil
	}
	raw, err := ln.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil, err
	}
	a := &acceptor{ln: ln, spare: -1}
	var dupErr error
	err = raw.Control(func(fd uintptr) { a.fd, dupErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, dupErr); err != nil {
		return nil, err
	}
	if _, ok := ln.(*net.TCPListener); ok {
		_ = unix.SetsockoptInt(a.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // inherited by its connections
	}
	a.openSpare()
	return a, nil
}

func (a *acceptor) openSpare() {
	if a.spare < 0 {
		a.spare, _ = unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	}
}

// commit closes what only the caller's side of the listener needed: nothing can fail any more. A
// unix listener stays open, because closing it removes its path.
func (a *acceptor) commit() {
	if _, ok := a.ln.(*net.TCPListener); ok {
		_ = a.ln.Close()
		a.ln = nil
	}
}

// close ends listening.
func (a *acceptor) close() {
	_ = unix.Close(a.fd)
	if a.spare >= 0 {
		_ = unix.Close(a.spare)
	}
	if a.ln != nil {
		_ = a.ln.Close()
	}
}

// accept takes what waits at the listener.
func (l *loop) accept() {
	a := l.acceptor
	if a == nil || a.restsUntil != 0 {
		return
	}
	for range acceptsPerTurn {
		if errno := l.path.trouble.Swap(0); errno != 0 { // the next one would fare no better
			l.rest()
			return
		}
		fd, addr, errno := l.sys.accept(a.fd)
		switch errno {
		case 0:
		case unix.EAGAIN:
			return
		case unix.EINTR, unix.ECONNABORTED, unix.EPROTO, unix.ENETDOWN, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENOPROTOOPT, unix.EOPNOTSUPP, unix.ENONET:
			continue // the connection's own trouble: accept(2), "Error handling"
		default:
			l.cannotAccept(errno)
			l.useSpare(errno)
			l.rest()
			return
		}
		pass, ok := l.s.admit(addr)
		if !ok {
			l.sendAway(fd)
			continue
		}
		l.assign(socket{fd, pass})
	}
}

// assign gives a connection to the loop that has the fewest, counting it there at once, so that a
// burst is spread too.
func (l *loop) assign(s socket) {
	best := l
	for _, other := range l.acceptor.loops {
		if other.burden.Load() < best.burden.Load() {
			best = other
		}
	}
	best.burden.Add(1)
	if best == l {
		l.adopt(s)
	} else if !best.inbox.putSocket(s) {
		best.burden.Add(-1)
		_ = unix.Close(s.fd)
		l.s.door.leave(s.pass)
	}
}

// sendAway tells a connection that there is no room. Its request, if it has come already, is read:
// closing a socket with unread input would reset it and eat the answer.
func (l *loop) sendAway(fd int) {
	_, _ = l.sys.write(fd, busyAnswer)
	_ = unix.Shutdown(fd, unix.SHUT_WR)
	_, _ = l.sys.read(fd, l.buf)
	_ = unix.Close(fd)
}

// cannotAccept takes note of a connection that couldn't be taken. Any loop may call it.
func (l *loop) cannotAccept(errno unix.Errno) {
	l.s.stats.acceptErrors.Add(1)
	if !l.path.complained.Swap(true) {
		l.s.log.Warn("cannot accept connections, resting a second after each attempt", "error", errno)
	}
}

// useSpare gives the spare descriptor up when there are no others, to take one connection off the
// queue and tell it so.
func (l *loop) useSpare(errno unix.Errno) {
	a := l.acceptor
	if errno != unix.EMFILE && errno != unix.ENFILE || a.spare < 0 {
		return
	}
	_ = unix.Close(a.spare)
	a.spare = -1
	if fd, _, errno := l.sys.accept(a.fd); errno == 0 {
		l.sendAway(fd)
	}
	a.openSpare()
}

// rest stops accepting for a while.
func (l *loop) rest() {
	l.acceptor.restsUntil = l.now.after(restTime)
	l.must(unix.EpollCtl(l.ep, unix.EPOLL_CTL_DEL, l.acceptor.fd, nil))
}

// listen has the loop watch the listener, again; if that can't be done, it goes on resting.
func (l *loop) listen() {
	a := l.acceptor
	a.restsUntil = 0
	a.openSpare()
	if errno := l.sys.add(l.ep, a.fd, unix.EpollEvent{Events: unix.EPOLLIN, Fd: dataListener}); errno != 0 {
		l.cannotAccept(errno)
		a.restsUntil = l.now.after(restTime)
	}
}
