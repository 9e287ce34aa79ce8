package wasm

import (
	"math/rand/v2"
	"slices"
)

// A generator makes random valid modules whose functions end: every function and every turn of a loop takes a
// step from a global, and traps when there is none left.
type generator struct {
	*rand.Rand
	*build
	sigs   []Signature // of functions to come
	locals []ValueType // of the function in the making, parameters first
	labels [][]ValueType
	result []ValueType
	budget int // of instructions
}

const (
	genSteps  = 0 // the global that counts steps
	genGlobal = 1 // the first of one global of each type
	genTable  = 16
)

var genTypes = []ValueType{I32, I64, F32, F64, V128}

// generate makes a module that exports functions f0, f1, ..., its memory, its globals, and peek, which tells
// which elements of its table are there.
func generate(r *rand.Rand) (bin []byte, sigs []Signature) {
	g := &generator{Rand: r, build: &build{}}
	g.mems = [][]byte{code(1, 1, 3)}
	g.tables = [][]byte{code(FuncRef, 1, u(genTable), u(2*genTable))}
	g.globals = [][]byte{code(I32, 1, opI32Const, s(3000), opEnd)}
	for _, t := range genTypes {
		g.globals = append(g.globals, code(t, 1, g.constant(t), opEnd))
	}
	n := 2 + g.IntN(6)
	for range n {
		g.sigs = append(g.sigs, Signature{g.some(4), g.some(3)})
	}
	var refs []byte
	for i := range n {
		refs = append(refs, u(i)...)
	}
	g.elems = [][]byte{code(0, opI32Const, s(1), opEnd, u(n), refs), code(1, 0, u(n), refs)}
	g.datas = [][]byte{code(1, "some bytes for memory.init")}
	g.count = u(1)
	for i, s := range g.sigs {
		g.function(s)
		g.export("f"+string(rune('0'+i)), Function, i)
	}
	g.export("peek", Function, g.fn([]ValueType{I32}, []ValueType{I32}, nil, opLocalGet, u(0), 0x25, u(0), 0xd1))
	g.export("memory", Mem, 0)
	for i := range g.globals {
		g.export("g"+string(rune('0'+i)), Global, i)
	}
	return g.bytes(), g.sigs
}

func (g *generator) some(most int) []ValueType {
	types := make([]ValueType, g.IntN(most+1))
	for i := range types {
		types[i] = genTypes[g.IntN(len(genTypes))]
	}
	return types
}

func (g *generator) function(sig Signature) {
	declared := g.some(6)
	declared = append(declared, I32, I64) // some that are always there
	if g.IntN(8) == 0 {
		declared = append(declared, slices.Repeat([]ValueType{I64}, g.IntN(600))...)
	}
	g.locals = append(append([]ValueType(nil), sig.Params...), declared...)
	g.result, g.labels, g.budget = sig.Results, [][]ValueType{sig.Results}, 20+g.IntN(150)
	g.fn(sig.Params, sig.Results, declared, g.pay(), g.statements(), g.values(sig.Results))
}

// pay takes a step.
func (g *generator) pay() []byte {
	return code(opGlobalGet, u(genSteps), opI32Const, s(1), opI32Sub, opGlobalSet, u(genSteps),
		opGlobalGet, u(genSteps), opI32Const, s(0), opI32LtS, opIf, emptyBlock, opUnreachable, opEnd)
}

func (g *generator) spent() bool {
	g.budget--
	return g.budget < 0
}

func (g *generator) statements() []byte {
	var all []byte
	for range g.IntN(5) {
		all = append(all, g.statement()...)
	}
	return all
}

func (g *generator) values(types []ValueType) []byte {
	var all []byte
	for _, t := range types {
		all = append(all, g.value(t)...)
	}
	return all
}

// drops takes values off the stack.
func (g *generator) drops(types []ValueType) []byte {
	var all []byte
	for i := len(types) - 1; i >= 0; i-- {
		if l, ok := g.local(types[i]); ok && g.IntN(2) == 0 {
			all = append(all, code(opLocalSet, u(l))...)
		} else {
			all = append(all, opDrop)
		}
	}
	return all
}

