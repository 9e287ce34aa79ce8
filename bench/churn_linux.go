package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/locktopus-project/locktopus/v2/bench/internal/report"
)

// churning is the script of clients that lock ever new paths. The first client locks once, and keeps it.
type churning struct {
	next uint64 // path
}

const holder = 0

// newPathDigits are those of the path's number.
const newPathDigits = 12

func (*churning) tape(i int) *tape {
	if i == holder {
		return tapeOf(lockOf("write", "bench", "held"), 1)
	}
	return tapeOf(lockOf("write", "bench", "new", fmt.Sprintf("%0*d", newPathDigits, i)), 1)
}

func (ch *churning) answered(c *client, a answer) (int, error) {
	if err := expectOwn(c, a); err != nil {
		return 0, err
	}
	if c.place == holder {
		return 0, nil
	}
	if a == ready {
		ch.next++
		c.tape.renumber(ch.next + fleetMax) // those before are the clients' first paths
	}
	return 1, nil
}

// behindNumber is what stands behind the number in a lock's frame: `"]}]}`.
const behindNumber = 5

// renumber writes another number over the one in the first lock of a tape.
func (t *tape) renumber(n uint64) {
	const head = 2 + 4 // of a frame of less than 126 bytes: its length, and the mask
	for i := range newPathDigits {
		at := t.lock - behindNumber - 1 - i
		t.frames[at] = byte('0'+n%10) ^ mask[(at-head)%4]
		n /= 10
	}
}

// churn runs the load of the same name: once, as it is long.
func churn(s *scene) error {
	server, err := s.server()
	if err != nil {
		return err
	}
	n := slices.Min(s.opt.conns)
	script := &churning{}
	f, err := s.fleet(script, server, n+1, script.tape)
	if err != nil {
		return err
	}
	row := s.row(fmt.Sprintf("%s, %s pairs under a held lock", connections(n), amount(s.opt.churn)), "locktopus", float64(s.opt.churn))
	slice, err := s.churned(f, server)
	row.Slices = append(row.Slices, slice)
	if err != nil {
		return server.explain(err)
	}
	return nil
}

// churned locks and releases a tenth of what was asked for, then all of it, and compares the memory.
func (s *scene) churned(f *fleet, server *process) (out report.Slice, err error) {
	if err := f.begin(1); err != nil {
		return out, err
	}
	if _, err := f.through(s.opt.churn / 10); err != nil {
		return out, err
	}
	base, err := s.rest(f, server)
	if err != nil {
		return out, err
	}
	before, err := s.read(server, nil)
	if err != nil {
		return out, err
	}
	begin, unused := f.now(), f.unused
	m := &memoryCurve{f: f, server: server}
	tenths, err := m.sampled(s.opt.churn)
	if err != nil {
		return out, err
	}
	after, err := s.read(server, nil)
	if err != nil {
		return out, err
	}
	out, err = after.since(before, outcome{pairs: float64(s.opt.churn), took: f.now() - begin, unused: f.unused - unused})
	if err != nil {
		return out, err
	}
	left, err := s.rest(f, server)
	out.Set(report.Base, base)
	out.Set(report.Peak, m.peak)
	out.Set(report.After, left)
	out.Set(report.AfterToBase, left/base)
	out.Set(report.Slowdown, tenths[0].Seconds()/tenths[9].Seconds())
	out.Curves = map[string][][2]float64{"memory": m.curve}
	return out, err
}

// through drives the fleet until so many pairs more are done, and returns how long that took.
func (f *fleet) through(pairs int) (time.Duration, error) {
	begin, end := f.now(), f.answers+2*pairs
	f.spin = true
	defer func() { f.spin = false }()
	err := f.drive(func() bool { return f.answers >= end })
	return f.now() - begin, err
}

// rest finishes what was begun, waits for the server's memory to come to rest, and has the clients
// begin again.
func (s *scene) rest(f *fleet, server *process) (float64, error) {
	if err := f.finish(); err != nil {
		return 0, err
	}
	m, err := f.settled(server, s.opt.settle)
	if err != nil {
		return 0, err
	}
	f.ending = false
	for i := range f.clients[holder+1:] {
		if err := f.send(&f.clients[holder+1+i], 1); err != nil {
			return 0, err
		}
	}
	return m, nil
}

// memoryCurve is the server's memory over time.
type memoryCurve struct {
	f      *fleet
	server *process
	begin  time.Duration
	curve  [][2]float64
	peak   float64
}

const sampleEvery = 100 * time.Millisecond

// sampled goes through the pairs, and returns how long each tenth of them took.
func (m *memoryCurve) sampled(pairs int) (tenths [10]time.Duration, err error) {
	m.begin = m.f.now()
	next := m.begin
	m.f.tick = func() error {
		if now := m.f.now(); now >= next {
			next = now + sampleEvery
			return m.sample(now)
		}
		return nil
	}
	for i := range tenths {
		if tenths[i], err = m.f.through(pairs / 10); err != nil {
			return tenths, err
		}
	}
	return tenths, m.sample(m.f.now())
}

func (m *memoryCurve) sample(now time.Duration) error {
	v, err := roughMemoryOf(m.server.pid())
	m.curve = append(m.curve, [2]float64{(now - m.begin).Seconds(), v})
	m.peak = max(m.peak, v)
	return err
}
