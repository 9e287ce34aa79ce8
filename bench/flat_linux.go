package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/locktopus-project/locktopus/v2/bench/internal/report"
)

// flat runs the load of the same name: on a server for each number of held locks, in turns.
func flat(s *scene) error {
	n := slices.Min(s.opt.conns)
	var servers []*process
	var each []float64                // lock's memory
	for _, held := range s.opt.held { // all before anybody else connects: it takes long
		p, err := s.server("LOCKTOPUS_LIMITS_ABANDONED_PER_ADDRESS=10000000")
		if err != nil {
			return err
		}
		bytes, err := s.leaveBehind(p, held)
		if err != nil {
			return p.explain(err)
		}
		servers, each = append(servers, p), append(each, bytes)
	}
	var cs []*contender
	for i, held := range s.opt.held {
		name := amount(held) + " held"
		if held == 0 {
			name = "nothing else held"
		}
		c, err := s.own(s.row(connections(n), name, float64(held)), servers[i], n, 1, usual(1))
		if err != nil {
			return err
		}
		cs = append(cs, perHeld(c, held, each[i]))
	}
	return s.takeTurns(cs)
}

// perHeld adds what each held lock costs.
func perHeld(c *contender, held int, each float64) *contender {
	drive := c.drive
	c.drive = func(warmUp, slice time.Duration, counting func() error) (outcome, error) {
		o, err := drive(warmUp, slice, counting)
		o.values = func(s *report.Slice) error {
			if held >= heldEnough {
				s.Set(report.Each, each)
			}
			return nil
		}
		return o, err
	}
	return c
}

// heldEnough is how many locks it takes to say what each costs.
const heldEnough = 10_000

func amount(n int) string {
	switch {
	case n >= 1_000_000 && n%1_000_000 == 0:
		return fmt.Sprintf("%d M", n/1_000_000)
	case n >= 1000 && n%1000 == 0:
		return fmt.Sprintf("%d k", n/1000)
	}
	return fmt.Sprint(n)
}

// leavers is how many clients leave locks behind at the same time.
const leavers = 500

// leaveBehind has clients connect, lock a path that nobody else wants, and vanish, until so many locks
// are held by nobody who is there. It returns the bytes of the server's memory for each.
func (s *scene) leaveBehind(p *process, held int) (each float64, err error) {
	if held == 0 {
		return 0, nil
	}
	l := &leaving{held: held}
	d := webSocket
	d.hello = []byte(upgradeKeeping)
	f, err := s.fleetOf(d, l, p, 0, nil)
	if err != nil {
		return 0, err
	}
	l.fleet = f
	before, err := f.settled(p, s.opt.settle)
	if err != nil {
		return 0, err
	}
	f.clients = make([]client, min(leavers, held))
	for i := range f.clients {
		f.clients[i] = client{place: i, fd: -1}
		if err := l.next(&f.clients[i]); err != nil {
			return 0, err
		}
	}
	if err := f.drive(func() bool { return l.left == held }); err != nil {
		return 0, err
	}
	after, err := f.settled(p, s.opt.settle)
	return (after - before) / float64(held), err
}

// leaving is the script of clients that leave locks behind.
type leaving struct {
	fleet       *fleet
	held        int
	begun, left int
}

// next has a client connect, to lock the next path.
func (l *leaving) next(c *client) error {
	if l.begun == l.held {
		return nil
	}
	c.tape = tapeOf(lockOf("write", "held", number(l.begun/1000), number(l.begun)), 1)
	l.begun++
	return l.fleet.comeBack(c)
}

func (l *leaving) answered(c *client, a answer) (int, error) {
	if a == greeting {
		return 1, nil
	}
	if err := expectOwn(c, a); err != nil {
		return 0, err
	}
	l.left++
	if err := l.fleet.drop(c, true); err != nil {
		return 0, err
	}
	return 0, l.next(c)
}
