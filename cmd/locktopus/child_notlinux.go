//go:build unix && !linux

package main

import "syscall"

// Only Linux ends a command together with its parent.
func dieWithParent(*syscall.SysProcAttr) {}

func adoptOrphans() {}
