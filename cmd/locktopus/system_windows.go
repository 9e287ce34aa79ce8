package main

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Windows' own numbers: package syscall's EADDRINUSE and ECONNREFUSED are inventions there.
const (
	wsaeAddrInUse   = syscall.Errno(10048)
	wsaeConnRefused = syscall.Errno(10061)
	errorNoData     = syscall.Errno(232) // "the pipe is being closed"
)

// signals begins to listen for what ends serve: Ctrl-C, Ctrl-Break, and the closing of its console.
// There is no signal to reload.
func signals() (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 8)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	return c, func() { signal.Stop(c) }
}

func isReload(os.Signal) bool { return false }

func addressInUse(err error) bool      { return errors.Is(err, wsaeAddrInUse) }
func connectionRefused(err error) bool { return errors.Is(err, wsaeConnRefused) }

// No exit code has anything added: it has 32 bits here, and a command may use each of them.
const byInterrupt, allInterrupts = 0, 0

// dieInterrupted does nothing: the console has told everybody, and the exit code is all that is left to say.
func dieInterrupted(bool) {}

func keepAliveWithoutReader() {}

func nobodyReads(err error) bool {
	return errors.Is(err, syscall.ERROR_BROKEN_PIPE) || errors.Is(err, errorNoData)
}

// hungUp is never closed: that nobody reads is noticed when something is written.
func hungUp(io.Writer) <-chan struct{} { return nil }
