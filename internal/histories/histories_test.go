package histories

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
	"github.com/locktopus-project/locktopus/v2/internal/server"
	"github.com/locktopus-project/locktopus/v2/internal/testseed"
	"github.com/locktopus-project/locktopus/v2/internal/testserver"
)

var length = flag.Duration("histories.length", 6*time.Second, "how long clients work in a test")

const (
	worlds    = 4 // namespaces, each with a history of its own
	strangers = 4 // in each
	regulars  = 2
	judgement = 15 * time.Second // for one history
)

// TestHistoriesOverBadConnections has clients lock over connections that are cut, late, silent and repeated, and
// stop for longer than their sessions live; then it looks for an order of what they saw.
func TestHistoriesOverBadConnections(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	seed := testseed.New(t)
	address := serve(t)
	w := newWire(t, address, seed, false)
	var all sync.WaitGroup
	for k := range worlds {
		all.Go(func() {
			n := &namespace{t: t, server: address, wire: w, name: fmt.Sprint("n", k), seed: seed + uint64(k)}
			n.run()
			if err := Check(n.history(), judgement); err != nil {
				t.Errorf("namespace %s: %v\n%s", n.name, err, n.trace())
			}
			t.Log(n.summary())
		})
	}
	all.Wait()
	t.Logf("faults of the wire: %d cuts, %d silences, %d outages, %d repeated hellos, %d delays", w.faults[faultCut].Load(),
		w.faults[faultSilence].Load(), w.faults[faultOutage].Load(), w.faults[faultRepeat].Load(), w.faults[faultLate].Load())
}

// TestFaultsAreFound has two clients that want the same, of which one stops until the other one has got it. The
// history is right, unless the client goes on believing in its lock, or was lied to about its time.
func TestFaultsAreFound(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	lie := func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(`"ttl_ms":1000,`), []byte(`"ttl_ms":9000,`)) }
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
		t.Run(c.name, func(t *testing.T) {
			w := newWire(t, serve(t), 0, true)
			stops, goesOn := newStranger(w, "stops", time.Second), newStranger(w, "goes on", time.Minute)
			stops.believes, w.lie = c.believes, c.lie
			mine, theirs := stops.begin(t), goesOn.begin(t)
			stops.await(t, mine)
			goesOn.await(t, theirs)
			stops.believe()
			for _, s := range []*stranger{stops, goesOn} {
				require.NoError(t, s.live(time.Time{}))
			}
			err := Check(append(stops.history, goesOn.history...), judgement)
			require.Equal(t, c.right, err == nil, "%v", err)
			require.NotErrorIs(t, err, ErrUndecided)
		})
	}
}

func newStranger(w *wire, name string, ttl time.Duration) *stranger {
	return &stranger{
		name: name, address: "ws://" + w.listener.Addr().String() + "/v2?namespace=n", rng: rand.New(rand.NewPCG(0, 0)), ttl: ttl,
		locks: map[uint64]*lock{},
	}
}

// begin connects and asks for a lock.
func (c *stranger) begin(t *testing.T) *lock {
	require.NoError(t, c.connect())
	l := &lock{Record: &Record{Client: c.name, Resources: []oracle.Resource{write("a")}}}
	require.NoError(t, c.request(l, ""))
	require.NoError(t, c.listen(0))
	return l
}

// await listens until the client has the lock.
func (c *stranger) await(t *testing.T, l *lock) {
	for end := time.Now().Add(patience); !l.held; {
		require.True(t, time.Now().Before(end), "no lock")
		require.NoError(t, c.listen(time.Millisecond))
	}
}

// serve starts a server.
func serve(t testing.TB) string {
	_, host := testserver.Serve(t, func(o *server.Options) { o.Settings.Sessions.TTLMin = 10 * time.Millisecond })
	return host
}

// namespace is one with its clients.
type namespace struct {
	t      testing.TB
	server string
	wire   *wire
	name   string
	seed   uint64

	strangers []*stranger
	regulars  []*regular
}

// run has all clients live for a while, and waits until the server knows none of them any more.
func (n *namespace) run() {
	address := "ws://" + n.wire.listener.Addr().String() + "/v2?namespace=" + n.name
	until := time.Now().Add(*length)
	var all sync.WaitGroup
	for k := range strangers + regulars {
		rng := rand.New(rand.NewPCG(n.seed, uint64(k)))
		var live func(time.Time) error
		if k < strangers {
			c := &stranger{
				name: fmt.Sprintf("%s/stranger%d", n.name, k), address: address, rng: rng, locks: map[uint64]*lock{},
				ttl: time.Duration(300+rng.IntN(900)) * time.Millisecond,
			}
			n.strangers, live = append(n.strangers, c), c.live
		} else {
			p := &regular{name: fmt.Sprintf("%s/regular%d", n.name, k), address: address, rng: rng, ttl: time.Second}
			n.regulars, live = append(n.regulars, p), p.live
		}
		all.Go(func() {
			if err := live(until); err != nil {
				n.t.Error(err)
			}
		})
	}
	all.Wait()
	n.awaitEmpty()
	now := oracle.Now()
	for _, p := range n.regulars {
		p.paid(now)
	}
}

// awaitEmpty waits until nobody uses the namespace.
func (n *namespace) awaitEmpty() {
	web := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for end := time.Now().Add(patience); ; {
		resp, err := web.Get("http://" + n.server + "/stats?namespace=" + n.name)
		if err != nil {
			n.t.Error(err)
			return
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusNotFound {
			return
		}
		if time.Now().After(end) {
			n.t.Errorf("namespace %s is still used", n.name)
			return
		}
		pause(10 * time.Millisecond)
	}
}

// history is what all clients saw.
func (n *namespace) history() (all []*Record) {
	for _, c := range n.strangers {
		all = append(all, c.history...)
	}
	for _, p := range n.regulars {
		all = append(all, p.history...)
	}
	return all
}

// trace is all that strangers sent and received, in order.
func (n *namespace) trace() string {
	var all []string
	for _, c := range n.strangers {
		all = append(all, c.trace...)
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

func (n *namespace) summary() string {
	lives, resumes, got, lost, granted := 0, 0, 0, 0, 0
	for _, c := range n.strangers {
		lives, resumes = lives+c.lives, resumes+c.resumes
	}
	for _, p := range n.regulars {
		got, lost = got+p.got, lost+p.lost
	}
	all := n.history()
	for _, r := range all {
		if r.Token != 0 {
			granted++
		}
	}
	return fmt.Sprintf("namespace %s: %d requests, %d granted; strangers had %d sessions and %d resumes; regulars got %d locks and lost %d",
		n.name, len(all), granted, lives, resumes, got, lost)
}
