package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/locktopus-project/locktopus/v2/bench/internal/report"
)

// pipelined is how many messages are in flight in the case that pipelines.
const pipelined = 16

// fewPaths are those that connections share in the second case of c.
const fewPaths = 16

// scene is what a load sets up, and ends with it.
type scene struct {
	*bench
	load string
	ends []func()
	rows []*report.Row
}

func (s *scene) atEnd(f func()) { s.ends = append(s.ends, f) }

func (s *scene) end() {
	for _, f := range slices.Backward(s.ends) {
		f()
	}
}

// row adds a row to the report.
func (s *scene) row(in, candidate string, x float64) *report.Row {
	r := &report.Row{Load: s.load, Case: in, Candidate: candidate, Client: report.Raw, X: x}
	s.rows = append(s.rows, r)
	return r
}

// server starts one of ours.
func (s *scene) server(env ...string) (*process, error) {
	return s.ending(s.startServer("", env...))
}

func (s *scene) ending(p *process, err error) (*process, error) {
	if err == nil {
		s.atEnd(p.stop)
	}
	return p, err
}

// fleet connects to a server.
func (s *scene) fleet(script script, p *process, conns int, tape func(i int) *tape) (*fleet, error) {
	return s.fleetOf(webSocket, script, p, conns, tape)
}

func (s *scene) fleetOf(d dialect, script script, p *process, conns int, tape func(i int) *tape) (*fleet, error) {
	f, err := newFleet(s.ctx, script, s.opt.stall)
	if err != nil {
		return nil, err
	}
	s.atEnd(f.close)
	f.dialect = d
	if err := f.connect(p.addr, conns, tape); err != nil {
		return nil, p.explain(err)
	}
	return f, nil
}

// own is a contender of clients that never wait for each other.
func (s *scene) own(row *report.Row, p *process, conns, depth int, tape func(i int) *tape) (*contender, error) {
	return s.ownOf(webSocket, row, p, conns, depth, tape)
}

func (s *scene) ownOf(d dialect, row *report.Row, p *process, conns, depth int, tape func(i int) *tape) (*contender, error) {
	f, err := s.fleetOf(d, ownPaths{}, p, conns, tape)
	if err != nil {
		return nil, err
	}
	return driven(row, p, f, func() error { return f.begin(depth) }, func() {}, nil), nil
}

// usual is the tape of u.
func usual(depth int) func(i int) *tape {
	return func(i int) *tape { return tapeOf(lockMessage("own", i), depth) }
}

func connections(n int) string {
	if n == 1 {
		return "1 connection"
	}
	return fmt.Sprintf("%d connections", n)
}

// uncontended runs u: with each number of connections and one message in flight, and with some
// connections and many.
func uncontended(s *scene) error {
	server, err := s.server()
	if err != nil {
		return err
	}
	ceiling, err := s.ending(s.startCeiling())
	if err != nil {
		return err
	}
	for _, n := range append([]int{1}, s.opt.conns...) {
		if err := s.beside(connections(n), n, 1, server, ceiling); err != nil {
			return err
		}
	}
	n := slices.Min(s.opt.conns)
	return s.beside(fmt.Sprintf("%s, %d messages in flight", connections(n), pipelined), n, pipelined, server, ceiling)
}

// beside measures a server and the ceiling in turns.
func (s *scene) beside(in string, conns, depth int, server, ceiling *process) error {
	one, err := s.own(s.row(in, "locktopus", float64(conns)), server, conns, depth, usual(depth))
	if err != nil {
		return err
	}
	other, err := s.own(s.row(in, "ceiling", float64(conns)), ceiling, conns, depth, usual(depth))
	if err != nil {
		return err
	}
	return s.takeTurns([]*contender{one, other})
}

// contended runs c with each number of connections, on one path and on a few.
func contended(s *scene) error {
	server, err := s.server()
	if err != nil {
		return err
	}
	for _, n := range s.opt.conns {
		var cs []*contender
		for _, paths := range []int{1, fewPaths} {
			c, err := s.handingOver(s.row(connections(n)+", "+pathsOf(paths), "locktopus", float64(n)), server, n, paths)
			if err != nil {
				return err
			}
			cs = append(cs, c)
		}
		if err := s.takeTurns(cs); err != nil {
			return err
		}
	}
	return nil
}

func pathsOf(n int) string {
	switch n {
	case 0:
		return "own paths"
	case 1:
		return "one path"
	}
	return fmt.Sprintf("%d paths", n)
}

