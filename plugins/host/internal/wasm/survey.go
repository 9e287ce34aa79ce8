package wasm

// A function is what is known of a defined function.
type function struct {
	locals int32 // parameters included
	frame  int32 // bytes of stack that it takes, estimated
	height int32 // the same, with the functions that it calls without an account; see plan
	calls  int32 // where its calls begin in survey.calls
	loops  int32 // where its loops begin in survey.loops
	state  visitState
	taken  bool // an indirect call may reach it
	effect
	at, end int // where it lies, rewritten, in meter.code
}

// A survey is what a first look at all the code finds.
type survey struct {
	functions []function
	calls     []call      // direct ones of defined functions, in the order of the code
	loops     []loopStyle // in the order of the code
	refs      []uint32    // functions of which the code takes references
	ref       map[uint32]uint32
}

// A call is the number of the defined function that is called, and whether it is accounted.
type call uint32

// accounted marks calls that are charged in both directions; see plan.
const accounted call = 1 << 31

func (c call) callee() uint32 { return uint32(c &^ accounted) }

// A loopStyle says where a loop is charged.
type loopStyle byte

const (
	once   loopStyle = iota // nowhere: nothing branches back
	edges                   // at each branch back
	header                  // at its beginning
)

// maxEdges is the most branches back that are charged each for itself. More of them are longer than one charge at
// the beginning of the loop.
const maxEdges = 16

// survey looks at all the code.
func (m *Module) survey() *survey {
	s := &survey{functions: make([]function, m.Functions), ref: map[uint32]uint32{}}
	for i, body := range m.bodies() {
		f := &s.functions[i]
		f.calls, f.loops = int32(len(s.calls)), int32(len(s.loops))
		l := look{survey: s, r: &reader{b: body, what: "code"}, tally: tally{Module: m}}
		sig := m.signature(uint32(m.imported() + i))
		l.locals = len(sig.Params) + l.r.locals()
		l.begin(sig)
		for len(l.levels) > 0 && l.r.err == nil {
			l.instr(l.r.next())
		}
		l.r.mustBeWell()
		f.locals, f.frame = int32(l.locals), int32(min(l.frame(), maxFrame))
	}
	return s
}

// bodies are the defined functions' code.
func (m *Module) bodies() [][]byte {
	all := make([][]byte, m.Functions)
	if m.Functions == 0 {
		return all
	}
	r := m.sections[secCode].reader(secCode)
	r.u32()
	for i := range all {
		all[i] = r.bytes(int(r.u32()))
	}
	r.mustBeWell()
	return all
}

// A look is a first look at one function.
type look struct {
	*survey
	tally
	r      *reader
	peak   int // of the stack's height
	sets   int // of local variables
	phis   int // values of local variables that depend on the way taken
	blocks []looked
	labels []uint32 // scratch
}

// A looked is an open block.
type looked struct {
	loop  int  // its number in survey.loops; -1: it is none
	edges int  // branches back
	table bool // some of them by table
	sets  int  // of local variables, before it
}

func (l *look) instr(i instr) {
	switch i.op {
	case opBlock, opIf, opLoop:
		l.enter(i)
	case opEnd:
		if len(l.blocks) > 0 {
			l.leave()
		}
	case opBr, opBrIf, opBrTable:
		l.branch(i)
	case opCall:
		if n := int(i.first) - l.imported(); n >= 0 {
			l.survey.calls = append(l.survey.calls, call(n))
		}
	case opLocalSet, opLocalTee:
		l.sets++
	case opRefFunc:
		l.refer(i.first)
	}
	l.add(i, l.r)
	l.peak = max(l.peak, l.height)
}

// refer notes that the code takes a reference to a function.
func (l *look) refer(fn uint32) {
	if _, known := l.ref[fn]; !known {
		l.ref[fn] = uint32(len(l.refs))
		l.refs = append(l.refs, fn)
	}
}

func (l *look) enter(i instr) {
	b := looked{loop: -1, sets: l.sets}
	if i.op == opLoop {
		b.loop = len(l.loops)
		l.loops = append(l.loops, once)
	}
	l.blocks = append(l.blocks, b)
}

func (l *look) leave() {
	b := l.blocks[len(l.blocks)-1]
	l.blocks = l.blocks[:len(l.blocks)-1]
	l.phis += min(l.sets-b.sets, l.locals)
	switch {
	case b.loop < 0 || b.edges == 0:
	case b.table || b.edges > maxEdges:
		l.loops[b.loop] = header
	default:
		l.loops[b.loop] = edges
	}
}

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

// back notes a branch to a label, if it is a loop's. On the way of a branch by table there is no place for a charge.
func (l *look) back(i instr) {
	n := len(l.blocks) - 1 - int(i.first)
	if n < 0 {
		return // the function's own
	}
	b := &l.blocks[n]
	b.edges++
	b.table = b.table || i.op == opBrTable
}

// maxFrame is the most that a frame is taken for.
const maxFrame = 1 << 20

// frame estimates how many bytes of stack the function takes: places for all values that are alive at once, and
// for those that some ways through the code give. Compilers don't share places, but find registers for many.
// Of real programs' functions this is between a third and twice of what wazero 1.12 takes.
func (l *look) frame() int { return 48 + 8*(l.locals+l.peak) + 2*l.phis + len(l.r.b)/32 }
