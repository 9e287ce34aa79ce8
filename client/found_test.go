package client_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/client"
)

// Each of these tests is named after something that once went wrong, or would without the care that it looks at.

// TestAGrantThatComesTooLateIsNone: the process stands still while the server's word is on its way, for longer than the
// session lives. Whoever asked must not get a lock that looks alive.
func TestAGrantThatComesTooLateIsNone(t *testing.T) {
	inBubble(t, func(b *bubble) {
		n := b.line()
		a, other := n.client(client.Options{TTL: faultTTL}), b.line().client(client.Options{})
		asked := make(chan error)
		calm := func() {}
		n.fault = func(_ int, toServer bool) fault {
			if !toServer {
				calm = n.silence()
			}
			return none
		}
		go func() { _, err := a.Lock(background, client.Write("x")); asked <- err }()
		synctest.Wait()
		n.fault = nil
		n.leap(faultTTL)
		calm()
		require.ErrorIs(b.t, <-asked, client.ErrDeadline)
		nothingIsLeft(b.t, "a grant that came too late", other, time.Second)
	})
}

// TestALeaseThatIsOverByWhatWasHeardLastIsBegunAnew: who waits in silence for longer than the lease hears of the grant, and
// doesn't know how long it has been on its way. It asks for more before it relies on the lock, and is refused by a server
// that has ended it.
func TestALeaseThatIsOverByWhatWasHeardLastIsBegunAnew(t *testing.T) {
	inBubble(t, func(b *bubble) {
		n := b.line()
		a, other := n.client(client.Options{TTL: time.Minute}), b.line().client(client.Options{TTL: time.Minute})
		held, err := other.Lock(background, client.Write("x"))
		require.NoError(b.t, err)
		var l *client.Lock
		asked := make(chan error)
		ask := func() {
			var err error
			l, err = a.Lock(background, client.Write("x"), client.Lease(time.Second))
			asked <- err
		}

		go ask()
		<-time.After(15 * time.Second)
		require.NoError(b.t, held.Release(background))
		require.NoError(b.t, <-asked)
		require.Greater(b.t, l.Deadline(), 800*time.Millisecond)
		require.NoError(b.t, l.Release(background))

		held, err = other.Lock(background, client.Write("x"))
		require.NoError(b.t, err)
		go ask()
		<-time.After(15 * time.Second)
		calm := n.silence()
		require.NoError(b.t, held.Release(background))
		<-time.After(2 * time.Second)
		calm()
		lost, ok := errors.AsType[*client.LostError](<-asked)
		require.True(b.t, ok)
		require.Equal(b.t, "expired", lost.State)
	})
}

// TestErrLooksAtTheClock: right after the process stood still nothing has had time to end the lock, and Err says so
// all the same.
func TestErrLooksAtTheClock(t *testing.T) {
	inBubble(t, func(b *bubble) {
		n := b.line()
		a := n.client(client.Options{TTL: faultTTL})
		l, err := a.Lock(background, client.Write("x"))
		require.NoError(b.t, err)
		n.leap(faultTTL)
		require.NoError(b.t, l.Context().Err(), "nobody has looked")
		require.ErrorIs(b.t, l.Err(), client.ErrDeadline)
		require.Error(b.t, l.Context().Err())
	})
}

// TestAWriteThatIsStuckHoldsNothingUp: a connection that swallows a write and doesn't even return from it when it is
// closed must not keep locks alive.
func TestAWriteThatIsStuckHoldsNothingUp(t *testing.T) {
	w := newWorld(t)
	stuck, never := make(chan struct{}), make(chan struct{})
	a, other := w.dial(client.Options{TTL: time.Second, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return &sticky{c, stuck, never}, err
	}}), w.dial(client.Options{})
	t.Cleanup(func() { close(never) })
	l, err := a.Lock(soon(t), client.Write("x"))
	require.NoError(t, err)
	close(stuck)
	_, err = other.Lock(soon(t), client.Write("x"))
	require.NoError(t, err)
	require.ErrorIs(t, context.Cause(l.Context()), client.ErrDeadline)
}

// sticky is a connection whose writes don't return from some moment on.
type sticky struct {
	net.Conn
	stuck, never chan struct{}
}

func (s *sticky) Write(p []byte) (int, error) {
	select {
	case <-s.stuck:
		<-s.never
		return 0, net.ErrClosed
	default:
		return s.Conn.Write(p)
	}
}

