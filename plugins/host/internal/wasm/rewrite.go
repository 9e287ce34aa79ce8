package wasm

// instr appends an instruction with what is due for it.
func (f *rewriter) instr(i instr) {
	f.tally.add(i, f.r)
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

// bulk charges for operations that take as long as they are told to. Growing costs a slice at least, so that
// refuel looks at the clock before each.
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
	switch {
	case !i.typed: // what a branch brings to a block with one result is of no interest
	case i.op == opLoop:
		b.values = len(f.types[i.first].Params)
	default:
		b.values = len(f.types[i.first].Results)
	}
	if i.op == opLoop {
		b.style, f.loops = f.loops[0], f.loops[1:]
		if b.style == edges && f.now.most() > maxRun/4 {
			f.charge(0) // lest it falls due in the loop
		}
	}
	f.step(2 + f.moves) // before it, since not all ways lead into an if
	f.copy(i)
	if b.style == header && !f.now.dead() {
		f.cost.Loops++
		f.charge(0)
	}
	b.begin = f.now
	f.blocks = append(f.blocks, b)
}

func (f *rewriter) otherwise(i instr) {
	f.copy(i)
	b := f.label(0)
	b.op = opElse
	b.end = b.end.or(f.now)
	f.now = b.begin
}

func (f *rewriter) close(i instr) {
	b := *f.label(0)
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

// leave appends what ends a way, or may: a branch, a return, a trap.
func (f *rewriter) leave(i instr) {
	f.now = f.now.plus(4 + f.moves)
	f.reach(f.now.entry)
	switch i.op {
	case opBr, opBrIf:
		f.branch(i)
	case opBrTable:
		f.labels = f.r.labels(i, f.labels[:0])
		for _, l := range f.labels {
			f.arrive(f.label(l))
		}
		f.copy(i)
	case opReturn:
		f.arrive(&f.blocks[0])
		f.copy(i)
	default:
		f.copy(i)
	}
	if i.op != opBrIf {
		f.now = nowhere
	}
	f.step(0)
}

// label is the block that a label names.
func (f *rewriter) label(l uint32) *frame { return &f.blocks[len(f.blocks)-1-int(l)] }

// arrive says that a branch to a block may be taken. Branches to loops charge, or the loop does; so what they
// bring is less than what the loop began with.
func (f *rewriter) arrive(b *frame) {
	if b.op != opLoop {
		b.end = b.end.or(f.now)
	}
}

// branch appends a branch, and charges for it if it leads back.
func (f *rewriter) branch(i instr) {
	b := f.label(i.first)
	f.arrive(b)
	switch {
	case b.style != edges || f.now.dead():
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

// account appends a call that is charged on the way in and on the way back, and whose stack counts while it
// runs. More stack costs more, so that it can't grow much before refuel looks.
func (f *rewriter) account(i instr, height int32, s Signature) {
	f.cost.Calls += 2
	f.now = f.now.plus(callCost(s))
	f.reach(f.now.entry)
	steps := (int64(height) + stackStep - 1) / stackStep
	f.spend((f.due()+int64(height)/StackUnit)<<stackBits - steps)
	f.ask()
	f.copyCall(i)
	f.now.last = maxTail
	f.spend(f.due()<<stackBits + steps)
	f.ask()
}

// plain appends a call of a function of which the effect is known.
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
	f.now = nowhere // unless it returns
	if callee.across >= 0 {
		f.now = called.plus(int(callee.across))
	}
	f.now.last = max(f.now.last, int(callee.after))
	f.step(0)
}
