package wasm

import "math"

// A function is what is known of a defined function.
type function struct {
	frame  int32 // bytes of stack that it takes, estimated
	height int32 // the same, with the functions that it calls without an account; see plan
	calls  int32 // where its calls begin in survey.calls
	loops  int32 // where its loops begin in survey.loops
	locals int32 // parameters included
	state  visitState
	taken  bool // an indirect call may reach it
	effect
	at, end int // where its rewritten code is
}

// A survey is what a first look at all the code finds.
type survey struct {
	functions []function
	calls     []call      // direct ones of defined functions, in the order of the code
	loops     []loopStyle // in the order of the code
	refs      []uint32    // functions of which the code takes references
	ref       map[uint32]uint32
}

// A call is the number of the defined function that is called, and accounted.
type call uint32

// accounted marks calls that the stack's depth is kept for.
const accounted call = 1 << 31

func (c call) callee() uint32 { return uint32(c &^ accounted) }

// A loopStyle says where a loop is charged.
type loopStyle byte

const (
	once   loopStyle = iota // nowhere: nothing branches back
	edges                   // at the branches back
	header                  // at its beginning
)

// maxEdges is the most branches back that are charged each by itself; more cost less room at the beginning.
const maxEdges = 16

// survey looks at all the code.
func (m *Module) survey() (*survey, error) {
	s := &survey{functions: make([]function, m.Functions), ref: map[uint32]uint32{}}
	r := m.sections[secCode].reader(secCode)
	if m.Functions > 0 {
		r.u32()
	}
	for i := range s.functions {
		f := &s.functions[i]
		f.calls, f.loops = int32(len(s.calls)), int32(len(s.loops))
		body := r.sub(int(r.u32()), r.what)
		l := look{survey: s, Module: m, r: body}
		l.function(m.signature(uint32(m.imported() + i)))
		if body.err != nil {
			return nil, body.err
		}
		f.locals, f.frame = int32(l.locals), int32(min(l.frame(), math.MaxInt32/2))
	}
	return s, nil
}

// A look is a first look at one function.
type look struct {
	*survey
	*Module
	r      *reader
	locals int
	sets   int // so far
	phis   int // values that different paths may give to a local variable
	blocks []open
	labels []uint32 // scratch
}

// An open block.
type open struct {
	loop   int // its number in survey.loops; -1: none
	params bool
	edges  int
	header bool
	sets   int // before it
}

func (l *look) function(s Signature) {
	size := len(l.r.b)
	l.locals = len(s.Params) + l.r.locals()
	l.blocks = append(l.blocks, open{loop: -1})
	for len(l.blocks) > 0 && l.r.err == nil {
		l.instr(l.r.next())
	}
	l.phis += size / 64
}

func (l *look) instr(i instr) {
	switch i.op {
	case opBlock, opIf, opLoop:
		l.open(i)
	case opEnd:
		l.close()
	case opBr, opBrIf, opBrTable:
		l.branch(i)
	case opCall:
		if int(i.first) >= l.imported() {
			l.calls = append(l.calls, call(int(i.first)-l.imported()))
		}
	case opLocalSet, opLocalTee:
		l.sets++
	case opRefFunc:
		if _, known := l.ref[i.first]; !known {
			l.ref[i.first] = uint32(len(l.refs))
			l.refs = append(l.refs, i.first)
		}
	}
}

func (l *look) open(i instr) {
	b := open{loop: -1, sets: l.sets}
	if i.op == opLoop {
		b.loop = len(l.loops)
		l.loops = append(l.loops, once)
		b.params = i.typed && len(l.types[i.first].Params) > 0
	}
	l.blocks = append(l.blocks, b)
}

func (l *look) close() {
	b := l.blocks[len(l.blocks)-1]
	l.blocks = l.blocks[:len(l.blocks)-1]
	l.phis += min(l.sets-b.sets, l.locals)
	switch {
	case b.loop < 0 || b.edges == 0:
	case b.header || b.edges > maxEdges:
		l.loops[b.loop] = header
	default:
		l.loops[b.loop] = edges
	}
}

// branch notes branches back.
func (l *look) branch(i instr) {
	if i.op != opBrTable {
		l.back(i)
		return
	}
	l.labels = l.r.labels(i, l.labels[:0])
	for _, i.first = range l.labels {
		l.back(i)
	}
}

// back notes a branch to a label, if it is a loop's. Where the branch is conditional and brings values, there is
// no place for a charge on the way.
func (l *look) back(i instr) {
	b := &l.blocks[len(l.blocks)-1-int(i.first)]
	b.edges++
	b.header = b.header || i.op == opBrTable || i.op == opBrIf && b.params
}

// frame is about how much stack the function takes. Compilers give every value that has no register a place of
// its own, and don't share places.
func (l *look) frame() int { return 48 + 8*l.locals + 2*l.phis }
