package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// drop ends a client's connection, at once and without a word. With reset the other side is told that
// nothing will be read any more; nothing of the connection stays in the kernel then.
func (f *fleet) drop(c *client, reset bool) error {
	if reset {
		if err := unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
			return fmt.Errorf("setting SO_LINGER: %w", err)
		}
	}
	if err := unix.Close(c.fd); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	if c.open > 0 {
		f.busy--
	}
	c.fd, c.open, c.sent, c.partial, c.stage = -1, 0, 0, c.partial[:0], talking
	return nil
}

// comeBack has a client that dropped connect again, without waiting for it: its script gets a greeting
// when it can talk.
func (f *fleet) comeBack(c *client) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	c.fd, c.stage = fd, connecting
	if err := prepare(fd, f.address(c.place)); err != nil {
		return err
	}
	if err := unix.Connect(fd, sockaddr(f.to)); err != nil && err != unix.EINPROGRESS {
		return fmt.Errorf("connecting again: %w", err)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLET, Fd: int32(c.place)}
	if err := unix.EpollCtl(f.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// connected says hello.
func (f *fleet) connected(c *client) error {
	code, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	if err != nil {
		return fmt.Errorf("connecting again: %w", err)
	}
	c.stage = upgrading
	return write(c.fd, f.dialect.hello)
}
