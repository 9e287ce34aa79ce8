package session

import (
	"bytes"
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

// one is a session with its attachment, and the last id that it used.
type one struct {
	s      *Session
	at, id uint64
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

// BenchmarkWatchedLock measures a lock and its release while so many watches are told of both: what the one who
// locks pays, with what is left over for Tick, and without what the watches' own calls do.
func BenchmarkWatchedLock(b *testing.B) {
	for _, watches := range []int{0, 1, 64, 1024, 10_000} {
		for name, p := range map[string][][]byte{"there": path("group"), "elsewhere": path("elsewhere")} {
			b.Run(fmt.Sprintf("watches=%d/%s", watches, name), func(b *testing.B) {
				l := Defaults
				l.AllWatches = watches
				w := newWorld(b, l)
				var all []one
				for k := range watches {
					if k%64 == 0 {
						s, at := w.open(wire.V2None)
						all = append(all, one{s, at, 0})
					}
					c := &all[len(all)-1]
					c.id++
					w.do(c.s, c.at, looking(wire.V2Watch, c.id, p))
				}
				s, at := w.open(wire.V2None)
				wanted := []engine.Resource{write("group", "entity", "part")}
				id := uint64(0)
				b.ReportAllocs()
				for b.Loop() {
					id++
					r := Request{V2Request: wire.V2Request{Op: wire.V2Lock, ID: id, WaitMS: wire.V2None, LeaseMS: wire.V2None}, Wanted: wanted}
					w.space.Do(w.now, s, at, &r, &w.fx)
					id++
					r = Request{V2Request: wire.V2Request{Op: wire.V2Release, ID: id, Lock: id - 1}}
					w.space.Do(w.now, s, at, &r, &w.fx)
					for w.fx.More {
						w.space.Tick(w.now, &w.fx)
					}
					if id%64 == 0 {
						b.StopTimer()
						for _, c := range all {
							for rest := true; rest; rest = w.fx.Rest {
								w.space.Collect(w.now, c.s, c.at, &w.fx)
							}
						}
						b.StartTimer()
					}
				}
			})
		}
	}
}

// BenchmarkInspect measures an inspection of a path with very many holders, and one of a queue in which each waits
// for all before it.
func BenchmarkInspect(b *testing.B) {
	noted := bytes.Repeat([]byte("n"), 200)
	for _, limit := range []uint64{1, 100, 1000} {
		for name, wanted := range map[string]func(k int) engine.Resource{
			"holders": func(k int) engine.Resource { return read("x", fmt.Sprint(k)) },
			"waiters": func(int) engine.Resource { return write("x") },
		} {
			b.Run(fmt.Sprintf("%s/limit=%d", name, limit), func(b *testing.B) {
				w := newWorld(b, Defaults)
				s, at := w.open(wire.V2None)
				for k := range 10_000 {
					w.do(s, at, with(lockRequest(uint64(k+1), wanted(k)), func(r *Request) { r.Party, r.Note = uint64(k), noted }))
				}
				b.ReportAllocs()
				for b.Loop() {
					w.do(s, at, with(looking(wire.V2Inspect, s.lastID+1, path("x")), func(r *Request) { r.Limit = limit }))
				}
				b.ReportMetric(float64(len(w.last().Locks)), "locks/op")
				b.ReportMetric(float64(len(wire.AppendV2(nil, w.last()))), "bytes/op")
			})
		}
	}
}

// BenchmarkDeadlockSearch measures a request that waits behind very many while somebody waits for another lock of its
// party, so that a deadlock is looked for until there have been too many steps.
func BenchmarkDeadlockSearch(b *testing.B) {
	for _, waiters := range []int{10, 1000, 100_000} {
		b.Run(fmt.Sprintf("waiters=%d", waiters), func(b *testing.B) {
			w := newWorld(b, Defaults)
			for range waiters {
				s, at := w.open(wire.V2None)
				w.do(s, at, lockRequest(1, write("group", "x")))
			}
			s, at := w.open(wire.V2None)
			w.do(s, at, lockRequest(1, write("group", "mine")))
			other, atOther := w.open(wire.V2None)
			w.do(other, atOther, lockRequest(1, write("group", "mine")))
			id := uint64(1)
			b.ReportAllocs()
			for b.Loop() {
				id++
				w.do(s, at, lockRequest(id, write("group", "x")))
				id++
				w.do(s, at, request(wire.V2Release, id, id-1))
			}
		})
	}
}
