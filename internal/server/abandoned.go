package server

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"github.com/locktopus-project/locktopus/v2/engine"
)

// An abandonment is an acquired lock whose connection is gone; it is released at its time.
type abandonment struct {
	ns   *namespace
	lock engine.Handle
	from origin
}

// origin stands for the address that a client connected from, of IPv6 for its network (the first 64
// bits); zero for none, as with unix sockets.
type origin uint64

var originSeed = maphash.MakeSeed()

func originOf(addr netip.Addr) origin {
	if !addr.IsValid() {
		return 0
	}
	if addr.Is6() {
		network, _ := addr.Prefix(64) // fails only above an address's length
		addr = network.Addr()
	}
	return origin(maphash.Comparable(originSeed, addr) | 1)
}

// tally counts things by the addresses that they come from. The zero value has counted nothing.
type tally struct {
	mu     sync.Mutex // guards counts
	counts map[origin]int
}

// add counts n more, or less, and says how many there are now. What has no address isn't counted.
func (t *tally) add(o origin, n int) int {
	if o == 0 {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[origin]int{}
	}
	t.counts[o] += n
	now := t.counts[o]
	if now == 0 {
		delete(t.counts, o)
	}
	return now
}

// from is how many there are from an address.
func (t *tally) from(o origin) int { return t.add(o, 0) }

// abandoned holds all of them in the order of their times, and counts them by their origins.
type abandoned struct {
	*schedule[abandonment]
	tally
}

func newAbandoned(release func(abandonment)) *abandoned {
	a := &abandoned{}
	a.schedule = newSchedule(func(x abandonment) {
		a.tally.add(x.from, -1)
		release(x)
	})
	return a
}

// add puts a lock to the others.
func (a *abandoned) add(at time.Time, x abandonment) {
	a.tally.add(x.from, 1)
	a.schedule.add(at, x)
}
