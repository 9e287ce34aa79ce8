package wasm

import (
	"fmt"
	"math"
)

func (c *checker) codeSection(r *reader) {
	at := r.p
	if n := r.count(3, "functions"); r.err == nil && n != c.Functions {
		r.failAt(at, "it holds %d functions and the function section declares %d", n, c.Functions)
	}
	for i := range c.Functions {
		fn := c.imported() + i
		n := int(r.u32())
		body := r.sub(n, fmt.Sprintf("code section, function %d", fn))
		if c.code(fn, body); body.err != nil {
			r.err = body.err
			return
		}
		c.CodeBytes += n
	}
}

// code checks one function.
func (c *checker) code(fn int, r *reader) {
	at := r.p
	locals := len(c.signature(uint32(fn)).Params) + r.locals()
	if locals > c.lim.Locals {
		r.failAt(at, "%d parameters and local variables are more than the %d allowed", locals, c.lim.Locals)
	}
	b := bodyChecker{checker: c, reader: r, locals: locals, blocks: c.blocks[:0]}
	b.blocks = append(b.blocks, opBlock)
	for len(b.blocks) > 0 && r.err == nil {
		b.instr(r.next())
	}
	if c.blocks = b.blocks; r.err == nil && r.p < len(r.b) {
		r.fail("code behind the function's end")
	}
	c.count(b)
}

// count keeps a function's numbers and refuses what is too much.
func (c *checker) count(b bodyChecker) {
	c.Locals = max(c.Locals, b.locals)
	c.Branches = max(c.Branches, b.branches)
	c.locals += b.locals
	switch {
	case b.err != nil:
	case b.branches > c.lim.Branches:
		b.fail("%d branches are more than the %d allowed", b.branches, c.lim.Branches)
	case b.targets > c.lim.Targets:
		b.fail("%d targets of br_table are more than the %d allowed", b.targets, c.lim.Targets)
	case c.locals > c.lim.AllLocals:
		b.fail("%d local variables so far are more than the %d allowed", c.locals, c.lim.AllLocals)
	}
}

// A bodyChecker checks one function's instructions.
type bodyChecker struct {
	*checker
	*reader
	locals   int
	blocks   []byte // the opcodes of those that are open
	branches int
	targets  int
	labels   []uint32 // scratch
}

func (b *bodyChecker) instr(i instr) {
	switch i.op {
	case opBlock, opLoop, opIf:
		b.branches++
		b.open(i)
	case opElse:
		b.branches++
		if b.blocks[len(b.blocks)-1] != opIf {
			b.failAt(i.at, "an else without an if")
		}
		b.blocks[len(b.blocks)-1] = opElse
	case opEnd:
		b.blocks = b.blocks[:len(b.blocks)-1]
	case opBr, opBrIf:
		b.branches++
		b.exists(i, "label", int(i.first), len(b.blocks))
	case opBrTable:
		b.branches++
		b.targets += int(i.first) + 1
		if b.err != nil {
			return
		}
		b.labels = b.reader.labels(i, b.labels[:0])
		for _, label := range b.labels {
			b.exists(i, "label", int(label), len(b.blocks))
		}
	case opCall, opRefFunc:
		b.exists(i, "function", int(i.first), len(b.funcs))
	case opCallIndirect:
		b.exists(i, "type", int(i.first), len(b.types))
	case opLocalGet, opLocalSet, opLocalTee:
		b.exists(i, "local variable", int(i.first), b.locals)
	case opGlobalGet, opGlobalSet:
		b.exists(i, "global", int(i.first), b.Globals)
	}
}

// exists refuses the number of something that isn't there.
func (b *bodyChecker) exists(i instr, what string, number, there int) {
	if number < 0 || number >= there {
		b.failAt(i.at, "%s %d doesn't exist", what, number)
	}
}

func (b *bodyChecker) open(i instr) {
	b.blocks = append(b.blocks, i.op)
	b.Depth = max(b.Depth, len(b.blocks)-1)
	if b.Depth > b.lim.Depth {
		b.failAt(i.at, "blocks are nested more than %d deep", b.lim.Depth)
	}
	if i.typed {
		b.exists(i, "type", int(i.first), len(b.types))
	}
}

// locals reads the declarations of local variables and counts them.
func (r *reader) locals() int {
	total := uint64(0)
	for range r.count(2, "groups of local variables") {
		total += uint64(r.u32())
		r.valueType()
	}
	return int(min(total, math.MaxInt32))
}