func (s *scene) handingOver(row *report.Row, p *process, conns, paths int) (*contender, error) {
	script := newHandOver(paths)
	f, err := s.fleet(script, p, conns, func(i int) *tape { return tapeOf(lockMessage("one", i%paths), 1) })
	if err != nil {
		return nil, err
	}
	script.now = f.now
	return driven(row, p, f, func() error { clear(script.released); return f.begin(1) }, script.reset, script.values), nil
}

// readMostlyLoad runs r with each number of connections.
func readMostlyLoad(s *scene) error {
	server, err := s.server()
	if err != nil {
		return err
	}
	for _, n := range s.opt.conns {
		script := newReadMostly(n)
		f, err := s.fleet(script, server, n, script.tape)
		if err != nil {
			return err
		}
		script.now = f.now
		begin := func() error { clear(script.asked); return f.begin(1) }
		c := driven(s.row(connections(n), "locktopus", float64(n)), server, f, begin, script.reset, script.values)
		if err := s.takeTurns([]*contender{c}); err != nil {
			return err
		}
	}
	return nil
}

// fourResources runs m with each number of connections.
func fourResources(s *scene) error {
	server, err := s.server()
	if err != nil {
		return err
	}
	for _, n := range s.opt.conns {
		c, err := s.own(s.row(connections(n), "locktopus", float64(n)), server, n, 1, func(i int) *tape { return tapeOf(manyResources(i, 4), 1) })
		if err != nil {
			return err
		}
		if err := s.takeTurns([]*contender{c}); err != nil {
			return err
		}
	}
	return nil
}

// manyResources asks for so many paths of a client's own. Long requests have short paths, so that
// the longest fits into what the server takes.
func manyResources(i, n int) string {
	rs := make([]resource, n)
	for k := range rs {
		rs[k] = resource{"write", []string{fmt.Sprintf("%06d-%04d", i, k)}}
	}
	return lockAll(rs...)
}

// deepPath asks for a path of so many segments, the last of which is the client's own.
func deepPath(i, n int) string {
	path := make([]string, n)
	for k := range path {
		path[k] = "segment"
	}
	path[n-1] = number(i)
	return lockOf("write", path...)
}

// sizes are how many segments and resources the requests of depth have.
var sizes = struct{ segments, resources []int }{[]int{1, 10, 100}, []int{1, 10, 100, 1000}}

// depth runs the load of the same name, with the least number of connections.
func depth(s *scene) error {
	server, err := s.server()
	if err != nil {
		return err
	}
	n := slices.Min(s.opt.conns)
	var cs []*contender
	add := func(what string, items int, message func(i, n int) string) error {
		c, err := s.own(s.row(fmt.Sprintf("%d %s", items, what), "locktopus", float64(items)), server, n, 1,
			func(i int) *tape { return tapeOf(message(i, items), 1) })
		if err == nil {
			cs = append(cs, perItem(c, items))
		}
		return err
	}
	for _, k := range sizes.segments {
		err = errors.Join(err, add("segments", k, deepPath))
	}
	for _, k := range sizes.resources {
		err = errors.Join(err, add("resources", k, manyResources))
	}
	if err != nil {
		return err
	}
	return s.takeTurns(cs)
}

// perItem adds what each item of a request costs.
func perItem(c *contender, items int) *contender {
	drive := c.drive
	c.drive = func(warmUp, slice time.Duration, counting func() error) (outcome, error) {
		o, err := drive(warmUp, slice, counting)
		o.values = func(s *report.Slice) error {
			s.Set(report.PerItem, s.Values[report.PairCPU]/float64(items))
			return nil
		}
		return o, err
	}
	return c
}

// judged runs plugins: the work of u on servers with plugins, and on one without, in turns.
func judged(s *scene) error {
	configs, err := s.pluginConfigs()
	if err != nil {
		return err
	}
	n := slices.Min(s.opt.conns)
	var cs []*contender
	for _, config := range configs {
		p, err := s.ending(s.startServer(config.file))
		if err != nil {
			return err
		}
		c, err := s.own(s.row(connections(n), config.name, float64(n)), p, n, 1, usual(1))
		if err != nil {
			return fmt.Errorf("with plugin %s: %w", strings.TrimSpace(config.name), err)
		}
		cs = append(cs, c)
	}
	return s.takeTurns(cs)
}
