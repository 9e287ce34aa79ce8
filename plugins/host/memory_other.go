//go:build !unix

package host

// reserve leaves memories to the garbage collector.
func reserve(uint64) *reserved { return nil }

func unreserve([]byte) { panic("host: nothing was reserved") }
