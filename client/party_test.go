package client_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/client"
)

// TestTasksThatWouldWaitForEachOtherAreTold: two tasks of one client, and one of another, in a circle.
func TestTasksThatWouldWaitForEachOtherAreTold(t *testing.T) {
	inBubble(t, func(b *bubble) {
		a, other := b.line().client(client.Options{Name: "a"}), b.line().client(client.Options{Name: "other"})
		first, second, third := client.NewParty(), client.NewParty(), client.NewParty()
		var held []*client.Lock
		for path, who := range map[string]struct {
			c     *client.Client
			party client.Party
		}{"1": {a, first}, "2": {a, second}, "3": {other, third}} {
			l, err := who.c.Lock(background, client.Write(path), who.party)
			require.NoError(b.t, err)
			held = append(held, l)
		}
		waiting := make(chan *client.Lock, 2)
		wait := func(c *client.Client, path string, party client.Party) {
			go func() {
				l, err := c.Lock(background, client.Write(path), party)
				require.NoError(b.t, err)
				waiting <- l
			}()
			synctest.Wait()
		}
		wait(a, "2", first)
		wait(a, "3", second)
		_, err := other.Lock(background, client.Write("1"), third)
		deadlock, ok := errors.AsType[*client.DeadlockError](err)
		require.True(b.t, ok, "%v", err)
		require.Len(b.t, deadlock.Cycle, 3)
		require.ErrorContains(b.t, err, "locktopus: that would be a deadlock: ")
		require.ErrorContains(b.t, err, "acquired by a")
		for _, l := range held {
			require.NoError(b.t, l.Release(background))
		}
		require.NoError(b.t, (<-waiting).Release(background))
		require.NoError(b.t, (<-waiting).Release(background))
	})
}

// TestGoroutinesThatShareAClientAreNoDeadlock: to a server that looked at sessions alone it would be one.
func TestGoroutinesThatShareAClientAreNoDeadlock(t *testing.T) {
	inBubble(t, func(b *bubble) {
		a, other := b.line().client(client.Options{}), b.line().client(client.Options{})
		done := make(chan error)
		for range 20 {
			for _, c := range []*client.Client{a, other} {
				go func() {
					var err error
					for range 10 {
						var l *client.Lock
						if l, err = c.Lock(background, client.Write("x")); err != nil {
							break
						}
						err = errors.Join(err, l.Release(background))
					}
					done <- err
				}()
			}
		}
		for range 40 {
			require.NoError(b.t, <-done)
		}
	})
}