// TestOnRiskThatTakesItsTimeHoldsNothingUp: the callback doesn't return, and locks end all the same.
func TestOnRiskThatTakesItsTimeHoldsNothingUp(t *testing.T) {
	inBubble(t, func(b *bubble) {
		n := b.line()
		never := make(chan struct{})
		a, other := n.client(client.Options{TTL: faultTTL, OnRisk: func(bool) { <-never }}), b.line().client(client.Options{})
		l, err := a.Lock(background, client.Write("x"))
		require.NoError(b.t, err)
		n.instead(refused)
		n.cut()
		next, err := other.Lock(background, client.Write("x"))
		require.NoError(b.t, err)
		require.ErrorIs(b.t, context.Cause(l.Context()), client.ErrDeadline)
		close(never)
		require.NoError(b.t, next.Release(background))
	})
}

// TestOnRiskIsToldWhatIsNew, in turns, and nothing twice.
func TestOnRiskIsToldWhatIsNew(t *testing.T) {
	inBubble(t, func(b *bubble) {
		n := b.line()
		var told []bool
		a := n.client(client.Options{TTL: faultTTL, OnRisk: func(r bool) { told = append(told, r) }})
		for range 3 {
			n.instead(refused)
			n.cut()
			<-time.After(faultTTL * 7 / 10)
			n.instead(nil)
			<-time.After(faultTTL)
		}
		require.NoError(b.t, a.Close())
		require.Equal(b.t, []bool{true, false, true, false, true, false}, told)
	})
}

// TestARequestThatEndsItsConnectionIsNotSentForEver: the server closes the connection because of what a request is, as
// it would each time. The request fails, and what else there is goes on. This takes a server that hasn't said what is too
// much, or whose administrator has just changed it.
func TestARequestThatEndsItsConnectionIsNotSentForEver(t *testing.T) {
	inBubble(t, func(b *bubble) {
		n := b.line()
		a := n.client(client.Options{})
		held, err := a.Lock(background, client.Write("x"))
		require.NoError(b.t, err)
		client.ForgetBounds(a)
		_, err = a.Lock(background, client.Write("y"), client.Note(strings.Repeat("n", 70_000)))
		requireRefused(b.t, err, "limit")
		_, _, err = a.Inspect(background, nil, 0, "") // over the next connection
		require.NoError(b.t, err)
		client.ForgetBounds(a)
		segments := make([]string, 8200)
		_, err = a.Lock(background, client.Write(segments...))
		requireRefused(b.t, err, "malformed")
		require.NoError(b.t, held.Release(background))
		require.Equal(b.t, 3, n.connections())
	})
}

// TestARequestThatIsTooLongIsNotSentForEver over a real network, where the server's last word may come before the end
// of what it closes the connection for.
func TestARequestThatIsTooLongIsNotSentForEver(t *testing.T) {
	w := newWorld(t)
	a := w.dial(client.Options{})
	for _, bytes := range []int{70_000, 1 << 20, 8 << 20} {
		client.ForgetBounds(a)
		_, err := a.Lock(soon(t), client.Write("y"), client.Note(strings.Repeat("n", bytes)))
		requireRefused(t, err, "limit")
		_, _, err = a.Inspect(soon(t), nil, 0, "") // over the next connection
		require.NoError(t, err)
	}
	l, err := a.Lock(soon(t), client.Write("y"))
	require.NoError(t, err)
	require.NoError(t, l.Release(soon(t)))
}

func requireRefused(t testing.TB, err error, code string) {
	t.Helper()
	refused, ok := errors.AsType[*client.RefusedError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, code, refused.Code, "%v", err)
}

// TestManyLocksOutliveEventsThatWereMissed: more happened without a connection than the server keeps, and the session
// has more locks than a welcome lists. Those that are alive stay, those that ended are over, those that were granted
// are held.
func TestManyLocksOutliveEventsThatWereMissed(t *testing.T) {
	inBubble(t, func(b *bubble) {
		n := b.line()
		a, other := n.client(client.Options{TTL: faultTTL}), b.line().client(client.Options{})
		theirs, err := other.Lock(background, client.Write("theirs"))
		require.NoError(b.t, err)
		held := make([]*client.Lock, 2500)
		for i := range held {
			held[i], err = a.Lock(background, client.Write("mine", fmt.Sprint(i)))
			require.NoError(b.t, err)
		}
		short, err := a.Lock(background, client.Write("short"), client.Lease(3*time.Second))
		require.NoError(b.t, err)
		const waiters = 30
		granted := make(chan *client.Lock, waiters)
		for i := range waiters {
			go func() {
				l, err := a.Lock(background, client.Write("theirs", fmt.Sprint(i)))
				require.NoError(b.t, err)
				granted <- l
			}()
		}
		synctest.Wait()
		n.instead(refused)
		n.cut()
		require.NoError(b.t, theirs.Release(background))
		<-time.After(4 * time.Second)
		n.instead(nil)
		for range waiters {
			require.NoError(b.t, (<-granted).Err())
		}
		for _, l := range held {
			require.NoError(b.t, l.Err())
		}
		require.Error(b.t, short.Err())
		require.NoError(b.t, a.Close())
		nothingIsLeft(b.t, "locks of a session that was closed", other, time.Second)
	})
}