// local is a random local variable of a type.
func (g *generator) local(t ValueType) (int, bool) {
	from := g.IntN(len(g.locals))
	for n := range g.locals {
		if i := (from + n) % len(g.locals); g.locals[i] == t {
			return i, true
		}
	}
	return 0, false
}

func (g *generator) statement() []byte {
	if g.spent() {
		return nil
	}
	t := genTypes[g.IntN(len(genTypes))]
	switch g.IntN(16) {
	case 0:
		if l, ok := g.local(t); ok {
			return code(g.value(t), opLocalSet, u(l))
		}
		return []byte{opNop}
	case 1:
		return code(g.value(t), opGlobalSet, u(genGlobal+g.type_(t)))
	case 2, 3:
		return g.store(t)
	case 4:
		return g.within(nil, func() []byte { return code(opBlock, emptyBlock, g.statements(), opEnd) })
	case 5, 6:
		return g.loop()
	case 7:
		cond := g.value(I32)
		return g.within(nil, func() []byte {
			return code(cond, opIf, emptyBlock, g.statements(), g.maybe(code(opElse, g.statements())), opEnd)
		})
	case 8:
		return g.branch()
	case 9:
		return g.perhaps(func() []byte { return code(g.values(g.result), opReturn) })
	case 10, 11:
		return g.callDropped()
	case 12:
		return g.bulk()
	case 13:
		return g.tableOp()
	case 14:
		return g.block()
	}
	return code(g.value(t), opDrop)
}

// type_ is a type's place in genTypes.
func (g *generator) type_(t ValueType) int {
	for i, have := range genTypes {
		if have == t {
			return i
		}
	}
	panic("no such type")
}

// within makes code in which there is one more label.
func (g *generator) within(label []ValueType, f func() []byte) []byte {
	g.labels = append(g.labels, label)
	c := f()
	g.labels = g.labels[:len(g.labels)-1]
	return c
}

func (g *generator) maybe(c []byte) []byte {
	if g.IntN(2) == 0 {
		return nil
	}
	return c
}

// perhaps makes code that is run sometimes, so that what stands behind it isn't always dead.
func (g *generator) perhaps(f func() []byte) []byte {
	if g.IntN(4) == 0 {
		return f()
	}
	return code(g.value(I32), opIf, emptyBlock, g.within(nil, f), opEnd)
}

// loop makes a loop that turns while a random condition holds, of one of several kinds.
func (g *generator) loop() []byte {
	params := g.some(2)
	if g.IntN(2) == 0 {
		params = nil
	}
	before := g.values(params)
	t := g.typ(params, params)
	return g.within(params, func() []byte {
		body := code(g.pay(), g.drops(params), g.statements())
		switch g.IntN(4) {
		case 0: // a branch in a condition
			body = code(body, g.value(I32), opIf, u(g.typ(nil, params)), g.within(params, func() []byte {
				return code(g.values(params), opBr, u(1), opElse, g.values(params))
			}), opEnd)
		case 1:
			body = code(body, g.values(params), g.value(I32), opBrIf, u(0))
		case 2:
			out := g.within(params, func() []byte {
				return code(g.values(params), g.value(I32), opBrTable, u(2), u(1), u(0), u(1))
			})
			body = code(body, opBlock, u(g.typ(nil, params)), out, opEnd)
		default:
			body = code(body, g.values(params))
		}
		return code(before, opLoop, u(t), body, opEnd, g.drops(params))
	})
}

// branch makes a branch to any label, conditional or not.
func (g *generator) branch() []byte {
	n := g.IntN(len(g.labels))
	types := g.labels[len(g.labels)-1-n]
	switch g.IntN(3) {
	case 0:
		return code(g.values(types), g.value(I32), opBrIf, u(n), g.drops(types))
	case 1:
		return code(g.values(types), g.value(I32), opBrTable, u(1), u(n), u(n))
	}
	return code(g.values(types), opBr, u(n), g.statements())
}

// block makes a block that takes and gives values.
func (g *generator) block() []byte {
	params, results := g.some(3), g.some(3)
	before := g.values(params)
	return g.within(results, func() []byte {
		return code(before, opBlock, u(g.typ(params, results)), g.drops(params), g.statements(), g.values(results), opEnd, g.drops(results))
	})
}

