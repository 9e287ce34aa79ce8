//go:build unix && !linux

package host

// preferLargePages does nothing: there is no portable way to ask.
func preferLargePages([]byte) {}
