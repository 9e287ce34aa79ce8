package session

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

func nowOrNever(r Request) Request { return with(r, func(r *Request) { r.WaitMS = 0 }) }

func TestRefusalsSayWhoIsInTheWay(t *testing.T) {
	w := newWorld(t, Defaults)
	w.conns++
	named, at := w.conns, uint64(0)
	s, err := w.space.Open(w.now, named, Hello{ID: "n", Secret: []byte("secret"), Name: []byte("worker-7"), TTL: wire.V2None}, &w.fx)
	require.NoError(t, err)
	w.do(s, named, with(lockRequest(1, read("a", "b")), func(r *Request) { r.Note = []byte("deploy 12") }))
	other, at := w.open(wire.V2None)
	w.now += 5 * ms
	_, err = w.space.LockForeign(w.now, 1, []engine.Resource{read("a")}, &w.fx)
	require.NoError(t, err)
	w.do(other, at, lockRequest(1, write("a")))
	w.lastIs(`{"id":1,"state":"enqueued","ahead":2}`)
	w.now += 7 * ms
	w.do(s, named, nowOrNever(lockRequest(2, read("a", "c"))))
	w.lastIs(`{"id":2,"state":"unavailable","blockers":[{"session":"secret-id-2","lock":1,"type":"write","path":["a"],"state":"enqueued","since_ms":7}]}`)
	w.do(other, at, nowOrNever(lockRequest(2, write())))
	w.lastIs(`{"id":2,"state":"unavailable","blockers":[` +
		`{"session":"worker-7","lock":1,"note":"deploy 12","type":"read","path":["a","b"],"state":"acquired","since_ms":12},` +
		`{"session":"v1","lock":2,"type":"read","path":["a"],"state":"acquired"},` +
		`{"session":"secret-id-2","lock":1,"type":"write","path":["a"],"state":"enqueued","since_ms":7}]}`)
	w.do(other, at, nowOrNever(lockRequest(2, write())))
	w.lastIs(`{"id":2,"state":"unavailable"}`) // a retry: who it was is known no more
	w.do(s, named, with(request(wire.V2Upgrade, 3, 1), func(r *Request) { r.WaitMS = 0 }))
	w.lastIs(`{"id":3,"lock":1,"error":"unavailable","blockers":[{"session":"v1","lock":2,"type":"read","path":["a"],"state":"acquired"}],"message":"the upgrade can't be had now; the lock is what it was"}`)
}

// TestASessionCannotPassForTheServer, nor for a client of version 1: one that is called so is known by its id.
func TestASessionCannotPassForTheServer(t *testing.T) {
	for _, name := range []string{"server", "v1"} {
		w := newWorld(t, Defaults)
		w.conns++
		named := w.conns
		s, err := w.space.Open(w.now, named, Hello{ID: "its id", Secret: []byte("secret"), Name: []byte(name), TTL: wire.V2None}, &w.fx)
		require.NoError(t, err)
		w.do(s, named, lockRequest(1, read("a")))
		other, at := w.open(wire.V2None)
		w.do(other, at, nowOrNever(lockRequest(1, write("a"))))
		w.lastIs(`{"id":1,"state":"unavailable","blockers":[{"session":"its id","lock":1,"type":"read","path":["a"],"state":"acquired","since_ms":0}]}`)
	}
}

