package session

import (
	"fmt"
	"testing"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// BenchmarkDo measures a lock of a three-segment path and its release, beside other locks of the same session.
func BenchmarkDo(b *testing.B) {
	for _, others := range []int{0, 1000, 90_000} {
		for _, lease := range []int64{wire.V2None, 60_000} {
			b.Run(fmt.Sprintf("others=%d/lease=%d", others, lease), func(b *testing.B) {
				w := newWorld(b, Defaults)
				s, at := w.open(wire.V2None)
				for k := range others {
					w.do(s, at, with(lockRequest(uint64(k+1), write(fmt.Sprint(k))), func(r *Request) { r.LeaseMS = lease }))
				}
				id := uint64(others)
				wanted := []engine.Resource{write("group", "entity", "part")}
				b.ReportAllocs()
				for b.Loop() {
					id++
					r := Request{V2Request: wire.V2Request{Op: wire.V2Lock, ID: id, WaitMS: wire.V2None, LeaseMS: lease}, Wanted: wanted}
					w.space.Do(w.now, s, at, &r, &w.fx)
					id++
					r = Request{V2Request: wire.V2Request{Op: wire.V2Release, ID: id, Lock: id - 1}}
					w.space.Do(w.now, s, at, &r, &w.fx)
				}
			})
		}
	}
}

// BenchmarkHandOff measures a lock that goes from one session to the next of those that wait, and the first one
// waiting again.
func BenchmarkHandOff(b *testing.B) {
	for _, waiters := range []int{1, 10, 1000, 100_000} {
		b.Run(fmt.Sprintf("waiters=%d", waiters), func(b *testing.B) { handOff(b, waiters) })
	}
}

func handOff(b *testing.B, waiters int) {
	w := newWorld(b, Defaults)
	wanted := []engine.Resource{write("x")}
	type one struct {
		s      *Session
		at, id uint64
	}
	var all []one
	lock := func(c *one) {
		c.id++
		w.do(c.s, c.at, Request{V2Request: wire.V2Request{Op: wire.V2Lock, ID: c.id, WaitMS: 1000, LeaseMS: wire.V2None}, Wanted: wanted})
	}
	for range waiters + 1 {
		s, at := w.open(wire.V2None)
		all = append(all, one{s, at, 0})
		lock(&all[len(all)-1])
	}
	k := 0
	b.ReportAllocs()
	for b.Loop() {
		c := &all[k]
		k = (k + 1) % len(all)
		c.id++
		w.do(c.s, c.at, Request{V2Request: wire.V2Request{Op: wire.V2Release, ID: c.id, Lock: c.id - 1}})
		w.space.Collect(w.now, all[k].s, all[k].at, &w.fx)
		lock(c)
	}
}