func (g *generator) callDropped() []byte {
	n := g.IntN(len(g.sigs))
	return code(g.call(n), g.drops(g.sigs[n].Results))
}

// call calls a function, directly or through the table, which may have something else there.
func (g *generator) call(n int) []byte {
	sig := g.sigs[n]
	if g.IntN(3) > 0 {
		return code(g.values(sig.Params), opCall, u(n))
	}
	at := code(opI32Const, s(n+1))
	if g.IntN(8) == 0 {
		at = g.value(I32)
	}
	return code(g.values(sig.Params), at, opCallIndirect, u(g.typ(sig.Params, sig.Results)), u(0))
}

// address is an address that is mostly in bounds.
func (g *generator) address() []byte {
	if g.IntN(20) == 0 {
		return g.value(I32)
	}
	return code(g.value(I32), opI32Const, s(0xffff), opI32And)
}

var genStores = map[ValueType][]byte{
	I32: {0x36, 2}, I64: {0x37, 3}, F32: {0x38, 2}, F64: {0x39, 3}, V128: {0xfd, 11, 4},
}

func (g *generator) store(t ValueType) []byte {
	return code(g.address(), g.value(t), genStores[t], u(g.IntN(8)))
}

func (g *generator) bulk() []byte {
	length := code(g.value(I32), opI32Const, s(0x1ff), opI32And)
	switch g.IntN(4) {
	case 0:
		return code(g.address(), g.value(I32), length, opMisc, miscMemoryFill, 0)
	case 1:
		return code(g.address(), g.address(), length, opMisc, miscMemoryCopy, 0, 0)
	case 2:
		return code(g.address(), opI32Const, s(g.IntN(10)), opI32Const, s(g.IntN(18)), opMisc, miscMemoryInit, u(0), 0)
	}
	return code(opI32Const, s(g.IntN(3)), opMemoryGrow, 0, opDrop)
}

func (g *generator) tableOp() []byte {
	element := code(opI32Const, s(g.IntN(genTable+2)))
	ref := code(opRefFunc, u(g.IntN(len(g.sigs))))
	if g.IntN(3) == 0 {
		ref = code(0xd0, FuncRef)
	}
	switch g.IntN(5) {
	case 0:
		return code(element, ref, 0x26, u(0))
	case 1:
		return code(element, ref, opI32Const, s(g.IntN(4)), opMisc, miscTableFill, u(0))
	case 2:
		return code(ref, opI32Const, s(g.IntN(3)), opMisc, miscTableGrow, u(0), opDrop)
	case 3:
		return code(element, opI32Const, s(g.IntN(4)), opI32Const, s(g.IntN(4)), opMisc, miscTableInit, u(1), u(0))
	}
	return code(element, opI32Const, s(g.IntN(8)), opI32Const, s(g.IntN(6)), opMisc, miscTableCopy, u(0), u(0))
}

func (g *generator) constant(t ValueType) []byte {
	n := g.Int64()
	if g.IntN(2) == 0 {
		n = int64(g.IntN(100)) - 10
	}
	switch t {
	case I32:
		return code(opI32Const, s(int(int32(n))))
	case I64:
		return code(opI64Const, s(int(n)))
	case F32:
		return code(0x43, byte(n), byte(n>>8), 0x80, 0x3f)
	case F64:
		return code(0x44, byte(n), byte(n>>8), byte(n>>16), 0, 0, 0, 0xf0, 0x3f)
	}
	c := code(0xfd, 12)
	for i := range 16 {
		c = append(c, byte(n>>i))
	}
	return c
}

