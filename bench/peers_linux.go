package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/locktopus-project/locktopus/v2/bench/internal/report"
)

// rival is one who takes part in the comparison with peers.
type rival struct {
	name   string // of the candidate, and of the driver that knows it
	server *process
}

// peers runs the work of u and c on servers of other projects, on ours, and on the ceiling, in turns.
// All are driven by a Go library each; u also by our own generator, where that can talk to them.
func peers(s *scene) error {
	rivals, err := s.rivals()
	if err != nil {
		return err
	}
	for _, paths := range []int{0, 1, fewPaths} {
		for _, n := range s.opt.conns {
			if err := s.match(rivals, n, paths); err != nil {
				return err
			}
		}
	}
	return nil
}

// rivals starts everybody's server. One that can't be started is left out.
func (s *scene) rivals() (rs []rival, err error) {
	ours, err := s.server()
	if err != nil {
		return nil, err
	}
	ceiling, err := s.ending(s.startCeiling())
	if err != nil {
		return nil, err
	}
	rs = []rival{{"locktopus", ours}, {"echo", ceiling}}
	for _, p := range peerServers {
		if len(s.opt.peers) > 0 && !slices.Contains(s.opt.peers, p.name) {
			continue
		}
		r, err := s.enter(&p, rs)
		if s.ctx.Err() != nil {
			return nil, s.ctx.Err()
		} else if err != nil {
			s.remark("peers: %s: %v", p.name, err)
			continue
		}
		if v := p.versionOf(); v != "" {
			s.version(p.name, v)
		}
		rs = append(rs, r)
	}
	return rs, nil
}

// enter starts a peer's server, unless one of the same kind is there.
func (s *scene) enter(p *peerServer, rs []rival) (rival, error) {
	if i := slices.IndexFunc(rs, func(r rival) bool { return r.name == p.of }); p.of != "" && i >= 0 {
		return rival{p.name, rs[i].server}, nil
	}
	if err := p.missing(); err != nil {
		return rival{}, err
	}
	server, err := p.run(s)
	return rival{p.name, server}, err
}

// match has all rivals take turns in one case. A peer that fails is left out of this case.
func (s *scene) match(rivals []rival, conns, paths int) error {
	if err := s.calm(); err != nil {
		return err
	}
	inner := &scene{bench: s.bench, load: s.load}
	defer inner.end()
	in := connections(conns) + ", " + pathsOf(paths)
	cs, err := inner.raw(rivals, in, conns, paths)
	if err != nil {
		return err
	}
	for _, r := range rivals {
		if r.name == "echo" && paths > 0 {
			continue // it can't make anybody wait
		}
		d, err := inner.startDriver(r.name, r.server.addr, conns, paths)
		if err != nil {
			if err := inner.without(r.name, in, err); err != nil {
				return err
			}
			continue
		}
		row := inner.row(in, r.name, float64(conns))
		row.Client = report.Lib
		cs = append(cs, &contender{row: row, server: r.server, generator: d.process, drive: d.drive})
	}
	err = inner.takeTurnsWithout(cs)
	for _, row := range inner.rows {
		if len(row.Slices) > 0 {
			s.rows = append(s.rows, row)
		}
	}
	return err
}

// Between cases.
const (
	calmLook  = 200 * time.Millisecond
	calmShare = 0.2 // of the servers' core
	calmMost  = time.Minute
)

// calm waits until the servers have little to do: a thousand processes that end with a thousand connections of the
// case before have a core for themselves for many seconds.
func (s *scene) calm() error {
	for begun := time.Now(); time.Since(begun) < calmMost; {
		before, err := coreTime(s.cores.server)
		if err != nil {
			return err
		}
		from := time.Now()
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(calmLook):
		}
		after, err := coreTime(s.cores.server)
		if err != nil {
			return err
		}
		if float64(after-before) < calmShare*float64(time.Since(from)) {
			return nil
		}
	}
	return nil // whoever is disturbed by what goes on is marked
}

// without leaves a peer out because of an error, but not us.
func (s *scene) without(name, in string, err error) error {
	if s.ctx.Err() != nil || name == "locktopus" || name == "echo" {
		return fmt.Errorf("%s, %s: %w", in, name, err)
	}
	s.remark("peers: %s, %s: %s", name, in, firstLine(err))
	return nil
}

// takeTurnsWithout is takeTurns, without those that fail.
func (s *scene) takeTurnsWithout(cs []*contender) error {
	for range s.opt.repeats {
		for i, c := range cs {
			if c == nil {
				continue
			}
			slice, err := s.measure(c)
			if err == nil {
				c.row.Slices = append(c.row.Slices, slice)
				continue
			}
			if err := s.without(c.row.Candidate, c.row.Case, err); err != nil {
				return c.server.explain(err)
			}
			cs[i] = nil
			c.row.Slices = nil
		}
	}
	return nil
}

// raw are those whom our generator drives.
func (s *scene) raw(rivals []rival, in string, conns, paths int) (cs []*contender, err error) {
	for _, r := range rivals {
		var c *contender
		switch {
		case r.name == "locktopus" && paths > 0:
			c, err = s.handingOver(s.row(in, r.name, float64(conns)), r.server, conns, paths)
		case paths == 0 && (r.name == "locktopus" || r.name == "echo"):
			c, err = s.own(s.row(in, r.name, float64(conns)), r.server, conns, 1, usual(1))
		case paths == 0 && r.name == "redis":
			c, err = s.ownOf(redisDialect, s.row(in, r.name, float64(conns)), r.server, conns, 1, redisTape)
		default:
			continue
		}
		if err == nil {
			cs = append(cs, c)
		} else if err = s.without(r.name, in, err); err != nil {
			return nil, err
		}
	}
	return cs, nil
}
