package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/client"
)

// TestWhoWaitsWithoutAConnectionIsToldWhy cuts the wire for good.
func TestWhoWaitsWithoutAConnectionIsToldWhy(t *testing.T) {
	w := newWorld(t)
	c := w.dial(client.Options{})
	held, err := c.Lock(soon(t), client.Read("a"))
	require.NoError(t, err)
	w.wire.Shut(true)
	w.wire.Cut()
	for about, ask := range map[string]func(context.Context) error{
		"Lock":    func(ctx context.Context) error { _, err := c.Lock(ctx, client.Write("b")); return err },
		"TryLock": func(ctx context.Context) error { _, err := c.TryLock(ctx, client.Write("b")); return err },
		"Upgrade": func(ctx context.Context) error { return held.Upgrade(ctx) },
		"Inspect": func(ctx context.Context) error { _, _, err := c.Inspect(ctx, nil, 1, ""); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		err := ask(ctx)
		cancel()
		var offline *client.OfflineError
		require.ErrorAs(t, err, &offline, about)
		require.ErrorIs(t, err, context.DeadlineExceeded, about)
		require.ErrorContains(t, err, "locktopus: there is no connection to ws://"+w.wire.Addr()+" (", about)
	}
}

func TestLocksExcludeEachOther(t *testing.T) {
	w := newWorld(t)
	a, b := w.dial(client.Options{Name: "a"}), w.dial(client.Options{Name: "b"})
	held, err := a.Lock(soon(t), client.Write("x", "y"), client.Read("z"))
	require.NoError(t, err)
	require.NoError(t, held.Err())
	require.Positive(t, held.Deadline())

	_, err = b.TryLock(soon(t), client.Write("x"))
	unavailable, ok := errors.AsType[*client.UnavailableError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, "unavailable", unavailable.State)
	reader, err := b.TryLock(soon(t), client.Read("z"))
	require.NoError(t, err)
	require.Greater(t, reader.Token(), held.Token())

	got := make(chan *client.Lock)
	go func() {
		l, err := b.Lock(soon(t), client.Write("x"))
		if err != nil {
			t.Error(err)
		}
		got <- l
	}()
	waits(t, a, "x")
	require.NoError(t, held.Release(soon(t)))
	require.ErrorIs(t, held.Err(), client.ErrReleased)
	require.NoError(t, held.Release(soon(t)), "again")
	next := <-got
	require.Greater(t, next.Token(), held.Token())
}

// waits returns when somebody has been told to wait for a path, by waiting for the same with less patience.
func waits(t *testing.T, c *client.Client, path string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(soon(t), 30*time.Millisecond)
	defer cancel()
	_, err := c.Lock(ctx, client.Write(path))
	require.Error(t, err)
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	a, b := w.dial(client.Options{}), w.dial(client.Options{})
	held, err := a.Lock(soon(t), client.Write("x"))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(soon(t), 200*time.Millisecond)
	defer cancel()
	_, err = b.Lock(ctx, client.Write("x"))
	require.ErrorIs(t, err, context.DeadlineExceeded)

	ctx, stop := context.WithCancelCause(soon(t))
	cause := errors.New("no longer wanted")
	done := make(chan error)
	go func() { _, err := b.Lock(ctx, client.Write("x")); done <- err }()
	stop(cause)
	require.ErrorIs(t, <-done, cause)
	require.NoError(t, held.Release(soon(t)))
	again, err := a.Lock(soon(t), client.Write("x"))
	require.NoError(t, err, "nobody who gave up is in the queue")
	require.NoError(t, again.Release(soon(t)))
}

func TestALockOutlivesItsConnection(t *testing.T) {
	w := newWorld(t)
	a := w.dial(client.Options{BackoffMin: time.Millisecond, BackoffMax: 10 * time.Millisecond})
	held, err := a.Lock(soon(t), client.Write("x"))
	require.NoError(t, err)
	session := a.Session()
	for range 5 {
		w.wire.Cut()
		other, err := a.Lock(soon(t), client.Write("y")) // over the next connection
		require.NoError(t, err)
		require.NoError(t, other.Release(soon(t)))
		require.NoError(t, held.Err())
	}
	require.Equal(t, session, a.Session())
	require.NoError(t, held.Release(soon(t)))
}

func TestAWaiterKeepsItsPlaceOverALostConnection(t *testing.T) {
	w := newWorld(t)
	quick := client.Options{BackoffMin: time.Millisecond, BackoffMax: 10 * time.Millisecond}
	a, b := w.dial(quick), w.dial(quick)
	held, err := a.Lock(soon(t), client.Write("x"))
	require.NoError(t, err)
	got := make(chan error)
	go func() { _, err := b.Lock(soon(t), client.Write("x")); got <- err }()
	waits(t, a, "x")
	w.wire.Cut()
	require.NoError(t, held.Release(soon(t)))
	require.NoError(t, <-got)
}

// TestALockEndsHereBeforeItEndsThere: the server is silent, and the holder knows before anybody else gets in.
func TestALockEndsHereBeforeItEndsThere(t *testing.T) {
	w := newWorld(t)
	risks := make(chan bool, 10)
	a := w.dial(client.Options{TTL: time.Second, OnRisk: func(r bool) { risks <- r }})
	held, err := a.Lock(soon(t), client.Write("x"))
	require.NoError(t, err)
	straight, err := client.Dial(soon(t), "ws://"+w.server.Addr().String()+"/v2?namespace=test", nil)
	require.NoError(t, err)
	defer straight.Close()
	w.wire.Hold(true)
	w.wire.Shut(true)
	next, err := straight.Lock(soon(t), client.Write("x"))
	require.NoError(t, err)
	require.ErrorIs(t, held.Err(), client.ErrDeadline, "before another has it")
	require.True(t, <-risks)
	require.Greater(t, next.Token(), held.Token())
	require.ErrorIs(t, held.Release(soon(t)), client.ErrDeadline)
	w.wire.Cut()
	w.wire.Shut(false)
	w.wire.Hold(false)
	require.NoError(t, next.Release(soon(t)))
	again, err := a.Lock(soon(t), client.Write("x"))
	require.NoError(t, err, "in the next session")
	require.NoError(t, again.Err())
	require.False(t, <-risks)
}

func TestASessionThatIsGoneEndsItsLocks(t *testing.T) {
	w := newWorld(t)
	a := w.dial(client.Options{TTL: 200 * time.Millisecond, Margin: time.Nanosecond})
	held, err := a.Lock(soon(t), client.Write("x"))
	require.NoError(t, err)
	first := a.Session()
	w.wire.Shut(true)
	w.wire.Cut()
	<-held.Done()
	require.ErrorIs(t, held.Err(), client.ErrDeadline)
	straight, err := client.Dial(soon(t), "ws://"+w.server.Addr().String()+"/v2?namespace=test", nil)
	require.NoError(t, err)
	defer straight.Close()
	other, err := straight.Lock(soon(t), client.Write("x"))
	require.NoError(t, err)
	require.NoError(t, other.Release(soon(t)))
	w.wire.Shut(false)
	again, err := a.Lock(soon(t), client.Write("x"))
	require.NoError(t, err)
	require.NotEqual(t, first, a.Session())
	require.NoError(t, again.Release(soon(t)))
}

func TestALeaseEndsUnlessRenewed(t *testing.T) {
	w := newWorld(t)
	a := w.dial(client.Options{Margin: time.Nanosecond})
	held, err := a.Lock(soon(t), client.Write("x"), client.Lease(300*time.Millisecond), client.Note("short"))
	require.NoError(t, err)
	require.NoError(t, held.Renew(soon(t)))
	<-held.Done()
	require.Error(t, held.Renew(soon(t)))
	next, err := a.Lock(soon(t), client.Write("x"))
	require.NoError(t, err)
	require.NoError(t, next.Release(soon(t)))
}

func TestPermitsHaveSlots(t *testing.T) {
	w := newWorld(t)
	a := w.dial(client.Options{})
	one, err := a.Lock(soon(t), client.Permit(2, "pool"))
	require.NoError(t, err)
	two, err := a.Lock(soon(t), client.Permit(2, "pool"))
	require.NoError(t, err)
	require.Equal(t, []uint32{0}, one.Slots())
	require.Equal(t, []uint32{1}, two.Slots())
	_, err = a.TryLock(soon(t), client.Permit(2, "pool"))
	require.Error(t, err)
	_, err = a.Lock(soon(t), client.Permit(3, "pool"))
	refused, ok := errors.AsType[*client.RefusedError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, "other_limit", refused.Code)
	require.NoError(t, one.Release(soon(t)))
	three, err := a.TryLock(soon(t), client.Permit(2, "pool").Weighing(1))
	require.NoError(t, err)
	require.Equal(t, []uint32{0}, three.Slots())
}

func TestCloseEndsEverything(t *testing.T) {
	w := newWorld(t)
	a, b := w.dial(client.Options{}), w.dial(client.Options{})
	held, err := a.Lock(soon(t), client.Write("x"))
	require.NoError(t, err)
	waiting := make(chan error)
	go func() { _, err := a.Lock(soon(t), client.Write("x", "y")); waiting <- err }()
	waits(t, b, "x")
	require.NoError(t, a.Close())
	require.ErrorIs(t, held.Err(), client.ErrClosed)
	require.Error(t, <-waiting)
	_, err = a.Lock(soon(t), client.Write("z"))
	require.ErrorIs(t, err, client.ErrClosed)
	next, err := b.Lock(soon(t), client.Write("x"))
	require.NoError(t, err, "released at once")
	require.NoError(t, next.Release(soon(t)))
}

func TestWhatCannotBeSentIsRefusedHere(t *testing.T) {
	w := newWorld(t)
	a := w.dial(client.Options{})
	_, err := a.Lock(soon(t))
	require.ErrorContains(t, err, "at least one resource")
	_, err = a.Lock(soon(t), client.Write("a", "b\x00"))
	require.ErrorContains(t, err, "resource 0: segment 1 of the path holds a NUL")
	_, err = a.Lock(soon(t), client.Write("ok"), client.Read("\xff"))
	require.ErrorContains(t, err, "resource 1: segment 0 of the path is not UTF-8")
}

func TestAddressesThatAreNone(t *testing.T) {
	for address, want := range map[string]string{
		"http://h/v2?namespace=a": "must begin with ws:// or wss://",
		"ws:///v2?namespace=a":    "names no server",
		"ws://h/v2":               "names no namespace",
		"ws://h/v1?namespace=a":   "must be /v2",
		"127.0.0.1:9009":          "must begin with ws:// or wss://",
		"localhost:9009":          "must begin with ws:// or wss://",
		"://":                     "the address",
	} {
		_, err := client.Dial(soon(t), address, nil)
		require.ErrorContains(t, err, want, address)
	}
}

func TestNobodyThere(t *testing.T) {
	_, err := client.Dial(soon(t), "ws://127.0.0.1:1/v2?namespace=a", nil)
	require.ErrorContains(t, err, "connection refused")
}

// TestAServersEndIsTheEndOfAllLocks at once, before the client connects to another one, which may give them to others.
// What waits goes on to wait. The server knows that its word was read.
func TestAServersEndIsTheEndOfAllLocks(t *testing.T) {
	w := newWorld(t)
	c := w.dial(client.Options{TTL: time.Minute, BackoffMin: time.Hour, BackoffMax: time.Hour})
	held, err := c.Lock(soon(t), client.Write("a"))
	require.NoError(t, err)
	waits, cancel := context.WithCancel(t.Context())
	waited := make(chan error, 1)
	go func() {
		_, err := c.Lock(waits, client.Write("a"))
		waited <- err
	}()
	for waiting := 0; waiting == 0; {
		locks, _, err := c.Inspect(soon(t), nil, 0, "")
		require.NoError(t, err)
		waiting = len(locks) - 1
	}
	now, stop := context.WithCancel(t.Context())
	stop()
	require.ErrorIs(t, w.server.Shutdown(now), context.Canceled)
	select {
	case <-held.Done():
	case <-soon(t).Done():
		t.Fatal("it isn't told")
	}
	var lost *client.LostError
	require.ErrorAs(t, held.Err(), &lost)
	require.Equal(t, "shutdown", lost.State)
	owed := w.server.Owed()
	require.Zero(t, owed.Longest(), "the server doesn't know that it was heard")
	select {
	case err := <-waited:
		t.Fatalf("waiting has ended: %v", err)
	default:
	}
	cancel()
	require.ErrorIs(t, <-waited, context.Canceled)
}

// TestAServersEndThatIsNotHeardIsOwed: who is cut off may believe in its locks.
func TestAServersEndThatIsNotHeardIsOwed(t *testing.T) {
	w := newWorld(t)
	c := w.dial(client.Options{TTL: time.Minute})
	held, err := c.Lock(soon(t), client.Write("a"))
	require.NoError(t, err)
	w.wire.Hold(true)
	now, stop := context.WithCancel(t.Context())
	stop()
	require.Error(t, w.server.Shutdown(now))
	require.NoError(t, held.Err())
	owed := w.server.Owed()
	require.Greater(t, owed.Longest(), held.Deadline())
}
