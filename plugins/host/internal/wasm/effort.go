package wasm

import (
	"fmt"
	"math"
)

// An effort is what makes a function take long to compile. Compilers keep for every basic block what is alive
// there, and some, which addresses are known to be in bounds; so time and memory grow with products, and few
// bytes of code are enough to make them large.
type effort struct {
	bytes   int // of code
	blocks  int // basic blocks
	live    int // values that are alive, added up over all blocks
	bounds  int // addresses known to be in bounds, added up over all blocks
	carried int // values that calls and branches hand over
}

// micros estimates the time that compiling takes, in microseconds of a machine of 2020. The factors are
// measured with functions that have much of one thing, and rounded up; real programs take half of what comes
// out. The one of bounds is larger than their time, for each takes 24 bytes of memory.
func (e effort) micros() float64 {
	return 0.3*float64(e.bytes) + 0.15*float64(e.live) + 0.25*float64(e.bounds) + float64(e.carried) +
		0.0015*float64(e.blocks)*float64(e.blocks)
}

// over says what is wrong with a function that takes longer than that.
func (e effort) over(fn uint32, millis int) error {
	return fmt.Errorf("function %d would take too long to compile, about %.0f ms instead of %d at most: it has %d bytes, "+
		"%d blocks, in these %d values and %d addresses, and %d values are handed over", fn, e.micros()/1000, millis,
		e.bytes, e.blocks, e.live, e.bounds, e.carried)
}

// A tally finds the effort of a function while it is rewritten.
type tally struct {
	*Module
	effort
	locals int // local variables
	height int // of the stack
	known  int // addresses known to be in bounds
	levels []level
}

// A level is an open block.
type level struct {
	loop    bool
	below   int // the stack's height without what belongs to the block
	params  int
	results int
	begin   int // addresses known at its beginning
	end     int // addresses known on all ways to its end
}

// begin begins a function.
func (t *tally) begin(s Signature) { t.levels = append(t.levels, level{results: len(s.Results)}) }

// block notes n basic blocks.
func (t *tally) block(n int) {
	t.blocks += n
	t.live += n * (t.locals + t.height)
	t.bounds += n * t.known
}

// add takes an instruction of r into account.
func (t *tally) add(i instr, r *reader) {
	t.height += i.delta()
	t.bytes += i.end - i.at
	switch i.op {
	case opBlock, opLoop, opIf:
		t.open(i, r)
	case opElse:
		l := &t.levels[len(t.levels)-1]
		l.end = min(l.end, t.known)
		t.height, t.known = l.below+l.params, l.begin
	case opEnd:
		t.close()
	case opBr, opBrIf:
		t.branch(i.first)
		t.block(1)
	case opBrTable:
		t.table(i, r)
	case opCall:
		t.call(t.signature(i.first))
	case opCallIndirect:
		t.call(t.types[i.first])
	case opMisc:
		t.block(3) // some are loops
	}
	switch {
	case i.accesses():
		t.known++
	case i.converts():
		t.bytes += 20
	}
	switch i.op {
	case opBr, opBrTable, opReturn, opUnreachable:
		t.height = t.levels[len(t.levels)-1].below // what follows is unreachable, and whatever height it wants
	}
}

func (t *tally) open(i instr, r *reader) {
	l := level{loop: i.op == opLoop, begin: t.known, end: math.MaxInt}
	if i.typed {
		l.params, l.results = len(t.types[i.first].Params), len(t.types[i.first].Results)
	} else if r.b[i.at+1] != emptyBlock {
		l.results = 1
	}
	if i.op == opIf {
		l.end = t.known // there may be no else
	}
	l.below = t.height - l.params
	t.carried += l.params + l.results
	t.levels = append(t.levels, l)
	t.block(2)
}

func (t *tally) close() {
	t.block(1)
	l := t.levels[len(t.levels)-1]
	t.levels = t.levels[:len(t.levels)-1]
	t.height, t.known = l.below+l.results, min(l.end, t.known)
}

func (t *tally) branch(label uint32) {
	t.block(1)
	l := &t.levels[len(t.levels)-1-int(label)]
	if l.loop {
		t.carried += l.params
		return
	}
	t.carried += l.results
	l.end = min(l.end, t.known)
}

func (t *tally) table(i instr, r *reader) {
	labels := reader{b: r.b[:i.end], p: i.at + 1}
	for n := int64(labels.u32()); n >= 0; n-- {
		t.branch(labels.u32())
	}
}

func (t *tally) call(s Signature) {
	t.height += len(s.Results) - len(s.Params)
	t.carried += len(s.Results) + len(s.Params)
}

// accesses says whether an instruction computes an address.
func (i instr) accesses() bool {
	is := operands[i.op]
	if is == vec {
		is = vecOperands[i.sub]
	}
	return is == access || is == laneIn
}

// converts says whether an instruction becomes many, as floats to integers do.
func (i instr) converts() bool {
	return i.op >= 0xa8 && i.op <= 0xb1 || i.op == opMisc && i.sub < miscMemoryInit
}

// delta is by how many values an instruction changes the stack's height, calls and branches apart.
func (i instr) delta() int {
	switch i.op {
	case opMisc:
		return int(miscDeltas[i.sub])
	case opVec:
		return int(vecDeltas[i.sub])
	}
	return int(deltas[i.op])
}

// A change of the stack's height that opcodes from first to last make.
type change struct {
	first, last byte
	delta       int8
}

var (
	deltas = changes([]change{
		{opIf, opIf, -1}, {opBrIf, opBrTable, -1}, {opCallIndirect, opCallIndirect, -1},
		{0x1a, 0x1a, -1}, {0x1b, 0x1c, -2}, // drop, select
		{0x20, 0x20, +1}, {0x21, 0x21, -1}, {0x23, 0x23, +1}, {0x24, 0x24, -1}, {0x26, 0x26, -2},
		{0x36, 0x3e, -2}, {0x3f, 0x3f, +1}, {0x41, 0x44, +1}, // stores, memory.size, constants
		{0x46, 0x4f, -1}, {0x51, 0x66, -1}, {0x6a, 0x78, -1}, {0x7c, 0x8a, -1}, {0x92, 0x98, -1}, {0xa0, 0xa6, -1},
		{0xd0, 0xd0, +1}, {0xd2, 0xd2, +1},
	})
	miscDeltas = changes([]change{{8, 8, -3}, {10, 12, -3}, {14, 14, -3}, {15, 15, -1}, {16, 16, +1}, {17, 17, -3}})
	vecDeltas  = changes([]change{
		{11, 11, -2}, {12, 12, +1}, {13, 14, -1}, {23, 23, -1}, {26, 26, -1}, {28, 28, -1}, {30, 30, -1}, {32, 32, -1},
		{34, 76, -1}, {78, 81, -1}, {82, 82, -2}, {84, 87, -1}, {88, 91, -2}, {101, 102, -1}, {107, 115, -1},
		{118, 121, -1}, {123, 123, -1}, {130, 130, -1}, {133, 134, -1}, {139, 147, -1}, {149, 153, -1},
		{155, 159, -1}, {171, 174, -1}, {177, 177, -1}, {181, 186, -1}, {188, 191, -1}, {203, 206, -1},
		{209, 209, -1}, {213, 223, -1}, {228, 235, -1}, {240, 247, -1},
	})
)

func changes(list []change) (all [256]int8) {
	for _, c := range list {
		for op := int(c.first); op <= int(c.last); op++ {
			all[op] = c.delta
		}
	}
	return all
}
