package e2e

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/gobwas/ws"
	"github.com/stretchr/testify/require"
)

// usage is what a process takes from the machine.
type usage struct {
	descriptors, threads int
	resident             int64 // bytes
}

func (s *server) usage() usage {
	s.t.Helper()
	dir := fmt.Sprintf("/proc/%d/", s.cmd.Process.Pid)
	fds, err := os.ReadDir(dir + "fd")
	require.NoError(s.t, err)
	threads, err := os.ReadDir(dir + "task")
	require.NoError(s.t, err)
	status, err := os.ReadFile(dir + "status")
	require.NoError(s.t, err)
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status)
	require.NotNil(s.t, m, "%s", status)
	var kb int64
	fmt.Sscan(string(m[1]), &kb)
	return usage{len(fds), len(threads), kb << 10}
}

// goroutines ends a server by the signal that makes Go tell where everyone is, and counts those that
// are in our code or in that of net/http; the runtime's own come and go.
func (s *server) goroutines() (n int) {
	s.t.Helper()
	s.signal(syscall.SIGQUIT)
	s.wait()
	for _, stack := range strings.Split(s.log.String(), "\ngoroutine ")[1:] {
		if strings.Contains(stack, "locktopus-project") || strings.Contains(stack, "net/http.") {
			n++
		}
	}
	return n
}

const (
	leakConnections = 10_000
	leakLocks       = 100_000 // by all of them together
	leakWorkers     = 16
	// leakBytes is how much larger the process may be after the second half of the work than after
	// the first: what a leak of 100 bytes a lock would make of it.
	leakBytes = 5 << 20
)

// TestNothingIsLeftOfClients has many clients come and go, politely and not, and wants the server to
// be afterwards what it was before: in descriptors, goroutines, threads and memory. Memory is
// compared after the first and the second half of the same work.
func TestNothingIsLeftOfClients(t *testing.T) {
	fresh, srv := start(t, setup{}), start(t, setup{})
	visit(t, fresh, leakWorkers)
	visit(t, srv, leakWorkers)
	base := usage{descriptors: settled(t, srv)}
	visit(t, srv, leakConnections/2)
	eventually(t, "descriptors are given back", func() bool { return settled(t, srv) == base.descriptors })
	half := srv.usage()
	visit(t, srv, leakConnections/2)
	eventually(t, "descriptors are given back", func() bool { return settled(t, srv) == base.descriptors })
	full := srv.usage()
	t.Logf("after half %+v, after all %+v", half, full)
	require.LessOrEqual(t, full.threads, half.threads+4) // the runtime's own, made when it likes
	require.Less(t, full.resident, half.resident+leakBytes)
	settled(t, fresh)
	few, many := fresh.goroutines(), srv.goroutines()
	t.Logf("goroutines: %d in a fresh server, %d after all", few, many)
	require.Positive(t, few)
	require.Equal(t, few, many)
}

// settled waits until nobody is there any more and counts the descriptors that are left, once the
// sockets of its own questions have gone too.
func settled(t *testing.T, srv *server) int {
	eventually(t, "everybody has gone", func() bool {
		return srv.status("connections") == 0 && srv.status("namespaces") == 0
	})
	last, same := -1, 0
	eventually(t, "the number of descriptors is steady", func() bool {
		n := srv.usage().descriptors
		if n != last {
			last, same = n, 0
		}
		same++
		return same == 5
	})
	return last
}

// visit makes that many connections, each with its share of locks, in a few namespaces that come and go.
func visit(t *testing.T, srv *server, connections int) {
	var all sync.WaitGroup
	for w := range leakWorkers {
		all.Go(func() {
			for i := w; i < connections; i += leakWorkers {
				if err := stay(srv, i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	require.False(t, t.Failed())
}

func stay(srv *server, i int) error {
	c, _, err := dialRaw(srv.target(fmt.Sprint("visit", i%7), 0))
	if err != nil {
		return err
	}
	defer c.Drop()
	if err := manyLocks(c.(*rawClient), i); err != nil {
		return err
	}
	if i%3 == 0 { // leave a lock behind
		if err := c.Send(lockText(write("left", fmt.Sprint(i)))); err != nil {
			return err
		}
		if _, err := c.Recv(); err != nil {
			return err
		}
	}
	if i%2 == 0 {
		return c.Close()
	}
	return nil // dropped
}

// manyLocks makes a connection's share of locks, all in one packet.
func manyLocks(c *rawClient, i int) error {
	const locks = leakLocks / leakConnections
	var frames []byte
	for n := range locks {
		lock := lockText(write(fmt.Sprint(i), fmt.Sprint(n)))
		frames = append(frames, frame(ws.OpText, true, []byte(lock))...)
		frames = append(frames, frame(ws.OpText, true, []byte(releaseText))...)
	}
	if err := c.write(frames); err != nil {
		return err
	}
	for ready := 0; ready < locks; {
		text, err := c.Recv()
		if err != nil {
			return err
		}
		a, err := parseAnswer(text)
		if err != nil {
			return err
		}
		if a.state == "ready" {
			ready++
		}
	}
	return nil
}
