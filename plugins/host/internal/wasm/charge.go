package wasm

// An effect is what a call of a function does to the code that may run between two charges.
type effect struct {
	before int32 // the most that runs from its entry to its first charge, or to wherever it ends without one
	across int32 // the most that runs from its entry to its return without a charge; -1: it can't
	after  int32 // the most that runs from its last charge to its return; -1: it can't
}

// A run is the most that may have run when a place in a function is reached. Below zero: there is no such way.
type run struct {
	entry int // since the function's entry, without a charge
	last  int // since the last charge
}

var nowhere = run{-1, -1}

func (r run) dead() bool { return r == nowhere }

func (r run) most() int { return max(r.entry, r.last) }

func (r run) or(o run) run { return run{max(r.entry, o.entry), max(r.last, o.last)} }

// plus is r with more behind it.
func (r run) plus(cost int) run {
	if r.entry >= 0 {
		r.entry += cost
	}
	if r.last >= 0 {
		r.last += cost
	}
	return r
}

// A rewriter meters one function.
type rewriter struct {
	*meter
	fn     *function
	r      *reader
	out    []byte
	now    run
	blocks []frame
	calls  []call      // that are to come
	loops  []loopStyle // that are to come
	moves  int         // what a branch costs for the local variables it may have to move
	left   uint32      // a local i64 for charges: the fuel that is left
	length uint32      // a local i32 for charges by length
	used   int         // of these locals: none, the first, both
}

// A frame is an open block.
type frame struct {
	op     byte
	style  loopStyle
	values int // that a branch to its label brings
	begin  run // what there is where its else begins
	end    run // what branches bring to its end
}

// function appends a metered function to w.code.
func (w *meter) function(fn uint32, body []byte) error {
	f := rewriter{
		meter: w,
		fn:    &w.functions[fn],
		r:     &reader{b: body, what: "code"},
		out:   w.scratch[:0],
		calls: w.callsOf(fn),
		loops: w.survey.loops[w.functions[fn].loops:],
		now:   run{entry: 0, last: -1},
	}
	f.moves = moves(int(f.fn.locals))
	f.left = uint32(f.fn.locals)
	f.length = f.left + 1
	f.r.locals()
	groups := f.r.p
	results := len(w.signature(uint32(w.imported()) + fn).Results)
	f.blocks = append(f.blocks, frame{op: opBlock, values: results, end: nowhere})
	f.step(8 + f.moves)
	for len(f.blocks) > 0 && f.r.err == nil {
		f.instr(f.r.next())
	}
	w.code = f.declare(w.code, body[:groups])
	w.code = append(w.code, f.out...)
	w.scratch = f.out
	return f.r.err
}

// declare appends the declarations of local variables, with those that charges need.
func (f *rewriter) declare(to, groups []byte) []byte {
	r := reader{b: groups}
	to = appendU32(to, r.u32()+uint32(f.used))
	to = append(to, groups[r.p:]...)
	return append(to, []byte{1, byte(I64), 1, byte(I32)}[:2*f.used]...)
}

// step accounts for what has been appended, and charges when it is due.
func (f *rewriter) step(cost int) {
	f.now = f.now.plus(cost)
	f.reach(f.now.entry)
	if f.now.most() >= maxRun {
		f.charge(0)
	}
}

// reach notes how far the function gets without a charge.
func (f *rewriter) reach(run int) { f.fn.before = max(f.fn.before, int32(run)) }

// charged says that a charge has just been appended.
func (f *rewriter) charged() {
	f.cost.Charges++
	f.now = run{entry: -1, last: 0}
}

// charge appends a charge for what has run since the last one, and some units more.
func (f *rewriter) charge(more int64) {
	f.spend((f.due() + more) << stackBits)
	f.ask()
}

// due is what must be paid for what may have run since the last charge.
func (f *rewriter) due() int64 { return 1 + int64(f.now.most())/unitRun }

// spend appends the code that takes from the fuel, and leaves what is left in a local variable.
func (f *rewriter) spend(fuel int64) {
	f.emit(opGlobalGet, f.fuel())
	f.out = appendI64(append(f.out, opI64Const), fuel)
	f.out = append(f.out, opI64Sub)
	f.put()
}

