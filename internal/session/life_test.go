package session

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// TestADyingSessionIsCutInSlices: a session dies with very many locks, and very many wait behind them.
func TestADyingSessionIsCutInSlices(t *testing.T) {
	const many = 5*sliceLocks + 3
	w := newWorld(t, Defaults)
	s, at := w.open(1000)
	o, atO := w.open(wire.V2None)
	for id := range uint64(many) {
		w.do(s, at, lockRequest(id+1, write(fmt.Sprint(id))))
		w.do(o, atO, with(lockRequest(id+1, write(fmt.Sprint(id))), func(r *Request) { r.Party = id }))
	}
	w.now += 1000 * ms
	ticks := 0
	for more := true; more; more = w.fx.More {
		before := w.space.locks.live
		w.space.Tick(w.now, &w.fx)
		ticks++
		require.LessOrEqual(t, before-w.space.locks.live, 2*sliceLocks)
		require.Nil(t, w.space.Find(s.id), "nobody finds it any more")
		require.Empty(t, broken(w.space))
	}
	require.GreaterOrEqual(t, ticks, 3)
	require.Equal(t, many, o.Locks())
	require.Equal(t, many, int(o.events.last))
	require.Zero(t, s.Locks())
}

// TestManyWhoLeaveAreCutInSlices: a connection is lost with very many requests that don't wait without.
func TestManyWhoLeaveAreCutInSlices(t *testing.T) {
	const many = 3*sliceLocks + 3
	w := newWorld(t, Defaults)
	o, atO := w.open(wire.V2None)
	w.do(o, atO, lockRequest(1, write()))
	s, at := w.open(wire.V2None)
	for id := range uint64(many) {
		w.do(s, at, with(lockRequest(id+1, read()), func(r *Request) { r.Leave, r.Party = true, id }))
	}
	w.space.Detach(w.now, s, at, &w.fx)
	require.True(t, w.fx.More)
	require.Equal(t, many-sliceLocks, s.Locks())
	// What they waited for is free, but they are about to leave: nobody holds it.
	w.do(o, atO, request(wire.V2Release, 2, 1))
	_, err := w.space.Resume(w.now, 9, Resumption{ID: s.id, Secret: []byte("secret"), New: []byte("another"), Event: 1 << 40}, &w.fx)
	require.NoError(t, err)
	do := func() { w.do(s, 9, request(wire.V2Renew, many+1, 0)) }
	for do(); w.fx.Undone; do() {
		require.Empty(t, broken(w.space))
	}
	require.Equal(t, wire.V2Renewed, w.state())
	require.Zero(t, s.Locks())
	for more := true; more; more = w.fx.More {
		w.space.Tick(w.now, &w.fx)
	}
	require.Empty(t, w.space.leaving)
}

func TestByeAnswersWhenAllIsReleased(t *testing.T) {
	w := newWorld(t, Defaults)
	s, at := w.open(wire.V2None)
	for id := range uint64(sliceLocks + 1) {
		w.do(s, at, lockRequest(id+1, read()))
	}
	w.do(s, at, request(wire.V2Bye, 10_000, 0))
	require.Empty(t, w.fx.Messages)
	require.True(t, w.fx.More)
	w.do(s, at, request(wire.V2Renew, 10_001, 0))
	require.Empty(t, w.fx.Messages, "what comes behind it isn't done")
	w.space.Tick(w.now, &w.fx)
	require.Equal(t, []uint64{at}, w.fx.Wake)
	w.space.Collect(w.now, s, at, &w.fx)
	w.lastIs(`{"id":10000,"state":"bye"}`)
	require.Equal(t, uint16(CloseBye), w.fx.Close)
}

func TestAdministratorsTakeLocksAndSessions(t *testing.T) {
	w := newWorld(t, Defaults)
	s, at := w.open(wire.V2None)
	for id := range uint64(3) {
		w.do(s, at, lockRequest(id+1, read()))
	}
	require.False(t, w.space.Revoke(w.now, s, 7, "why not", &w.fx))
	require.True(t, w.space.Revoke(w.now, s, 2, "on fire", &w.fx))
	require.Equal(t, []uint64{at}, w.fx.Wake)
	require.False(t, w.space.Revoke(w.now, s, 2, "on fire", &w.fx))
	w.space.Collect(w.now, s, at, &w.fx)
	w.lastIs(`{"event":1,"lock":2,"state":"revoked","message":"on fire"}`)
	w.do(s, at, request(wire.V2Release, 4, 2))
	w.lastIs(`{"id":4,"lock":2,"state":"revoked"}`)
	require.True(t, w.space.End(w.now, s, "enough", &w.fx))
	require.False(t, w.space.End(w.now, s, "enough", &w.fx))
	require.False(t, w.space.Revoke(w.now, s, 3, "on fire", &w.fx))
	w.space.Collect(w.now, s, at, &w.fx)
	require.Len(t, w.fx.Messages, 3)
	require.Equal(t, `{"event":2,"lock":1,"state":"revoked","message":"enough"}`, string(wire.AppendV2(nil, &w.fx.Messages[0])))
	w.lastIs(`{"error":"ended","message":"enough"}`)
	require.Equal(t, uint16(CloseEnded), w.fx.Close)
	require.Nil(t, w.space.Find(s.id))
}

