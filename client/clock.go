package client

import (
	"sync"
	"time"
)

var started = time.Now()

var latest struct {
	sync.Mutex
	wall time.Duration // how far the wall clock was ahead of the monotonic one at most
}

// fallbackClock is for systems without a clock of their own that counts suspension. The monotonic clock
// stands still then, the wall clock doesn't; whichever has gone further is believed. A wall clock that was
// set forward ends locks early, which is the safe side.
func fallbackClock() time.Duration {
	now := time.Now()
	steady := now.Sub(started)
	wall := now.Round(0).Sub(started.Round(0))
	latest.Lock()
	defer latest.Unlock()
	latest.wall = max(latest.wall, wall-steady)
	return steady + latest.wall
}