// TestWhatIsToldOfThoseInTheWayIsBounded at its limits, and one past them.
func TestWhatIsToldOfThoseInTheWayIsBounded(t *testing.T) {
	w := newWorld(t, Defaults)
	s, at := w.open(wire.V2None)
	readers := func(id uint64, n int, names ...string) {
		for k := range n {
			w.do(s, at, lockRequest(id+uint64(k), read(names...)))
		}
	}
	blockers := func(id uint64, names ...string) int {
		w.do(s, at, nowOrNever(lockRequest(id, write(names...))))
		require.Equal(t, wire.V2Unavailable, w.state())
		return len(w.fx.Messages[0].Blockers)
	}
	readers(1, mostBlockers, "a")
	require.Equal(t, mostBlockers, blockers(50, "a"))
	readers(51, 1, "a")
	require.Equal(t, mostBlockers, blockers(52, "a"))

	long := strings.Repeat("x", mostPaths/2-24)
	readers(60, 2, long)
	require.Equal(t, 2, blockers(62, long))
	readers(63, 1, long)
	require.Equal(t, 2, blockers(64, long))
	longer := strings.Repeat("x", mostPaths-23)
	readers(70, 1, longer)
	require.Zero(t, blockers(71, longer))
	w.lastIs(`{"id":71,"state":"unavailable","blockers":[]}`)

	readers(100, mostAhead, "b")
	w.do(s, at, lockRequest(300, write("b")))
	w.lastIs(fmt.Sprintf(`{"id":300,"state":"enqueued","ahead":%d}`, mostAhead))
	w.do(s, at, lockRequest(301, write("b")))
	w.lastIs(fmt.Sprintf(`{"id":301,"state":"enqueued","ahead":%d}`, mostAhead))
	w.do(s, at, request(wire.V2Release, 302, 100))
	w.do(s, at, lockRequest(300, write("b")))
	w.lastIs(fmt.Sprintf(`{"id":300,"state":"enqueued","ahead":%d}`, mostAhead-1))
}

// TestWhoWasInTheWayIsToldOnce, with the end of the wait: to who is there, and with as many events as there may be.
func TestWhoWasInTheWayIsToldOnce(t *testing.T) {
	w := newWorld(t, Defaults)
	holder, atHolder := w.open(wire.V2MaxID)
	w.do(holder, atHolder, lockRequest(1, write("a")))
	s, at := w.open(wire.V2MaxID)
	wait := func(from, n uint64) {
		for id := from; id < from+n; id++ {
			w.do(s, at, with(lockRequest(id, read("a")), func(r *Request) { r.WaitMS = 10 }))
		}
		w.now += 10 * ms
		w.space.Tick(w.now, &w.fx)
	}
	told := func() (lists []int) {
		for _, m := range w.fx.Messages {
			require.Equal(t, wire.V2Timeout, m.State)
			if m.Blockers == nil {
				lists = append(lists, -1)
			} else {
				lists = append(lists, len(m.Blockers))
			}
		}
		return lists
	}
	wait(1, 1)
	require.Equal(t, []uint64{at}, w.fx.Wake)
	w.space.Collect(w.now, s, at, &w.fx)
	w.lastIs(`{"event":1,"lock":1,"state":"timeout","blockers":[{"session":"secret-id-1","lock":1,"type":"write","path":["a"],"state":"acquired","since_ms":10}]}`)
	resume := func() {
		_, err := w.space.Resume(w.now, at+1, Resumption{ID: s.id, Secret: wire.V2Secret("secret"), New: wire.V2Secret("secret")}, &w.fx)
		require.NoError(t, err)
		at++
	}
	resume()
	require.Equal(t, []int{-1}, told())

	wait(10, mostCrowds)
	w.space.Collect(w.now, s, at, &w.fx)
	require.NotContains(t, told(), -1)
	wait(100, mostCrowds+1)
	require.Len(t, s.events.crowds, mostCrowds)
	w.space.Collect(w.now, s, at, &w.fx)
	require.Equal(t, append(make([]int, 0), 1), told()[mostCrowds-1:mostCrowds])
	require.Equal(t, -1, told()[mostCrowds])
	require.Nil(t, s.events.crowds)

	wait(200, 1)
	w.space.Detach(w.now, s, at, &w.fx)
	require.Nil(t, s.events.crowds, "nobody is there to hear it")
	resume()
	w.do(s, at, with(lockRequest(300, read("a")), func(r *Request) { r.WaitMS = 10 }))
	w.space.Detach(w.now, s, at, &w.fx)
	w.now += 10 * ms
	w.space.Tick(w.now, &w.fx)
	require.Nil(t, s.events.crowds)
}