func TestVerdictsAreToldAndKept(t *testing.T) {
	w := newWorld(t, Defaults)
	s, at := w.open(wire.V2None)
	denied := &Refusal{Code: wire.V2NotAllowed, Text: "no", Plugin: "acl", Number: 7}
	w.do(s, at, with(lockRequest(1, read()), func(r *Request) { r.Refusal = denied }))
	w.lastIs(`{"id":1,"state":"denied","plugin":"acl","code":7,"message":"no"}`)
	w.do(s, at, lockRequest(1, read()))
	w.lastIs(`{"id":1,"state":"denied"}`)
	draining := &Refusal{Code: wire.V2Draining, Text: "later"}
	w.do(s, at, with(lockRequest(2, read()), func(r *Request) { r.Refusal = draining }))
	w.lastIs(`{"id":2,"error":"draining","message":"later"}`)
	w.do(s, at, lockRequest(2, read()))
	w.lastIs(`{"id":2,"error":"draining","message":"this request was refused before; begin another one"}`)
	w.do(s, at, lockRequest(3, read()))
	require.Equal(t, wire.V2Acquired, w.state())
	w.do(s, at, with(lockRequest(3, read()), func(r *Request) { r.Refusal = denied }))
	require.Equal(t, wire.V2Acquired, w.state(), "a retry is answered with what is true")
	require.Equal(t, 1, s.Locks())
}

func TestALostWelcomeLosesNothing(t *testing.T) {
	w := newWorld(t, Defaults)
	s, at := w.open(wire.V2None)
	resume := func(secret, fresh string) error {
		at++
		_, err := w.space.Resume(w.now, at, Resumption{ID: s.id, Secret: wire.V2Secret(secret), New: wire.V2Secret(fresh)}, &w.fx)
		return err
	}
	require.ErrorIs(t, resume("another", "1"), ErrNoSession)
	require.NoError(t, resume("secret", "1"))
	require.NoError(t, resume("secret", "2"), "the welcome with 1 was lost")
	require.Equal(t, "1", string(w.fx.Welcome.Secret))
	require.ErrorIs(t, resume("2", "3"), ErrNoSession, "nobody has it")
	w.do(s, at, request(wire.V2Renew, 1, 0)) // the attachment that failed has no effect
	require.Equal(t, wire.V2TakenOver, w.fx.Messages[0].Error)
	require.NoError(t, resume("1", "3"))
	w.do(s, at, request(wire.V2Renew, 1, 0))
	require.Equal(t, wire.V2Renewed, w.state())
	require.ErrorIs(t, resume("1", "4"), ErrNoSession, "the client has been heard with 3")
	require.NoError(t, resume("3", "4"))
}

// TestALateHelloLosesNoSession: a client gives a connection up over which its hello has not arrived, says hello
// over another one, and the first arrives behind that. The client has the new secret, and must be able to go
// on with it.
func TestALateHelloLosesNoSession(t *testing.T) {
	w := newWorld(t, Defaults)
	s, _ := w.open(wire.V2None)
	resume := func(at uint64, secret, fresh string) string {
		_, err := w.space.Resume(w.now, at, Resumption{ID: s.id, Secret: wire.V2Secret(secret), New: wire.V2Secret(fresh)}, &w.fx)
		require.NoError(t, err)
		return string(w.fx.Welcome.Secret)
	}
	known := resume(3, "secret", "new")
	resume(2, "secret", "newer") // whom nobody listens to
	known = resume(4, known, "newest")
	w.do(s, 4, request(wire.V2Renew, 1, 0))
	require.Equal(t, wire.V2Renewed, w.state())
	require.Empty(t, s.fresh, "a secret is not kept longer than it may have to be told")
	require.Equal(t, "last", resume(5, known, "last"))
}

