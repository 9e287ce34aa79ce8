package wasm

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// The sections' numbers.
const (
	secCustom = iota
	secType
	secImport
	secFunction
	secTable
	secMemory
	secGlobal
	secExport
	secStart
	secElement
	secCode
	secData
	secDataCount
	secTag
	sectionIDs
)

var sectionNames = [sectionIDs]string{
	"custom", "type", "import", "function", "table", "memory", "global", "export", "start", "element", "code",
	"data", "data count", "tag",
}

// sectionOrder is the order in which sections stand in a module.
var sectionOrder = []byte{
	secType, secImport, secFunction, secTable, secMemory, secGlobal, secExport, secStart, secElement,
	secDataCount, secCode, secData,
}

// A section of a module.
type section struct {
	there bool
	body  []byte // in Module.Bytes
	base  int    // where it lay in the original, for faults
}

func (s section) reader(id byte) *reader {
	return &reader{b: s.body, base: s.base, what: sectionNames[id] + " section"}
}

const preamble = "\x00asm\x01\x00\x00\x00"

// Check reads a whole module structurally. Its errors are for the module's author: they say what is wrong and
// where. The Module keeps none of bin's memory.
func Check(bin []byte, lim Limits) (*Module, error) {
	if err := checkPreamble(bin); err != nil {
		return nil, err
	}
	m := &Module{}
	names, err := m.split(bin)
	if err != nil {
		return nil, err
	}
	c := checker{Module: m, lim: lim.orDefaults()}
	for _, id := range sectionOrder {
		if err := c.section(id); err != nil {
			return nil, err
		}
	}
	if names != nil {
		names.body = bytes.Clone(names.body)
		m.names = names
		m.Bytes = m.appendNames(m.Bytes, names, 0)
	}
	return m, nil
}

// checkPreamble tells a core module of version 1 from all else that people have tried.
func checkPreamble(bin []byte) error {
	switch {
	case len(bin) == 0:
		return errors.New("the file is empty")
	case len(bin) < len(preamble) && strings.HasPrefix(preamble, string(bin)):
		return fmt.Errorf("the file has %d bytes, less than the smallest module: it is truncated", len(bin))
	case !bytes.HasPrefix(bin, []byte(preamble[:4])):
		return notWasm(bin)
	case bytes.Equal(bin[4:8], []byte{0x0d, 0, 1, 0}):
		return errors.New("this is a component, not a core module: " +
			"build for wasm32-unknown-unknown, or for wasip1 as a reactor, without componentizing")
	case !bytes.HasPrefix(bin, []byte(preamble)):
		return fmt.Errorf("unsupported WebAssembly version (% x): only core modules of version 1 run here", bin[4:8])
	}
	return nil
}

// notWasm guesses what a file is.
func notWasm(bin []byte) error {
	head := bin[:min(len(bin), 512)]
	for len(head) > 0 && len(head) < len(bin) && !utf8.Valid(head) && len(head) > 508 {
		head = head[:len(head)-1] // a rune may be cut
	}
	switch text := strings.TrimSpace(string(head)); {
	case strings.HasPrefix(text, "(") || strings.HasPrefix(text, ";;"):
		return errors.New("not WebAssembly: this is text; WAT must be compiled first (wat2wasm)")
	case bytes.HasPrefix(bin, []byte("\x7fELF")), bytes.HasPrefix(bin, []byte("MZ")),
		bytes.HasPrefix(bin, []byte("\xcf\xfa\xed\xfe")), bytes.HasPrefix(bin, []byte("!<arch>")):
		return errors.New("not WebAssembly: this is native code; build for a wasm32 target")
	case bytes.HasPrefix(bin, []byte("\x1f\x8b")), bytes.HasPrefix(bin, []byte("PK")),
		bytes.HasPrefix(bin, []byte("\x28\xb5\x2f\xfd")):
		return errors.New("not WebAssembly: this is compressed; unpack it first")
	case utf8.Valid(head) && !bytes.ContainsRune(head, 0):
		return errors.New("not WebAssembly: this is text; a plugin must be compiled first")
	}
	return fmt.Errorf("not WebAssembly: it begins with % x instead of 00 61 73 6d", bin[:min(len(bin), 4)])
}

