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
	apart  bool // see peerServer
}

// peers runs the work of u and c on servers of other projects, on ours, and on the ceiling, in turns.
// All are driven by a Go library each; u also by our own generator, where that can talk to them.
func peers(s *scene) error {
	rivals, err := s.rivals()
	if err != nil {
		return err
	}
	together := slices.DeleteFunc(slices.Clone(rivals), func(r rival) bool { return r.apart })
	if err := s.matches(peersLoad, together); err != nil {
		return err
	}
	for _, r := range rivals {
		if r.apart {
			if err := s.matches(apartLoad, []rival{rivals[0], r}); err != nil {
				return err
			}
		}
	}
	return nil
}

// matches are all cases with some rivals.
func (s *scene) matches(load string, rivals []rival) error {
	for _, paths := range []int{0, 1, fewPaths} {
		for _, n := range s.opt.conns {
			if err := s.match(load, rivals, n, paths); err != nil {
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
	rs = []rival{{name: "locktopus", server: ours}, {name: "echo", server: ceiling}}
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
		return rival{p.name, rs[i].server, p.apart}, nil
	}
	if err := p.missing(); err != nil {
		return rival{}, err
	}
	server, err := p.run(s)
	return rival{p.name, server, p.apart}, err
}

// match has all rivals take turns in one case. A peer that fails is left out of this case.
func (s *scene) match(load string, rivals []rival, conns, paths int) error {
	if err := s.calm(calmMost); err != nil {
		return err
	}
	inner := &scene{bench: s.bench, load: load}
	defer inner.end()
	in := connections(conns) + ", " + pathsOf(paths)
	var cs []*contender
	if load == peersLoad {
		var err error
		if cs, err = inner.raw(rivals, in, conns, paths); err != nil {
			return err
		}
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
	err := inner.takeTurnsWithout(cs)
	for _, row := range inner.rows {
		if len(row.Slices) > 0 {
			s.rows = append(s.rows, row)
		}
	}
	return err
}

const (
	calmLook  = 200 * time.Millisecond
	calmShare = 0.1 // of a core, as in a slice that isn't disturbed
	calmMost  = time.Minute
	calmTurn  = 5 * time.Second // between turns, where those who wait for their lock go on living
)

// calm waits until there is little to do, for a while: a thousand processes that end with a thousand connections of
// the case before have a core for themselves for many seconds, and a thousand of those that wait look for deadlocks.
// Whoever is disturbed by what goes on after that is marked.
func (s *scene) calm(most time.Duration) error {
	for begun := time.Now(); time.Since(begun) < most; {
		busy, err := s.busiest(calmLook)
		if err != nil || busy < calmShare {
			return err
		}
	}
	return nil
}

// busiest is how busy the busier of the two cores is, for a time.
func (s *scene) busiest(look time.Duration) (share float64, err error) {
	var before [2]time.Duration
	cores := [2]int{s.cores.server, s.cores.generator}
	for i, core := range cores {
		if before[i], err = coreTime(core); err != nil {
			return 0, err
		}
	}
	from := time.Now()
	select {
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	case <-time.After(look):
	}
	for i, core := range cores {
		after, err := coreTime(core)
		if err != nil {
			return 0, err
		}
		share = max(share, float64(after-before[i])/float64(time.Since(from)))
	}
	return share, nil
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
			err := s.calm(calmTurn)
			if err != nil {
				return err
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