// put stores the fuel that is on the stack, and leaves it in a local variable.
func (f *rewriter) put() {
	f.used = max(f.used, 1)
	f.emit(opLocalTee, f.left)
	f.emit(opGlobalSet, f.fuel())
	f.charged()
}

// ask appends the code that calls refuel if no fuel is left. The usual way is the first one of the two, because
// the compiler in use keeps values in registers on that one.
func (f *rewriter) ask() {
	f.enough()
	f.out = append(f.out, opElse)
	f.emit(opCall, f.refuel())
	f.out = append(f.out, opEnd)
}

// enough opens a block for when fuel is left.
func (f *rewriter) enough() {
	f.emit(opLocalGet, f.left)
	f.out = append(f.out, opI64Const, 0, opI64GeS, opIf, emptyBlock)
}

func (f *rewriter) emit(op byte, index uint32) { f.out = appendU32(append(f.out, op), index) }

// again appends a charged branch back to a loop.
func (f *rewriter) again(label uint32) {
	f.cost.Loops++
	f.spend(f.due() << stackBits)
	f.enough()
	f.emit(opBr, label+1)
	f.out = append(f.out, opEnd)
	f.emit(opCall, f.refuel())
	f.emit(opBr, label)
}

// chargeLength appends a charge by the length that is on the stack, and leaves it there.
func (f *rewriter) chargeLength(units int64, shift byte) {
	f.cost.Bulk++
	f.used = 2
	f.emit(opLocalTee, f.length)
	f.emit(opGlobalGet, f.fuel())
	f.emit(opLocalGet, f.length)
	f.out = append(f.out, opI64ExtendU, opI64Const, shift, opI64ShrU)
	f.out = appendI64(append(f.out, opI64Const), units)
	f.out = append(f.out, opI64Add, opI64Const, stackBits, opI64Shl, opI64Sub)
	f.put()
	f.ask()
}

// instr appends an instruction with what is due for it.
func (f *rewriter) instr(i instr) {
	switch i.op {
	case opBlock, opLoop, opIf:
		f.open(i)
	case opElse:
		f.otherwise(i)
	case opEnd:
		f.close(i)
	case opBr, opBrIf, opBrTable, opReturn, opUnreachable:
		f.leave(i)
	case opCall, opCallIndirect:
		f.call(i)
	case opRefFunc:
		f.emit(opGlobalGet, f.reference(i.first))
		f.step(2)
	default:
		f.bulk(i)
		f.copy(i)
		f.step(i.cost())
	}
}

func (f *rewriter) copy(i instr) { f.out = append(f.out, f.r.b[i.at:i.end]...) }

// bulk charges for operations that take as long as they are told to.
func (f *rewriter) bulk(i instr) {
	switch {
	case f.now.dead():
	case i.op == opMemoryGrow:
		f.chargeLength(f.due()+f.Slice, 0)
	case i.op != opMisc:
	case i.sub == miscMemoryInit, i.sub == miscMemoryCopy, i.sub == miscMemoryFill:
		f.chargeLength(f.due(), memoryShift)
	case i.sub == miscTableInit, i.sub == miscTableCopy, i.sub == miscTableFill:
		f.chargeLength(f.due(), tableShift)
	case i.sub == miscTableGrow:
		f.chargeLength(f.due()+f.Slice, tableShift)
	}
}

func (f *rewriter) open(i instr) {
	b := frame{op: i.op, end: nowhere}
	if i.typed {
		t := f.types[i.first]
		b.values = len(t.Results)
		if i.op == opLoop {
			b.values = len(t.Params)
		}
	}
	if i.op == opLoop {
		b.style, f.loops = f.loops[0], f.loops[1:]
		if b.style == edges && f.now.most() > maxRun/4 {
			f.charge(0) // lest it falls due within the loop
		}
	}
	f.copy(i)
	f.step(2 + f.moves)
	f.loop(b.style)
	b.begin = f.now
	f.blocks = append(f.blocks, b)
}

// loop begins a loop.
func (f *rewriter) loop(style loopStyle) {
	switch {
	case f.now.dead():
	case style == header:
		f.cost.Loops++
		f.charge(0)
	case style == edges:
		f.now.last = max(f.now.last, 0) // from the branches back, which charge
	}
}

func (f *rewriter) otherwise(i instr) {
	b := &f.blocks[len(f.blocks)-1]
	f.copy(i)
	b.op = opElse
	b.end = b.end.or(f.now)
	f.now = b.begin
}

