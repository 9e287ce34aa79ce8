package main

import (
	"fmt"
	"os"
	"slices"
	"time"
)

// pipelined is how many messages are in flight in the load that pipelines.
const pipelined = 16

// warmUpShare of a slice is driven before it, unmeasured.
const warmUpShare = 0.25

// ownPaths runs u: with each number of connections and one message in flight, and with the least
// number and many.
func (b *bench) ownPaths() ([]load, error) {
	server, err := b.startServer()
	if err != nil {
		return nil, err
	}
	defer server.stop()
	ceiling, err := b.startCeiling()
	if err != nil {
		return nil, err
	}
	defer ceiling.stop()
	return b.side("u", server, ceiling)
}

// judged runs p: the work of u on a server with plugins, beside one without.
func (b *bench) judged() ([]load, error) {
	server, err := b.startConfigured(b.opt.plugins)
	if err != nil {
		return nil, err
	}
	defer server.stop()
	plain, err := b.startServer()
	if err != nil {
		return nil, err
	}
	defer plain.stop()
	return b.side("p", server, plain)
}

// side compares a server with a candidate, or with another server.
func (b *bench) side(name string, server, other *process) (ls []load, err error) {
	for _, n := range b.opt.conns {
		ls = append(ls, load{Name: name, Connections: n, InFlight: 1})
	}
	ls = append(ls, load{Name: name, Connections: slices.Min(b.opt.conns), InFlight: pipelined})
	for i := range ls {
		if err := b.compare(&ls[i], server, other); err != nil {
			return nil, server.explain(err)
		}
	}
	return ls, nil
}

// compare has server and ceiling take turns.
func (b *bench) compare(l *load, server, ceiling *process) error {
	both := [2]*process{server, ceiling}
	var fleets [2]*fleet
	for i, p := range both {
		f, err := b.newFleet(&ownPaths{}, p.addr, l.Connections, l.InFlight, func(i int) string { return lockMessage("own", i) })
		if err != nil {
			return err
		}
		defer f.close()
		fleets[i] = f
	}
	for range b.opt.repeats {
		var s [2]slice
		for i, p := range both {
			var err error
			if s[i], err = b.measure(fleets[i], p, l.InFlight, func() {}); err != nil {
				return err
			}
		}
		l.Repeats = append(l.Repeats, repeat{Server: s[0], Ceiling: &s[1]})
	}
	return nil
}

// ownPaths is the script of clients of which none ever waits for another.
type ownPaths struct{}

func (*ownPaths) answered(c *client, a answer) (int, error) {
	want := ready
	if (c.sent-c.open)%2 == 1 { // answers come in the order of the messages, of which the first is a lock
		want = acquired
	}
	if a != want {
		return 0, fmt.Errorf("%w: to its message %d, on a path of its own", errAnswer, c.sent-c.open)
	}
	return 1, nil
}

// contended runs c with each number of connections.
func (b *bench) contended() ([]load, error) {
	server, err := b.startServer()
	if err != nil {
		return nil, err
	}
	defer server.stop()
	var ls []load
	for _, n := range b.opt.conns {
		l := load{Name: "c", Connections: n, InFlight: 1}
		if err := b.handOver(&l, server); err != nil {
			return nil, server.explain(err)
		}
		ls = append(ls, l)
	}
	return ls, nil
}

func (b *bench) handOver(l *load, server *process) error {
	script := &onePath{}
	f, err := b.newFleet(script, server.addr, l.Connections, 1, func(int) string { return lockMessage("one", 0) })
	if err != nil {
		return err
	}
	defer f.close()
	script.now = f.now
	for range b.opt.repeats {
		s, err := b.measure(f, server, 1, func() { script.times = histogram{} })
		if err != nil {
			return err
		}
		h := &script.times
		s.HandOff = &handOff{P50: h.quantile(0.5), P99: h.quantile(0.99), P999: h.quantile(0.999), Max: h.most}
		l.Repeats = append(l.Repeats, repeat{Server: s})
	}
	return nil
}

// onePath is the script of clients that hand one lock from each to the next.
type onePath struct {
	now      func() time.Duration
	released time.Duration // when the last holder was about to send its release; 0: there was none
	times    histogram
}

func (o *onePath) answered(_ *client, a answer) (int, error) {
	switch a {
	case enqueued:
		return 0, nil
	case acquired:
		now := o.now()
		if o.released != 0 {
			o.times.count(now - o.released)
		}
		o.released = now // its release is sent next
	}
	return 1, nil
}

func (b *bench) newFleet(s script, addr string, conns, depth int, lock func(int) string) (*fleet, error) {
	f, err := newFleet(b.ctx, s, b.opt.stall)
	if err != nil {
		return nil, err
	}
	if err := f.connect(addr, conns, depth, lock); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// measure drives a fleet for one slice, of which the warm-up isn't counted; afterwards no connection
// has a lock. Reset is called when counting begins.
//
// The generator spins. If it slept, the candidate would pay for waking it, which it doesn't do for
// clients on other machines; how busy the generator was follows from how often it looked in vain.
func (b *bench) measure(f *fleet, p *process, depth int, reset func()) (slice, error) {
	f.spin = true
	defer func() { f.spin = false }()
	if err := f.begin(depth); err != nil {
		return slice{}, err
	}
	if _, err := f.driveFor(time.Duration(warmUpShare * float64(b.opt.slice))); err != nil {
		return slice{}, err
	}
	reset()
	before, err := b.read(f, p)
	if err != nil {
		return slice{}, err
	}
	if _, err := f.driveFor(b.opt.slice); err != nil {
		return slice{}, err
	}
	after, err := b.read(f, p)
	if err != nil {
		return slice{}, err
	}
	return after.since(before), f.finish()
}

// reading is the state of all counters at one moment.
type reading struct {
	at        time.Duration
	answers   int
	unused    time.Duration    // by the generator
	processes [2]time.Duration // CPU time of candidate and generator
	cores     [2]time.Duration // of their cores, whoever used it
}

func (b *bench) read(f *fleet, p *process) (reading, error) {
	r := reading{answers: f.answers, unused: f.unused}
	pids, cores := [2]int{p.pid(), os.Getpid()}, [2]int{b.cores.server, b.cores.generator}
	for i := range pids {
		var err error
		if r.processes[i], err = cpuTime(pids[i]); err != nil {
			return r, err
		}
		if r.cores[i], err = coreTime(cores[i]); err != nil {
			return r, err
		}
	}
	r.at = f.now()
	return r, nil
}

func (r reading) since(b reading) slice {
	t := r.at - b.at
	share := func(d time.Duration) float64 { return d.Seconds() / t.Seconds() }
	others := func(i int) float64 { return share(r.cores[i] - b.cores[i] - (r.processes[i] - b.processes[i])) }
	n := r.answers - b.answers
	server := r.processes[0] - b.processes[0]
	return slice{
		Seconds: t.Seconds(), Messages: n, PairRate: float64(n) / 2 / t.Seconds(),
		ServerCPU: share(server), PairCPU: 2e6 * server.Seconds() / float64(max(1, n)),
		GeneratorBusy: 1 - share(r.unused-b.unused), Others: max(0, others(0), others(1)),
	}
}
