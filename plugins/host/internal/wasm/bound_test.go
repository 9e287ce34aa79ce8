package wasm

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// requireBounded checks a metered module's code, knowing nothing of how it was metered: that on no way through
// it, calls and returns included, more runs without a charge than is promised. A charge is an instruction that
// sets the fuel global.
func requireBounded(t testing.TB, bin []byte) {
	b := newBounder(t, bin)
	for changed, rounds := true, 0; changed; rounds++ {
		changed = false
		for i := range b.graphs {
			changed = b.relax(i) || changed
		}
		require.Less(t, rounds, 10_000, "there is a way around without a charge\n%x", bin)
	}
}

// bound is the most that may run in a function without a charge. One that calls no other has to keep to less.
func (g *graph) bound() int {
	step := 8 + moves(g.locals)
	slack := 2 * step // of a branch back, of which the copy in the charge counts again
	if g.calls {
		return maxStretch + slack
	}
	return maxRun + 2*step + slack
}

// A bounder follows all ways through a module's functions.
type bounder struct {
	t      testing.TB
	bin    []byte
	m      *Module
	fuel   uint32
	graphs []graph
	taken  []int // functions that are in tables or referred to
}

// A graph is a function's instructions and the ways between them.
type graph struct {
	code   []instr
	text   []byte
	ends   map[int]int // of the blocks that begin there
	others map[int]int // their elses
	next   [][]int     // len(code) stands for the return
	locals int
	calls  bool   // functions of the module
	free   []bool // belongs to a charge, and isn't counted
	before int    // most that runs from the entry without a charge
	across int    // most that runs from the entry to the return without a charge; -1: it can't
	after  int    // most that runs from a charge to the return; -1: it can't
}

func newBounder(t testing.TB, bin []byte) *bounder {
	m, err := Check(bin, Limits{Locals: 1 << 20, Elements: 1 << 20, Globals: 1 << 20, TableElements: 1 << 30, Targets: 1 << 20, Branches: 1 << 30})
	require.NoError(t, err)
	b := &bounder{t: t, bin: bin, m: m}
	for _, e := range m.Exports {
		if e.Name == metering.FuelExport {
			b.fuel = e.index
		}
	}
	for i, body := range m.bodies() {
		fn := uint32(m.imported() + i)
		g := newGraph(t, body, len(m.signature(fn).Params))
		g.calls = slices.ContainsFunc(g.code, func(c instr) bool {
			return c.op == opCallIndirect || c.op == opCall && int(c.first) >= m.imported()
		})
		b.graphs = append(b.graphs, g)
		b.taken = append(b.taken, i) // that indirect calls may reach any function is more than enough
	}
	return b
}

// newGraph reads a function and finds where its branches lead.
func newGraph(t testing.TB, body []byte, params int) graph {
	g := graph{text: body, across: -1, after: -1, ends: map[int]int{}, others: map[int]int{}}
	r := &reader{b: body}
	g.locals = params + r.locals()
	for r.p < len(body) {
		g.code = append(g.code, r.next())
		require.NoError(t, r.err)
	}
	g.free = charging(g.code)
	g.match()
	var open []int
	for i, c := range g.code {
		switch c.op {
		case opBlock, opLoop, opIf:
			open = append(open, i)
		}
		g.next = append(g.next, g.ways(i, open))
		if c.op == opEnd && len(open) > 0 {
			open = open[:len(open)-1]
		}
	}
	return g
}

// match finds the end and the else of every block.
func (g *graph) match() {
	var open []int
	for i, c := range g.code {
		switch c.op {
		case opBlock, opLoop, opIf:
			open = append(open, i)
		case opElse:
			g.others[open[len(open)-1]] = i
		case opEnd:
			if len(open) > 0 {
				g.ends[open[len(open)-1]] = i
				open = open[:len(open)-1]
			}
		}
	}
}

// ways is where an instruction leads to.
func (g *graph) ways(i int, open []int) (ways []int) {
	c := g.code[i]
	switch c.op {
	case opUnreachable:
		return nil
	case opReturn:
		return []int{len(g.code)}
	case opElse:
		return []int{g.ends[open[len(open)-1]]}
	case opIf:
		if other, ok := g.others[i]; ok {
			return []int{i + 1, other + 1}
		}
		return []int{i + 1, g.ends[i]}
	case opBr:
		return []int{g.to(c.first, open)}
	case opBrIf:
		return []int{i + 1, g.to(c.first, open)}
	case opBrTable:
		for _, l := range (&reader{b: g.text}).labels(c, nil) {
			ways = append(ways, g.to(l, open))
		}
		return ways
	}
	return []int{i + 1} // the return, at the function's end
}

