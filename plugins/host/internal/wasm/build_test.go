package wasm

import "slices"

// A build makes modules for tests, valid or not. Sections without contents are left out.
type build struct {
	types   []Signature
	imports [][]byte // module, name, kind, description
	funcs   []uint32 // types
	tables  [][]byte
	mems    [][]byte
	globals [][]byte
	exports [][]byte
	start   []byte
	elems   [][]byte
	count   []byte // data count
	bodies  [][]byte
	datas   [][]byte
	custom  [][]byte // whole sections' contents, at the end
}

// code joins numbers, which are bytes, and bytes.
func code(parts ...any) []byte {
	var all []byte
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			all = append(all, byte(p))
		case byte:
			all = append(all, p)
		case ValueType:
			all = append(all, byte(p))
		case []byte:
			all = append(all, p...)
		case string:
			all = appendName(all, p)
		}
	}
	return all
}

// u is an unsigned number, s a signed one.
func u(n int) []byte { return appendU32(nil, uint32(n)) }
func s(n int) []byte { return appendI64(nil, int64(n)) }

// times repeats code.
func times(n int, parts ...any) []byte { return slices.Repeat(code(parts...), n) }

// typ is the number of a signature.
func (b *build) typ(params, results []ValueType) int {
	t := Signature{params, results}
	for i, have := range b.types {
		if slices.Equal(have.Params, t.Params) && slices.Equal(have.Results, t.Results) {
			return i
		}
	}
	b.types = append(b.types, t)
	return len(b.types) - 1
}

// fn adds a function with these local variables and returns its number, imports included.
func (b *build) fn(params, results, locals []ValueType, parts ...any) int {
	b.funcs = append(b.funcs, uint32(b.typ(params, results)))
	body := u(len(locals))
	for _, l := range locals {
		body = append(body, 1, byte(l))
	}
	body = append(append(body, code(parts...)...), opEnd)
	b.bodies = append(b.bodies, code(u(len(body)), body))
	return len(b.imports) + len(b.funcs) - 1
}

func (b *build) export(name string, kind Kind, index int) {
	b.exports = append(b.exports, code(name, int(kind), u(index)))
}

// run adds the function "run" without parameters and results.
func (b *build) run(parts ...any) *build {
	b.export("run", Function, b.fn(nil, nil, nil, parts...))
	return b
}

// bytes is the module.
func (b *build) bytes() []byte {
	out := []byte(preamble)
	vector := func(id byte, items [][]byte) {
		if len(items) > 0 {
			out = appendSection(out, id, code(u(len(items)), slices.Concat(items...)))
		}
	}
	var types, funcs [][]byte
	for _, t := range b.types {
		types = append(types, code(0x60, u(len(t.Params)), bytesOf(t.Params), u(len(t.Results)), bytesOf(t.Results)))
	}
	for _, t := range b.funcs {
		funcs = append(funcs, u(int(t)))
	}
	vector(secType, types)
	vector(secImport, b.imports)
	vector(secFunction, funcs)
	vector(secTable, b.tables)
	vector(secMemory, b.mems)
	vector(secGlobal, b.globals)
	vector(secExport, b.exports)
	if b.start != nil {
		out = appendSection(out, secStart, b.start)
	}
	vector(secElement, b.elems)
	if b.count != nil {
		out = appendSection(out, secDataCount, b.count)
	}
	vector(secCode, b.bodies)
	vector(secData, b.datas)
	for _, c := range b.custom {
		out = appendSection(out, secCustom, c)
	}
	return out
}

func bytesOf(types []ValueType) []byte {
	var all []byte
	for _, t := range types {
		all = append(all, byte(t))
	}
	return all
}
