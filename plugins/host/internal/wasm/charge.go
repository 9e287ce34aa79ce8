package wasm

import "fmt"

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
	moves  int         // what a branch costs for the local variables that it may have to move
	left   uint32      // a local i64 for charges: the fuel that is left
	length uint32      // a local i32 for charges by length
	used   int         // of these two: none, the first, both
	tally  tally
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
	index := uint32(w.imported()) + fn
	f := rewriter{
		meter: w,
		fn:    &w.functions[fn],
		r:     &reader{b: body, what: "code"},
		out:   w.scratch[:0],
		calls: w.callsOf(fn),
		loops: w.survey.loops[w.functions[fn].loops:],
		now:   run{entry: 0, last: -1},
		tally: tally{Module: w.Module, locals: int(w.functions[fn].locals)},
	}
	f.moves = moves(int(f.fn.locals))
	f.left = uint32(f.fn.locals)
	f.length = f.left + 1
	f.r.locals()
	groups := f.r.p
	f.tally.begin(w.signature(index))
	f.blocks = append(f.blocks, frame{op: opBlock, values: len(w.signature(index).Results), end: nowhere})
	f.step(8 + f.moves)
	for len(f.blocks) > 0 && f.r.err == nil && len(f.out) < maxBody {
		f.instr(f.r.next())
	}
	w.code = f.declare(w.code, body[:groups])
	w.code = append(w.code, f.out...)
	w.scratch = f.out
	f.r.mustBeWell()
	if len(f.blocks) > 0 {
		return fmt.Errorf("function %d would be too large when metered: it consists of calls and branches", index)
	}
	f.tally.bytes = max(f.tally.bytes, len(f.out))
	return w.bill(index, f.tally.effort)
}

// maxBody is how many bytes a metered function may have. With default limits far less take too long to compile.
const maxBody = 32 << 20

// bill adds up the efforts of compiling, and refuses what is too much.
func (w *meter) bill(fn uint32, e effort) error {
	millis := e.micros() / 1000
	if most := w.lim.FunctionEffort; millis > float64(most) {
		return e.over(fn, most)
	}
	w.effort += millis
	if most := w.lim.Effort; w.effort > float64(most) {
		return fmt.Errorf("the module would take too long to compile, about %.0f ms up to function %d instead of %d at most",
			w.effort, fn, most)
	}
	return nil
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

// charge appends a charge for what may have run since the last one, and some units more.
func (f *rewriter) charge(more int64) {
	f.spend((f.due() + more) << stackBits)
	f.ask()
}

// due is what must be paid, in units, for what may have run since the last charge.
func (f *rewriter) due() int64 { return 1 + int64(f.now.most())/unitRun }

// spend appends the code that takes from the fuel, and keeps what is left in a local variable.
func (f *rewriter) spend(fuel int64) {
	f.emit(opGlobalGet, f.fuel())
	f.out = appendI64(append(f.out, opI64Const), fuel)
	f.out = append(f.out, opI64Sub)
	f.put()
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

// put appends the code that stores the fuel that is on the stack, in the global and in a local variable.
func (f *rewriter) put() {
	f.used = max(f.used, 1)
	f.emit(opLocalTee, f.left)
	f.emit(opGlobalSet, f.fuel())
	f.cost.Charges++
	f.now = run{entry: -1, last: 0}
}

// ask appends the code that calls refuel if no fuel is left. The usual way comes first and the call is the else,
// because wazero lets the code behind both go on with the registers of the first, so that it is only the call
// that saves and restores them.
func (f *rewriter) ask() {
	f.enough()
	f.out = append(f.out, opElse)
	f.emit(opCall, f.refuel())
	f.out = append(f.out, opEnd)
}

// enough opens a block for when there is fuel left.
func (f *rewriter) enough() {
	f.emit(opLocalGet, f.left)
	f.out = append(f.out, opI64Const, 0, opI64GeS, opIf, emptyBlock)
	f.tally.block(3)
}

// again appends a charged branch back to a loop. The call of refuel has a branch of its own, so that nothing has
// to be saved in the loop for its sake.
func (f *rewriter) again(label uint32) {
	f.cost.Loops++
	f.spend(f.due() << stackBits)
	f.enough()
	f.emit(opBr, label+1)
	f.out = append(f.out, opEnd)
	f.emit(opCall, f.refuel())
	f.emit(opBr, label)
}

func (f *rewriter) emit(op byte, index uint32) { f.out = appendU32(append(f.out, op), index) }
