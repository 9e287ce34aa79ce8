package client_test

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/client"
)

// TestWhoIsInTheWayIsTold with what there is to know about it.
func TestWhoIsInTheWayIsTold(t *testing.T) {
	inBubble(t, func(b *bubble) {
		a, other := b.line().client(client.Options{Name: "worker-7"}), b.line().client(client.Options{})
		l, err := a.Lock(background, client.Write("orders", "17"), client.Note("deploy 12"))
		require.NoError(b.t, err)
		<-time.After(5 * time.Second)
		_, err = other.TryLock(background, client.Read("orders"))
		unavailable, ok := errors.AsType[*client.UnavailableError](err)
		require.True(b.t, ok, "%v", err)
		require.Equal(b.t, "unavailable", unavailable.State)
		require.Equal(b.t, []client.Blocker{{
			Session: "worker-7", Note: "deploy 12", Lock: l.ID(), Type: "write", Path: []string{"orders", "17"}, State: "acquired", SinceMS: 5000,
		}}, unavailable.Blockers)
		require.EqualError(b.t, err, `locktopus: not to be had in time: write of "orders/17", acquired by worker-7 for 5s ("deploy 12")`)
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		_, err = other.Lock(ctx, client.Read("orders"))
		unavailable, ok = errors.AsType[*client.UnavailableError](err)
		require.True(b.t, ok, "%v", err)
		require.Equal(b.t, "timeout", unavailable.State)
		require.Len(b.t, unavailable.Blockers, 1)
		require.ErrorIs(b.t, err, context.DeadlineExceeded)
	})
}

// TestWaitLeavesTheServerTimeToSayWhoIsInTheWay, as far as a second goes.
func TestWaitLeavesTheServerTimeToSayWhoIsInTheWay(t *testing.T) {
	for delay, told := range map[time.Duration]int{0: 1, 900 * time.Millisecond: 1, 1100 * time.Millisecond: 0} {
		inBubble(t, func(b *bubble) {
			a, n := b.line().client(client.Options{}), b.line()
			_, err := a.Lock(background, client.Write("x"))
			require.NoError(b.t, err)
			var slow atomic.Bool
			n.fault = func(_ int, toServer bool) fault {
				if !toServer && slow.Load() {
					<-time.After(delay)
				}
				return none
			}
			other := n.client(client.Options{})
			slow.Store(true)
			began := time.Now()
			_, err = other.Lock(background, client.Read("x"), client.Wait(5*time.Second))
			unavailable, ok := errors.AsType[*client.UnavailableError](err)
			require.True(b.t, ok, "%v", err)
			require.Equal(b.t, "timeout", unavailable.State)
			require.Len(b.t, unavailable.Blockers, told)
			require.ErrorIs(b.t, err, context.DeadlineExceeded)
			require.Equal(b.t, 5*time.Second+min(delay, time.Second), time.Since(began))
			slow.Store(false)
		})
	}
}

// TestWaitIsOneLimitOfSeveral: the sooner one counts, and without a connection it is said that there is none.
func TestWaitIsOneLimitOfSeveral(t *testing.T) {
	inBubble(t, func(b *bubble) {
		n := b.line()
		a, other := b.line().client(client.Options{}), n.client(client.Options{})
		held, err := a.Lock(background, client.Write("x"))
		require.NoError(b.t, err)
		waits := func(limit, wait time.Duration) (time.Duration, error) {
			ctx, cancel := context.WithTimeout(background, limit)
			defer cancel()
			began := time.Now()
			_, err := other.Lock(ctx, client.Write("x"), client.Wait(wait))
			return time.Since(began), err
		}
		took, err := waits(time.Second, math.MaxInt64)
		require.ErrorIs(b.t, err, context.DeadlineExceeded)
		require.Equal(b.t, 950*time.Millisecond, took, "as without Wait")
		took, err = waits(time.Minute, 0)
		require.ErrorContains(b.t, err, "acquired by")
		require.Zero(b.t, took)
		n.instead(refused)
		n.cut()
		took, err = waits(time.Minute, time.Second)
		offline, ok := errors.AsType[*client.OfflineError](err)
		require.True(b.t, ok, "%v", err)
		require.ErrorIs(b.t, err, context.DeadlineExceeded)
		require.Regexp(b.t, `^locktopus: there is no connection to ws://memory \(.+\): not to be had in time$`, offline.Error())
		require.Equal(b.t, 2*time.Second, took)
		n.instead(nil)
		require.NoError(b.t, held.Release(background))
		l, err := other.Lock(background, client.Write("x"), client.Wait(time.Minute))
		require.NoError(b.t, err)
		require.NoError(b.t, l.Err())
	})
}

