package client_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/client"
	"github.com/locktopus-project/locktopus/v2/internal/server"
	"github.com/locktopus-project/locktopus/v2/internal/testserver"
)

// drain has the server shut down within a time. The channel has its word that all clients had gone before, or not.
func (b *bubble) drain(within time.Duration) <-chan error {
	ctx, cancel := context.WithTimeout(background, within)
	over := make(chan error, 1)
	go func() {
		defer cancel()
		over <- b.server.Shutdown(ctx)
	}()
	synctest.Wait()
	return over
}

// successor is the next server, which clients find on their lines from now on.
func (b *bubble) successor(lines ...*line) {
	next := &bubble{t: b.t, conns: make(chan net.Conn), over: make(chan struct{}), start: b.start}
	o := testserver.Options(next)
	o.Loops = 1
	var err error
	next.server, err = server.New(o)
	require.NoError(b.t, err)
	b.t.Cleanup(func() { require.NoError(b.t, next.server.Close()) })
	for _, n := range lines {
		n.instead(func(ctx context.Context) (net.Conn, error) {
			return (&line{b: next, calm: n.calm}).dialServer(ctx, "", "")
		})
	}
}

// later asks for a lock, and gives what has become of it.
func later(c *client.Client, items ...client.Item) <-chan error {
	got := make(chan error, 1)
	go func() {
		_, err := c.Lock(background, items...)
		got <- err
	}()
	synctest.Wait()
	return got
}

// code is the server's word in a refusal.
func code(err error) string {
	if refused, ok := errors.AsType[*client.RefusedError](err); ok {
		return refused.Code
	}
	return ""
}

