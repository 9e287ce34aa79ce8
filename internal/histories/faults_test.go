package histories

import (
	"bytes"
	"math/rand/v2"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
)

// TestFaultsAreFound has two clients that want the same, of which one stops until the other one has got it. The
// history is right, unless the client goes on believing in its lock, or was lied to about its time.
func TestFaultsAreFound(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	lie := func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(`"ttl_ms":1000,`), []byte(`"ttl_ms":9000,`)) }
	for _, want := range []struct {
		name         string
		mine, theirs oracle.Resource
		upgrade      bool
	}{
		{"a lock", write("a"), write("a"), false},
		{"permits", permit(3, 2, "a"), permit(3, 2, "a"), false},
		{"a permit below a writer", permit(3, 1, "a", "b"), write("a"), false},
		{"an upgraded lock", read("a"), read("a"), true},
	} {
		for _, c := range []struct {
			name     string
			believes bool
			lie      func([]byte) []byte
			right    bool
		}{
			{"no fault", false, nil, true},
			{"a client that ignores its deadline", true, nil, false},
			{"a session that ends before its time", false, lie, false},
		} {
			t.Run(want.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				w := newWire(t, serve(t), 0, true)
				stops, goesOn := newStranger(w, "stops", time.Second), newStranger(w, "goes on", time.Minute)
				stops.believes, w.lie = c.believes, c.lie
				mine := stops.begin(t, want.mine)
				stops.await(t, func() bool { return mine.held })
				if want.upgrade {
					stops.upgrade(t, mine)
				}
				theirs := goesOn.begin(t, want.theirs)
				goesOn.await(t, func() bool { return theirs.held })
				stops.believe()
				for _, s := range []*stranger{stops, goesOn} {
					require.NoError(t, s.live(time.Time{}))
				}
				judgeFault(t, append(stops.history, goesOn.history...), c.right)
			})
		}
	}
}

// TestFaultsOfVersion1AreFound has a client of version 1 that loses its connection, and another one that gets its
// lock when it was abandoned.
func TestFaultsOfVersion1AreFound(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	for _, c := range []struct {
		name     string
		lasts    string // the abandon timeout that the server is told
		believes bool
		right    bool
	}{
		{"no fault", "300", false, true},
		{"a client that ignores its deadline", "300", true, false},
		{"a lock that is given away before its time", "0", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWire(t, serve(t), 0, true)
			goes := &elder{
				name: "goes", address: w.address() + "/v1?namespace=n&abandon-timeout-ms=" + c.lasts, rng: rand.New(rand.NewPCG(0, 0)),
				abandon: 300 * time.Millisecond, believes: c.believes, current: &Record{Resources: []oracle.Resource{write("a")}},
			}
			var err error
			goes.conn, err = dialWire(goes.address)
			require.NoError(t, err)
			goes.current.Asked = oracle.Now()
			goes.say(`{"action":"lock","resources":` + text(goes.current.Resources) + `}`)
			for end := time.Now().Add(patience); goes.current.Token == 0 && time.Now().Before(end); {
				require.NoError(t, goes.listen(time.Millisecond))
			}
			goes.conn.drop()
			goes.conn = nil
			goesOn := newStranger(w, "goes on", time.Minute)
			theirs := goesOn.begin(t, write("a"))
			goesOn.await(t, func() bool { return theirs.held })
			goes.hangUp()
			require.NoError(t, goesOn.live(time.Time{}))
			goes.paid(oracle.Now())
			judgeFault(t, append(goes.history, goesOn.history...), c.right)
		})
	}
}

// TestLiesAreFound has clients who are told what isn't so: in one slot with somebody, or with a token that isn't new.
func TestLiesAreFound(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	token := regexp.MustCompile(`("state":"upgraded","token":")(.)"`)
	for _, c := range []struct {
		name  string
		lie   func([]byte) []byte
		right bool
	}{
		{"the truth", nil, true},
		{"one slot twice", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(`"slots":[1]`), []byte(`"slots":[0]`)) }, false},
		{"an upgrade's token went back", func(b []byte) []byte { return token.ReplaceAll(b, []byte(`${1}1"`)) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWire(t, serve(t), 0, true)
			w.lie = c.lie
			one, other := newStranger(w, "one", time.Minute), newStranger(w, "other", time.Minute)
			for _, s := range []*stranger{one, other} {
				l := s.begin(t, permit(2, 1, "p"))
				s.await(t, func() bool { return l.held })
			}
			l := one.begin(t, read("a"))
			one.await(t, func() bool { return l.held })
			one.upgrade(t, l)
			for _, s := range []*stranger{one, other} {
				require.NoError(t, s.live(time.Time{}))
			}
			judgeFault(t, append(one.history, other.history...), c.right)
		})
	}
}

func judgeFault(t *testing.T, history []*Record, right bool) {
	err := Check(history, judgement)
	require.Equal(t, right, err == nil, "%v", err)
	require.NotErrorIs(t, err, ErrUndecided)
}

func newStranger(w *wire, name string, ttl time.Duration) *stranger {
	return &stranger{
		name: name, address: w.address() + "/v2?namespace=n", rng: rand.New(rand.NewPCG(0, 0)), ttl: ttl, locks: map[uint64]*lock{},
	}
}

// begin asks for something, over a connection if there is one.
func (c *stranger) begin(t *testing.T, wanted oracle.Resource) *lock {
	if c.conn == nil {
		require.NoError(t, c.connect())
	}
	l := &lock{Record: &Record{Client: c.name, Resources: []oracle.Resource{wanted}}}
	require.NoError(t, c.request(l, ""))
	require.NoError(t, c.listen(0))
	return l
}

// upgrade upgrades a lock.
func (c *stranger) upgrade(t *testing.T, l *lock) {
	require.NoError(t, c.raise(l))
	c.await(t, func() bool { return l.upgrade == nil })
	require.NotZero(t, l.Changes[0].Token)
}

// await listens until something is so.
func (c *stranger) await(t *testing.T, so func() bool) {
	for end := time.Now().Add(patience); !so(); {
		require.True(t, time.Now().Before(end), "it never is")
		require.NoError(t, c.listen(time.Millisecond))
	}
}
