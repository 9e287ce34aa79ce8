//go:build unix

package wsnet

import (
	"math"

	"golang.org/x/sys/unix"
)

// descriptorsFor raises the soft limit of descriptors to the hard one and says how many
// connections they suffice for: some are left for the loops, the log, the state directory and
// requests of net/http, which need two for a moment.
func descriptorsFor(loops int) int {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	if l.Cur < l.Max {
		raised := l
		raised.Cur = l.Max
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &raised) == nil {
			l = raised
		}
	}
	if uint64(l.Cur) >= math.MaxInt32 {
		return 0
	}
	return max(1, int(l.Cur)-min(64+4*loops, int(l.Cur)/2))
}
