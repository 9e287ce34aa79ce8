package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// linkedVersion is set by builds that have no version control at hand:
// -ldflags "-X main.linkedVersion=v2.1.0".
var linkedVersion string

func (p process) version(args []string) int {
	if _, err := parseFlags(args, 0); err != nil {
		return p.misused("version", "locktopus version: %v", err)
	}
	fmt.Fprintf(p.stdout, "locktopus %s %s %s/%s\n", programVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return exitOK
}

// programVersion is the linked version, the module's (which the go command takes from the tags and
// commits of the checkout), or "devel" for a build that knows neither.
func programVersion() string {
	if linkedVersion != "" {
		return linkedVersion
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
