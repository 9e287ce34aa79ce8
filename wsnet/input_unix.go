//go:build unix

package wsnet

import (
	"io"

	"golang.org/x/sys/unix"
)

// canAttend says that a RawConn's Read waits for readiness.
const canAttend = true

// attempt reads if there is something; otherwise it holds no buffer and returns false, to be
// called again. It is given to RawConn.Read.
func (in *input) attempt(fd uintptr) bool {
	again := false
	in.fill(func(b []byte) (int, error) {
		for {
			switch n, err := unix.Read(int(fd), b); err {
			case nil:
				if n == 0 {
					return 0, io.EOF
				}
				return n, nil
			case unix.EINTR:
			case unix.EAGAIN:
				again = true
				return 0, err
			default:
				return 0, err
			}
		}
	})
	if again {
		in.settle()
	}
	return !again
}