// TestNothingPilesUpWithoutAConnection: requests that were given up before anybody could hear of them are forgotten.
func TestNothingPilesUpWithoutAConnection(t *testing.T) {
	inBubble(t, func(b *bubble) {
		n := b.line()
		a := n.client(client.Options{})
		n.instead(refused)
		n.cut()
		synctest.Wait()
		for range 1000 {
			ctx, cancel := context.WithTimeout(background, time.Millisecond)
			_, err := a.Lock(ctx, client.Write("x"))
			cancel()
			require.ErrorIs(b.t, err, context.DeadlineExceeded)
		}
		require.LessOrEqual(b.t, client.Unanswered(a), 3)
	})
}

// TestWaitingEndsWhenTheServerLetsNobodyIn: the credentials are no longer good when the client connects again. It says
// so instead of waiting for ever, and goes on when they are good again.
func TestWaitingEndsWhenTheServerLetsNobodyIn(t *testing.T) {
	inBubble(t, func(b *bubble) {
		n := b.line()
		a, other := n.client(client.Options{TTL: faultTTL}), b.line().client(client.Options{})
		theirs, err := other.Lock(background, client.Write("x"))
		require.NoError(b.t, err)
		waiting := make(chan error)
		go func() { _, err := a.Lock(background, client.Write("x")); waiting <- err }()
		synctest.Wait()
		n.instead(forbidden)
		n.cut()
		require.True(b.t, client.Denied(<-waiting))
		_, err = a.Lock(background, client.Write("y"))
		require.True(b.t, client.Denied(err), "%v", err)
		_, _, err = a.Inspect(background, nil, 0, "")
		require.True(b.t, client.Denied(err), "%v", err)
		n.instead(nil)
		<-time.After(faultTTL)
		mine, err := a.Lock(background, client.Write("y"))
		require.NoError(b.t, err)
		require.NoError(b.t, mine.Release(background))
		require.NoError(b.t, theirs.Release(background))
		nothingIsLeft(b.t, "a request that was given up", other, time.Second)
	})
}

// forbidden is a server that lets nobody in.
func forbidden(context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		if _, err := http.ReadRequest(bufio.NewReader(far)); err == nil {
			_, _ = io.WriteString(far, "HTTP/1.1 403 Forbidden\r\nContent-Length: 12\r\n\r\nyou are out\n")
		}
	}()
	return near, nil
}

// TestADialThatFailsLeavesNothing: no goroutine, that is, or the bubble would complain.
func TestADialThatFailsLeavesNothing(t *testing.T) {
	inBubble(t, func(b *bubble) {
		n := b.line()
		n.instead(refused)
		_, err := n.dial(client.Options{})
		require.ErrorIs(b.t, err, syscall.ECONNREFUSED)
		n.instead(forbidden)
		_, err = n.dial(client.Options{})
		require.True(b.t, client.Denied(err), "%v", err)
		require.EqualError(b.t, err, "locktopus: denied: you are out")
		n.instead(nil)
		_, err = n.dial(client.Options{Name: strings.Repeat("n", 1000)})
		requireRefused(b.t, err, "limit")
		_, err = n.dial(client.Options{Name: "a\x00"})
		require.ErrorIs(b.t, err, client.ErrArgument)
		_, err = n.dial(client.Options{Credentials: map[string]string{"token": "\xff"}})
		require.EqualError(b.t, err, `locktopus: the credential "token" is not UTF-8`)
		_, err = n.dial(client.Options{Authorize: func(context.Context) (http.Header, map[string]string, error) {
			return nil, nil, errors.New("the vault is closed")
		}})
		require.EqualError(b.t, err, "locktopus: no credentials: the vault is closed")
	})
}

