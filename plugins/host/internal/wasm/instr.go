package wasm

// The opcodes that the code here must know by name.
const (
	opUnreachable  = 0x00
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opMemoryGrow   = 0x40
	opI64Const     = 0x42
	opI64GeS       = 0x59
	opI64Add       = 0x7c
	opI64Sub       = 0x7d
	opI64Shl       = 0x86
	opI64ShrU      = 0x88
	opI64ExtendU   = 0xad // i64.extend_i32_u
	opRefFunc      = 0xd2
	opMisc         = 0xfc
	opVec          = 0xfd

	miscMemoryInit = 8
	miscMemoryCopy = 10
	miscMemoryFill = 11
	miscTableInit  = 12
	miscTableCopy  = 14
	miscTableGrow  = 15
	miscTableFill  = 17

	emptyBlock = 0x40 // the block type of nothing
)

// An operand says what follows an opcode.
type operand byte

const (
	unknown  operand = iota
	nothing          // the opcode is all
	index            // of a function, label, local, global, table or segment
	indices          // two of them
	access           // alignment and offset
	lane             // of a vector
	laneIn           // access, then lane
	reserved         // a zero byte: the only memory
	table            // reserved, of two memories; or segment and memory
	block            // a block's type
	targets          // of br_table
	kinds            // of select's operands
	heap             // the type of a null reference
	int32s           // a signed number
	int64s
	float32s
	float64s
	bytes16 // 16 bytes
	lanes16 // 16 lane numbers
	misc    // another opcode
	vec
)

// span gives the opcodes from first to last an operand.
type span struct {
	first, last byte
	is          operand
}

var (
	operands = spread([]span{
		{0x00, 0x01, nothing}, {opBlock, opIf, block}, {opElse, opElse, nothing}, {opEnd, opEnd, nothing},
		{opBr, opBrIf, index}, {opBrTable, opBrTable, targets}, {opReturn, opReturn, nothing},
		{opCall, opCall, index}, {opCallIndirect, opCallIndirect, indices},
		{0x1a, 0x1b, nothing}, {0x1c, 0x1c, kinds}, {0x20, 0x26, index}, {0x28, 0x3e, access},
		{0x3f, 0x40, reserved}, {0x41, 0x41, int32s}, {0x42, 0x42, int64s}, {0x43, 0x43, float32s},
		{0x44, 0x44, float64s}, {0x45, 0xc4, nothing}, {0xd0, 0xd0, heap}, {0xd1, 0xd1, nothing},
		{opRefFunc, opRefFunc, index}, {opMisc, opMisc, misc}, {opVec, opVec, vec},
	})
	miscOperands = spread([]span{
		{0, 7, nothing}, {8, 8, table}, {9, 9, index}, {10, 10, table}, {11, 11, reserved}, {12, 12, indices},
		{13, 13, index}, {14, 14, indices}, {15, 17, index},
	})
	vecOperands = spread([]span{
		{0, 11, access}, {12, 12, bytes16}, {13, 13, lanes16}, {14, 20, nothing}, {21, 34, lane},
		{35, 83, nothing}, {84, 91, laneIn}, {92, 93, access}, {94, 153, nothing}, {155, 161, nothing},
		{163, 164, nothing}, {167, 174, nothing}, {177, 177, nothing}, {181, 186, nothing}, {188, 193, nothing},
		{195, 196, nothing}, {199, 206, nothing}, {209, 209, nothing}, {213, 225, nothing}, {227, 237, nothing},
		{239, 255, nothing},
	})
)

func spread(spans []span) (all [256]operand) {
	for _, s := range spans {
		for op := int(s.first); op <= int(s.last); op++ {
			all[op] = s.is
		}
	}
	return all
}

// An instr is one instruction of a function or a constant expression.
type instr struct {
	op    byte
	sub   byte   // the second opcode, after opMisc and opVec
	typed bool   // a block's type is the signature first
	first uint32 // the first number after the opcode: label, index, how many labels br_table has besides the last
	at    int    // where it begins
	end   int    // where the next one begins
}

// next reads one instruction. It takes only the shortest encoding of second opcodes: not everybody who reads
// the code afterwards agrees on longer ones, and what is an instruction to some must not be two to others.
func (r *reader) next() instr {
	i := instr{at: r.p}
	i.op = r.byte()
	is := operands[i.op]
	switch is {
	case misc:
		i.sub = r.byte()
		is = miscOperands[i.sub]
	case vec:
		i.sub = r.byte()
		is = vecOperands[i.sub]
		if i.sub >= 0x80 {
			if c := r.byte(); c != 1 {
				is = unknown
			}
		}
	}
	if is != nothing {
		r.operand(is, &i)
	}
	i.end = r.p
	return i
}

// operand reads what follows an opcode.
func (r *reader) operand(is operand, i *instr) {
	switch is {
	case index:
		i.first = r.u32()
	case indices, access:
		i.first = r.u32()
		r.u32()
	case lane:
		r.byte()
	case laneIn:
		r.u32()
		r.u32()
		r.byte()
	case reserved:
		r.zero()
	case table:
		i.first = r.u32()
		r.zero()
	case block:
		r.blockType(i)
	case targets:
		i.first = uint32(r.count(1, "labels"))
		for n := i.first; n > 0 && r.err == nil; n-- {
			r.u32()
		}
		r.u32()
	case kinds:
		r.bytes(r.count(1, "types"))
	case heap:
		r.refType()
	case int32s:
		r.signed(32)
	case int64s:
		r.signed(64)
	case float32s:
		r.bytes(4)
	case float64s:
		r.bytes(8)
	case bytes16, lanes16:
		r.bytes(16)
	default:
		r.failAt(i.at, "%s", strange(i.op, i.sub))
	}
}

func (r *reader) zero() {
	if r.byte() != 0 {
		r.failAt(r.p-1, "a second memory, which is not supported")
	}
}

// blockType reads what a block takes and gives: nothing, one value, or as a signature says.
func (r *reader) blockType(i *instr) {
	at := r.p
	v := r.signed(33)
	switch {
	case v >= 0:
		i.typed, i.first = true, uint32(v)
	case v != emptyBlock-0x80 && (v < -0x40 || !ValueType(v&0x7f).valid()):
		r.failAt(at, "%s", strangeType(byte(v&0x7f)))
	}
}

// labels appends all labels of a br_table.
func (r *reader) labels(i instr, to []uint32) []uint32 {
	t := reader{b: r.b[:i.end], p: i.at + 1}
	for n := int64(t.u32()); n >= 0; n-- {
		to = append(to, t.u32())
	}
	return to
}