// TestLocksEndBeforeAServerThatShutsDown: their owners are warned at once, have nearly all of the time that the server
// gives them, and the server needn't wait for longer.
func TestLocksEndBeforeAServerThatShutsDown(t *testing.T) {
	inBubble(t, func(b *bubble) {
		var told []bool
		n := b.line()
		a := n.client(client.Options{TTL: time.Minute, Margin: 2 * time.Second, OnRisk: func(r bool) { told = append(told, r) }})
		held, err := a.Lock(background, client.Write("x"))
		require.NoError(b.t, err)
		require.False(b.t, a.Draining())

		begun := time.Now()
		over := b.drain(10 * time.Second)
		require.True(b.t, a.Draining())
		require.Equal(b.t, []bool{true}, told)
		const usable = 7800 * time.Millisecond // 10 s without 2 % and the margin
		require.Equal(b.t, usable, held.Deadline())
		require.NoError(b.t, held.Err())

		<-held.Done()
		require.Equal(b.t, usable, time.Since(begun))
		lost, ok := errors.AsType[*client.LostError](held.Err())
		require.True(b.t, ok, "%v", held.Err())
		require.Equal(b.t, "shutdown", lost.State)
		require.NoError(b.t, <-over)
		require.Equal(b.t, usable, time.Since(begun))

		b.successor(n)
		again, err := a.Lock(background, client.Write("x"))
		require.NoError(b.t, err)
		require.False(b.t, a.Draining())
		synctest.Wait()
		require.Equal(b.t, []bool{true, false}, told)
		require.Greater(b.t, again.Deadline(), usable)
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

// TestAWarningOutlivesItsConnection: the server that ends can't be heard any more.
func TestAWarningOutlivesItsConnection(t *testing.T) {
	inBubble(t, func(b *bubble) {
		n := b.line()
		a := n.client(client.Options{TTL: time.Minute})
		held, err := a.Lock(background, client.Write("x"))
		require.NoError(b.t, err)
		begun := time.Now()
		over := b.drain(10 * time.Second)
		n.cut()
		<-held.Done()
		require.Equal(b.t, 8800*time.Millisecond, time.Since(begun))
		require.True(b.t, a.Draining())
		require.NoError(b.t, <-over)
	})
}

// TestAProcessThatStoodStillKnowsThatItsServerWent.
func TestAProcessThatStoodStillKnowsThatItsServerWent(t *testing.T) {
	inBubble(t, func(b *bubble) {
		n := b.line()
		held, err := n.client(client.Options{TTL: time.Minute}).Lock(background, client.Write("x"))
		require.NoError(b.t, err)
		over := b.drain(10 * time.Second)
		n.leap(9 * time.Second)
		require.ErrorContains(b.t, held.Err(), "shutdown")
		require.NoError(b.t, <-over)
	})
}

// TestWhoWaitsStandsAsideWhenTheServerShutsDown, and waits for the next one: a server that goes gives nobody a lock that
// would be lost in a moment, and doesn't wait for those.
func TestWhoWaitsStandsAsideWhenTheServerShutsDown(t *testing.T) {
	inBubble(t, func(b *bubble) {
		near, far := b.line(), b.line()
		a, other := near.client(client.Options{TTL: time.Minute}), far.client(client.Options{TTL: time.Minute})
		held, err := a.Lock(background, client.Write("x"))
		require.NoError(b.t, err)
		waits := []<-chan error{later(a, client.Write("x")), later(other, client.Write("x"), client.Wait(time.Hour))}

		begun := time.Now()
		over := b.drain(10 * time.Second)
		require.False(b.t, other.Connected(), "it holds nothing")
		waits = append(waits, later(a, client.Write("y")), later(other, client.Write("z")))
		require.NoError(b.t, held.Release(background))
		require.NoError(b.t, <-over)
		require.Equal(b.t, begun, time.Now())
		for _, w := range waits {
			require.Empty(b.t, w)
		}
		b.successor(near, far)
		synctest.Wait()
		require.NoError(b.t, <-waits[2])
		require.NoError(b.t, <-waits[3])
		select { // they want the same
		case err = <-waits[0]:
		case err = <-waits[1]:
		}
		require.NoError(b.t, err)
	})
}

// TestWhoHoldsSomethingMayFinishWhenTheServerShutsDown: another lock that it needs for that is granted if it stands in
// the queue, and refused if it doesn't.
func TestWhoHoldsSomethingMayFinishWhenTheServerShutsDown(t *testing.T) {
	inBubble(t, func(b *bubble) {
		a, other := b.line().client(client.Options{}), b.line().client(client.Options{})
		task := client.NewParty()
		first, err := a.Lock(background, client.Write("first"), task)
		require.NoError(b.t, err)
		second, err := other.Lock(background, client.Write("second"))
		require.NoError(b.t, err)
		waits := later(a, client.Write("second"), task)

		over := b.drain(10 * time.Second)
		_, err = a.Lock(background, client.Write("third"), task)
		require.Equal(b.t, "draining", code(err), "%v", err)
		_, err = a.TryLock(background, client.Write("third"))
		require.Equal(b.t, "draining", code(err), "%v", err)
		require.NoError(b.t, second.Release(background))
		require.NoError(b.t, <-waits)
		require.NoError(b.t, first.Err())
		require.NoError(b.t, a.Close())
		require.NoError(b.t, <-over)
	})
}

// TestAGrantThatWouldEndAtOnceIsLeftToTheNextServer: it comes when the rest of the server's time is too short for its owner,
// who goes on waiting. The server doesn't wait for that lock.
func TestAGrantThatWouldEndAtOnceIsLeftToTheNextServer(t *testing.T) {
	inBubble(t, func(b *bubble) {
		n := b.line()
		a := n.client(client.Options{TTL: time.Minute, Margin: 2 * time.Second})
		other := b.line().client(client.Options{TTL: time.Minute, Margin: time.Millisecond})
		task := client.NewParty()
		first, err := a.Lock(background, client.Write("first"), task)
		require.NoError(b.t, err)
		second, err := other.Lock(background, client.Write("second"))
		require.NoError(b.t, err)
		waits := later(a, client.Write("second"), task)

		begun := time.Now()
		over := b.drain(10 * time.Second)
		<-first.Done()
		<-second.Done()
		synctest.Wait()
		require.Empty(b.t, waits)
		require.NoError(b.t, <-over)
		require.Less(b.t, time.Since(begun), 10*time.Second)
		b.successor(n)
		require.NoError(b.t, <-waits)
	})
}

// TestAGrantThatMeetsWhoStandsAside is nobody's: the release that is on its way gives it back. One that came before the
// notice is a lock like any other.
func TestAGrantThatMeetsWhoStandsAside(t *testing.T) {
	inBubble(t, func(b *bubble) {
		n, pass := b.line(), make(chan struct{})
		var late atomic.Bool
		n.fault = func(_ int, toServer bool) fault {
			if late.Load() && !toServer {
				<-pass
			}
			return none
		}
		a, other := n.client(client.Options{TTL: time.Minute}), b.line().client(client.Options{})
		_, err := a.Lock(background, client.Write("keeps it connected"))
		require.NoError(b.t, err)
		var held []*client.Lock
		var queued []<-chan error
		for _, path := range []string{"before", "behind"} {
			l, err := other.Lock(background, client.Write(path))
			require.NoError(b.t, err)
			held, queued = append(held, l), append(queued, later(a, client.Write(path)))
		}
		late.Store(true)
		require.NoError(b.t, held[0].Release(background))
		over := b.drain(10 * time.Second)
		require.NoError(b.t, held[1].Release(background))
		refused := later(a, client.Write("asked behind"))
		close(pass)
		synctest.Wait()
		require.NoError(b.t, <-queued[0])
		require.Empty(b.t, queued[1])
		require.Empty(b.t, refused)
		locks, _, err := a.Inspect(background, nil, 10, "")
		require.NoError(b.t, err)
		require.Len(b.t, locks, 2, "what it knows that it holds")
		require.NoError(b.t, a.Close())
		require.ErrorIs(b.t, <-queued[1], client.ErrClosed)
		require.ErrorIs(b.t, <-refused, client.ErrClosed)
		require.NoError(b.t, <-over)
	})
}

// TestPatienceEndsAlsoForWhoStandsAside.
func TestPatienceEndsAlsoForWhoStandsAside(t *testing.T) {
	inBubble(t, func(b *bubble) {
		a := b.line().client(client.Options{TTL: time.Minute})
		_, err := a.Lock(background, client.Write("x"))
		require.NoError(b.t, err)
		begun := time.Now()
		waits := later(a, client.Write("x"), client.Wait(3*time.Second))
		b.drain(10 * time.Second)
		_, ok := errors.AsType[*client.UnavailableError](<-waits)
		require.True(b.t, ok)
		require.LessOrEqual(b.t, time.Since(begun), 4*time.Second)
	})
}

// TestAGrantThatTheNoticeHasOvertakenIsNobodysEither: an answer to a request, not an event, behind the notice.
func TestAGrantThatTheNoticeHasOvertakenIsNobodysEither(t *testing.T) {
	x := newLiar(t, func(n int32, w *words) {
		w.hears()
		w.says(liarsWelcome)
		w.hears()
		if n > 1 {
			w.says(`{"id":1,"state":"acquired","token":"6"}`)
			w.untilGone()
			return
		}
		w.says(`{"notice":"draining","ms":60000}`)
		if m := w.hears(); m["op"] != "release" || m["lock"] != 1.0 {
			w.t.Errorf("got %v instead of a release", m)
		}
		w.says(`{"id":1,"state":"acquired","token":"5"}`, `{"id":2,"lock":1,"state":"released"}`, `{"error":"shutdown"}`)
	})
	l, err := x.dial(client.Options{}).Lock(soon(t), client.Write("a"))
	require.NoError(t, err)
	require.Equal(t, uint64(6), l.Token())
}

// TestAWarningHoldsForTheWholeServer: a session that is gone on with is with the server that has said that it shuts down.
// Who stands aside goes on doing so, whatever that server still lists.
func TestAWarningHoldsForTheWholeServer(t *testing.T) {
	const first, second = `{"lock":1,"state":"acquired","token":"5"}`, `{"lock":2,"state":"acquired","token":"6"}`
	for _, list := range []string{first, first + "," + second} {
		again, over := make(chan struct{}), make(chan struct{})
		x := newLiar(t, func(n int32, w *words) {
			w.hears()
			switch n {
			case 1:
				w.says(liarsWelcome)
				w.hears()
				w.says(`{"id":1,"state":"acquired","token":"5"}`)
				w.hears()
				w.says(`{"id":2,"state":"enqueued","ahead":1}`, `{"notice":"draining","ms":30000}`)
				w.hears() // the release of the second; then the connection is lost
			case 2:
				w.says(`{"op":"welcome","session":"s1","secret":"x2","ttl_ms":60000,"epoch":"e1","last_id":2,"event":0,"locks":[` + list + `]}`)
				if m := w.hears(); m["op"] != "release" || m["lock"] != 2.0 {
					w.t.Errorf("got %v instead of a release", m)
				}
				w.says(`{"id":3,"lock":2,"state":"canceled"}`)
				close(again)
				<-over
				w.says(`{"error":"shutdown"}`)
			default:
				w.says(strings.ReplaceAll(liarsWelcome, "s1", "s2"))
				w.hears()
				w.says(`{"id":1,"state":"acquired","token":"7"}`)
				w.untilGone()
			}
		})
		c := x.dial(client.Options{})
		held, err := c.Lock(soon(t), client.Write("a"))
		require.NoError(t, err)
		waits := make(chan uint64, 1)
		go func() {
			l, err := c.Lock(soon(t), client.Write("b"))
			if err != nil {
				t.Error(err)
				close(waits)
				return
			}
			waits <- l.Token()
		}()
		<-again
		require.True(t, c.Draining())
		require.LessOrEqual(t, held.Deadline(), 30*time.Second)
		require.NoError(t, held.Err())
		require.Empty(t, waits)
		close(over)
		require.Equal(t, uint64(7), <-waits)
	}
}
