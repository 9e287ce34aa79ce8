//go:build unix

package main

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
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
