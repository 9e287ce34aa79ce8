package main

import (
	"fmt"
	"os"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/locktopus-project/locktopus/v2/bench/internal/report"
)

// warmUpShare of a slice is driven before it, unmeasured.
const warmUpShare = 0.25

// contender is a candidate with those who drive it.
type contender struct {
	row    *report.Row
	server *process
	// drive drives it for a warm-up and a slice, and calls counting when the slice begins and ends.
	drive func(warmUp, slice time.Duration, counting func() error) (outcome, error)
	// generator is the process that drives it, besides this one; nil if none.
	generator *process
}

// outcome is what those who drive found out.
type outcome struct {
	pairs  float64 // -1: they aren't counted
	took   time.Duration
	unused time.Duration // by a generator that never sleeps
	values func(*report.Slice) error
}

// takeTurns measures one slice of each, again and again.
func (b *bench) takeTurns(cs []*contender) error {
	for range b.opt.repeats {
		for _, c := range cs {
			s, err := b.measure(c)
			if err != nil {
				return c.server.explain(fmt.Errorf("%s, %s: %w", c.row.Case, c.row.Candidate, err))
			}
			c.row.Slices = append(c.row.Slices, s)
		}
	}
	return nil
}

func (b *bench) measure(c *contender) (report.Slice, error) {
	var readings []reading
	counting := func() error {
		r, err := b.read(c.server, c.generator)
		readings = append(readings, r)
		return err
	}
	warmUp := time.Duration(warmUpShare * float64(b.opt.slice))
	o, err := c.drive(warmUp, b.opt.slice, counting)
	if err != nil {
		return report.Slice{}, err
	}
	return readings[1].since(readings[0], o)
}

// reading is the state of all counters at one moment.
type reading struct {
	at     time.Time
	server time.Duration // CPU time of the server
	bench  time.Duration // of this process
	driver time.Duration // of the one that drives instead of it
	cores  [2]time.Duration
	driven bool // by another process
}

func (b *bench) read(server, generator *process) (r reading, err error) {
	if r.server, err = server.cpu(); err != nil {
		return r, err
	}
	if r.bench, err = cpuTime(os.Getpid()); err != nil {
		return r, err
	}
	if r.driven = generator != nil; r.driven {
		if r.driver, err = generator.cpu(); err != nil {
			return r, err
		}
	}
	for i, core := range []int{b.cores.server, b.cores.generator} {
		if r.cores[i], err = coreTime(core); err != nil {
			return r, err
		}
	}
	r.at = time.Now()
	return r, nil
}

func (r reading) since(b reading, o outcome) (s report.Slice, err error) {
	took := r.at.Sub(b.at)
	share := func(d time.Duration) float64 { return d.Seconds() / took.Seconds() }
	server, driver := share(r.server-b.server), share(r.driver-b.driver)
	busy := driver
	if !r.driven {
		busy = 1 - o.unused.Seconds()/o.took.Seconds()
	}
	s.Set(report.ServerBusy, 100*server)
	s.Set(report.GeneratorBusy, 100*busy)
	rate := o.pairs / o.took.Seconds()
	if o.pairs >= 0 {
		s.Set(report.Pairs, rate)
	}
	if o.pairs > 0 {
		s.Set(report.PairCPU, 1e6*server/rate)
	}
	s.Others = max(0, share(r.cores[0]-b.cores[0])-server, share(r.cores[1]-b.cores[1])-driver-share(r.bench-b.bench))
	if o.values != nil {
		err = o.values(&s)
	}
	return s, err
}

// driven is the contender that a fleet of ours drives. Begin has the clients begin, reset is called
// when counting begins; values may be nil.
//
// The generator spins. If it slept, the server would pay for waking it, which it doesn't do for
// clients on other machines; how busy the generator was follows from how often it looked in vain.
func driven(row *report.Row, server *process, f *fleet, begin func() error, reset func(), values func(*report.Slice) error) *contender {
	drive := func(warmUp, slice time.Duration, counting func() error) (o outcome, err error) {
		f.spin = true
		defer func() { f.spin = false }()
		if err := begin(); err != nil {
			return o, err
		}
		if _, err := f.driveFor(warmUp); err != nil {
			return o, err
		}
		reset()
		if err := counting(); err != nil {
			return o, err
		}
		answers, unused := f.answers, f.unused
		if o.took, err = f.driveFor(slice); err != nil {
			return o, err
		}
		o.pairs, o.unused, o.values = float64(f.answers-answers)/2, f.unused-unused, values
		if err := counting(); err != nil {
			return o, err
		}
		return o, f.finish()
	}
	return &contender{row: row, server: server, drive: drive}
}

// durations are a histogram of times, that a load takes.
type durations struct{ *hdrhistogram.Histogram }

const (
	longest = time.Minute
	figures = 3 // digits that are right
)

func newDurations() durations {
	return durations{hdrhistogram.New(1, int64(longest), figures)}
}

// count counts a duration, one that is too long as the longest.
func (d durations) count(t time.Duration) {
	d.RecordValue(int64(min(max(t, 1), longest))) // it fails for values out of range only
}