// split cuts bin into sections, copies all but the custom ones and returns the last name section.
func (m *Module) split(bin []byte) (names *section, err error) {
	m.Bytes = append(make([]byte, 0, len(bin)), preamble...)
	r := &reader{b: bin, p: len(preamble), what: "module"}
	last := -1
	for r.p < len(bin) {
		at := r.p
		id := r.byte()
		if int(id) >= sectionIDs {
			r.failAt(at, "unknown section %d: the file is damaged", id)
			break
		}
		r.what = sectionNames[id] + " section"
		body := r.bytes(int(r.u32()))
		if r.err != nil {
			break
		}
		s := section{there: true, body: body, base: r.p - len(body)}
		if id == secCustom {
			if err := s.custom(&names); err != nil {
				return nil, err
			}
			continue
		}
		order := slices.Index(sectionOrder, id)
		switch {
		case order < 0:
			r.failAt(at, "exception handling is not supported")
		case order == last:
			r.failAt(at, "it stands there twice")
		case order < last:
			r.failAt(at, "it stands behind the %s section, where it must not be", sectionNames[sectionOrder[last]])
		}
		last = order
		m.Bytes = append(m.Bytes, bin[at:r.p]...)
		s.body = m.Bytes[len(m.Bytes)-len(body):]
		m.sections[id] = s
	}
	return names, r.err
}

// custom reads a custom section's name and keeps it if it is "name".
func (s section) custom(names **section) error {
	r := s.reader(secCustom)
	if r.name() == "name" && r.err == nil {
		s.body, s.base = s.body[r.p:], s.base+r.p
		*names = &s
	}
	return r.err
}

// A checker reads the sections of a module.
type checker struct {
	*Module
	lim    Limits
	blocks []byte // scratch
}

// section checks one section, and what must be known to be there without it.
func (c *checker) section(id byte) error {
	s := c.sections[id]
	r := s.reader(id)
	if s.there {
		c.contents(id, r)
		if r.err == nil && r.p < len(r.b) {
			r.fail("%d bytes are left over at its end", len(r.b)-r.p)
		}
	}
	if id == secCode && !s.there && c.Functions > 0 {
		return errors.New("the module declares functions and has no code")
	}
	return r.err
}

func (c *checker) contents(id byte, r *reader) {
	switch id {
	case secType:
		c.typeSection(r)
	case secImport:
		c.importSection(r)
	case secFunction:
		c.functionSection(r)
	case secTable:
		c.tableSection(r)
	case secMemory:
		c.memorySection(r)
	case secGlobal:
		c.globalSection(r)
	case secExport:
		c.exportSection(r)
	case secStart:
		c.HasStart = true
		c.function(r)
	case secElement:
		c.elementSection(r)
	case secDataCount:
		r.u32()
	case secCode:
		c.codeSection(r)
	case secData:
		c.dataSection(r)
	}
}

// vector reads a vector's length, of items of at least min bytes and at most max in number.
func (r *reader) vector(min int, of string, max int) int {
	at := r.p
	n := r.count(min, of)
	if n > max {
		r.failAt(at, "%d %s are more than the %d allowed", n, of, max)
		return 0
	}
	return n
}

func (c *checker) typeSection(r *reader) {
	n := r.vector(3, "types", c.lim.Types)
	c.types = make([]Signature, n)
	backing := make([]ValueType, 0, len(r.b))
	for i := range c.types {
		if form := r.byte(); form != 0x60 {
			r.failAt(r.p-1, "%s", strangeForm(form))
		}
		at := r.p
		s := &c.types[i]
		s.Params, backing = r.valueTypes(backing)
		s.Results, backing = r.valueTypes(backing)
		if n := len(s.Params) + len(s.Results); n > c.lim.Params {
			r.failAt(at, "type %d has %d parameters and results, more than the %d allowed", i, n, c.lim.Params)
		}
		if r.err != nil {
			return
		}
	}
}

// valueTypes reads a vector of types into backing, which has room for it.
func (r *reader) valueTypes(backing []ValueType) (types, rest []ValueType) {
	n := r.count(1, "types")
	for range n {
		backing = append(backing, r.valueType())
	}
	return backing[:n:n], backing[n:]
}