func TestInspectTellsWhoHoldsAndWaits(t *testing.T) {
	inBubble(t, func(b *bubble) {
		a, other := b.line().client(client.Options{Name: "a"}), b.line().client(client.Options{Name: "other"})
		l, err := a.Lock(background, client.Write("x", "y"), client.Permit(3, "pool").Weighing(2), client.Note("n"))
		require.NoError(b.t, err)
		ctx, cancel := context.WithCancel(background)
		defer cancel()
		waiting := make(chan error, 1)
		go func() { _, err := other.Lock(ctx, client.Read("x")); waiting <- err }()
		<-time.After(time.Second)
		locks, more, err := a.Inspect(background, []string{"x"}, 100, "")
		require.NoError(b.t, err)
		require.Empty(b.t, more)
		require.Len(b.t, locks, 2)
		require.Equal(b.t, "acquired", locks[0].State)
		require.Equal(b.t, l.Token(), locks[0].Token)
		require.Equal(b.t, "n", locks[0].Note)
		require.Equal(b.t, time.Second, locks[0].Since())
		require.Equal(b.t, []client.Resource{client.Write("x", "y")}, locks[0].Resources, "what is about the path")
		require.Equal(b.t, "enqueued", locks[1].State)

		var paged []client.LockInfo
		for more = ""; ; {
			var page []client.LockInfo
			page, more, err = a.Inspect(background, []string{"x"}, 1, more)
			require.NoError(b.t, err)
			require.LessOrEqual(b.t, len(page), 1)
			if paged = append(paged, page...); more == "" {
				break
			}
		}
		require.ElementsMatch(b.t, locks, paged)
		_, _, err = a.Inspect(background, []string{"a\x00"}, 1, "")
		require.EqualError(b.t, err, "locktopus: segment 0 of the path holds a NUL")
		cancel()
		require.Error(b.t, <-waiting)
	})
}

func TestAWatchTellsWhatChanges(t *testing.T) {
	inBubble(t, func(b *bubble) {
		n := b.line()
		a, other := n.client(client.Options{Name: "a"}), b.line().client(client.Options{Name: "other"})
		first, err := other.Lock(background, client.Write("x"))
		require.NoError(b.t, err)
		w, err := a.Watch(background, []string{"x"})
		require.NoError(b.t, err)
		require.Len(b.t, w.Locks(), 1)
		require.Equal(b.t, first.Token(), w.Locks()[0].Token)

		got := make(chan *client.Lock)
		go func() {
			l, err := other.Lock(background, client.Read("x", "below"))
			require.NoError(b.t, err)
			got <- l
		}()
		synctest.Wait()
		require.NoError(b.t, first.Release(background))
		second := <-got
		require.NoError(b.t, second.Upgrade(background))
		require.NoError(b.t, second.Downgrade(background))
		require.NoError(b.t, second.Release(background))
		var changes []string
		for range 6 {
			change, err := w.Next(background)
			require.NoError(b.t, err)
			changes = append(changes, change.Change+" "+change.Lock.State)
		}
		require.Equal(b.t, []string{"enqueued enqueued", "ended released", "acquired acquired", "upgraded acquired", "downgraded acquired", "ended released"}, changes)

		ctx, cancel := context.WithTimeout(background, time.Second)
		_, err = w.Next(ctx)
		cancel()
		require.ErrorIs(b.t, err, context.DeadlineExceeded)
		n.cut()
		_, err = w.Next(background)
		require.ErrorIs(b.t, err, client.ErrWatchInterrupted)
		w, err = a.Watch(background, []string{"x"})
		require.NoError(b.t, err)
		w.Close()
		w.Close()
		_, err = w.Next(background)
		require.ErrorIs(b.t, err, client.ErrClosed)
	})
}

// TestAWatchThatIsNotReadEnds, and holds neither the client nor its memory up.
func TestAWatchThatIsNotReadEnds(t *testing.T) {
	inBubble(t, func(b *bubble) {
		a := b.line().client(client.Options{})
		w, err := a.Watch(background, nil)
		require.NoError(b.t, err)
		for range 3000 {
			l, err := a.Lock(background, client.Write("x"))
			require.NoError(b.t, err)
			require.NoError(b.t, l.Release(background))
		}
		told := 0
		for ; err == nil; told++ {
			_, err = w.Next(background)
		}
		require.ErrorIs(b.t, err, client.ErrWatchLagged)
		require.Greater(b.t, told, 4000)
	})
}

