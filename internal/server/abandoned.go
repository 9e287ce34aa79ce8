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

// abandoned holds all of them in the order of their times, and counts them by their origins.
type abandoned struct {
	*schedule[abandonment]

	counting sync.Mutex // guards counts
	counts   map[origin]int
}

func newAbandoned(release func(abandonment)) *abandoned {
	a := &abandoned{counts: map[origin]int{}}
	a.schedule = newSchedule(func(x abandonment) {
		a.uncount(x.from)
		release(x)
	})
	return a
}

// add puts a lock to the others.
func (a *abandoned) add(at time.Time, x abandonment) {
	a.counting.Lock()
	a.counts[x.from]++
	a.counting.Unlock()
	a.schedule.add(at, x)
}

func (a *abandoned) uncount(o origin) {
	a.counting.Lock()
	defer a.counting.Unlock()
	if a.counts[o]--; a.counts[o] == 0 {
		delete(a.counts, o)
	}
}

// from is how many there are from an address. Those without an address aren't counted together.
func (a *abandoned) from(o origin) int {
	if o == 0 {
		return 0
	}
	a.counting.Lock()
	defer a.counting.Unlock()
	return a.counts[o]
}
