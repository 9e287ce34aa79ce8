//go:build !linux

package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
)

const ceilingArg = "ceiling-server"

func serveCeiling(io.Writer) error { return errSystem() }

func run(context.Context, options, io.Writer) error { return errSystem() }

func errSystem() error {
	return fmt.Errorf("it measures on Linux only (it pins processes to cores and drives sockets by epoll); this is %s; -compare works everywhere", runtime.GOOS)
}
