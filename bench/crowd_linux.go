package main

import (
	"fmt"

	"github.com/locktopus-project/locktopus/v2/bench/internal/report"
)

const (
	// bystanders lock paths of their own while a crowd leaves or comes back.
	bystanders = 16
	// bystanderRate is how many locks of theirs arrive in a second: few, as it is not their rate that is measured.
	bystanderRate = 2000
	// atOnce is how many of a crowd do something before others are looked at.
	atOnce = 32
)

// crowd is the script of a fleet whose first clients are bystanders. What the others get is for the
// load to look at.
type crowd struct {
	*arrivals
	others func(c *client, a answer) (int, error)
}

func (cr *crowd) answered(c *client, a answer) (int, error) {
	if c.place < bystanders {
		return cr.arrivals.answered(c, a)
	}
	return cr.others(c, a)
}

func (cr *crowd) values(s *report.Slice) error {
	return s.SetDurations("bystander", cr.locks.Histogram)
}

// gather connects bystanders and a crowd to a server.
func (s *scene) gather(p *process, size int, tapes func(i int) *tape) (*crowd, *fleet, error) {
	cr := &crowd{arrivals: newArrivals(bystanders, bystanderRate)}
	f, err := s.fleet(cr, p, bystanders+size, func(i int) *tape {
		if i < bystanders {
			return tapeOf(lockMessage("own", i), 1)
		}
		return tapes(i)
	})
	if err != nil {
		return nil, nil, err
	}
	cr.fleet = f
	return cr, f, nil
}

// members are the clients that are no bystanders.
func (cr *crowd) members() []client { return cr.fleet.clients[bystanders:] }

// each has every member do something, and handles what comes meanwhile.
func (cr *crowd) each(members []client, do func(c *client) error) error {
	for i := range members {
		if err := do(&members[i]); err != nil {
			return err
		}
		if i%atOnce != atOnce-1 {
			continue
		}
		if err := cr.fleet.glance(); err != nil {
			return err
		}
	}
	return nil
}

// timed has the bystanders begin, and measures how long do takes.
func (s *scene) timed(cr *crowd, p *process, m report.Metric, do func() error) (out report.Slice, err error) {
	f := cr.fleet
	f.spin = true
	defer func() { f.spin = false }()
	if err := cr.begin(); err != nil {
		return out, err
	}
	if _, err := f.driveFor(s.opt.slice / 4); err != nil {
		return out, err
	}
	cr.reset()
	before, err := s.read(p, nil)
	if err != nil {
		return out, err
	}
	begin, unused := f.now(), f.unused
	if err := do(); err != nil {
		return out, err
	}
	took := f.now() - begin
	after, err := s.read(p, nil)
	if err != nil {
		return out, err
	}
	out, err = after.since(before, outcome{pairs: -1, took: took, unused: f.unused - unused, values: cr.values})
	out.Set(m, 1e3*took.Seconds())
	f.tick = nil
	if err != nil {
		return out, err
	}
	return out, f.hold()
}

// cancel runs the load of the same name.
func cancel(s *scene) error {
	server, err := s.server()
	if err != nil {
		return err
	}
	for _, way := range []struct {
		name  string
		leave func(f *fleet, c *client) error
	}{
		{"release", func(f *fleet, c *client) error { return f.send(c, 1) }},
		{"drop", func(f *fleet, c *client) error { return f.drop(c, false) }},
	} {
		row := s.row(fmt.Sprintf("%d waiters %s", s.opt.crowd, way.name), "locktopus", float64(s.opt.crowd))
		for range s.opt.repeats {
			slice, err := s.cancelled(server, way.leave)
			if err != nil {
				return server.explain(err)
			}
			row.Slices = append(row.Slices, slice)
		}
	}
	return nil
}

// cancelled gathers a crowd: one that holds a lock, many that wait for it and then leave, and one
// behind them.
func (s *scene) cancelled(server *process, leave func(*fleet, *client) error) (out report.Slice, err error) {
	inner := &scene{bench: s.bench, load: s.load}
	defer inner.end()
	one := tapeOf(lockMessage("one", 0), 1)
	cr, f, err := inner.gather(server, s.opt.crowd+2, func(int) *tape { return one })
	if err != nil {
		return out, err
	}
	members := cr.members()
	first, waiters, last := &members[0], members[1:len(members)-1], &members[len(members)-1]
	placed, served := 0, false
	cr.others = func(c *client, a answer) (int, error) {
		switch {
		case c == last && a == acquired:
			served = true
		case a == acquired && c == first || a == enqueued && c != first:
			placed++
		case a == ready && c != last && c.open > 0: // the answer to the lock, too: it never came to be acquired
			c.open = 0
			f.busy--
		case a != ready && a != acquired: // a waiter's release and its grant may cross
			return 0, fmt.Errorf("%w: of a crowd of which the first holds a lock", errAnswer)
		}
		return 0, nil
	}
	send := func(c *client) error { return f.send(c, 1) }
	for _, part := range [][]client{members[:1], waiters, members[len(members)-1:]} {
		want := placed + len(part)
		if err := cr.each(part, send); err != nil {
			return out, err
		}
		if err := f.drive(func() bool { return placed == want }); err != nil {
			return out, err
		}
	}
	return s.timed(cr, server, report.Cleared, func() error {
		if err := cr.each(waiters, func(c *client) error { return leave(f, c) }); err != nil {
			return err
		}
		if err := send(first); err != nil {
			return err
		}
		return f.drive(func() bool { return served })
	})
}

// storm runs the load of the same name.
func storm(s *scene) error {
	server, err := s.server()
	if err != nil {
		return err
	}
	cr, f, err := s.gather(server, s.opt.crowd, func(i int) *tape { return tapeOf(lockMessage("own", i), 1) })
	if err != nil {
		return err
	}
	back := 0
	cr.others = func(c *client, a answer) (int, error) {
		switch a {
		case greeting:
			return 1, nil
		case acquired:
			back++
			return 0, nil
		case enqueued: // behind itself: the server doesn't know yet that it dropped
			return 0, nil
		}
		return 0, errAnswer
	}
	members := cr.members()
	if err := cr.each(members, func(c *client) error { return f.send(c, 1) }); err != nil {
		return err
	}
	if err := f.drive(func() bool { return back == len(members) }); err != nil {
		return server.explain(err)
	}
	row := s.row(fmt.Sprintf("%d connections drop", len(members)), "locktopus", float64(len(members)))
	for range s.opt.repeats {
		slice, err := s.timed(cr, server, report.Back, func() error {
			back = 0
			f.round++
			err := cr.each(members, func(c *client) error { return f.drop(c, false) })
			if err == nil {
				err = cr.each(members, f.comeBack)
			}
			if err == nil {
				err = f.drive(func() bool { return back == len(members) })
			}
			return err
		})
		if err != nil {
			return server.explain(err)
		}
		row.Slices = append(row.Slices, slice)
	}
	return nil
}