func TestASessionIsItsPrincipals(t *testing.T) {
	w := newWorld(t, Defaults)
	s, err := w.space.Open(0, 1, Hello{ID: "s", Secret: []byte("secret"), Principal: "alice"}, &w.fx)
	require.NoError(t, err)
	r := Resumption{ID: "s", Secret: []byte("secret"), New: []byte("new"), Principal: "bob"}
	_, err = w.space.Resume(0, 2, r, &w.fx)
	require.ErrorIs(t, err, ErrPrincipal)
	require.Empty(t, w.fx.Wake, "and nobody is taken over")
	r.Principal = "alice"
	_, err = w.space.Resume(0, 2, r, &w.fx)
	require.NoError(t, err)
	require.Equal(t, "alice", s.Principal())
}

func TestSecretsAreNowhereToBeRead(t *testing.T) {
	const secret = "0123456789abcdef"
	w := newWorld(t, Defaults)
	h := Hello{ID: "s", Secret: []byte(secret)}
	s, err := w.space.Open(0, 1, h, &w.fx)
	require.NoError(t, err)
	r := Resumption{ID: "s", Secret: []byte(secret), New: []byte(secret)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		said := fmt.Sprintf(verb+verb+verb+verb, h, r, *s, w.fx)
		require.NotContains(t, said, secret)
		require.NotContains(t, said, fmt.Sprintf("%x", secret))
		require.NotContains(t, said, "48 49 50 51")
		require.NotContains(t, said, "0x30, 0x31, 0x32")
	}
}

// TestTheWaitsEndAndAGrantMeet: what becomes free at the moment at which a wait ends is had.
func TestTheWaitsEndAndAGrantMeet(t *testing.T) {
	for name, free := range map[string]func(r *Request){
		"a lease":   func(r *Request) { r.LeaseMS = 1000 },
		"a session": func(r *Request) {},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Defaults)
			o, atO := w.open(1000)
			s, at := w.open(5000)
			w.do(o, atO, with(lockRequest(1, write("x")), free))
			w.do(s, at, with(lockRequest(1, write("x")), func(r *Request) { r.WaitMS = 1000 }))
			w.now += 1000 * ms
			w.space.Tick(w.now, &w.fx)
			w.space.Collect(w.now, s, at, &w.fx)
			w.lastIs(`{"event":1,"lock":1,"state":"acquired","token":"2"}`)
		})
	}
}

func TestExpiredMeansExpired(t *testing.T) {
	w := newWorld(t, Defaults)
	s, at := w.open(1000)
	w.do(s, at, with(lockRequest(1, write("x")), func(r *Request) { r.LeaseMS = 500 }))
	w.now += 500*ms - 1
	w.do(s, at, request(wire.V2Renew, 2, 1))
	w.lastIs(`{"id":2,"lock":1,"state":"renewed","ttl_ms":1000,"lease_ms":500}`)
	w.now += 500 * ms // no Tick has come
	w.do(s, at, request(wire.V2Renew, 3, 1))
	require.Equal(t, `{"event":1,"lock":1,"state":"expired"}`, string(wire.AppendV2(nil, &w.fx.Messages[0])))
	w.lastIs(`{"id":3,"lock":1,"state":"expired"}`)
	w.now += 1000 * ms
	w.do(s, at, request(wire.V2Renew, 4, 0))
	w.lastIs(`{"error":"expired"}`)
	require.Equal(t, uint16(CloseExpired), w.fx.Close)
	_, err := w.space.Resume(w.now, 9, Resumption{ID: s.id, Secret: []byte("secret")}, &w.fx)
	require.ErrorIs(t, err, ErrNoSession)
}

// TestManySessionsResumeAtOnce: after a loss of the network, all of them with a lock and one that waits.
func TestManySessionsResumeAtOnce(t *testing.T) {
	const many = 10_000
	w := newWorld(t, Defaults)
	type one struct {
		s  *Session
		at uint64
	}
	var all []one
	for k := range many {
		s, at := w.open(wire.V2None)
		w.do(s, at, lockRequest(1, write(fmt.Sprint(k))))
		require.Equal(t, wire.V2Acquired, w.state())
		all = append(all, one{s, at})
	}
	for k, c := range all {
		w.do(c.s, c.at, with(lockRequest(2, write(fmt.Sprint((k+1)%many))), func(r *Request) { r.Party = 1 }))
		require.Equal(t, wire.V2Enqueued, w.state())
	}
	for _, c := range all {
		w.space.Detach(w.now, c.s, c.at, &w.fx)
	}
	w.now += 10 * int64(time.Second)
	for k, c := range all {
		_, err := w.space.Resume(w.now, uint64(many+k+1), Resumption{ID: c.s.id, Secret: []byte("secret"), New: []byte("new")}, &w.fx)
		require.NoError(t, err)
		require.Len(t, w.fx.Welcome.Held, 2)
		require.Equal(t, wire.V2Acquired, w.fx.Welcome.Held[0].State)
		require.Equal(t, wire.V2Enqueued, w.fx.Welcome.Held[1].State)
		require.Empty(t, w.fx.Wake)
	}
	require.Equal(t, engine.Stats{}.Requests+2*many, w.engine.Stats().Requests)
	require.Equal(t, many, w.engine.Stats().Acquired, "nothing was granted twice")
	require.Empty(t, broken(w.space))
}

