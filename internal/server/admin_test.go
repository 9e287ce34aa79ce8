package server

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/engine"
)

// locksAt is all that administrators see at a path, in pages of a size.
func (n *fakeNet) locksAt(t testing.TB, most int, path ...string) (locks []LockInfo) {
	var p [][]byte
	for _, seg := range path {
		p = append(p, []byte(seg))
	}
	for next, more := "", true; more; more = next != "" {
		page, following, err := n.s.AdminLocks("n", p, next, most)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page), most)
		locks, next = append(locks, page...), following
	}
	return locks
}

func TestAdministratorsSeeHoldersAndWhoWaitsForWhom(t *testing.T) {
	n := newFake(testSettings(), nil)
	old, a, b := n.mustConnect(t, "namespace=n"), n.connectV2(t), n.connectV2(t)
	old.say(readA)
	w := a.greet(t, `{"op":"hello","name":"alice"}`)
	b.greet(t, helloV2)
	a.say(`{"op":"lock","id":4,"note":"deploy","resources":[{"type":"read","path":["a","b"]},{"type":"read","path":["elsewhere"]}]}`)
	b.say(`{"op":"lock","id":1,"resources":[{"type":"write","path":["a"]}]}`)

	locks := n.locksAt(t, 1, "a")
	require.Len(t, locks, 3)
	first, second, third := locks[0], locks[2], locks[1] // list by list: what ends at the path comes first
	require.Equal(t, LockInfo{
		Session: "v1", Lock: 1, Conn: uint64(old.id), Token: 1, State: "acquired", Since: -1, handle: first.handle,
		Resources: []engine.Resource{{Mode: engine.Read, Path: [][]byte{[]byte("a")}}},
	}, first)
	require.Equal(t, w.Session, second.Session)
	require.Equal(t, []any{"alice", uint64(4), uint64(2), "acquired", "deploy"}, []any{second.Name, second.Lock, second.Token, second.State, second.Note})
	require.Equal(t, []engine.Resource{{Mode: engine.Read, Path: [][]byte{[]byte("a"), []byte("b")}}}, second.Resources, "what is elsewhere isn't asked for")
	require.Equal(t, []any{"enqueued", uint64(0), false}, []any{third.State, third.Token, third.More})
	require.Len(t, third.WaitsFor, 2)
	require.Equal(t, Obstacle{
		Session: "v1", Lock: 1, State: "acquired", Since: -1,
		Has:   engine.Resource{Mode: engine.Read, Path: [][]byte{[]byte("a")}},
		Wants: engine.Resource{Mode: engine.Write, Path: [][]byte{[]byte("a")}},
	}, third.WaitsFor[0])
	require.Equal(t, []any{w.Session, "alice", uint64(4), "deploy"},
		[]any{third.WaitsFor[1].Session, third.WaitsFor[1].Name, third.WaitsFor[1].Lock, third.WaitsFor[1].Note})
	require.Empty(t, n.locksAt(t, 10, "b"))
	_, _, err := n.s.AdminLocks("n", nil, "nonsense", 10)
	require.ErrorIs(t, err, ErrPlace)
	_, _, err = n.s.AdminLocks("nobody", nil, "", 10)
	require.ErrorIs(t, err, ErrNoNamespace)
}

// TestPagesOfLocksHaveASize: somebody with very long paths doesn't make them as long.
func TestPagesOfLocksHaveASize(t *testing.T) {
	n := newFake(testSettings(), nil)
	c := n.connectV2(t)
	c.greet(t, helloV2)
	const many, long = 100, 60_000
	for id := range many {
		c.say(fmt.Sprintf(`{"op":"lock","id":%d,"resources":[{"type":"write","path":["%s"]}]}`, id+1, strings.Repeat("x", long)))
	}
	locks, next, err := n.s.AdminLocks("n", nil, "", 1000)
	require.NoError(t, err)
	require.NotEmpty(t, next)
	require.LessOrEqual(t, len(locks), bytesOfLocks/long+sliceBytes/long+2)
	told := 0
	for _, l := range locks {
		told += len(l.WaitsFor)
		require.True(t, l.State == "acquired" || l.More || len(l.WaitsFor) > 0)
	}
	require.LessOrEqual(t, told, bytesOfLocks/(2*long)+mostObstacles)
	require.Len(t, n.locksAt(t, 1000), many)
}

