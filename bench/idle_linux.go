package main

import (
	"fmt"
	"time"
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
func (b *bench) idle(asked int) (*idle, error) {
	i := &idle{Asked: asked, Held: min(asked, b.descriptors-spareDescriptors), Descriptors: b.descriptors}
	i.BaseHeld = i.Held / 10
	i.Addresses = (i.Held-1)/perAddress + 1
	interval := time.Duration(1+(i.Held-1)/pingsASecond) * time.Second
	i.PingSeconds = interval.Seconds()
	server, err := b.startServer("LOCKTOPUS_LIMITS_PING_INTERVAL=" + interval.String())
	if err != nil {
		return nil, err
	}
	defer server.stop()
	if err := b.hold(i, server); err != nil {
		return nil, server.explain(err)
	}
	return i, nil
}

func (b *bench) hold(i *idle, server *process) error {
	lock := func(i int) string { return lockMessage("own", i) }
	f, err := b.newFleet(&ownPaths{}, server.addr, i.BaseHeld, 1, lock)
	if err != nil {
		return err
	}
	defer f.close()
	if _, err := f.serveAll(); err != nil {
		return err
	}
	if i.Base, err = f.settled(server, b.opt.settle); err != nil {
		return err
	}
	if err := f.connect(server.addr, i.Held-i.BaseHeld, 1, lock); err != nil {
		return err
	}
	if err := f.awaitPings(i, server); err != nil {
		return err
	}
	if i.Full, err = f.settled(server, b.opt.settle); err != nil {
		return err
	}
	i.PerConn = float64(i.Full.RSS-i.Base.RSS) / float64(i.Held-i.BaseHeld)
	before := f.answers
	took, err := f.serveAll()
	i.Served = (f.answers - before) / 2
	i.ServeSeconds = took.Seconds()
	return err
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
func (f *fleet) awaitPings(i *idle, server *process) error {
	before := make([]int, len(f.clients))
	for n := range f.clients {
		before[n] = f.clients[n].pings
	}
	twice := func() int {
		count := 0
		for n := range f.clients {
			if f.clients[n].pings >= before[n]+2 {
				count++
			}
		}
		return count
	}
	cpu, err := cpuTime(server.pid())
	if err != nil {
		return err
	}
	begin, pings := f.now(), f.pings
	for most := 5*time.Duration(i.PingSeconds*float64(time.Second)) + f.stall; i.PingedTwice < len(f.clients); i.PingedTwice = twice() {
		if f.now()-begin > most {
			return fmt.Errorf("only %d of %d idle connections were pinged twice in %v", i.PingedTwice, len(f.clients), f.now()-begin)
		}
		if _, err := f.driveFor(100 * time.Millisecond); err != nil {
			return err
		}
	}
	i.Pings = f.pings - pings
	after, err := cpuTime(server.pid())
	i.ServerCPU = (after - cpu).Seconds() / (f.now() - begin).Seconds()
	return err
}

// settled waits until the server's memory has stayed the same for so long, or settleMost is over.
func (f *fleet) settled(server *process, still time.Duration) (memory, error) {
	const same = 0.002
	last, err := memoryOf(server.pid())
	since, deadline := f.now(), f.now()+settleMost
	for err == nil && f.now()-since < still && f.now() < deadline {
		if _, err = f.driveFor(still / 5); err != nil {
			break
		}
		var m memory
		m, err = memoryOf(server.pid())
		if change := float64(m.RSS - last.RSS); change > same*float64(last.RSS) || -change > same*float64(last.RSS) {
			last, since = m, f.now()
		}
	}
	return last, err
}
