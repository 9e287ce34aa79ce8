package client_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/client"
)

var background = context.Background()

const faultTTL = 10 * time.Second

// ledger knows who believes to hold what.
type ledger struct {
	t  testing.TB
	mu sync.Mutex
	at map[string][]*client.Lock
}

// enter is called by whoever has been given a lock of a path for writing: nobody else may believe to have it.
func (g *ledger) enter(what, path string, l *client.Lock) {
	if l.Context().Err() != nil {
		return // it knows that it came too late
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, other := range g.at[path] {
		if other != l && other.Context().Err() == nil {
			g.t.Errorf("%s: two hold %s, with tokens %d and %d", what, path, other.Token(), l.Token())
		}
	}
	g.at[path] = append(g.at[path], l)
}

// play does a little of everything over a line with faults, beside another client over one without any. It returns
// the errors that there were.
func play(g *ledger, what string, n *line, other *client.Client) (faults []error) {
	a, err := n.dial(client.Options{TTL: faultTTL, Name: "a"})
	if err != nil {
		return nil // there is no session, and Dial says so
	}
	fault := func(step string, err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", step, err))
		}
	}
	var rivals sync.WaitGroup
	take := func(c *client.Client, path string, items ...client.Item) *client.Lock {
		if c == a {
			rivals.Go(func() { rival(g, what, path, other) })
		}
		l, err := c.Lock(background, append(items, client.Write(path))...)
		if err != nil {
			fault("lock "+path, err)
			return nil
		}
		g.enter(what, path, l)
		return l
	}
	give := func(l *client.Lock) {
		if l != nil {
			fault("release", l.Release(background))
		}
	}
	// behind has a wait until other gives a path up.
	behind := func(path string, items ...client.Item) *client.Lock {
		first := take(other, path)
		got := make(chan *client.Lock)
		go func() { got <- take(a, path, items...) }()
		<-time.After(time.Second)
		give(first)
		return <-got
	}
	x := take(a, "x")
	y := behind("y")
	z := behind("z", client.Impatient())
	leased := behind("leased", client.Lease(20*time.Second))
	gaveUp(a, other)
	pool, err := a.Lock(background, client.Permit(2, "pool"), client.Note("one of two"))
	fault("pool", err)
	if leased != nil {
		fault("renew", leased.Renew(background))
	}
	<-time.After(2 * time.Second)
	for _, l := range []*client.Lock{x, y, z, leased, pool} {
		if l != nil {
			fault("meanwhile", l.Err())
		}
		give(l)
	}
	fault("upgrade", upgrades(a, other))
	rivals.Wait()
	nothingIsLeft(g.t, what+", before it closes", other, 3*faultTTL)
	fault("close", a.Close())
	return faults
}

// rival is next in the queue for a path, and keeps it for longer than any message is under way.
func rival(g *ledger, what, path string, c *client.Client) {
	<-time.After(time.Millisecond)
	ctx, cancel := context.WithTimeout(background, time.Hour)
	defer cancel()
	l, err := c.Lock(ctx, client.Write(path))
	if err != nil {
		g.t.Errorf("%s: the rival: %v", what, err)
		return
	}
	g.enter(what, path, l)
	<-time.After(3 * faultTTL)
	if err := l.Release(background); err != nil {
		g.t.Errorf("%s: the rival: %v", what, err)
	}
}

// gaveUp has a wait for what other has, and give up.
func gaveUp(a, other *client.Client) {
	held, err := other.Lock(background, client.Write("w"))
	if err != nil {
		return
	}
	ctx, cancel := context.WithCancel(background)
	done := make(chan struct{})
	go func() { _, _ = a.Lock(ctx, client.Write("w")); close(done) }()
	<-time.After(time.Second)
	cancel()
	<-done
	_ = held.Release(background)
}

// upgrades has a read with other, give an upgrade up, get one when other goes, and downgrade.
func upgrades(a, other *client.Client) error {
	mine, err := a.Lock(background, client.Read("u"))
	if err != nil {
		return err
	}
	defer mine.Release(background)
	theirs, err := other.Lock(background, client.Read("u"))
	if err != nil {
		return err
	}
	first := mine.Token()
	ctx, cancel := context.WithTimeout(background, time.Second)
	err = mine.Upgrade(ctx)
	cancel()
	if err == nil {
		return errors.New("upgraded while another reads")
	}
	if err := mine.Err(); err != nil {
		_ = theirs.Release(background)
		return err
	}
	done := make(chan error)
	go func() { done <- mine.Upgrade(background) }()
	<-time.After(time.Second)
	err = errors.Join(theirs.Release(background), <-done)
	if err == nil && mine.Token() <= first {
		err = errors.New("the token is not a new one")
	}
	return errors.Join(err, mine.Downgrade(background))
}

// nothingIsLeft waits until the whole namespace can be had, which must be so when a session's time is over.
func nothingIsLeft(t testing.TB, what string, other *client.Client, within time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(background, within+time.Second)
	defer cancel()
	all, err := other.Lock(ctx, client.Write())
	if err == nil {
		err = all.Release(background)
	}
	if err != nil {
		t.Errorf("%s: something is still held: %v", what, err)
	}
}

// TestACutAtAnyMomentCostsNothing loses the connection before, within and after each single write of a script, in both
// directions. The session is resumed each time: no lock is lost, and none is left behind.
func TestACutAtAnyMomentCostsNothing(t *testing.T) {
	inBubble(t, func(b *bubble) {
		other := b.line().client(client.Options{Name: "other"})
		g := &ledger{t: b.t, at: map[string][]*client.Lock{}}
		cuts := 0
		for at, passed := 0, false; !passed; at++ {
			for _, how := range []fault{before, halfway, after} {
				what := fmt.Sprintf("cut %d at write %d", how, at)
				n := b.line()
				passed = true
				n.fault = func(k int, _ bool) fault {
					if k != at {
						return none
					}
					passed = false
					cuts++
					return how
				}
				for _, err := range play(g, what, n, other) {
					if lost, ok := errors.AsType[*client.LostError](err); !ok || lost.State != "canceled" { // "z" leaves
						b.t.Errorf("%s: %v", what, err)
					}
				}
				nothingIsLeft(b.t, what, other, faultTTL)
			}
		}
		require.Greater(t, cuts, 60)
		t.Logf("%d cuts", cuts)
	})
}

// TestADelayAtAnyMomentIsNoticed holds each single write of a script up, for a part of a session's time or longer, and
// what is behind it. Locks may be lost by that; but whoever has lost one knows before another has it.
func TestADelayAtAnyMomentIsNoticed(t *testing.T) {
	inBubble(t, func(b *bubble) {
		other := b.line().client(client.Options{Name: "other"})
		g := &ledger{t: b.t, at: map[string][]*client.Lock{}}
		delays := 0
		for at, passed := 0, false; !passed; at++ {
			for _, tenths := range []time.Duration{5, 9, 11, 25} {
				what := fmt.Sprintf("delay of %d tenths at write %d", tenths, at)
				n := b.line()
				passed = true
				n.fault = func(k int, _ bool) fault {
					if k == at {
						passed = false
						delays++
						time.AfterFunc(tenths*faultTTL/10, n.silence())
					}
					return none
				}
				play(g, what, n, other)
				nothingIsLeft(b.t, what, other, 2*faultTTL)
			}
		}
		t.Logf("%d delays", delays)
	})
}
