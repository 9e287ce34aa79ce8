//go:build !linux

package wsnet

import "net"

// newLoops says that there are none on this system.
func newLoops(*Server, net.Listener, tricks) (path, error) { return nil, nil }
