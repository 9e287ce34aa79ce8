package session

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// TestSessionsAreShownOnceEach goes through them a few at a time while some come and go.
func TestSessionsAreShownOnceEach(t *testing.T) {
	w := newWorld(t, Defaults)
	var stay, leave []*Session
	for i := range 3 * sliceSessions {
		s, _ := w.open(wire.V2None)
		if i%3 == 0 {
			leave = append(leave, s)
		} else {
			stay = append(stay, s)
		}
	}
	seen := map[string]int{}
	at, calls := 0, 0
	for more := true; more; calls++ {
		var infos []Info
		infos, at, more = w.space.Sessions(w.now, at, 700)
		require.LessOrEqual(t, len(infos), 700)
		for _, x := range infos {
			seen[x.ID]++
		}
		for range min(100, len(leave)) {
			require.True(t, w.space.End(w.now, leave[0], "enough", &w.fx))
			leave = leave[1:]
		}
		w.open(wire.V2None)
	}
	require.Less(t, calls, 20)
	for _, s := range stay {
		require.Equal(t, 1, seen[s.id])
	}
	infos, _, more := w.space.Sessions(w.now, 1<<30, 10)
	require.Empty(t, infos)
	require.False(t, more)
}

func TestSessionsAndLocksAreDescribed(t *testing.T) {
	w := newWorld(t, Defaults)
	other, conn := w.open(wire.V2None)
	w.do(other, conn, with(lockRequest(1, write("a")), func(r *Request) { r.Note = []byte("mine") }))
	remote := netip.MustParseAddrPort("192.0.2.1:5000")
	w.conns++
	at := w.conns
	s, err := w.space.Open(w.now, at, Hello{
		ID: "s", Secret: []byte("secret"), TTL: 20_000, Name: []byte("me\n"), Principal: "alice", Remote: remote,
	}, &w.fx)
	require.NoError(t, err)
	w.now = after(w.now, 1000)
	w.do(s, at, lockRequest(1, write("a")))
	w.do(s, at, with(lockRequest(2, read("b")), func(r *Request) { r.LeaseMS = 5000 }))
	w.do(other, conn, lockRequest(2, read("b")))
	w.do(s, at, request(wire.V2Upgrade, 3, 2))
	require.Equal(t, wire.V2Upgrading, w.state())
	w.now = after(w.now, 500)
	want := Info{
		ID: "s", Name: "me ", Principal: "alice", Remote: remote, Attached: true,
		TTL: 20_000, Left: 19_500, Age: 1500, Held: 1, Waiting: 1,
	}
	require.Equal(t, want, w.space.Info(w.now, s), "an upgrade that waits is a lock that is held")
	w.space.Detach(w.now, s, at, &w.fx)
	want.Attached = false
	require.Equal(t, want, w.space.Info(w.now, s))

	describe := func(s *Session, id uint64) Owned {
		h, ok := w.space.Handle(s, id)
		require.True(t, ok)
		v, err := w.engine.Look(h)
		require.NoError(t, err)
		o, ok := w.space.Owned(w.now, v.Owner)
		require.True(t, ok)
		return o
	}
	require.Equal(t, Owned{Session: other, Lock: 1, State: wire.V2Acquired, Note: "mine", Since: 1500}, describe(other, 1))
	require.Equal(t, Owned{Session: s, Lock: 1, State: wire.V2Enqueued, Since: 500}, describe(s, 1))
	require.Equal(t, Owned{Session: s, Lock: 2, State: wire.V2Upgrading, Since: 500, LeaseMS: 4500}, describe(s, 2))
	_, ok := w.space.Handle(s, 3)
	require.False(t, ok)
	_, ok = w.space.Owned(w.now, 1)
	require.False(t, ok, "that is a connection's")
}