// TestRetriesHaveTheirEffectOnce loses any number of answers, takes the session up again and sends what
// wasn't answered once more: all is then as if nothing had been lost.
func TestRetriesHaveTheirEffectOnce(t *testing.T) {
	requests := []Request{
		lockRequest(1, write("x")),
		with(lockRequest(2, write("y")), func(r *Request) { r.LeaseMS = 700 }),
		with(lockRequest(3, write("y", "z")), func(r *Request) { r.WaitMS, r.Party = 0, 1 }),
		request(wire.V2Release, 4, 1),
		lockRequest(5, read("x")),
		request(wire.V2Renew, 6, 2),
		request(wire.V2Release, 7, 99),
		with(lockRequest(8, write("y")), func(r *Request) { r.Party = 2 }),
		request(wire.V2Release, 9, 2),
		request(wire.V2Release, 10, 8),
		request(wire.V2Renew, 11, 0),
	}
	final := func(from, done int) (answers []string, seq uint64, held []wire.V2Held) {
		w := newWorld(t, Defaults)
		s, at := w.open(wire.V2None)
		for _, r := range requests[:done] {
			w.do(s, at, r)
		}
		if done > 0 {
			w.space.Detach(w.now, s, at, &w.fx)
			at++
			_, err := w.space.Resume(w.now, at, Resumption{ID: s.id, Secret: []byte("secret"), New: []byte("new")}, &w.fx)
			require.NoError(t, err)
			require.Equal(t, uint64(done), w.fx.Welcome.LastID)
		}
		for _, r := range requests[from:] {
			w.do(s, at, r)
			k := slices.IndexFunc(w.fx.Messages, func(m wire.V2Message) bool { return m.ID == r.ID })
			answers = append(answers, string(wire.AppendV2(nil, unworded(&w.fx.Messages[k]))))
		}
		w.do(s, at, request(wire.V2Locks, 12, 0))
		return answers, w.engine.Last(), w.fx.Messages[0].Held
	}
	want, seq, held := final(0, 0)
	require.Equal(t, `{"id":9,"lock":2,"state":"released"}`, want[8])
	for done := range len(requests) + 1 {
		for from := range done + 1 {
			answers, again, heldAgain := final(from, done)
			require.Equal(t, seq, again, "%d done, %d answered: no lock was asked for twice", done, from)
			require.Equal(t, held, heldAgain)
			// Answers tell what is true now; those to what happened later are the same.
			require.True(t, slices.Equal(want[done:], answers[done-from:]), "%q", answers)
		}
	}
}

// TestAnAttachmentIsWokenAlsoByTheOneBefore: what becomes due in a call of a connection that was taken over is news to
// the one that has the session.
func TestAnAttachmentIsWokenAlsoByTheOneBefore(t *testing.T) {
	const old, fresh = 1, 9
	for name, call := range map[string]func(w *world, s *Session){
		"a lease is over": func(w *world, s *Session) {
			w.now += 500 * ms
			w.do(s, old, request(wire.V2Renew, 2, 0))
		},
		"a watch has news": func(w *world, s *Session) {
			o, atO := w.open(wire.V2None)
			for range sliceWatches {
				w.space.watched.pending = append(w.space.watched.pending, &change{})
			}
			w.do(o, atO, lockRequest(1, read("x", "y"))) // of which there is no time to tell yet
			require.Empty(t, w.fx.Wake)
			w.space.Detach(w.now, s, old, &w.fx)
		},
		"the session is over": func(w *world, s *Session) {
			w.now += 1000 * ms
			w.do(s, old, request(wire.V2Renew, 2, 0))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Defaults)
			s, _ := w.open(1000)
			w.do(s, old, with(lockRequest(1, write("x")), func(r *Request) { r.LeaseMS = 500 }))
			_, err := w.space.Resume(w.now, fresh, Resumption{ID: s.id, Secret: []byte("secret"), New: []byte("new")}, &w.fx)
			require.NoError(t, err)
			w.do(s, fresh, looking(wire.V2Watch, 2, path("x")))
			w.space.Collect(w.now, s, fresh, &w.fx)
			call(w, s)
			require.Contains(t, w.fx.Wake, uint64(fresh))
		})
	}
}
