//go:build unix

package main

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// signals begins to listen for the signals that serve obeys. The channel holds what comes while it
// is busy starting.
func signals() (<-chan os.Signal, func()) {
	// A log that nobody reads any more must not end a server whose clients hold locks.
	signal.Ignore(syscall.SIGPIPE)
	c := make(chan os.Signal, 8)
	signal.Notify(c, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}

func isReload(s os.Signal) bool { return s == syscall.SIGHUP }

func addressInUse(err error) bool      { return errors.Is(err, syscall.EADDRINUSE) }
func connectionRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// Added to an exit code, of a command that Ctrl-C has ended.
const (
	byInterrupt   = 1 << 8 // it dies of the signal, so that the shell ends the loop or the script that it stands in, too
	allInterrupts = 1 << 9 // as does all of its process group, which the terminal hasn't told
)

// dieInterrupted ends the program, or all of its process group, as Ctrl-C does. It returns where the signal is ignored,
// and without a terminal: no shell is to be told what its keys have done, and a supervisor wants the code.
func dieInterrupted(all bool) {
	if ownTerminal() < 0 {
		return
	}
	signal.Reset(syscall.SIGINT)
	whom := unix.Getpid()
	if all {
		whom = 0
	}
	_ = unix.Kill(whom, unix.SIGINT)
	time.Sleep(100 * time.Millisecond) // it may take effect a moment later
}

// keepAliveWithoutReader makes an error of what would end the program: a write to a pipe that nobody reads any more.
func keepAliveWithoutReader() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

func nobodyReads(err error) bool { return errors.Is(err, syscall.EPIPE) }

// hungUp is closed when whoever reads a pipe has gone, also while nothing is written to it.
func hungUp(to io.Writer) <-chan struct{} {
	f, ok := to.(*os.File)
	if !ok || !isPipe(f) {
		return nil
	}
	gone := make(chan struct{})
	go func() {
		for {
			fds := []unix.PollFd{{Fd: int32(f.Fd())}}
			_, err := unix.Poll(fds, -1)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err == nil {
				close(gone)
			}
			return
		}
	}()
	return gone
}