func (r *reader) valueType() ValueType {
	t := ValueType(r.byte())
	if r.err == nil && !t.valid() {
		r.failAt(r.p-1, "%s", strangeType(byte(t)))
	}
	return t
}

func (r *reader) refType() ValueType {
	t := ValueType(r.byte())
	if r.err == nil && t != FuncRef && t != ExternRef {
		r.failAt(r.p-1, "%s", strangeType(byte(t)))
	}
	return t
}

func (c *checker) importSection(r *reader) {
	n := r.vector(4, "imports", c.lim.Imports)
	c.Imports = make([]Import, 0, n)
	for range n {
		at := r.p
		i := Import{Module: r.name(), Name: r.name(), Kind: Kind(r.byte())}
		if r.err != nil {
			return
		}
		if i.Kind != Function {
			r.failAt(at, "it imports the %s %q of %q: only functions can be imported", i.Kind, i.Name, i.Module)
			return
		}
		t := c.signatureIndex(r)
		if r.err != nil {
			return
		}
		i.Signature = c.types[t]
		c.Imports = append(c.Imports, i)
		c.funcs = append(c.funcs, t)
	}
}

func (c *checker) signatureIndex(r *reader) uint32 {
	at := r.p
	t := r.u32()
	if r.err == nil && int(t) >= len(c.types) {
		r.failAt(at, "type %d doesn't exist", t)
	}
	return t
}

func (c *checker) functionSection(r *reader) {
	c.Functions = r.vector(1, "functions", c.lim.Functions)
	c.funcs = append(make([]uint32, 0, len(c.funcs)+c.Functions), c.funcs...)
	for range c.Functions {
		c.funcs = append(c.funcs, c.signatureIndex(r))
	}
}

func (c *checker) tableSection(r *reader) {
	c.Tables = r.vector(3, "tables", c.lim.Tables)
	total := uint64(0)
	for range c.Tables {
		at := r.p
		if r.p < len(r.b) && r.b[r.p] == 0x40 {
			r.fail("tables with an initial value are not supported")
		}
		r.refType()
		l := r.limits("table")
		if total += uint64(l.Min); total > uint64(c.lim.TableElements) {
			r.failAt(at, "tables of %d elements together are larger than the %d allowed", total, c.lim.TableElements)
		}
	}
}

func (c *checker) memorySection(r *reader) {
	at := r.p
	n := r.count(2, "memories")
	if n > 1 {
		r.failAt(at, "%d memories are declared: only one is supported", n)
	}
	for range n {
		c.Memories = append(c.Memories, r.limits("memory"))
	}
}

// limits reads how small and large a table or a memory may be.
func (r *reader) limits(of string) Memory {
	at := r.p
	var l Memory
	flags := r.byte()
	switch {
	case r.err != nil:
	case flags > 7:
		r.failAt(at, "unknown limits %#x of a %s", flags, of)
	case flags&4 != 0:
		r.failAt(at, "a 64-bit %s is not supported: build for wasm32", of)
	case flags&2 != 0:
		r.failAt(at, "a shared %s is not supported: build without threads", of)
	}
	l.Min = r.u32()
	if l.HasMax = flags&1 != 0; l.HasMax {
		l.Max = r.u32()
		if r.err == nil && l.Max < l.Min {
			r.failAt(at, "a %s whose maximum, %d, is less than its minimum, %d", of, l.Max, l.Min)
		}
	}
	return l
}

func (c *checker) globalSection(r *reader) {
	c.Globals = r.vector(3, "globals", c.lim.Globals)
	for range c.Globals {
		r.valueType()
		if mut := r.byte(); mut > 1 {
			r.failAt(r.p-1, "a global is neither mutable nor not (%#x)", mut)
		}
		c.constant(r)
	}
}

// constant reads a constant expression: a few instructions at most, of which the last is end.
func (c *checker) constant(r *reader) {
	at := r.p
	for n := 0; r.err == nil; n++ {
		switch i := r.next(); {
		case i.op == opEnd:
			return
		case n == maxConstant:
			r.failAt(at, "a constant expression of more than %d instructions", n)
		case r.err == nil && !constantOp(i):
			r.failAt(i.at, "%s in a constant expression", strange(i.op, i.sub))
		}
	}
}

// maxConstant is how many instructions a constant may be computed with. One is usual.
const maxConstant = 16

