package server

import (
	"container/heap"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"github.com/locktopus-project/locktopus/v2/engine"
)

// An abandonment is an acquired lock whose connection is gone; it is released at its time.
type abandonment struct {
	at   time.Time
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

// abandoned holds all of them in the order of their times: one heap, one goroutine, one timer,
// however many connections are lost at once.
type abandoned struct {
	release func(abandonment)

	mu     sync.Mutex // guards queue and counts
	queue  abandonments
	counts map[origin]int // of the queue
	wake   chan struct{}  // holds one: the earliest time has changed
}

func newAbandoned(release func(abandonment)) *abandoned {
	return &abandoned{release: release, counts: map[origin]int{}, wake: make(chan struct{}, 1)}
}

// add puts a lock to the others.
func (a *abandoned) add(x abandonment) {
	a.mu.Lock()
	heap.Push(&a.queue, x)
	a.counts[x.from]++
	first := a.queue[0] == x
	a.mu.Unlock()
	if !first {
		return
	}
	select {
	case a.wake <- struct{}{}:
	default: // the goroutine has not looked since the last one
	}
}

// run releases what is due until stop is closed.
func (a *abandoned) run(stop <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(a.expire(time.Now))
		select {
		case <-stop:
			return
		case <-a.wake:
		case <-timer.C:
		}
	}
}

// expire releases all that is due, one at a time and looking at the clock each time, and says how
// long it may be until the next.
func (a *abandoned) expire(now func() time.Time) time.Duration {
	for {
		x, wait := a.next(now())
		if wait > 0 {
			return wait
		}
		a.release(x)
	}
}

// next takes the earliest one out if it is due, or says how long to wait.
func (a *abandoned) next(now time.Time) (x abandonment, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.queue) == 0 {
		return x, time.Hour
	}
	if wait := a.queue[0].at.Sub(now); wait > 0 {
		return x, wait
	}
	x = heap.Pop(&a.queue).(abandonment)
	if a.counts[x.from]--; a.counts[x.from] == 0 {
		delete(a.counts, x.from)
	}
	return x, 0
}

// from is how many there are from an address. Those without an address aren't counted together.
func (a *abandoned) from(o origin) int {
	if o == 0 {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.counts[o]
}

func (a *abandoned) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.queue)
}

// abandonments is the heap, earliest first.
type abandonments []abandonment

func (q abandonments) Len() int           { return len(q) }
func (q abandonments) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q abandonments) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *abandonments) Push(x any)        { *q = append(*q, x.(abandonment)) }

// Pop gives a storm's memory back as it passes.
func (q *abandonments) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	(*q)[last] = abandonment{}
	*q = (*q)[:last]
	if cap(*q) > 64 && last < cap(*q)/4 {
		*q = append(make(abandonments, 0, cap(*q)/2), *q...)
	}
	return x
}