// TestAWatchThatIsNotWantedAnyMoreIsEnded: its context ended before the server's answer.
func TestAWatchThatIsNotWantedAnyMoreIsEnded(t *testing.T) {
	inBubble(t, func(b *bubble) {
		n := b.line()
		a := n.client(client.Options{})
		calm := n.silence()
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		_, err := a.Watch(ctx, nil)
		require.ErrorIs(b.t, err, context.DeadlineExceeded)
		calm()
		synctest.Wait()
		require.Zero(b.t, client.Watches(a))
		require.Zero(b.t, client.Unanswered(a))
	})
}

func TestAnUpgradeGoesAheadOfThoseThatWait(t *testing.T) {
	inBubble(t, func(b *bubble) {
		a, other := b.line().client(client.Options{}), b.line().client(client.Options{})
		mine, err := a.Lock(background, client.Read("x"), client.Write("y"))
		require.NoError(b.t, err)
		token := mine.Token()
		theirs, err := other.Lock(background, client.Read("x"))
		require.NoError(b.t, err)

		ctx, cancel := context.WithTimeout(background, time.Second)
		err = mine.Upgrade(ctx)
		cancel()
		unavailable, ok := errors.AsType[*client.UnavailableError](err)
		require.True(b.t, ok, "%v", err)
		require.Equal(b.t, "upgrade_timeout", unavailable.State)
		require.ErrorIs(b.t, err, context.DeadlineExceeded)
		require.Len(b.t, unavailable.Blockers, 1)

		ctx, stop := context.WithCancelCause(background)
		cause := errors.New("no longer wanted")
		done := make(chan error)
		go func() { done <- mine.Upgrade(ctx) }()
		synctest.Wait()
		stop(cause)
		require.ErrorIs(b.t, <-done, cause)
		synctest.Wait()
		reader, err := other.TryLock(background, client.Read("x"))
		require.NoError(b.t, err, "no upgrade is in the way")
		require.NoError(b.t, reader.Release(background))
		_, err = other.TryLock(background, client.Read("y"))
		require.Error(b.t, err, "what was a write is still one")

		go func() { done <- mine.Upgrade(background) }()
		synctest.Wait()
		requireRefused(b.t, theirs.Upgrade(background), "upgrade_conflict")
		require.NoError(b.t, theirs.Release(background))
		require.NoError(b.t, <-done)
		require.Greater(b.t, mine.Token(), token)
		token = mine.Token()
		_, err = other.TryLock(background, client.Read("x"))
		require.Error(b.t, err)
		require.NoError(b.t, mine.Downgrade(background))
		require.Equal(b.t, token, mine.Token())
		reader, err = other.TryLock(background, client.Read("x"), client.Read("y"))
		require.NoError(b.t, err)
		require.NoError(b.t, reader.Release(background))

		require.NoError(b.t, mine.Release(background))
		for _, change := range []func(context.Context) error{mine.Upgrade, mine.Downgrade, mine.Renew} {
			require.ErrorIs(b.t, change(background), client.ErrReleased)
		}
	})
}

func TestOtherClientsTextsAreQuoted(t *testing.T) {
	b := client.Blocker{Session: "s", Note: "a\x1b[2J", Type: "write", Path: []string{"a/b", `c\`, "\x1b]0;"}, State: "acquired"}
	require.Equal(t, `write of "a\\/b/c\\\\/\x1b]0;", acquired by s ("a\x1b[2J")`, b.String())
	for name, shown := range map[string]string{
		"worker-7": "worker-7", "https://a.example/x:80@y_z": "https://a.example/x:80@y_z", "": `""`, "é": `"é"`, "a b": `"a b"`,
		`bob for 3s ("x"), then write of "b", acquired by alice`: `"bob for 3s (\"x\"), then write of \"b\", acquired by alice"`,
	} {
		b := client.Blocker{Session: name, Type: "read", Path: []string{"a"}, State: "acquired"}
		require.Equal(t, `read of "a", acquired by `+shown, b.String(), "a name can't pass for more than a name")
	}
}
