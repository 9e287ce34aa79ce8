package engine

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

func resource(mode Mode, path ...string) Resource {
	r := Resource{Mode: mode, Limit: 1000, Weight: 1}
	for _, seg := range path {
		r.Path = append(r.Path, []byte(seg))
	}
	return r
}

func mustLock(tb testing.TB, e *Engine, rs []Resource) Handle {
	p, err := e.Lock(1, rs)
	if err != nil {
		tb.Fatal(err)
	}
	return p.Handle
}

func mustRelease(tb testing.TB, e *Engine, h Handle) Released {
	r, err := e.Release(h)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// BenchmarkLockRelease is a request alone: lock and release together.
func BenchmarkLockRelease(b *testing.B) {
	four := []Resource{
		resource(Write, "group", "entity", "id-42"), resource(Read, "group", "entity", "id-43"),
		resource(Write, "group2", "entity", "id-42"), resource(Read, "schema"),
	}
	deep := resource(Write)
	for range 1000 {
		deep.Path = append(deep.Path, []byte("segment"))
	}
	uuid := "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
	for _, c := range []struct {
		name string
		rs   []Resource
	}{
		{"segments=3", four[:1]},
		{"segments=3/uuid", []Resource{resource(Write, "group", "entity", uuid)}},
		{"resources=4", four},
		{"permit", []Resource{resource(Permit, "group", "entity", "id-42")}},
		{"segments=1000", []Resource{deep}},
	} {
		b.Run(c.name, func(b *testing.B) {
			e := New(Limits{}, 0)
			b.ReportAllocs()
			for b.Loop() {
				p, err := e.Lock(1, c.rs)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := e.Release(p.Handle); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkHandoff releases the oldest of a queue of writers and puts a new one at its end.
func BenchmarkHandoff(b *testing.B) {
	for _, waiters := range []int{10, 100_000} {
		b.Run(fmt.Sprintf("waiters=%d", waiters), func(b *testing.B) {
			e := New(Limits{}, 0)
			rs := []Resource{resource(Write, "group", "entity", "id-42")}
			queue := make([]Handle, waiters)
			for i := range queue {
				queue[i] = mustLock(b, e, rs)
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				if r := mustRelease(b, e, queue[i]); len(r.Grants) != 1 {
					b.Fatal("no hand-off")
				}
				queue[i] = mustLock(b, e, rs)
				if i++; i == len(queue) {
					i = 0
				}
			}
		})
	}
}

// BenchmarkBesideHeld locks and releases while others are held that it doesn't conflict with. Its
// paths are a thousand that come again, or a million, in no order, so that with a million held ones
// everything it touches is as far away as memory gets.
func BenchmarkBesideHeld(b *testing.B) {
	var names [1000][]byte
	for i := range names {
		names[i] = []byte(fmt.Sprintf("entity-%d", i))
	}
	for _, paths := range []int{1 << 10, 1 << 20} {
		order := rand.New(rand.NewPCG(1, 1)).Perm(paths)
		for _, held := range []int{0, 1_000_000} {
			b.Run(fmt.Sprintf("paths=%d/held=%d", paths, held), func(b *testing.B) {
				e := New(Limits{}, 0)
				for i := range held {
					mustLock(b, e, []Resource{resource(Write, "group", string(names[i%1000]), fmt.Sprint(i))})
				}
				besideHeld(b, e, names[:], order)
			})
		}
	}
}

func besideHeld(b *testing.B, e *Engine, names [][]byte, order []int) {
	id := []byte("x-0000000")
	rs := []Resource{{Mode: Write, Path: [][]byte{[]byte("group"), nil, id}}}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		n := order[i%len(order)]
		i++
		rs[0].Path[1] = names[n%1000]
		for k := range 7 {
			id[2+k], n = byte('0'+n%10), n/10
		}
		mustRelease(b, e, mustLock(b, e, rs))
	}
}

// BenchmarkChurn replaces one of the held locks, drawn at random, by another.
func BenchmarkChurn(b *testing.B) {
	for _, held := range []int{1000, 1_000_000} {
		b.Run(fmt.Sprintf("held=%d", held), func(b *testing.B) {
			e := New(Limits{}, 0)
			rnd := rand.New(rand.NewPCG(1, 1))
			id := []byte("0000000000")
			rs := []Resource{{Mode: Write, Path: [][]byte{[]byte("group"), []byte("entity"), id}}}
			next := 0
			fresh := func() []Resource {
				next++
				for k, n := 0, next; k < len(id); k++ {
					id[k], n = byte('0'+n%10), n/10
				}
				return rs
			}
			handles := make([]Handle, held)
			for i := range handles {
				handles[i] = mustLock(b, e, fresh())
			}
			b.ReportAllocs()
			for b.Loop() {
				i := rnd.IntN(held)
				mustRelease(b, e, handles[i])
				handles[i] = mustLock(b, e, fresh())
			}
		})
	}
}

// BenchmarkHeldLock reports the bytes of heap that a held lock of three segments takes, the last
// one its own.
func BenchmarkHeldLock(b *testing.B) {
	const locks = 1_000_000
	for name, id := range map[string]string{"short": "id-%07d", "uuid": "f81d4fae-7dec-11d0-a765-00a0c%07d"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				before := liveHeap()
				e := New(Limits{}, 0)
				for i := range locks {
					mustLock(b, e, []Resource{resource(Write, "group", fmt.Sprintf("entity-%d", i%1000), fmt.Sprintf(id, i))})
				}
				b.ReportMetric(float64(liveHeap()-before)/locks, "B/lock")
				runtime.KeepAlive(e)
			}
		})
	}
}

func liveHeap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkReadMostly is one path with a thousand readers that come and go, and a writer now and
// then.
func BenchmarkReadMostly(b *testing.B) {
	e := New(Limits{}, 0)
	read := []Resource{resource(Read, "group", "entity", "id-42")}
	write := []Resource{resource(Write, "group", "entity", "id-42")}
	queue := make([]Handle, 1000)
	for i := range queue {
		queue[i] = mustLock(b, e, read)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		k := i % len(queue)
		mustRelease(b, e, queue[k])
		if queue[k] = mustLock(b, e, read); i%100 == 0 {
			mustRelease(b, e, queue[k])
			queue[k] = mustLock(b, e, write)
		}
		i++
	}
}

// BenchmarkPermits is a pool of a thousand permits with as many waiting again.
func BenchmarkPermits(b *testing.B) {
	e := New(Limits{}, 0)
	rs := []Resource{resource(Permit, "pool")}
	queue := make([]Handle, 2000)
	for i := range queue {
		queue[i] = mustLock(b, e, rs)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if r := mustRelease(b, e, queue[i%len(queue)]); len(r.Grants) != 1 {
			b.Fatal("no hand-off")
		}
		queue[i%len(queue)] = mustLock(b, e, rs)
		i++
	}
}

// BenchmarkMillionReaders releases a writer with a million readers behind it, and reports the
// longest call that is part of it, and the longest Lock and Release while the readers came and went.
func BenchmarkMillionReaders(b *testing.B) {
	const readers = 1_000_000
	for b.Loop() {
		e := New(Limits{}, 0)
		writer := mustLock(b, e, []Resource{resource(Write, "group", "entity")})
		rs := []Resource{resource(Read, "group", "entity", "id-42")}
		handles := make([]Handle, readers)
		lock, slice, release := longest{}, longest{}, longest{}
		for i := range handles {
			lock.time(func() { handles[i] = mustLock(b, e, rs) })
		}
		more := false
		slice.time(func() { more = mustRelease(b, e, writer).More })
		for more {
			slice.time(func() { _, more = e.Advance() })
		}
		for i := range handles {
			release.time(func() { mustRelease(b, e, handles[i]) })
		}
		b.ReportMetric(lock.us(), "µs/longest-lock")
		b.ReportMetric(slice.us(), "µs/longest-slice")
		b.ReportMetric(release.us(), "µs/longest-release")
	}
}

// BenchmarkGrowth locks ten million paths and releases them, and reports the longest calls.
func BenchmarkGrowth(b *testing.B) {
	const paths = 10_000_000
	for b.Loop() {
		e := New(Limits{}, 0)
		id := []byte("0000000")
		rs := []Resource{{Mode: Write, Path: [][]byte{id}}}
		handles := make([]Handle, paths)
		lock, release := longest{}, longest{}
		for i := range handles {
			for k, n := 0, i; k < len(id); k++ {
				id[k], n = byte('0'+n%10), n/10
			}
			lock.time(func() { handles[i] = mustLock(b, e, rs) })
		}
		for i := range handles {
			release.time(func() { mustRelease(b, e, handles[i]) })
		}
		b.ReportMetric(lock.us(), "µs/longest-lock")
		b.ReportMetric(release.us(), "µs/longest-release")
	}
}

// longest is the longest of some calls.
type longest struct{ d time.Duration }

func (l *longest) time(f func()) {
	start := time.Now()
	f()
	l.d = max(l.d, time.Since(start))
}

func (l *longest) us() float64 { return float64(l.d.Nanoseconds()) / 1e3 }
