package quorum_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/locktopus-project/locktopus/v2/client"
	"github.com/locktopus-project/locktopus/v2/client/quorum"
	"github.com/locktopus-project/locktopus/v2/internal/server"
	"github.com/locktopus-project/locktopus/v2/internal/testserver"
)

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// serve starts so many independent servers.
func serve(t testing.TB, n int) (servers []*server.Server, addresses []string) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	for range n {
		s, host, err := testserver.Start(nil)
		require.NoError(t, err)
		t.Cleanup(func() { _ = s.Close() }) // some tests close it before
		servers = append(servers, s)
		addresses = append(addresses, "ws://"+host+"/v2?namespace=test")
	}
	return servers, addresses
}

func dial(t testing.TB, addresses []string) *quorum.Quorum {
	q, err := quorum.Dial(soon(t), addresses, &client.Options{TTL: time.Second}, 0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, q.Close()) })
	return q
}

// held says on how many servers a lock is held.
func held(l *quorum.Lock) (n int) {
	for _, token := range l.Tokens() {
		if token != 0 {
			n++
		}
	}
	return n
}

func TestAMajorityExcludesOthers(t *testing.T) {
	_, addresses := serve(t, 3)
	a, b := dial(t, addresses), dial(t, addresses)
	lock, err := a.Lock(soon(t), client.Write("x"))
	require.NoError(t, err)
	require.Equal(t, 3, held(lock))
	ctx, cancel := context.WithTimeout(soon(t), 200*time.Millisecond)
	defer cancel()
	_, err = b.Lock(ctx, client.Write("x", "below"))
	requirePlain(t, err, "acquired on 0 of 3 servers, 2 are needed: "+addresses[0][:strings.IndexByte(addresses[0], '?')]+": ")
	got := make(chan *quorum.Lock)
	go func() {
		l, err := b.Lock(soon(t), client.Write("x"))
		if err != nil {
			t.Error(err)
		}
		got <- l
	}()
	require.NoError(t, lock.Release(soon(t)))
	next := <-got
	require.NoError(t, next.Context().Err())
	require.NoError(t, next.Release(soon(t)))
}

// TestALockOutlivesAServerAndNotTwo loses one server, with which the lock goes on, and then another.
func TestALockOutlivesAServerAndNotTwo(t *testing.T) {
	servers, addresses := serve(t, 3)
	q := dial(t, addresses)
	lock, err := q.Lock(soon(t), client.Write("x"))
	require.NoError(t, err)
	require.Equal(t, 3, held(lock))
	require.NoError(t, servers[0].Close())
	part, err := client.Dial(soon(t), addresses[1], nil)
	require.NoError(t, err)
	defer part.Close()
	<-time.After(1500 * time.Millisecond) // longer than a session lives without its server
	require.NoError(t, lock.Context().Err())
	_, err = part.TryLock(soon(t), client.Write("x"))
	require.Error(t, err, "still held there")
	require.NoError(t, servers[1].Close())
	<-lock.Context().Done()
	require.ErrorIs(t, context.Cause(lock.Context()), quorum.ErrMinority)
	require.ErrorIs(t, lock.Release(soon(t)), quorum.ErrMinority)
}

func TestAMinorityIsNoQuorum(t *testing.T) {
	servers, addresses := serve(t, 3)
	require.NoError(t, servers[0].Close())
	require.NoError(t, servers[2].Close())
	_, err := quorum.Dial(soon(t), addresses, nil, 0)
	requirePlain(t, err, "1 of 3 servers reached, 2 are needed: cannot connect to ")
}

