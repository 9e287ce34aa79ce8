package session

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

func TestTimeToLiveIsClamped(t *testing.T) {
	for asked, granted := range map[int64]int64{
		wire.V2None: 15_000, 0: 1000, 999: 1000, 1000: 1000, 1001: 1001, 60_000: 60_000, 60_001: 60_000, wire.V2MaxID: 60_000,
	} {
		w := newWorld(t, Defaults)
		w.open(asked)
		require.Equal(t, granted, w.fx.Welcome.TTLMS)
	}
}

// lastIs asserts what the last message says.
func (w *world) lastIs(want string) {
	if t, ok := w.t.(*testing.T); ok {
		t.Helper()
	}
	require.NotEmpty(w.t, w.fx.Messages)
	require.Equal(w.t, want, string(wire.AppendV2(nil, &w.fx.Messages[len(w.fx.Messages)-1])))
}

func TestLocksOfASessionAreBounded(t *testing.T) {
	l := Defaults
	l.Locks = 3
	w := newWorld(t, l)
	s, at := w.open(wire.V2None)
	for id := range uint64(3) {
		w.do(s, at, lockRequest(id+1, read("x")))
		require.Equal(t, wire.V2Acquired, w.state())
	}
	w.do(s, at, lockRequest(4, read("x")))
	w.lastIs(`{"id":4,"error":"limit","message":"the session has 3 locks already, more are not allowed (limits.session_locks): release some first"}`)
	w.do(s, at, request(wire.V2Release, 5, 1))
	w.do(s, at, lockRequest(6, read("x")))
	require.Equal(t, wire.V2Acquired, w.state())
}

func TestLeasesHaveALeast(t *testing.T) {
	w := newWorld(t, Defaults)
	s, at := w.open(wire.V2None)
	lease := func(id uint64, ms int64) Request {
		return with(lockRequest(id, read("x")), func(r *Request) { r.LeaseMS = ms })
	}
	w.do(s, at, lease(1, 99))
	w.lastIs(`{"id":1,"error":"limit","message":"lease_ms: is 99, at least 100 are needed (sessions.lease_min)"}`)
	w.do(s, at, lease(2, 100))
	w.lastIs(`{"id":2,"state":"acquired","token":"1","lease_ms":100}`)
	renew := request(wire.V2Renew, 3, 2)
	renew.LeaseMS = 99
	w.do(s, at, renew)
	w.lastIs(`{"id":3,"error":"limit","message":"lease_ms: is 99, at least 100 are needed (sessions.lease_min)"}`)
	renew.ID, renew.LeaseMS = 4, wire.V2MaxID
	w.do(s, at, renew)
	w.lastIs(fmt.Sprintf(`{"id":4,"lock":2,"state":"renewed","ttl_ms":15000,"lease_ms":%d}`, int64(never/1_000_000)))
}

func TestWaitsHaveAMost(t *testing.T) {
	l := Defaults
	l.WaitMax = time.Second
	for asked, end := range map[int64]int64{wire.V2None: 1000, 999: 999, 1000: 1000, 1001: 1000, wire.V2MaxID: 1000} {
		w := newWorld(t, l)
		s, at := w.open(wire.V2None)
		w.do(s, at, lockRequest(1, write("x")))
		w.do(s, at, with(lockRequest(2, write("x")), func(r *Request) { r.WaitMS, r.Party = asked, 1 }))
		w.lastIs(`{"id":2,"state":"enqueued","ahead":1}`)
		next, ok := w.space.Next()
		require.True(t, ok)
		require.Equal(t, end*ms, next)
	}
}

func TestTimesToLiveAreGrantedWithinTheirLimits(t *testing.T) {
	for asked, granted := range map[int64]int64{
		wire.V2None: 15_000, 0: 1000, 999: 1000, 1000: 1000, 1001: 1001, 59_999: 59_999, 60_000: 60_000, 60_001: 60_000, wire.V2MaxID: 60_000,
	} {
		w := newWorld(t, Defaults)
		w.open(asked)
		require.Equal(t, granted, w.fx.Welcome.TTLMS, "asked for %d", asked)
		next, ok := w.space.Next()
		require.True(t, ok)
		require.Equal(t, granted*ms, next, "and no longer")
	}
}

