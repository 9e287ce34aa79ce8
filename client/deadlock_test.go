package client_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/client"
	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

func TestADeadlockSaysWhoIsInIt(t *testing.T) {
	inBubble(t, func(b *bubble) {
		x, y := b.line().client(client.Options{Name: "x"}), b.line().client(client.Options{Name: "y"})
		mine, theirs := client.NewParty(), client.NewParty()
		_, err := x.Lock(background, client.Write("a"), mine)
		require.NoError(b.t, err)
		_, err = y.Lock(background, client.Read("b"), theirs, client.Note("deploy 12"))
		require.NoError(b.t, err)
		done := make(chan error, 1)
		go func() { _, err := y.Lock(background, client.Read("a"), theirs); done <- err }()
		<-time.After(time.Second)
		_, err = x.Lock(background, client.Write("b"), mine)
		_, ok := errors.AsType[*client.DeadlockError](err)
		require.True(b.t, ok, "%v", err)
		require.EqualError(b.t, err, `locktopus: that would be a deadlock: read of "b", acquired by y for 1s ("deploy 12"), then write of "a", acquired by x for 1s`)
		require.NoError(b.t, x.Close())
		require.NoError(b.t, <-done)
	})
}

// TestTasksThatTakeLocksOneByOneAllComeToTheirEnd has tasks of several clients take what they want in any order, without
// a limit to their waits. Whoever is refused lets go and begins anew: if a deadlock was missed, this never ended.
func TestTasksThatTakeLocksOneByOneAllComeToTheirEnd(t *testing.T) {
	const clients, tasks, rounds = 3, 4, 20
	seed := testseed.New(t)
	w := newWorld(t)
	ctx := soon(t)
	var refused atomic.Int64
	errs := make(chan error, clients*tasks)
	var work sync.WaitGroup
	for k := range clients {
		c := w.dial(client.Options{Name: fmt.Sprint(k)})
		for n := range tasks {
			work.Go(func() {
				r := rand.New(rand.NewPCG(seed, uint64(k*tasks+n)))
				for done := 0; done < rounds; {
					switch err := meal(ctx, c, r); {
					case err == nil:
						done++
					case isDeadlock(err):
						refused.Add(1)
					default:
						errs <- fmt.Errorf("task %d of client %d, %d done: %w", n, k, done, err)
						return
					}
				}
			})
		}
	}
	work.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	require.NotZero(t, refused.Load(), "nobody was ever in anybody's way")
	t.Logf("%d refusals", refused.Load())
}

func isDeadlock(err error) bool {
	refused, ok := errors.AsType[*client.RefusedError](err)
	deadlock, _ := errors.AsType[*client.DeadlockError](err)
	return deadlock != nil || ok && refused.Code == "upgrade_conflict"
}

// meal takes some of few things, one by one, and lets go of them in the end.
func meal(ctx context.Context, c *client.Client, r *rand.Rand) (err error) {
	party := client.NewParty()
	var held []*client.Lock
	defer func() {
		for _, l := range held {
			err = errors.Join(err, l.Release(ctx))
		}
	}()
	pool := 0
	for _, k := range r.Perm(4)[:2+r.IntN(3)] { // what a party has already it would wait for
		path := string(rune('a' + k))
		items := []client.Item{party, client.Note(path)}
		switch r.IntN(4) {
		case 0:
			items = append(items, client.Write(path))
		case 1:
			items = append(items, client.Read(path, "below"))
		default:
			items = append(items, client.Read(path))
		}
		if pool < 2 && r.IntN(2) == 0 {
			items = append(items, client.Permit(3, "pool"))
			pool++
		}
		l, err := c.Lock(ctx, items...)
		if err != nil {
			return err
		}
		held = append(held, l)
		if r.IntN(4) == 0 {
			if err := l.Upgrade(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}
