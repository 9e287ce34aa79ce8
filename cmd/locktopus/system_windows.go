package main

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// Windows' own numbers: package syscall's EADDRINUSE and ECONNREFUSED are inventions there.
const (
	wsaeAddrInUse   = syscall.Errno(10048)
	wsaeConnRefused = syscall.Errno(10061)
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