func constantOp(i instr) bool {
	return i.op >= 0x41 && i.op <= 0x44 || i.op == opGlobalGet || i.op == 0xd0 || i.op == opRefFunc ||
		i.op == opVec && i.sub == 12
}

func (c *checker) exportSection(r *reader) {
	n := r.vector(3, "exports", c.lim.Exports)
	c.Exports = make([]Export, 0, n)
	for range n {
		at := r.p
		e := Export{Name: r.name(), Kind: Kind(r.byte()), index: r.u32()}
		if r.err != nil {
			return
		}
		there := []int{len(c.funcs), c.Tables, len(c.Memories), c.Globals}
		if int(e.Kind) >= len(there) {
			r.failAt(at, "%q exports something unknown, %s", e.Name, e.Kind)
			return
		}
		if uint64(e.index) >= uint64(there[e.Kind]) {
			r.failAt(at, "%q exports the %s %d, which doesn't exist", e.Name, e.Kind, e.index)
			return
		}
		if e.Kind == Function {
			e.Signature = c.signature(e.index)
		}
		c.Exports = append(c.Exports, e)
	}
}

// function reads the index of a function.
func (c *checker) function(r *reader) {
	at := r.p
	if f := r.u32(); r.err == nil && int(f) >= len(c.funcs) {
		r.failAt(at, "function %d doesn't exist", f)
	}
}

func (c *checker) elementSection(r *reader) {
	for range r.vector(2, "element segments", c.lim.Segments) {
		at := r.p
		flags := r.u32()
		if flags > 7 {
			r.failAt(at, "unknown kind of element segment, %d", flags)
			return
		}
		if flags&1 == 0 {
			if flags&2 != 0 {
				r.u32() // table
			}
			c.constant(r)
		}
		if flags&4 != 0 {
			if flags&3 != 0 {
				r.refType()
			}
		} else if flags&3 != 0 && r.byte() != 0 {
			r.failAt(r.p-1, "elements that are no functions")
		}
		for range r.count(1, "elements") {
			if flags&4 != 0 {
				c.constant(r)
			} else {
				c.function(r)
			}
		}
	}
}

func (c *checker) dataSection(r *reader) {
	for range r.vector(2, "data segments", c.lim.Segments) {
		at := r.p
		flags := r.u32()
		if flags > 2 {
			r.failAt(at, "unknown kind of data segment, %d", flags)
			return
		}
		if flags == 2 && r.u32() != 0 {
			r.failAt(at, "data for a second memory, which is not supported")
		}
		if flags != 1 {
			c.constant(r)
		}
		r.bytes(int(r.u32()))
	}
}

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
		r.failAt(at, "%d parameters and local variables are more than the %d allowed: it would take too long "+
			"to compile", locals, c.lim.Locals)
	}
	b := bodyChecker{checker: c, reader: r, locals: locals, blocks: c.blocks[:0]}
	b.blocks = append(b.blocks, opBlock)
	for len(b.blocks) > 0 && r.err == nil {
		b.instr(r.next())
	}
	if c.blocks = b.blocks; r.err == nil && r.p < len(r.b) {
		r.fail("code behind the function's end")
	}
	c.complexity(r, locals, b.branches, b.targets)
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
		for _, label := range b.reader.labels(i, b.labels[:0]) {
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
	if b.blocks = append(b.blocks, i.op); len(b.blocks) > b.lim.Depth {
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

// complexity refuses what takes long to compile: the compiler's time grows with branches × locals.
func (c *checker) complexity(r *reader, locals, branches, targets int) {
	switch {
	case r.err != nil:
	case branches > c.lim.Branches:
		r.fail("%d branches are more than the %d allowed: it would take too long to compile", branches, c.lim.Branches)
	case targets > c.lim.Targets:
		r.fail("%d targets of br_table are more than the %d allowed: it would take too long to compile", targets,
			c.lim.Targets)
	}
	c.Locals = max(c.Locals, locals)
	c.Branches = max(c.Branches, branches)
	if c.Product += (branches + 1) * (locals + 1); c.Product > c.lim.Product {
		r.fail("branches and local variables together, %d so far, are more than the %d allowed: it would take too "+
			"long to compile", c.Product, c.lim.Product)
	}
}
