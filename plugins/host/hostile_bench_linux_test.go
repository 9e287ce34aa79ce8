package host

import (
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/locktopus-project/locktopus/v2/internal/hostile"
)

// BenchmarkHostile measures how long guests that never end, or go too deep, hold the goroutine that asks
// them, with a limit of 5 ms, while somebody else collects garbage all the time, which can't go on until
// the guest has come to a place where it can be stopped. It is a report and not a test:
//
//	go test -run '^$' -bench Hostile -benchtime 20x ./plugins/host
//
// On a busy machine the time on the wall says little. cpu-ms is what the thread really ran, and slice-ms
// what it ran between two looks at the clock.
func BenchmarkHostile(b *testing.B) {
	for _, d := range slices.Concat(hostile.Endless, hostile.Deep, hostile.Trapping) {
		b.Run(strings.ReplaceAll(d.About, " ", "-"), func(b *testing.B) {
			reportKills(b, mean(b, Authorize, Limits{LogLines: 100}), d.Namespace)
		})
	}
}

// reportKills asks for misbehaviour again and again, each time a fresh instance.
func reportKills(b *testing.B, spec Spec, namespace string) {
	spec.Limits.Call = 5 * time.Millisecond
	kills := kill(b, spec, namespace, b.N)
	spec.Limits.Call = time.Nanosecond // it is used up when the second slice is
	slices := kill(b, spec, namespace, b.N)
	b.ReportMetric(0, "ns/op") // the waiting in between is nobody's business
	b.ReportMetric(ms(median(kills.wall)), "median-ms")
	b.ReportMetric(ms(most(kills.wall)), "max-ms")
	b.ReportMetric(ms(most(kills.cpu)), "max-cpu-ms")
	b.ReportMetric(ms(most(slices.cpu))/2, "max-slice-ms")
	b.ReportMetric(kills.heap, "heap-MiB")
}

// kills are how long calls took, and what each took from Go's heap.
type kills struct {
	wall, cpu []time.Duration
	heap      float64 // MiB
}

func kill(b *testing.B, spec Spec, namespace string, times int) (k kills) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	g := New(Options{})
	defer g.Close()
	if err := g.Load([]Spec{spec}); err != nil {
		b.Fatal(err)
	}
	defer collecting()()
	var before, after runtime.MemStats
	for range times {
		mended(g)
		c := g.Caller() // one without a penalty
		runtime.ReadMemStats(&before)
		begun, cpu := time.Now(), threadTime()
		v := put(c, Authorize, namespace)
		k.cpu = append(k.cpu, threadTime()-cpu)
		k.wall = append(k.wall, time.Since(begun))
		runtime.ReadMemStats(&after)
		k.heap = max(k.heap, float64(after.TotalAlloc-before.TotalAlloc)/(1<<20))
		if v.Outcome == Allowed {
			b.Fatal("allowed")
		}
	}
	return k
}

// threadTime is how long this thread has run.
func threadTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}

func median(all []time.Duration) time.Duration {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

func most(all []time.Duration) time.Duration { return slices.Max(all) }

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// collecting collects garbage on and on until it is stopped.
func collecting() (stop func()) {
	done := make(chan struct{})
	var w sync.WaitGroup
	w.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				runtime.GC()
			}
		}
	})
	return func() {
		close(done)
		w.Wait()
	}
}