func TestAdministratorsPageThroughEverythingOnce(t *testing.T) {
	n := newFake(testSettings(), nil)
	for i := range 20 {
		c, refused := n.connect(fmt.Sprintf("namespace=n%d", i))
		require.Nil(t, refused)
		c.say(writeA)
		s := n.connectV2(t)
		s.greet(t, helloV2)
		s.say(fmt.Sprintf(`{"op":"lock","id":1,"resources":[{"type":"write","path":["%d"]}]}`, i))
	}
	var names []string
	for after, more := "", true; more; more = after != "" {
		var infos []NamespaceInfo
		infos, after = n.s.AdminNamespaces(after, 4)
		require.Len(t, infos, min(4, 21-len(names)))
		for _, x := range infos {
			names = append(names, x.Name)
			require.Equal(t, map[bool]int{true: 20}[x.Name == "n"], x.Sessions)
		}
	}
	require.IsIncreasing(t, names)
	require.Len(t, names, 21)
	ids := map[string]bool{}
	for next, more := "", true; more; more = next != "" {
		infos, following, err := n.s.AdminSessions("n", next, 7)
		require.NoError(t, err)
		for _, x := range infos {
			ids[x.ID] = true
			require.Equal(t, []any{true, 1, 0}, []any{x.Attached, x.Held, x.Waiting})
		}
		next = following
	}
	require.Len(t, ids, 20)
	seen := map[engine.Handle]bool{}
	for _, l := range n.locksAt(t, 3) {
		seen[l.handle] = true
	}
	require.Len(t, seen, 20)
	_, _, err := n.s.AdminSessions("n", "x", 7)
	require.ErrorIs(t, err, ErrPlace)
	infos, next, err := n.s.AdminSessions("n0", "", 7)
	require.NoError(t, err)
	require.Empty(t, infos)
	require.Empty(t, next)
}

// TestAdministratorsListNamespacesWhileOthersComeAndGo: those that stay are listed, once and in order.
func TestAdministratorsListNamespacesWhileOthersComeAndGo(t *testing.T) {
	n := newFake(testSettings(), nil)
	n.s.spaces.max = 10_000
	const stay = 2 * sliceNames
	for i := range stay {
		_, err := n.s.spaces.join(fmt.Sprintf("stay %03d", i))
		require.NoError(t, err)
	}
	stop := make(chan struct{})
	var others sync.WaitGroup
	for k := range 2 {
		others.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				ns, err := n.s.spaces.join(fmt.Sprintf("%d goes %d", k, i%5000))
				if err != nil {
					panic(err)
				}
				n.s.spaces.leave(ns)
			}
		})
	}
	for range 20 {
		var names []string
		for after, more := "", true; more; more = after != "" {
			var infos []NamespaceInfo
			infos, after = n.s.AdminNamespaces(after, 50)
			for _, x := range infos {
				if strings.HasPrefix(x.Name, "stay") {
					names = append(names, x.Name)
				}
			}
		}
		require.Len(t, names, stay)
		require.IsIncreasing(t, names)
	}
	close(stop)
	others.Wait()
}

func TestAdministratorsReleaseALockOfASession(t *testing.T) {
	n := newFake(testSettings(), nil)
	a, b := n.connectV2(t), n.connectV2(t)
	w := a.greet(t, helloV2)
	b.greet(t, helloV2)
	a.say(lockV2(1, ""))
	b.say(lockV2(1, ""))
	a.heard()
	b.heard()
	_, err := n.s.AdminRelease("n", w.Session, 2, "why")
	require.ErrorIs(t, err, ErrNoLock)
	_, err = n.s.AdminRelease("n", "nobody", 1, "why")
	require.ErrorIs(t, err, ErrNoSession)
	_, err = n.s.AdminRelease("n", "", 1, "why")
	require.ErrorIs(t, err, ErrNoSession)
	_, err = n.s.AdminRelease("nowhere", w.Session, 1, "why")
	require.ErrorIs(t, err, ErrNoNamespace)
	l, err := n.s.AdminRelease("n", w.Session[:12], 1, "on fire")
	require.NoError(t, err)
	require.Equal(t, []any{w.Session, uint64(1), uint64(1), "acquired"}, []any{l.Session, l.Lock, l.Token, l.State})
	require.Empty(t, a.heard(), "it is told on its own loop")
	n.deliver(0)
	require.Equal(t, []string{`{"event":1,"lock":1,"state":"revoked","message":"on fire"}`}, a.heard())
	require.Equal(t, []string{`{"event":1,"lock":1,"state":"acquired","token":"2"}`}, b.heard())
	for id, lock := range map[string]uint64{w.Session: 1, "v1": 2} {
		_, err = n.s.AdminRelease("n", id, lock, "again")
		require.ErrorIs(t, err, ErrNoLock, id)
	}

	info, err := n.s.AdminEnd("n", w.Session, "go home")
	require.NoError(t, err)
	require.Equal(t, w.Session, info.ID)
	n.deliver(0)
	require.Equal(t, []string{`{"error":"ended","message":"go home"}`}, a.heard())
	require.Equal(t, uint16(3003), a.closing)
	_, err = n.s.AdminEnd("n", w.Session, "go home")
	require.ErrorIs(t, err, ErrNoSession)
}

