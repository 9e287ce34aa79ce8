package main

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/locktopus-project/locktopus/v2/bench/internal/report"
	"github.com/locktopus-project/locktopus/v2/engine"
)

// direct runs engine: it calls the engine in this process.
func direct(s *scene) error {
	for _, resources := range []int{1, 4} {
		row := s.row(fmt.Sprintf("%d paths of three segments", resources), "engine alone", float64(resources))
		for range s.opt.repeats {
			core, own, err := s.ourCore()
			if err != nil {
				return err
			}
			slice, took, err := called(resources, s.opt.slice)
			if err != nil {
				return err
			}
			coreAfter, ownAfter, err := s.ourCore()
			if err != nil {
				return err
			}
			slice.Others = max(0, (coreAfter-core-(ownAfter-own)).Seconds()/took.Seconds())
			row.Slices = append(row.Slices, slice)
		}
	}
	return nil
}

// ourCore is how long the generator's core was in use, and by us.
func (b *bench) ourCore() (core, own time.Duration, err error) {
	if core, err = coreTime(b.cores.generator); err != nil {
		return 0, 0, err
	}
	own, err = cpuTime(os.Getpid())
	return core, own, err
}

// called locks and releases for some time.
func called(resources int, slice time.Duration) (out report.Slice, took time.Duration, err error) {
	e := engine.New(engine.Limits{}, 0)
	const requests, batch = 64, 1000
	all := make([][]engine.Resource, requests)
	for i := range all {
		for k := range resources {
			path := [][]byte{[]byte("bench"), []byte("own"), []byte(number(i*resources + k))}
			all[i] = append(all[i], engine.Resource{Mode: engine.Write, Path: path})
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	pairs, begin := 0, time.Now()
	for took < slice {
		for i := range batch {
			p, err := e.Lock(1, all[i%requests])
			if err == nil {
				_, err = e.Release(p.Handle)
			}
			if err != nil {
				return out, 0, err
			}
		}
		pairs += batch
		took = time.Since(begin)
	}
	runtime.ReadMemStats(&after)
	out.Set(report.EngineTime, float64(took.Nanoseconds())/float64(pairs))
	out.Set(report.Allocs, float64(after.Mallocs-before.Mallocs)/float64(pairs))
	return out, took, nil
}
