package client

import (
	"time"

	"golang.org/x/sys/unix"
)

// clock tells the time since some moment. It goes on while the machine is suspended, which the
// monotonic clock that package time uses doesn't.
func clock() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return fallbackClock()
	}
	return time.Duration(ts.Nano())
}