func TestNotesAndNamesAreBoundedAndOneLine(t *testing.T) {
	w := newWorld(t, Defaults)
	s, at := w.open(wire.V2None)
	note := func(id uint64, text string) Request {
		return with(lockRequest(id, read("x")), func(r *Request) { r.Note = []byte(text) })
	}
	w.do(s, at, note(1, strings.Repeat("x", 256)))
	require.Equal(t, wire.V2Acquired, w.state())
	w.do(s, at, note(2, strings.Repeat("x", 257)))
	w.lastIs(`{"id":2,"error":"limit","message":"note: has 257 bytes, at most 256 are allowed (limits.note_bytes)"}`)
	w.do(s, at, note(3, "a\n\x1b[31m\u202eé\u0085\u2028"))
	require.Equal(t, "a  [31m é  ", string(w.space.appendNote(nil, w.space.locks.at(s.roster.find(3)).note)))
	_, err := w.space.Open(0, 9, Hello{ID: "n", Name: []byte(strings.Repeat("n", 129))}, &w.fx)
	require.ErrorIs(t, err, ErrName)
	require.ErrorContains(t, err, "it has 129 bytes, at most 128 are allowed (limits.session_name_bytes)")
	s, err = w.space.Open(0, 9, Hello{ID: "n", Name: []byte(strings.Repeat("n", 127) + "\n")}, &w.fx)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("n", 127)+" ", s.Name())
}

func TestEnginesLimitsAreTold(t *testing.T) {
	w := newWorld(t, Defaults)
	w.engine.SetLimits(engine.Limits{Requests: 2, Resources: 2})
	s, at := w.open(wire.V2None)
	permit := func(limit, weight uint32) engine.Resource {
		return engine.Resource{Mode: engine.Permit, Path: path("p"), Limit: limit, Weight: weight}
	}
	w.do(s, at, lockRequest(1, permit(3, 1)))
	w.lastIs(`{"id":1,"state":"acquired","token":"1","slots":[0]}`)
	w.do(s, at, lockRequest(2, permit(4, 1)))
	w.lastIs(`{"id":2,"error":"other_limit","message":"resources[0]: the limit of the permits of this path is 3 at present, not 4","limit":3}`)
	w.do(s, at, lockRequest(3, permit(3, 4)))
	w.lastIs(`{"id":3,"error":"limit","message":"resources[0]: permits of the request weigh 4 on this path, at most the limit of 3 is allowed"}`)
	w.do(s, at, lockRequest(4, read(), read(), read()))
	w.lastIs(`{"id":4,"error":"limit","message":"the request has 3 resources, at most 2 are allowed"}`)
	w.do(s, at, lockRequest(5, read()))
	require.Equal(t, wire.V2Acquired, w.state())
	w.do(s, at, lockRequest(6, read()))
	w.lastIs(`{"id":6,"error":"try_later","message":"there would be 3 requests, at most 2 are allowed"}`)
	explained := with(lockRequest(7, read(), read(), read()), func(r *Request) {
		r.Explain = func(err error) error { return fmt.Errorf("%w: so it is", err) }
	})
	w.do(s, at, explained)
	w.lastIs(`{"id":7,"error":"limit","message":"the request has 3 resources, at most 2 are allowed: so it is"}`)
}

func TestAnswersForRetriesAreKeptUpToTheLimit(t *testing.T) {
	l := Defaults
	l.Answers = 4
	w := newWorld(t, l)
	s, at := w.open(wire.V2None)
	for k := range uint64(5) {
		w.do(s, at, lockRequest(2*k+1, write("x")))
		w.do(s, at, request(wire.V2Release, 2*k+2, 2*k+1))
	}
	w.do(s, at, lockRequest(3, write("x")))
	w.lastIs(`{"id":3,"state":"released"}`)
	w.do(s, at, request(wire.V2Release, 4, 3))
	w.lastIs(`{"id":4,"lock":3,"state":"released"}`)
	w.do(s, at, lockRequest(1, write("x")))
	w.lastIs(`{"id":1,"error":"forgotten","message":"nothing is known of request 1 any more, if it ever came (limits.session_answers)"}`)
	w.do(s, at, request(wire.V2Release, 2, 1))
	require.Equal(t, wire.V2Forgotten, w.fx.Messages[0].Error)
	// The limit changes while the server runs.
	for _, most := range []int{2, 6, 0, 3} {
		l.Answers = most
		w.space.SetLimits(l)
		for range 2 * most {
			id := s.lastID + 1
			w.do(s, at, request(wire.V2Release, id, 1<<40))
			require.Equal(t, wire.V2UnknownLock, w.fx.Messages[0].Error)
		}
		for back := range uint64(2 * most) {
			w.do(s, at, request(wire.V2Release, s.lastID-back, 1<<40))
			kept := w.fx.Messages[0].Error == wire.V2UnknownLock
			require.Equal(t, int(back) < most, kept, "the limit is %d, this was %d back", most, back)
		}
	}
}