// to is where a branch to a label leads.
func (g *graph) to(label uint32, open []int) int {
	if int(label) >= len(open) {
		return len(g.code)
	}
	begin := open[len(open)-1-int(label)]
	if g.code[begin].op == opLoop {
		return begin
	}
	return g.ends[begin] + 1
}

// charging finds the instructions of charges: from the one that gets the fuel, which is the only global that is
// followed by a subtraction before it is set, to the condition behind the one that sets it.
func charging(all []instr) []bool {
	free := make([]bool, len(all))
	for i, c := range all {
		if c.op != opGlobalSet || i+4 >= len(all) || all[i+3].op != opI64GeS {
			continue
		}
		for j := i + 4; j >= 0 && (j > i || all[j].op != opGlobalGet); j-- {
			free[j] = true
		}
	}
	return free
}

// relax follows the ways through one function with what is known of the others, and says whether it learned
// something.
func (b *bounder) relax(fn int) bool {
	g := &b.graphs[fn]
	n := len(g.code)
	entry, last := slices.Repeat([]int{-1}, n+1), slices.Repeat([]int{-1}, n+1)
	entry[0] = 8 + moves(g.locals)
	was := [3]int{g.before, g.across, g.after}
	work := []int{0}
	for len(work) > 0 {
		at := work[len(work)-1]
		work = work[:len(work)-1]
		g.before = max(g.before, entry[at])
		if at == n {
			continue
		}
		e, l := b.through(g, at, entry[at], last[at])
		most := max(e, l)
		require.LessOrEqual(b.t, most, g.bound(), "function %d, instruction %d\n%x", fn, at, b.bin)
		for _, to := range g.next[at] {
			if e > entry[to] || l > last[to] {
				entry[to], last[to] = max(e, entry[to]), max(l, last[to])
				work = append(work, to)
			}
		}
	}
	g.across, g.after = max(g.across, entry[n]), max(g.after, last[n])
	return was != [3]int{g.before, g.across, g.after}
}

// through is what has run behind an instruction, since the function's entry and since a charge.
func (b *bounder) through(g *graph, at, entry, last int) (int, int) {
	c := g.code[at]
	plus := func(v, cost int) int {
		if v < 0 {
			return v
		}
		return v + cost
	}
	cost := c.cost()
	if g.free[at] && c.op != opGlobalSet {
		return entry, last
	}
	switch c.op {
	case opGlobalSet:
		if c.first == b.fuel {
			return -1, 0
		}
	case opBlock, opLoop, opIf:
		cost = 2 + moves(g.locals)
	case opEnd:
		cost = moves(g.locals)
	case opBr, opBrIf, opBrTable, opReturn, opUnreachable:
		cost = 4 + moves(g.locals)
	case opCall:
		if int(c.first) < b.m.imported() {
			break
		}
		cost = callCost(b.m.signature(c.first))
		return b.called(g, []int{int(c.first) - b.m.imported()}, plus(entry, cost), plus(last, cost))
	case opCallIndirect:
		cost = callCost(b.m.types[c.first])
		return b.called(g, b.taken, plus(entry, cost), plus(last, cost))
	}
	return plus(entry, cost), plus(last, cost)
}

// called is what has run behind a call of any of these functions.
func (b *bounder) called(g *graph, fns []int, entry, last int) (int, int) {
	e, l := -1, -1
	for _, fn := range fns {
		c := b.graphs[fn]
		if entry >= 0 {
			g.before = max(g.before, entry+c.before)
		}
		require.LessOrEqual(b.t, max(entry, last)+c.before, g.bound(), "on the way into function %d\n%x", fn, b.bin)
		if c.across >= 0 && entry >= 0 {
			e = max(e, entry+c.across)
		}
		if c.across >= 0 && last >= 0 {
			l = max(l, last+c.across)
		}
		l = max(l, c.after)
	}
	return e, l
}
