package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/locktopus-project/locktopus/v2/bench/internal/report"
)

// arrivals is the script of an open loop: locks of own paths are asked for at moments that don't
// depend on how fast the server is. The gaps between them are random, as those of clients that know
// nothing of each other: exponentially distributed. A lock that no client is free for waits, and
// its time counts from the moment at which it was meant to be asked for.
type arrivals struct {
	fleet    *fleet
	gap      time.Duration // on the average
	random   *rand.Rand
	next     time.Duration   // when the next lock is meant to be asked for
	intended []time.Duration // when each client's was
	free     []*client       // in the order in which they got free
	locks    durations       // from when a lock was meant to be asked for until it was there
	pairs    durations       // until its release was answered
}

// newArrivals are of the fleet's first clients.
func newArrivals(clients int, perSecond float64) *arrivals {
	return &arrivals{
		gap: time.Duration(float64(time.Second) / perSecond), random: rand.New(rand.NewPCG(1, 2)), // the same in each run
		intended: make([]time.Duration, clients), locks: newDurations(), pairs: newDurations(),
	}
}

// begin frees all clients.
func (a *arrivals) begin() error {
	a.fleet.ending = false
	a.fleet.tick = a.tick
	a.free = a.free[:0]
	for i := range a.intended {
		a.free = append(a.free, &a.fleet.clients[i])
	}
	a.next = a.fleet.now()
	return nil
}

// tick has free clients ask for what is due.
func (a *arrivals) tick() error {
	for now := a.fleet.now(); len(a.free) > 0 && a.next <= now; {
		c := a.free[0]
		a.free = a.free[1:]
		a.intended[c.place] = a.next
		a.next += time.Duration(a.random.ExpFloat64() * float64(a.gap))
		if err := a.fleet.send(c, 1); err != nil {
			return err
		}
	}
	return nil
}

func (a *arrivals) answered(c *client, answer answer) (int, error) {
	if err := expectOwn(c, answer); err != nil {
		return 0, err
	}
	took := a.fleet.now() - a.intended[c.place]
	if answer == acquired {
		a.locks.count(took)
		return 1, nil
	}
	a.pairs.count(took)
	a.free = append(a.free, c)
	return 0, nil
}

func (a *arrivals) reset() {
	a.locks.Reset()
	a.pairs.Reset()
}

func (a *arrivals) values(s *report.Slice) error {
	s.Set(report.Arrivals, float64(time.Second)/float64(a.gap))
	if err := s.SetDurations("pair", a.pairs.Histogram); err != nil {
		return err
	}
	return s.SetDurations("lock", a.locks.Histogram)
}

// shares of the saturated rate, in percent, at which locks arrive: all of them with the most
// connections, half of it with others. At half of it the ceiling takes turns, too: its longest times are the machine's
// and the generator's.
var shares = []int{10, 25, 50, 75, 90}

const besideCeiling = 50

// fixedRate runs rate.
func fixedRate(s *scene) error {
	server, err := s.server()
	if err != nil {
		return err
	}
	ceiling, err := s.ending(s.startCeiling())
	if err != nil {
		return err
	}
	for _, n := range s.opt.conns {
		most := s.opt.rate
		percents := []int{100}
		if most == 0 {
			if most, err = s.saturatedRate(server, n); err != nil {
				return err
			}
			percents = []int{besideCeiling}
			if n == slices.Max(s.opt.conns) {
				percents = shares
			}
		}
		if err := s.atRates(server, ceiling, n, most, percents); err != nil {
			return err
		}
	}
	return nil
}

// saturatedRate is what the closed loop reaches: the best slice, as whoever disturbs only takes.
func (s *scene) saturatedRate(server *process, n int) (float64, error) {
	row := &report.Row{Case: connections(n), Candidate: "locktopus"}
	c, err := s.own(row, server, n, 1, usual(1))
	if err != nil {
		return 0, err
	}
	if err := s.takeTurns([]*contender{c}); err != nil {
		return 0, err
	}
	most := 0.0
	for _, slice := range row.Slices {
		most = max(most, slice.Values[report.Pairs])
	}
	return most, nil
}

func (s *scene) atRates(server, ceiling *process, n int, most float64, percents []int) error {
	var cs []*contender
	join := func(name string, p *process, percent int) error {
		in := fmt.Sprintf("%s, %d %% of %.1f k", connections(n), percent, most/1e3)
		if s.opt.rate > 0 {
			in = connections(n)
		}
		a := newArrivals(n, most*float64(percent)/100)
		f, err := s.fleet(a, p, n, usual(1))
		if err != nil {
			return err
		}
		a.fleet = f
		cs = append(cs, driven(s.row(in, name, float64(percent)), p, f, a.begin, a.reset, a.values))
		return nil
	}
	for _, percent := range percents {
		if err := join("locktopus", server, percent); err != nil {
			return err
		}
		if percent != besideCeiling && s.opt.rate == 0 {
			continue
		}
		if err := join("ceiling", ceiling, percent); err != nil {
			return err
		}
	}
	return s.takeTurns(cs)
}