func TestEventsForAResumeAreKeptUpToTheLimit(t *testing.T) {
	l := Defaults
	l.Events = 4
	for missed, first := range map[uint64]uint64{0: 0, 1: 0, 4: 0, 5: 2, 9: 6} {
		w := newWorld(t, l)
		o, atO := w.open(wire.V2None)
		w.do(o, atO, lockRequest(1, write("x")))
		s, at := w.open(wire.V2None)
		for id := range missed {
			w.do(s, at, with(lockRequest(id+1, write("x")), func(r *Request) { r.WaitMS, r.Party = 5, id }))
		}
		w.space.Detach(w.now, s, at, &w.fx)
		w.now += 6 * ms
		w.space.Tick(w.now, &w.fx)
		_, err := w.space.Resume(w.now, 10, Resumption{ID: s.id, Secret: []byte("secret"), New: []byte("another")}, &w.fx)
		require.NoError(t, err)
		require.Equal(t, missed, w.fx.Welcome.Event)
		require.Equal(t, first, w.fx.Welcome.FirstEvent, "%d missed", missed)
		require.Len(t, w.fx.Messages, int(min(missed, 4)))
		for i, m := range w.fx.Messages {
			require.Equal(t, max(first, 1)+uint64(i), m.Event)
		}
	}
}

// TestAnAttachmentIsToldEverything: however much happens before it comes, and whatever the limit.
func TestAnAttachmentIsToldEverything(t *testing.T) {
	l := Defaults
	l.Events = 4
	const many = 3*sliceEvents + 7
	w := newWorld(t, l)
	o, atO := w.open(wire.V2None)
	w.do(o, atO, lockRequest(1, write("x")))
	s, at := w.open(wire.V2None)
	for id := range uint64(many) {
		w.do(s, at, with(lockRequest(id+1, write("x")), func(r *Request) { r.WaitMS, r.Party = 5, id }))
	}
	w.now += 6 * ms
	woken := 0
	for more := true; more; more = w.fx.More {
		w.space.Tick(w.now, &w.fx)
		woken += len(w.fx.Wake)
	}
	require.Equal(t, 1, woken, "once is enough")
	told := uint64(0)
	for rest := true; rest; rest = w.fx.Rest {
		w.space.Collect(w.now, s, at, &w.fx)
		require.LessOrEqual(t, len(w.fx.Messages), sliceEvents)
		for _, m := range w.fx.Messages {
			told++
			require.Equal(t, told, m.Event)
		}
	}
	require.Equal(t, uint64(many), told)
	require.LessOrEqual(t, len(s.events.ring), 16, "its memory goes back")
}

// TestAResumeSaysThatThereIsMoreToTell: more events than one call tells are kept for it.
func TestAResumeSaysThatThereIsMoreToTell(t *testing.T) {
	l := Defaults
	l.Events = 3 * sliceEvents
	w := newWorld(t, l)
	o, atO := w.open(wire.V2None)
	w.do(o, atO, lockRequest(1, write("x")))
	s, at := w.open(wire.V2None)
	for id := range uint64(sliceEvents + 1) {
		w.do(s, at, with(lockRequest(id+1, write("x")), func(r *Request) { r.WaitMS, r.Party = 5, id }))
	}
	w.space.Detach(w.now, s, at, &w.fx)
	w.now += 6 * ms
	for more := true; more; more = w.fx.More {
		w.space.Tick(w.now, &w.fx)
	}
	_, err := w.space.Resume(w.now, 10, Resumption{ID: s.id, Secret: []byte("secret"), New: []byte("another")}, &w.fx)
	require.NoError(t, err)
	require.Len(t, w.fx.Messages, sliceEvents)
	require.True(t, w.fx.Rest)
	w.space.Collect(w.now, s, 10, &w.fx)
	require.Len(t, w.fx.Messages, 1)
	require.False(t, w.fx.Rest)
}

// TestPartiesOfASessionAreWeighed, also those that were: a map doesn't shrink.
func TestPartiesOfASessionAreWeighed(t *testing.T) {
	w := newWorld(t, Defaults)
	s, at := w.open(wire.V2None)
	many := func(n int) {
		for id := range uint64(n) {
			w.do(s, at, with(lockRequest(s.lastID+1, read("x")), func(r *Request) { r.Party = id + 1 }))
		}
	}
	release := func() {
		for e, ok := s.roster.first(0); ok; e, ok = s.roster.first(0) {
			w.do(s, at, request(wire.V2Release, s.lastID+1, e.id))
		}
	}
	many(partiesKept)
	release()
	require.NotNil(t, s.parties)
	before := s.size
	many(partiesKept + 1)
	require.GreaterOrEqual(t, s.size, before+bytesOfParty)
	release()
	require.Nil(t, s.parties)
	require.Zero(t, s.crowd)
	w.do(s, at, request(wire.V2Bye, s.lastID+1, 0))
	require.Zero(t, w.space.Bytes())
}
