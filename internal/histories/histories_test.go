package histories

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	worlds    = 6 // namespaces, each with a history of its own
	strangers = 2 // in each: the more there are, the harder it is to judge
	regulars  = 2
	elders    = 1
	judgement = time.Minute // for one history
)

// TestHistoriesOverBadConnections has clients lock over connections that are cut, late, silent and repeated, and
// stop for longer than their sessions live; then it looks for an order of what they saw.
func TestHistoriesOverBadConnections(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	seed := testseed.New(t)
	address := serve(t)
	w := newWire(t, address, seed, false)
	var all sync.WaitGroup
	var undecided atomic.Int32
	for k := range worlds {
		all.Go(func() {
			n := &namespace{t: t, server: address, wire: w, name: fmt.Sprint("n", k), seed: seed + uint64(k)}
			n.run()
			began := time.Now()
			if err := Check(n.history(), judgement); errors.Is(err, ErrUndecided) {
				undecided.Add(1)
				t.Logf("namespace %s: %v", n.name, err)
			} else if err != nil {
				t.Errorf("namespace %s: %v\n%s", n.name, err, n.trace())
			}
			t.Log(n.summary() + fmt.Sprintf("; judged in %v", time.Since(began).Round(time.Millisecond)))
		})
	}
	all.Wait()
	require.LessOrEqual(t, undecided.Load(), int32(worlds/3), "histories without a verdict show nothing")
	t.Logf("faults of the wire: %d cuts, %d silences, %d outages, %d repeated hellos, %d delays", w.faults[faultCut].Load(),
		w.faults[faultSilence].Load(), w.faults[faultOutage].Load(), w.faults[faultRepeat].Load(), w.faults[faultLate].Load())
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
	elders    []*elder
	kills     *kills // nil: the server lives
}

// run has all clients live for a while, and waits until the server knows none of them any more.
func (n *namespace) run() {
	n.live(strangers+regulars+elders, *length)
	n.settle()
}

// live has the first clients live for a while.
func (n *namespace) live(clients int, length time.Duration) {
	address := n.wire.address()
	until := time.Now().Add(length)
	var all sync.WaitGroup
	for k := range clients {
		live := n.client(k, address)
		all.Go(func() {
			if err := live(until); err != nil {
				n.t.Error(err)
			}
		})
	}
	all.Wait()
}

// settle waits until the server knows none of the clients any more, and gives what they don't know the end of one.
func (n *namespace) settle() {
	n.awaitEmpty()
	now := oracle.Now()
	for _, p := range n.regulars {
		p.paid(now)
	}
	for _, c := range n.elders {
		c.paid(now)
	}
}

// client makes a client, and gives what it does.
func (n *namespace) client(k int, address string) (live func(time.Time) error) {
	rng := rand.New(rand.NewPCG(n.seed, uint64(k)))
	now := address + "/v2?namespace=" + n.name
	switch {
	case k < strangers:
		c := &stranger{
			name: fmt.Sprintf("%s/stranger%d", n.name, k), address: now, rng: rng, locks: map[uint64]*lock{},
			ttl: time.Duration(300+rng.IntN(900)) * time.Millisecond, kills: n.kills,
		}
		n.strangers = append(n.strangers, c)
		return c.live
	case k < strangers+regulars:
		p := &regular{name: fmt.Sprintf("%s/regular%d", n.name, k), address: now, rng: rng, ttl: time.Second}
		n.regulars = append(n.regulars, p)
		return p.live
	}
	c := &elder{name: fmt.Sprintf("%s/elder%d", n.name, k), rng: rng, abandon: time.Duration(100+rng.IntN(500)) * time.Millisecond}
	c.witness = &witness{address: "ws://" + n.server + "/v2?namespace=" + n.name}
	c.address = fmt.Sprintf("%s/v1?namespace=%s&abandon-timeout-ms=%d", address, n.name, c.abandon.Milliseconds())
	n.elders = append(n.elders, c)
	return c.live
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
	for _, c := range n.elders {
		all = append(all, c.history...)
	}
	return all
}

// trace is all that strangers and elders sent and received, in order.
func (n *namespace) trace() string {
	var all []string
	for _, c := range n.strangers {
		all = append(all, c.trace...)
	}
	for _, c := range n.elders {
		all = append(all, c.trace...)
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

func (n *namespace) summary() string {
	lives, resumes, got, lost := 0, 0, 0, 0
	for _, c := range n.strangers {
		lives, resumes = lives+c.lives, resumes+c.resumes
	}
	for _, p := range n.regulars {
		got, lost = got+p.got, lost+p.lost
	}
	return fmt.Sprintf("namespace %s: %s; strangers had %d sessions and %d resumes; regulars got %d locks and lost %d",
		n.name, summary(n.history()), lives, resumes, got, lost)
}

// summary says what there is in a history.
func summary(history []*Record) string {
	granted, ghosts, permits, ups, downs, old := 0, 0, 0, 0, 0, 0
	for _, r := range history {
		if r.Token != 0 {
			granted++
			permits += r.permits()
		}
		if r.ghost() {
			ghosts++
		}
		if r.Number != 0 {
			old++
		}
		for _, c := range r.Changes {
			switch {
			case c.Token != 0:
				ups++
			case c.Down && c.Answered != 0:
				downs++
			}
		}
	}
	return fmt.Sprintf("%d requests, %d granted, %d of version 1, %d of which nothing is known; %d permits, %d upgrades, %d downgrades",
		len(history), granted, old, ghosts, permits, ups, downs)
}
