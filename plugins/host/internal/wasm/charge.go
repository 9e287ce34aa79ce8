package wasm

// maxRun is how much code may run between two charges, in bytes of cost.
const maxRun = 128

// A rewriter meters one function.
type rewriter struct {
	*meter
	out     []byte
	scratch uint32 // an i64 local
	length  uint32 // an i32 local
	run     int    // the most that may have run since the last charge
	dead    bool   // nothing gets here
	blocks  []frame
}

// A frame is a block that is open.
type frame struct {
	op    byte
	entry int  // the run at its beginning
	dead  bool // its beginning is dead
	out   int  // the longest run with which a branch leaves it; -1: none does
}

// function appends a metered function to out.
func (w *meter) function(out []byte, fn uint32, r *reader) []byte {
	f := rewriter{meter: w, out: out}
	groups := r.u32()
	begin := r.p
	locals := uint32(len(w.signature(fn).Params))
	for range groups {
		locals += r.u32()
		r.byte()
	}
	f.out = append(appendU32(f.out, groups+2), r.b[begin:r.p]...)
	f.out = append(f.out, 1, byte(I64), 1, byte(I32))
	f.scratch, f.length = locals, locals+1
	f.blocks = append(f.blocks, frame{op: opBlock, out: -1})
	f.charge(4 + int64(locals)/32)
	for len(f.blocks) > 0 && r.err == nil {
		i := r.next()
		f.instr(i, r.b[i.at:i.end], r)
	}
	return f.out
}

// charge appends a charge.
func (f *rewriter) charge(units int64) {
	f.cost.Charges++
	f.out = appendU32(append(f.out, opGlobalGet), f.fuel)
	f.out = appendI64(append(f.out, opI64Const), units<<stackBits)
	f.out = append(f.out, opI64Sub)
	f.check()
}

// check stores the fuel that is on the stack, and asks for more if there is none left.
func (f *rewriter) check() {
	f.out = appendU32(append(f.out, opLocalTee), f.scratch)
	f.out = appendU32(append(f.out, opGlobalSet), f.fuel)
	f.out = appendU32(append(f.out, opLocalGet), f.scratch)
	f.out = append(f.out, opI64Const, 0, opI64LtS, opIf, emptyBlock, opCall)
	f.out = append(appendU32(f.out, f.refuel()), opEnd)
	f.run = 0
}

// chargeLength appends a charge by the length that is on the stack, and leaves it there.
func (f *rewriter) chargeLength(units int64, shift byte) {
	f.cost.Charges++
	f.cost.Bulk++
	f.out = appendU32(append(f.out, opLocalTee), f.length)
	f.out = appendU32(append(f.out, opGlobalGet), f.fuel)
	f.out = appendU32(append(f.out, opLocalGet), f.length)
	f.out = append(f.out, opI64ExtendU, opI64Const, shift, opI64ShrU)
	f.out = appendI64(append(f.out, opI64Const), units)
	f.out = append(f.out, opI64Add, opI64Const, stackBits, 0x86, opI64Sub)
	f.check()
}

// instr copies one instruction and accounts for it.
func (f *rewriter) instr(i instr, text []byte, r *reader) {
	if len(f.blocks) == 1 && i.op == opElse {
		r.err = errUnbalanced
		return
	}
	cost := len(text)
	switch i.op {
	case opBlock, opLoop, opIf:
		f.open(i.op, text)
		return
	case opElse:
		f.otherwise(text)
		return
	case opEnd:
		f.close(text)
		return
	case opBr, opBrIf:
		f.branch(i.first, r)
	case opBrTable:
		f.branches(text, r)
		cost = 4
	case opCall, opRefFunc:
		f.out = appendU32(append(f.out, i.op), f.moved(i.first))
		text = nil
		cost = 8
	case opMemoryGrow:
		f.chargeLength(f.Slice, 6)
	case opMisc:
		f.bulk(i.sub)
	}
	f.out = append(f.out, text...)
	switch i.op {
	case opBr, opBrTable, opReturn, opUnreachable:
		f.dead = true
	}
	if f.dead {
		return
	}
	if f.run += cost; f.run >= maxRun {
		f.charge(1)
	}
}

func (f *rewriter) bulk(sub byte) {
	switch {
	case sub < miscMemoryInit, sub == miscDataDrop, sub == miscElemDrop, sub == miscTableSize:
	case sub == miscTableGrow:
		f.chargeLength(f.Slice, 6)
	default:
		f.chargeLength(1, 6)
	}
}

func (f *rewriter) open(op byte, text []byte) {
	f.out = append(f.out, text...)
	if op == opLoop {
		f.cost.Loops++
		f.charge(1)
	}
	f.blocks = append(f.blocks, frame{op: op, entry: f.run, dead: f.dead, out: -1})
}

func (f *rewriter) otherwise(text []byte) {
	f.out = append(f.out, text...)
	b := &f.blocks[len(f.blocks)-1]
	b.op = opElse
	if !f.dead {
		b.out = max(b.out, f.run)
	}
	f.run, f.dead = b.entry, b.dead
}

func (f *rewriter) close(text []byte) {
	f.out = append(f.out, text...)
	b := f.blocks[len(f.blocks)-1]
	f.blocks = f.blocks[:len(f.blocks)-1]
	if b.op == opIf && !b.dead { // without else: the condition was false
		b.out = max(b.out, b.entry)
	}
	if f.dead {
		f.run, f.dead = b.out, b.out < 0
	} else {
		f.run = max(f.run, b.out)
	}
	f.run = max(f.run, 0)
}

// branch accounts for a branch to a label.
func (f *rewriter) branch(label uint32, r *reader) {
	if int(label) >= len(f.blocks) {
		r.err = errUnbalanced
		return
	}
	b := &f.blocks[len(f.blocks)-1-int(label)]
	if b.op != opLoop && !f.dead {
		b.out = max(b.out, f.run)
	}
}

func (f *rewriter) branches(text []byte, r *reader) {
	t := reader{b: text, p: 1}
	for n := int(t.u32()); n >= 0; n-- {
		f.branch(t.u32(), r)
	}
}
