package main

import (
	"fmt"
	"math"
	"time"

	"github.com/locktopus-project/locktopus/v2/bench/internal/report"
)

const (
	// spareDescriptors are those that a process needs besides its connections.
	spareDescriptors = 256
	// pingsASecond bounds how often all idle connections are pinged, so that it is not pings that we measure.
	pingsASecond = 10_000
	settleMost   = 10 * time.Second // for the server's memory to come to rest
)

// idle holds connections that do nothing. The first tenth of them, which has also locked and
// released, warms the server up: what the rest adds is what a connection costs.
func idle(s *scene) error {
	held := min(s.opt.idle, s.descriptors-spareDescriptors)
	if held < s.opt.idle {
		s.remark("idle: %d connections were asked for, but a process may have %d descriptors here", s.opt.idle, s.descriptors)
	}
	interval := time.Duration(1+(held-1)/pingsASecond) * time.Second
	server, err := s.server("LOCKTOPUS_LIMITS_PING_INTERVAL=" + interval.String())
	if err != nil {
		return err
	}
	row := s.row(connections(held), "locktopus", float64(held))
	slice, err := s.idled(server, held, interval)
	row.Slices = append(row.Slices, slice)
	return err
}

func (s *scene) idled(server *process, held int, interval time.Duration) (out report.Slice, err error) {
	few := held / 10
	f, err := s.fleet(ownPaths{}, server, few, usual(1))
	if err != nil {
		return out, err
	}
	if _, err := f.serveAll(); err != nil {
		return out, server.explain(err)
	}
	base, err := f.settled(server, s.opt.settle)
	if err != nil {
		return out, err
	}
	if err := f.connect(server.addr, held-few, usual(1)); err != nil {
		return out, server.explain(err)
	}
	before, err := s.read(server, nil)
	if err != nil {
		return out, err
	}
	begin, unused := f.now(), f.unused
	if err := f.awaitPings(interval); err != nil {
		return out, server.explain(err)
	}
	after, err := s.read(server, nil)
	if err != nil {
		return out, err
	}
	if out, err = after.since(before, outcome{pairs: -1, took: f.now() - begin, unused: f.unused - unused}); err != nil {
		return out, err
	}
	full, err := f.settled(server, s.opt.settle)
	if err != nil {
		return out, err
	}
	out.Set(report.Held, float64(held))
	out.Set(report.Base, base)
	out.Set(report.Peak, full)
	out.Set(report.Each, (full-base)/float64(held-few))
	out.Set(report.PingBusy, out.Values[report.ServerBusy])
	answers := f.answers
	took, err := f.serveAll()
	if served := (f.answers - answers) / 2; err == nil && served != held {
		err = fmt.Errorf("only %d of %d idle connections were served", served, held)
	}
	out.Set(report.Served, 1e3*took.Seconds())
	return out, err
}

// serveAll has every connection lock and release once.
func (f *fleet) serveAll() (time.Duration, error) {
	begin := f.now()
	if err := f.begin(1); err != nil {
		return 0, err
	}
	err := f.finish()
	return f.now() - begin, err
}

// awaitPings waits until every connection was pinged twice from now on.
func (f *fleet) awaitPings(interval time.Duration) error {
	before := make([]int, len(f.clients))
	for n := range f.clients {
		before[n] = f.clients[n].pings
	}
	twice := func() (count int) {
		for n := range f.clients {
			if f.clients[n].pings >= before[n]+2 {
				count++
			}
		}
		return count
	}
	begin := f.now()
	for pinged := 0; pinged < len(f.clients); pinged = twice() {
		if f.now()-begin > 5*interval+f.stall {
			return fmt.Errorf("only %d of %d idle connections were pinged twice in %v", pinged, len(f.clients), f.now()-begin)
		}
		if _, err := f.driveFor(100 * time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// settled waits until the server's memory has stayed the same for so long, or settleMost is over.
func (f *fleet) settled(server *process, still time.Duration) (float64, error) {
	const same = 0.002
	last, err := memoryOf(server.pid())
	since, deadline := f.now(), f.now()+settleMost
	for err == nil && f.now()-since < still && f.now() < deadline {
		if _, err = f.driveFor(still / 5); err != nil {
			break
		}
		var m float64
		m, err = memoryOf(server.pid())
		if math.Abs(m-last) > same*last {
			last, since = m, f.now()
		}
	}
	return last, err
}