func (f *rewriter) close(i instr) {
	b := f.blocks[len(f.blocks)-1]
	f.blocks = f.blocks[:len(f.blocks)-1]
	f.copy(i)
	f.now = f.now.or(b.end)
	if b.op == opIf {
		f.now = f.now.or(b.begin) // there is no else
	}
	if len(f.blocks) == 0 {
		f.fn.across, f.fn.after = int32(f.now.entry), int32(f.now.last)
		return
	}
	f.step(f.moves)
}

// leave appends what ends a path: a branch, a return, or a trap.
func (f *rewriter) leave(i instr) {
	f.now = f.now.plus(4 + f.moves)
	f.reach(f.now.entry)
	switch i.op {
	case opBr, opBrIf:
		f.branch(i)
	case opBrTable:
		f.labels = f.r.labels(i, f.labels[:0])
		for _, label := range f.labels {
			f.arrive(label)
		}
		f.copy(i)
	default:
		if i.op == opReturn {
			f.arrive(uint32(len(f.blocks) - 1))
		}
		f.copy(i)
	}
	if i.op != opBrIf {
		f.now = nowhere
	}
	f.step(0)
}

// label is the block that a label names.
func (f *rewriter) label(l uint32) *frame { return &f.blocks[len(f.blocks)-1-int(l)] }

// arrive says that a branch to a label is taken, maybe.
func (f *rewriter) arrive(label uint32) {
	if b := f.label(label); b.op != opLoop {
		b.end = b.end.or(f.now)
	}
}

// branch appends a branch, and charges for it if it leads back.
func (f *rewriter) branch(i instr) {
	f.arrive(i.first)
	b := f.label(i.first)
	switch {
	case b.op != opLoop || b.style != edges || f.now.dead():
		f.copy(i)
	case b.values > 0: // they must stay on top of the stack
		f.cost.Loops++
		f.charge(0)
		f.copy(i)
	case i.op == opBrIf:
		before := f.now
		f.out = append(f.out, opIf, emptyBlock)
		f.again(i.first + 1)
		f.out = append(f.out, opEnd)
		f.now = before
	default:
		f.again(i.first)
	}
}

// call appends a call with what is due for it.
func (f *rewriter) call(i instr) {
	host := i.op == opCall && int(i.first) < f.imported()
	var c call
	if i.op == opCall && !host {
		c, f.calls = f.calls[0], f.calls[1:]
	}
	switch {
	case f.now.dead():
		f.copyCall(i)
	case host:
		f.charge(hostUnits)
		f.copyCall(i)
		f.step(callCost(f.signature(i.first)))
	case i.op == opCallIndirect:
		f.account(i, f.heights[i.first], f.types[i.first])
	case c&accounted != 0:
		f.account(i, f.functions[c.callee()].height, f.signature(i.first))
	default:
		f.plain(i, f.functions[c.callee()].effect, f.signature(i.first))
	}
}

func (f *rewriter) copyCall(i instr) {
	if i.op == opCall {
		f.emit(opCall, f.moved(i.first))
		return
	}
	f.copy(i)
}

// account appends a call that is charged before and after, and whose stack is counted while it runs. More stack
// costs more, so that it can't grow much before refuel looks.
func (f *rewriter) account(i instr, height int32, s Signature) {
	f.cost.Calls += 2
	f.now = f.now.plus(callCost(s))
	f.reach(f.now.entry)
	steps := int64(height+stackStep-1) / stackStep
	f.spend((f.due()+int64(height)/stackUnit)<<stackBits - steps)
	f.ask()
	f.copyCall(i)
	f.now.last = maxTail
	f.spend(f.due()<<stackBits + steps)
	f.ask()
}

// plain appends a call of a function whose effect is known.
func (f *rewriter) plain(i instr, callee effect, s Signature) {
	cost := callCost(s)
	if f.now.most()+cost+int(callee.before) > 2*maxRun {
		f.charge(0)
	}
	f.copyCall(i)
	called := f.now.plus(cost)
	if called.entry >= 0 {
		f.reach(called.entry + int(callee.before))
	}
	f.now = nowhere
	if callee.across >= 0 {
		f.now = called.plus(int(callee.across))
	}
	f.now.last = max(f.now.last, int(callee.after))
	f.step(0)
}