// genUnary and genBinary are operations that take and give values of one type.
var (
	genUnary = map[ValueType][][]byte{
		I32: {{0x67}, {0x68}, {0x69}, {0x45}, {0xc0}, {0xc1}}, I64: {{0x79}, {0x7a}, {0x7b}, {0xc2}, {0xc4}},
		F32: {{0x8b}, {0x8c}, {0x8d}, {0x90}, {0x91}}, F64: {{0x99}, {0x9a}, {0x9b}, {0x9e}, {0x9f}},
		V128: {{0xfd, 0x4d}, {0xfd, 0x62}, {0xfd, 0xa0, 1}, {0xfd, 0xc1, 1}},
	}
	genBinary = map[ValueType][][]byte{
		I32: {{0x6a}, {0x6b}, {0x6c}, {0x6d}, {0x70}, {0x71}, {0x73}, {0x74}, {0x78}, {0x48}, {0x4f}},
		I64: {{0x7c}, {0x7d}, {0x7e}, {0x7f}, {0x82}, {0x83}, {0x85}, {0x86}, {0x8a}},
		F32: {{0x92}, {0x93}, {0x94}, {0x95}, {0x96}, {0x98}}, F64: {{0xa0}, {0xa1}, {0xa2}, {0xa3}, {0xa4}, {0xa6}},
		V128: {{0xfd, 0x6e}, {0xfd, 0xb5, 1}, {0xfd, 0xd5, 1}, {0xfd, 0x4e}, {0xfd, 0x51}, {0xfd, 0x0e}},
	}
	genLoads = map[ValueType][]byte{
		I32: {0x28, 2}, I64: {0x29, 3}, F32: {0x2a, 2}, F64: {0x2b, 3}, V128: {0xfd, 0, 4},
	}
	// genConverts are operations that take another type.
	genConverts = map[ValueType][]struct {
		from ValueType
		op   []byte
	}{
		I32:  {{I64, []byte{0xa7}}, {F64, []byte{0xaa}}, {F32, []byte{0xfc, 1}}, {F32, []byte{0xbc}}, {I64, []byte{0x50}}, {V128, []byte{0xfd, 0x53}}},
		I64:  {{I32, []byte{0xad}}, {F64, []byte{0xfc, 6}}, {F64, []byte{0xbd}}, {F32, []byte{0xae}}},
		F32:  {{I32, []byte{0xb2}}, {I64, []byte{0xb5}}, {F64, []byte{0xb6}}},
		F64:  {{I32, []byte{0xb8}}, {I64, []byte{0xb9}}, {F32, []byte{0xbb}}},
		V128: {{I32, []byte{0xfd, 0x11}}, {I64, []byte{0xfd, 0x12}}, {F64, []byte{0xfd, 0x14}}},
	}
)

// value makes a value of a type.
func (g *generator) value(t ValueType) []byte {
	if g.spent() {
		return g.constant(t)
	}
	switch g.IntN(14) {
	case 0, 1, 2:
		if l, ok := g.local(t); ok {
			return code(opLocalGet, u(l))
		}
	case 3:
		return code(opGlobalGet, u(genGlobal+g.type_(t)))
	case 4:
		return code(g.value(t), genUnary[t][g.IntN(len(genUnary[t]))])
	case 5, 6:
		return code(g.value(t), g.value(t), genBinary[t][g.IntN(len(genBinary[t]))])
	case 7:
		c := genConverts[t][g.IntN(len(genConverts[t]))]
		return code(g.value(c.from), c.op)
	case 8:
		return code(g.address(), genLoads[t], u(g.IntN(8)))
	case 9:
		cond := g.value(I32)
		return g.within([]ValueType{t}, func() []byte {
			return code(cond, opIf, t, g.statements(), g.value(t), opElse, g.value(t), opEnd)
		})
	case 10:
		return g.within([]ValueType{t}, func() []byte { return code(opBlock, t, g.statements(), g.value(t), opEnd) })
	case 11:
		return code(g.value(t), g.value(t), g.value(I32), 0x1b)
	case 12:
		if l, ok := g.local(t); ok {
			return code(g.value(t), opLocalTee, u(l))
		}
	case 13:
		return g.called(t)
	}
	return g.constant(t)
}

// called makes a value of a type from a function that gives it as its first result.
func (g *generator) called(t ValueType) []byte {
	for _, n := range g.Perm(len(g.sigs)) {
		if r := g.sigs[n].Results; len(r) > 0 && r[0] == t {
			return code(g.call(n), g.drops(r[1:]))
		}
	}
	if t == I32 && g.IntN(2) == 0 {
		return code(0x3f, 0) // memory.size
	}
	return g.constant(t)
}