func TestABeginningThatTwoSessionsShareNamesNone(t *testing.T) {
	n := newFake(testSettings(), nil)
	first := map[byte]string{}
	for {
		w := n.connectV2(t).greet(t, helloV2)
		if other := first[w.Session[0]]; other != "" {
			_, err := n.s.AdminEnd("n", w.Session[:1], "why")
			require.ErrorIs(t, err, ErrManyMeant)
			_, err = n.s.AdminEnd("n", w.Session, "why")
			require.NoError(t, err)
			info, err := n.s.AdminEnd("n", w.Session[:1], "why")
			require.NoError(t, err)
			require.Equal(t, other, info.ID)
			return
		}
		first[w.Session[0]] = w.Session
	}
}

const takenAway = `communication error: an administrator has released this connection's lock: on fire`

func TestAdministratorsReleaseALockOfVersion1(t *testing.T) {
	for _, c := range []struct {
		name   string
		state  string                                      // of the lock that is taken
		client func(t *testing.T, n *fakeNet, c *fakeConn) // what happens to its connection before it is told
		told   bool
	}{
		{"held", "acquired", func(t *testing.T, n *fakeNet, c *fakeConn) { n.deliver(0) }, true},
		{"waiting", "enqueued", func(t *testing.T, n *fakeNet, c *fakeConn) { n.deliver(0) }, true},
		{"released meanwhile", "acquired", func(t *testing.T, n *fakeNet, c *fakeConn) {
			c.say(release)
			n.deliver(0)
		}, true},
		{"at fault meanwhile", "acquired", func(t *testing.T, n *fakeNet, c *fakeConn) {
			c.say("nonsense")
			require.Contains(t, c.heard()[0], "communication error")
			n.deliver(0)
		}, false},
		{"lost meanwhile", "acquired", func(t *testing.T, n *fakeNet, c *fakeConn) {
			c.drop()
			n.deliver(0)
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newFake(testSettings(), nil)
			a, b := n.mustConnect(t, "namespace=n"), n.mustConnect(t, "namespace=n")
			a.say(writeA)
			b.say(writeA)
			a.heard()
			b.heard()
			victim, other := a, b
			if c.state == "enqueued" {
				victim, other = b, a
			}
			l, err := n.s.AdminRelease("n", "v1", map[string]uint64{"acquired": 1, "enqueued": 2}[c.state], "on fire")
			require.NoError(t, err)
			require.Equal(t, []any{"v1", uint64(victim.id)}, []any{l.Session, l.Conn})
			require.Len(t, n.locksAt(t, 10), 1, "at once")
			c.client(t, n, victim)
			if c.told {
				require.Equal(t, []string{takenAway}, victim.heard())
				require.Equal(t, uint16(3000), victim.closing)
			}
			if c.state == "acquired" {
				require.Equal(t, []string{answer(2, "lock", "acquired")}, other.heard())
			}
			other.say(release)
			other.heard()
			if n.conns[victim.id] != nil {
				victim.drop()
			}
			require.Zero(t, n.s.abandoned.count())
			ns, _ := n.s.spaces.find("n")
			require.Nil(t, ns.revoked, "nothing is kept of it")
			n.s.spaces.leave(ns)
			other.drop()
			require.Zero(t, n.s.spaces.count())
		})
	}
}

// TestWatchersSeeThatALockOfVersion1WasTaken by an administrator, and once.
func TestWatchersSeeThatALockOfVersion1WasTaken(t *testing.T) {
	n := newFake(testSettings(), nil)
	old, c := n.mustConnect(t, "namespace=n"), n.connectV2(t)
	c.greet(t, helloV2)
	old.say(writeA)
	c.say(`{"op":"watch","id":1,"path":["a"]}`)
	c.heard()
	_, err := n.s.AdminRelease("n", "v1", 1, "on fire")
	require.NoError(t, err)
	n.deliver(0)
	old.drop()
	n.deliver(0)
	require.Len(t, c.sent, 1)
	require.Contains(t, c.sent[0], `"change":"ended"`)
	require.Contains(t, c.sent[0], `"state":"revoked"`)
}

// TestAdministratorsReleaseAnAbandonedLock: its time comes all the same, and finds nothing to do.
func TestAdministratorsReleaseAnAbandonedLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFake(testSettings(), nil)
		n.run()
		a, b := n.mustConnect(t, "namespace=n&abandon-timeout-ms=5000"), n.mustConnect(t, "namespace=n&abandon-timeout-ms=0")
		a.say(writeA)
		a.drop()
		b.say(writeA)
		b.heard()
		_, err := n.s.AdminRelease("n", "v1", 1, "on fire")
		require.NoError(t, err)
		n.deliver(0)
		require.Equal(t, []string{answer(2, "lock", "acquired")}, b.heard())
		b.drop()
		pass(6 * time.Second)
		require.Zero(t, n.s.abandoned.count())
		require.Zero(t, n.s.spaces.count(), "nothing is kept of the namespace")
		require.NoError(t, n.s.Close())
	})
}