// TestServersAreAskedInTheirOrder: who waits at one has nothing of a later one.
func TestServersAreAskedInTheirOrder(t *testing.T) {
	_, addresses := serve(t, 3)
	q := dial(t, addresses)
	single := make([]*client.Client, len(addresses))
	for i, a := range addresses {
		var err error
		single[i], err = client.Dial(soon(t), a, nil)
		require.NoError(t, err)
		defer single[i].Close()
	}
	for i := range 2 { // the third isn't waited for
		taken, err := single[i].Lock(soon(t), client.Write("x"))
		require.NoError(t, err)
		got := make(chan *quorum.Lock)
		go func() {
			l, err := q.Lock(soon(t), client.Write("x"))
			if err != nil {
				t.Error(err)
			}
			got <- l
		}()
		for waits := false; !waits; {
			locks, _, err := single[i].Inspect(soon(t), []string{"x"}, 10, "")
			require.NoError(t, err)
			waits = len(locks) == 2
		}
		for k, c := range single {
			l, err := c.TryLock(soon(t), client.Write("x"))
			if k <= i {
				require.Error(t, err, "server %d while it waits at %d", k, i)
				continue
			}
			require.NoError(t, err, "server %d while it waits at %d", k, i)
			require.NoError(t, l.Release(soon(t)))
		}
		require.NoError(t, taken.Release(soon(t)))
		l := <-got
		require.Equal(t, 3, held(l))
		require.NoError(t, l.Release(soon(t)))
	}
}

// TestAServerThatIsLostWhileAnotherIsWaitedFor doesn't count.
func TestAServerThatIsLostWhileAnotherIsWaitedFor(t *testing.T) {
	servers, addresses := serve(t, 3)
	q := dial(t, addresses)
	var taken []*client.Lock
	for _, a := range addresses[1:] {
		c, err := client.Dial(soon(t), a, nil)
		require.NoError(t, err)
		defer c.Close()
		l, err := c.Lock(soon(t), client.Write("x"))
		require.NoError(t, err)
		taken = append(taken, l)
	}
	fault := make(chan error)
	go func() { _, err := q.Lock(soon(t), client.Write("x")); fault <- err }()
	watcher, err := client.Dial(soon(t), addresses[1], nil)
	require.NoError(t, err)
	defer watcher.Close()
	for waits := false; !waits; {
		locks, _, err := watcher.Inspect(soon(t), []string{"x"}, 10, "")
		require.NoError(t, err)
		waits = len(locks) == 2
	}
	require.NoError(t, servers[0].Close())
	<-time.After(1500 * time.Millisecond) // longer than a session lives without its server
	require.NoError(t, taken[0].Release(soon(t)))
	require.ErrorIs(t, <-fault, quorum.ErrMinority)
	again, err := watcher.Lock(soon(t), client.Write("x"))
	require.NoError(t, err, "what it had is given back")
	require.NoError(t, again.Release(soon(t)))
}

// TestALockOnFiveOutlivesTwo.
func TestALockOnFiveOutlivesTwo(t *testing.T) {
	servers, addresses := serve(t, 5)
	q, err := quorum.Dial(soon(t), addresses, &client.Options{TTL: 4 * time.Second}, 0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, q.Close()) })
	lock, err := q.Lock(soon(t), client.Write("x"))
	require.NoError(t, err)
	require.Equal(t, 5, held(lock))
	require.NoError(t, servers[4].Close())
	require.NoError(t, servers[0].Close())
	<-time.After(5 * time.Second) // longer than a session lives without its server
	require.NoError(t, lock.Context().Err())
	require.NoError(t, lock.Release(soon(t)))
	lock, err = q.Lock(soon(t), client.Write("x"))
	require.NoError(t, err, "three are a majority")
	require.Equal(t, 3, held(lock))
	require.NoError(t, servers[2].Close())
	<-lock.Context().Done()
	require.ErrorIs(t, lock.Release(soon(t)), quorum.ErrMinority)
	_, err = q.Lock(soon(t), client.Write("x"))
	require.ErrorContains(t, err, "3 are needed")
}

func TestAddressesThatAreNoQuorum(t *testing.T) {
	const a = "ws://127.0.0.1:1/v2?namespace=a"
	for want, addresses := range map[string][]string{
		"are not the same":                {},
		"are not the same, but":           {a, a},
		"must begin with ws:// or wss://": {a, "http://127.0.0.1:1/v2?namespace=a"},
	} {
		_, err := quorum.Dial(soon(t), addresses, nil, 0)
		require.ErrorContains(t, err, want)
	}
}

