package e2e

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// crowd is how many connections a test opens at once: ten thousand, or what descriptors allow, for
// the server has no more of them than the test.
func crowd(t testing.TB) int {
	var r syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r))
	n := 10_000
	if most := int(min(r.Cur, 1<<20))*9/10 - 200; most < n {
		n = most
		t.Logf("descriptors are limited to %d: %d connections instead of 10,000", r.Cur, n)
	}
	return n
}

// TestTenThousandSilentConnections: half of them never say a word, half of them upgrade, lock and
// fall silent. The server gets rid of all, and nobody else notices.
func TestTenThousandSilentConnections(t *testing.T) {
	srv := start(t, setup{config: "[limits]\nhandshake_timeout = \"5s\"\nping_interval = \"3s\"\npong_timeout = \"4s\"\n"})
	n := crowd(t)
	var open, most atomic.Int64
	beside(t, srv, func() {
		var all sync.WaitGroup
		gate := make(chan struct{}, 16) // so many connect at once
		for i := range n {
			all.Go(func() {
				gate <- struct{}{}
				err := fallSilent(srv, i, gate, &open, &most)
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	})
	t.Logf("of %d silent connections %d were open at once", n, most.Load())
	eventually(t, "all are gone", func() bool { return srv.status("connections") <= 4 && srv.status("namespaces") <= 1 })
}

func fallSilent(srv *server, i int, gate <-chan struct{}, open, most *atomic.Int64) error {
	source := fmt.Sprintf("127.0.0.%d", 2+i%50)
	conn, err := dialTCP(source, srv.addr)
	if err == nil && i%2 == 0 {
		if _, err = conn.Write([]byte(handshake(srv.target("silent", 0)))); err == nil {
			var c *rawClient
			if c, _, err = upgraded(conn); err == nil {
				err = c.Send(lockText(write(fmt.Sprint(i))))
			}
		}
	}
	now := open.Add(1)
	for was := most.Load(); now > was && !most.CompareAndSwap(was, now); was = most.Load() {
	}
	<-gate
	if err != nil {
		return err
	}
	defer conn.Close()
	defer open.Add(-1)
	return awaitEOF(conn)
}
