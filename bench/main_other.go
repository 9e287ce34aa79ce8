//go:build !linux

package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	fmt.Fprintf(os.Stderr, "bench: it runs on Linux only (it pins processes to cores and drives sockets by epoll); this is %s\n", runtime.GOOS)
	os.Exit(1)
}
