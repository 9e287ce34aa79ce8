package client_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/client"
	"github.com/locktopus-project/locktopus/v2/internal/testserver"
)

// TestLocksEndBeforeAServerThatIsShuttingDownDoes: their owners are warned at once, have nearly all of the time that the
// server gives them, and are gone before the next server can give anything to others. The server needn't wait longer either.
func TestLocksEndBeforeAServerThatIsShuttingDownDoes(t *testing.T) {
	inBubble(t, func(b *bubble) {
		var told []bool
		a := b.line().client(client.Options{TTL: time.Minute, Margin: 2 * time.Second, OnRisk: func(r bool) { told = append(told, r) }})
		held, err := a.Lock(background, client.Write("x"))
		require.NoError(b.t, err)
		other, err := b.line().client(client.Options{TTL: time.Minute}).Lock(background, client.Write("y"))
		require.NoError(b.t, err)
		require.False(b.t, a.Draining())
		begun := time.Now()
		stopped := make(chan error, 1)
		go func() {
			drain, cancel := context.WithTimeout(background, 10*time.Second)
			defer cancel()
			stopped <- b.server.Shutdown(drain)
		}()
		synctest.Wait()
		require.True(b.t, a.Draining())
		require.Equal(b.t, []bool{true}, told)
		require.Equal(b.t, 7800*time.Millisecond, held.Deadline(), "10 s without 2 % and the margin")
		require.NoError(b.t, held.Err())

		require.NoError(b.t, other.Release(background))
		<-held.Done()
		require.Equal(b.t, 7800*time.Millisecond, time.Since(begun))
		var lost *client.LostError
		require.ErrorAs(b.t, held.Err(), &lost)
		require.Equal(b.t, "shutdown", lost.State)
		require.NoError(b.t, <-stopped, "nobody holds anything any more")
		require.Equal(b.t, 7800*time.Millisecond, time.Since(begun))
	})
}

// TestAnotherServerIsNotShuttingDown: what the one before has said is not said of it.
func TestAnotherServerIsNotShuttingDown(t *testing.T) {
	w := newWorld(t)
	told := make(chan bool, 8)
	c := w.dial(client.Options{TTL: time.Minute, BackoffMin: time.Millisecond, BackoffMax: 10 * time.Millisecond, OnRisk: func(r bool) { told <- r }})
	held, err := c.Lock(soon(t), client.Write("a"))
	require.NoError(t, err)
	now, stop := context.WithTimeout(t.Context(), time.Hour)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_ = w.server.Shutdown(now)
	}()
	require.True(t, <-told)
	require.Positive(t, held.Deadline())
	_, again := testserver.Serve(t, nil)
	w.wire.Lead(again)
	stop()
	<-stopped
	<-held.Done()
	require.False(t, <-told)
	require.False(t, c.Draining())
	_, err = c.Lock(soon(t), client.Write("a"))
	require.NoError(t, err)
}