// TestCredentialsCanBeNewForEachConnection.
func TestCredentialsCanBeNewForEachConnection(t *testing.T) {
	inBubble(t, func(b *bubble) {
		n := b.line()
		var asked atomic.Int32
		a := n.client(client.Options{Authorize: func(context.Context) (http.Header, map[string]string, error) {
			k := asked.Add(1)
			if k == 2 {
				return nil, nil, errors.New("not now")
			}
			return http.Header{"Authorization": {"Bearer " + fmt.Sprint(k)}}, map[string]string{"token": fmt.Sprint(k)}, nil
		}})
		n.cut()
		l, err := a.Lock(background, client.Write("x"))
		require.NoError(b.t, err)
		require.NoError(b.t, l.Release(background))
		require.EqualValues(b.t, 3, asked.Load())
	})
}

// TestAServerInTroubleIsNotHammered: it welcomes everybody and is gone at the first request.
func TestAServerInTroubleIsNotHammered(t *testing.T) {
	inBubble(t, func(b *bubble) {
		n := b.line()
		a := n.client(client.Options{BackoffMin: 100 * time.Millisecond, BackoffMax: 5 * time.Second})
		n.fault = func(k int, toServer bool) fault {
			n.mu.Lock()
			defer n.mu.Unlock()
			if toServer && n.since > 4 {
				return before
			}
			return none
		}
		ctx, cancel := context.WithTimeout(background, time.Minute)
		defer cancel()
		_, err := a.Lock(ctx, client.Write("x"))
		require.Error(b.t, err)
		require.Less(b.t, n.connections(), 25)
	})
}

// TestReleaseEndsWhenTheLockWouldHave: the server isn't heard any more, and the caller has set no limit.
func TestReleaseEndsWhenTheLockWouldHave(t *testing.T) {
	inBubble(t, func(b *bubble) {
		n := b.line()
		a := n.client(client.Options{TTL: faultTTL})
		l, err := a.Lock(background, client.Write("x"))
		require.NoError(b.t, err)
		n.instead(refused)
		n.cut()
		began := time.Now()
		require.ErrorIs(b.t, l.Release(background), client.ErrDeadline)
		require.Less(b.t, time.Since(began), faultTTL)
		require.ErrorIs(b.t, l.Err(), client.ErrReleased)
	})
}

// TestALockHasTheValuesOfItsContextAndNotItsEnd.
func TestALockHasTheValuesOfItsContextAndNotItsEnd(t *testing.T) {
	type key struct{}
	inBubble(t, func(b *bubble) {
		a := b.line().client(client.Options{})
		ctx, cancel := context.WithCancel(context.WithValue(background, key{}, "trace"))
		l, err := a.Lock(ctx, client.Write("x"))
		require.NoError(b.t, err)
		cancel()
		require.NoError(b.t, l.Context().Err())
		require.Equal(b.t, "trace", l.Context().Value(key{}))
	})
}

// TestWhoCannotConnectIsToldWhereAndWhy, in the terms of the address that was given.
func TestWhoCannotConnectIsToldWhereAndWhy(t *testing.T) {
	inBubble(t, func(b *bubble) {
		n := b.line()
		n.instead(refused)
		_, err := n.dial(client.Options{})
		require.EqualError(t, err, "locktopus: cannot connect to ws://memory: dial: connection refused")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
	})
}

// TestTheNextAttemptComesInTime: the pause between two attempts to connect stays short beside the time that locks last,
// or a network that is back in time would find the client waiting until they are lost.
func TestTheNextAttemptComesInTime(t *testing.T) {
	for ttl, longest := range map[time.Duration]time.Duration{3 * time.Second: 600 * time.Millisecond, time.Minute: 5 * time.Second} {
		inBubble(t, func(b *bubble) {
			n := b.line()
			n.client(client.Options{TTL: ttl})
			var tried []time.Time
			n.instead(func(ctx context.Context) (net.Conn, error) {
				tried = append(tried, time.Now())
				return refused(ctx)
			})
			n.cut()
			<-time.After(time.Minute)
			n.instead(nil)
			<-time.After(longest)
			most := time.Duration(0)
			for i := range tried[1:] {
				most = max(most, tried[i+1].Sub(tried[i]))
			}
			require.LessOrEqual(t, most, longest)
			require.Greater(t, most, longest/2)
		})
	}
}
