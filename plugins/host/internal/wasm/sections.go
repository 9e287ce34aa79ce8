package wasm

import "errors"

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
		i := Import{Module: c.name(r), Name: c.name(r), Kind: Kind(r.byte())}
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

// name reads a name that will stand in errors.
func (c *checker) name(r *reader) string {
	at := r.p
	name := r.name()
	if len(name) > c.lim.NameBytes {
		r.failAt(at, "a name of %d bytes, %d are allowed", len(name), c.lim.NameBytes)
	}
	return name
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
			r.failAt(i.at, "instruction %#x in a constant expression: only constants are supported there", i.op)
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
		e := Export{Name: c.name(r), Kind: Kind(r.byte()), index: r.u32()}
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
		at = r.p
		n := r.count(1, "elements")
		if c.elements += n; c.elements > c.lim.Elements {
			r.failAt(at, "%d elements so far are more than the %d allowed", c.elements, c.lim.Elements)
		}
		for range n {
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