// TestAGuardLetsThroughWhatAMajorityWould: holders that overlap on one server, in all ways, and writes that come late.
func TestAGuardLetsThroughWhatAMajorityWould(t *testing.T) {
	var g quorum.Guard
	require.NoError(t, g.Write([]uint64{7, 3, 0}))
	require.NoError(t, g.Write([]uint64{0, 4, 1}), "the next one, on another majority")
	require.ErrorAs(t, g.Write([]uint64{7, 3, 0}), new(*client.StaleError), "the first wakes up")
	require.ErrorAs(t, g.Read([]uint64{7, 3, 0}), new(*client.StaleError))
	seen, wrote := g.Marks()
	require.Equal(t, []uint64{7, 4, 1}, seen)
	require.Equal(t, seen, wrote)
	var h quorum.Guard
	h.Restore(seen, wrote)
	require.NoError(t, h.Read([]uint64{8, 5, 2}), "a reader on all of them")
	require.ErrorAs(t, h.Write([]uint64{0, 4, 1}), new(*client.StaleError), "it counts on what it has read")
	require.NoError(t, h.Read([]uint64{0, 4, 1}))
	require.Error(t, h.Write([]uint64{9, 0, 0}), "no majority")
	require.NoError(t, h.Write([]uint64{9, 6, 0}))
}

// TestWhatIsNotEnoughIsGivenBack: one server is gone and another has granted the lock to somebody else, so that
// there is no majority, and nothing of the attempt stays on the third.
func TestWhatIsNotEnoughIsGivenBack(t *testing.T) {
	servers, addresses := serve(t, 3)
	q := dial(t, addresses)
	other, err := client.Dial(soon(t), addresses[2], nil)
	require.NoError(t, err)
	defer other.Close()
	require.NoError(t, servers[1].Close())
	taken, err := other.Lock(soon(t), client.Write("x"))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(soon(t), 300*time.Millisecond)
	defer cancel()
	_, err = q.Lock(ctx, client.Write("x"))
	require.ErrorContains(t, err, "acquired on 1 of 3 servers, 2 are needed")
	first, err := client.Dial(soon(t), addresses[0], nil)
	require.NoError(t, err)
	defer first.Close()
	back, err := first.Lock(soon(t), client.Write("x"))
	require.NoError(t, err)
	require.NoError(t, back.Release(soon(t)))
	require.NoError(t, taken.Release(soon(t)))
}

// TestALockKnowsWhenItEnds without a word from any server, and has the values of its context.
func TestALockKnowsWhenItEnds(t *testing.T) {
	_, addresses := serve(t, 3)
	q := dial(t, addresses)
	type key struct{}
	asking, cancel := context.WithCancel(context.WithValue(soon(t), key{}, "value"))
	lock, err := q.Lock(asking, client.Write("x"))
	require.NoError(t, err)
	cancel()
	require.NoError(t, lock.Err())
	require.Equal(t, "value", lock.Context().Value(key{}))
	require.Greater(t, lock.Deadline(), time.Duration(0))
	require.Less(t, lock.Deadline(), time.Second)
	require.NoError(t, lock.Release(soon(t)))
	<-lock.Done()
	require.ErrorIs(t, lock.Err(), client.ErrReleased)
	require.Zero(t, lock.Deadline())
	require.NoError(t, lock.Release(soon(t)), "a second time")
}

// TestErrTellsAMinority: as many servers end as it can't do without, and Err knows as soon as its parts do.
func TestErrTellsAMinority(t *testing.T) {
	servers, addresses := serve(t, 3)
	q := dial(t, addresses)
	lock, err := q.Lock(soon(t), client.Write("x"))
	require.NoError(t, err)
	require.NoError(t, servers[0].Close())
	require.NoError(t, servers[1].Close())
	<-lock.Done()
	require.ErrorIs(t, lock.Err(), quorum.ErrMinority)
	require.Zero(t, lock.Deadline())
	require.ErrorIs(t, lock.Release(soon(t)), quorum.ErrMinority)
	requirePlain(t, lock.Err(), "/v2: the lock")
}

// requirePlain looks at what an error says of several servers: in one line, and whose it is once.
func requirePlain(t *testing.T, err error, part string) {
	t.Helper()
	require.ErrorContains(t, err, part)
	require.Equal(t, 1, strings.Count(err.Error(), "locktopus: "), "%v", err)
	require.NotContains(t, err.Error(), "\n")
}
