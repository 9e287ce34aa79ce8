package wasm

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

// raw is a module of these sections: number, contents, number, contents, ...
func raw(sections ...any) []byte {
	out := []byte(preamble)
	for i := 0; i < len(sections); i += 2 {
		out = appendSection(out, byte(sections[i].(int)), code(sections[i+1]))
	}
	return out
}

// body is a module with one function, without parameters and results, of this code.
func body(parts ...any) []byte {
	b := &build{}
	b.fn(nil, nil, nil, parts...)
	return b.bytes()
}

// oneType is a type section of () -> ().
var oneType = []byte{1, 0x60, 0, 0}

// faults are modules that Check refuses, with a part of what it says.
var faults = map[string]struct {
	bin  []byte
	says string
}{
	"empty":          {nil, "the file is empty"},
	"five bytes":     {[]byte(preamble[:5]), "5 bytes, less than the smallest module: it is truncated"},
	"text format":    {[]byte("\n ;; hello\n(module)"), "WAT must be compiled first (wat2wasm)"},
	"text format (":  {[]byte("(module)"), "WAT must be compiled first (wat2wasm)"},
	"source":         {[]byte("package main\n\nfunc main() {}\n"), "this is text; a plugin must be compiled first"},
	"long source":    {[]byte(strings.Repeat("// Grüße\n", 100)), "this is text; a plugin must be compiled first"},
	"ELF":            {[]byte("\x7fELF\x02\x01\x01"), "this is native code; build for a wasm32 target"},
	"Windows":        {[]byte("MZ\x90\x00\x03"), "this is native code"},
	"archive":        {[]byte("!<arch>\nlib"), "this is native code"},
	"gzip":           {[]byte("\x1f\x8b\x08\x00"), "this is compressed; unpack it first"},
	"zip":            {[]byte("PK\x03\x04"), "this is compressed"},
	"something else": {[]byte("\x01\x02\x03\x04\x05"), "it begins with 01 02 03 04 instead of 00 61 73 6d"},
	"component":      {[]byte("\x00asm\x0d\x00\x01\x00"), "this is a component, not a core module: build for wasm32-unknown-unknown"},
	"version 2":      {[]byte("\x00asm\x02\x00\x00\x00"), "unsupported WebAssembly version (02 00 00 00)"},

	"15 bytes that end the process": {raw(secImport, []byte{0xff, 0xff, 0xff, 0xff, 0x0f}), "import section, offset 0xa: 4294967295 imports are announced"},
	"sections cut":                  {[]byte(preamble + "\x01\x05\x01"), "type section, offset 0xa: 5 bytes are announced and 1 are there: the file is truncated"},
	"section size cut":              {[]byte(preamble + "\x01\x80"), "it ends in the middle: the file is truncated"},
	"section size too long":         {[]byte(preamble + "\x01\x80\x80\x80\x80\x10"), "a number that doesn't fit into 32 bits"},
	"unknown section":               {raw(14, []byte{}), "offset 0x8: unknown section 14"},
	"sections twice":                {raw(secType, oneType, secType, oneType), "type section, offset 0xe: it stands there twice"},
	"sections out of order":         {raw(secFunction, []byte{0}, secType, oneType), "type section, offset 0xb: it stands behind the function section"},
	"data count behind code":        {raw(secCode, []byte{0}, secDataCount, []byte{0}), "data count section, offset 0xb: it stands behind the code section"},
	"exceptions":                    {raw(secTag, []byte{1, 0, 0}), "exception handling is not supported"},
	"custom name cut":               {raw(secCustom, []byte{5, 'a'}), "custom section, offset 0xb: 5 bytes are announced"},
	"custom name not UTF-8":         {raw(secCustom, []byte{1, 0xff}), "a name that isn't UTF-8"},
	"bytes left over":               {raw(secType, []byte{0, 7}), "type section, offset 0xb: 1 bytes are left over at its end"},
	"functions without code":        {raw(secType, oneType, secFunction, []byte{1, 0}), "the module declares functions and has no code"},
	"code without functions":        {raw(secCode, []byte{1, 2, 0, opEnd}), "it holds 1 functions and the function section declares 0"},

	"a form of type":    {raw(secType, []byte{1, 0x61, 0, 0}), "unknown form of type 0x61"},
	"a struct":          {raw(secType, []byte{1, 0x5f, 0, 0}), "types of garbage collection (0x5f) are not supported"},
	"a recursive type":  {raw(secType, []byte{1, 0x4e, 1, 0x60, 0, 0}), "types of garbage collection (0x4e)"},
	"a type":            {raw(secType, []byte{1, 0x60, 1, 0x7a, 0}), "offset 0xd: unknown type 0x7a"},
	"a typed reference": {raw(secType, []byte{1, 0x60, 1, 0x64, 0x70, 0}), "typed references (0x64) are not supported"},
	"an exception":      {raw(secType, []byte{1, 0x60, 1, 0x69, 0}), "exception references (0x69) are not supported"},
	"any reference":     {raw(secType, []byte{1, 0x60, 1, 0x6e, 0}), "references to collected objects (0x6e) are not supported"},
	"parameters cut":    {raw(secType, []byte{1, 0x60, 9, I32.b(), I32.b()}), "9 types are announced and there is no room"},
	"imports of memory": {raw(secImport, code(1, "env", "mem", 2, 0, 1)), `it imports the memory "mem" of "env": only functions can be imported`},
	"imports of table":  {raw(secImport, code(1, "env", "tab", 1, FuncRef, 0, 1)), `it imports the table "tab" of "env"`},
	"imports of global": {raw(secImport, code(1, "env", "g", 3, I32, 0)), `it imports the global "g" of "env"`},
	"imports of tag":    {raw(secImport, code(1, "env", "e", 4, 0, 0)), `it imports the exception tag "e" of "env"`},
	"imports of what":   {raw(secImport, code(1, "env", "e", 9, 0, 0)), `it imports the kind 9 "e" of "env"`},
	"import's type":     {raw(secType, oneType, secImport, code(1, "env", "f", 0, 1)), "type 1 doesn't exist"},
	"import's name":     {raw(secType, oneType, secImport, code(1, "env", 1, 0xfe, 0, 0)), "a name that isn't UTF-8"},
	"function's type":   {raw(secFunction, []byte{1, 3}), "function section, offset 0xb: type 3 doesn't exist"},
	"table's type":      {raw(secTable, code(1, I32, 0, 1)), "unknown type 0x7f"},
	"table with value":  {raw(secTable, code(1, 0x40, 0, FuncRef, 0, 1, 0xd0, FuncRef, opEnd)), "tables with an initial value are not supported"},
	"table of 64 bits":  {raw(secTable, code(1, FuncRef, 4, 1)), "a 64-bit table is not supported"},
	"shared table":      {raw(secTable, code(1, FuncRef, 3, 1, 1)), "a shared table is not supported"},
	"table's size":      {raw(secTable, code(1, FuncRef, 1, 2, 1)), "a table whose maximum, 1, is less than its minimum, 2"},
	"large table":       {raw(secTable, code(1, FuncRef, 0, u(100_001))), "tables of 100001 elements together are larger than the 100000 allowed"},
	"large tables":      {raw(secTable, code(2, FuncRef, 0, u(60_000), FuncRef, 0, u(60_000))), "tables of 120000 elements together"},
	"two memories":      {raw(secMemory, []byte{2, 0, 1, 0, 1}), "2 memories are declared: only one is supported"},
	"memory of 64 bits": {raw(secMemory, []byte{1, 4, 1}), "a 64-bit memory is not supported: build for wasm32"},
	"shared memory":     {raw(secMemory, []byte{1, 3, 1, 1}), "a shared memory is not supported: build without threads"},
	"memory's limits":   {raw(secMemory, []byte{1, 8, 1}), "unknown limits 0x8 of a memory"},
	"memory's size":     {raw(secMemory, []byte{1, 1, 2, 1}), "a memory whose maximum, 1, is less than its minimum, 2"},
	"global's type":     {raw(secGlobal, code(1, 0x11, 0, opI32Const, 0, opEnd)), "unknown type 0x11"},
	"global's mutable":  {raw(secGlobal, code(1, I32, 2, opI32Const, 0, opEnd)), "a global is neither mutable nor not (0x2)"},
	"global's value":    {raw(secGlobal, code(1, I32, 0, opI32Const, 0, opI32Const, 0, 0x6a, opEnd)), "instruction 0x6a in a constant expression"},
	"global's long value": {raw(secGlobal, code(1, I32, 0, times(maxConstant+1, opI32Const, 0), opEnd)),
		"a constant expression of more than 16 instructions"},
	"global's value cut": {raw(secGlobal, code(1, I32, 0, opI32Const)), "it ends in the middle"},
	"export's kind":      {raw(secExport, code(1, "x", 4, 0)), `"x" exports something unknown, exception tag`},
	"export of nothing":  {raw(secMemory, []byte{1, 0, 1}, secExport, code(1, "x", 2, 1)), `"x" exports the memory 1, which doesn't exist`},
	"start":              {raw(secStart, []byte{0}), "start section, offset 0xa: function 0 doesn't exist"},
	"elements' kind":     {raw(secElement, []byte{1, 8, 0}), "unknown kind of element segment, 8"},
	"elements of what":   {raw(secElement, []byte{1, 1, 1, 0}), "elements that are no functions"},
	"elements' type":     {raw(secElement, code(1, 5, I32, 0)), "unknown type 0x7f"},
	"element":            {raw(secElement, []byte{1, 1, 0, 1, 7}), "element section, offset 0xe: function 7 doesn't exist"},
	"elements cut":       {raw(secElement, []byte{1, 1, 0, 0xff, 0xff, 0x03}), "65535 elements are announced and there is no room"},
	"data's kind":        {raw(secData, []byte{1, 3, 0}), "unknown kind of data segment, 3"},
	"data's memory":      {raw(secData, []byte{1, 2, 1, opI32Const, 0, opEnd, 0}), "data for a second memory"},
	"data cut":           {raw(secData, []byte{1, 1, 9, 'x'}), "9 bytes are announced and 1 are there"},

	"code cut":               {raw(secType, oneType, secFunction, []byte{1, 0}, secCode, []byte{1, 9, 0}), "code section, offset 0x14: 1 functions are announced"},
	"a function cut":         {raw(secType, oneType, secFunction, []byte{1, 0}, secCode, []byte{1, 9, 0, opEnd}), "code section, offset 0x16: 9 bytes are announced"},
	"a function without end": {body(opBlock, emptyBlock, opNop), "code section, function 0, offset 0x1b: it ends in the middle"},
	"code behind the end":    {body(opEnd, opNop), "code behind the function's end"},
	"else alone":             {body(opElse), "an else without an if"},
	"else twice":             {body(opI32Const, 0, opIf, emptyBlock, opElse, opElse, opEnd), "an else without an if"},
	"label":                  {body(opBr, 1), "code section, function 0, offset 0x17: label 1 doesn't exist"},
	"label of a table":       {body(opI32Const, 0, opBrTable, 1, 0, 5), "label 5 doesn't exist"},
	"labels cut":             {body(opI32Const, 0, opBrTable, u(1000)), "1000 labels are announced"},
	"called function":        {body(opCall, 1), "function 1 doesn't exist"},
	"referred function":      {body(opRefFunc, 9), "function 9 doesn't exist"},
	"called type":            {body(opI32Const, 0, opCallIndirect, 1, 0), "type 1 doesn't exist"},
	"block's type":           {body(opBlock, 1, opEnd), "type 1 doesn't exist"},
	"block's short type":     {body(opBlock, 0x6d, opEnd), "references to collected objects (0x6d)"},
	"block's long type":      {body(opBlock, 0xff, 0xff, 0xff, 0xff, 0x3f, opEnd), "a number that doesn't fit into 33 bits"},
	"local variable":         {body(opLocalGet, 0, opDrop), "local variable 0 doesn't exist"},
	"global":                 {body(opGlobalGet, 0, opDrop), "global 0 doesn't exist"},
	"locals' type":           {raw(secType, oneType, secFunction, []byte{1, 0}, secCode, []byte{1, 4, 1, 1, 0x40, opEnd}), "unknown type 0x40"},
	"4 billion locals": {raw(secType, oneType, secFunction, []byte{1, 0}, secCode, []byte{1, 8, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x7f, opEnd}),
		"2147483647 parameters and local variables are more than the 2048 allowed"},
	"memory's number":   {body(opI32Const, 0, opMemoryGrow, 1, opDrop), "a second memory, which is not supported"},
	"null's type":       {body(0xd0, 0x6e, opDrop), "references to collected objects (0x6e)"},
	"constant too long": {body(opI32Const, 0x80, 0x80, 0x80, 0x80, 0x08, opDrop), "a number that doesn't fit into 32 bits"},
	"constant cut":      {body(0x44, 1, 2), "8 bytes are announced"},

	"throw":                   {body(0x08, 0), "instruction 0x8 (exception handling) is not supported"},
	"try_table":               {body(0x1f, 0x40, 0, opEnd), "instruction 0x1f (exception handling) is not supported"},
	"tail call":               {body(0x12, 0), "instruction 0x12 (a tail call) is not supported"},
	"call_ref":                {body(0x14, 0), "instruction 0x14 (a typed function reference) is not supported"},
	"br_on_null":              {body(0xd5, 0), "instruction 0xd5 (a typed function reference) is not supported"},
	"struct.new":              {body(0xfb, 0, 0), "instruction 0xfb (garbage collection) is not supported"},
	"atomics":                 {body(0xfe, 0x10, 2, 0), "instruction 0xfe (threads (atomic)) is not supported"},
	"instruction 0xff":        {body(0xff), "offset 0x17: unknown instruction 0xff"},
	"instruction 0xfc 0x12":   {body(0xfc, 0x12), "unknown instruction 0xfc 0x12"},
	"relaxed SIMD":            {body(0xfd, 0x80, 2), "unknown vector instruction 0xfd 0x80: relaxed SIMD is not supported"},
	"vector instruction 0x9a": {body(0xfd, 0x9a, 1), "unknown vector instruction 0xfd 0x9a"},
	// What is one instruction by the specification is two to wazero 1.12, the second of which is unreachable.
	"a long vector instruction": {body(0xfd, 0x8e, 0), "unknown vector instruction 0xfd 0x8e"},
	"a long misc instruction":   {body(0xfc, 0x80, 0, opDrop), "unknown instruction 0xfc 0x80"},
}

func (t ValueType) b() byte { return byte(t) }

// TestFaultsAreNamed looks at what Check says of broken modules.
func TestFaultsAreNamed(t *testing.T) {
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			m, err := Check(f.bin, Limits{})
			require.ErrorContains(t, err, f.says, "%x", f.bin)
			require.Nil(t, m)
		})
	}
}

// TestEveryModuleThatIsCutIsRefused cuts a module at every place.
func TestEveryModuleThatIsCutIsRefused(t *testing.T) {
	bin, _ := generate(testseed.Rand(t))
	_, err := Check(bin, Limits{})
	require.NoError(t, err)
	ends := map[int]bool{} // of sections that may be missing
	for at := len(preamble); at < len(bin); {
		ends[at] = true
		r := reader{b: bin, p: at + 1}
		r.bytes(int(r.u32()))
		at = r.p
	}
	for n := range len(bin) {
		if _, err := Check(bin[:n], Limits{}); !ends[n] {
			require.Error(t, err, "%d bytes of %x", n, bin)
		}
	}
}

// overLimits are modules with one thing more than the limit is set to.
var overLimits = map[string]struct {
	limits Limits
	bin    []byte
	says   string
}{
	"types":          {Limits{Types: 1}, raw(secType, []byte{2, 0x60, 0, 0, 0x60, 0, 0}), "2 types are more than the 1 allowed"},
	"params":         {Limits{Params: 2}, raw(secType, code(1, 0x60, 2, I32, I32, 1, I32)), "type 0 has 3 parameters and results, more than the 2"},
	"imports":        {Limits{Imports: 1}, raw(secType, oneType, secImport, code(2, "a", "b", 0, 0, "a", "c", 0, 0)), "2 imports are more than the 1 allowed"},
	"functions":      {Limits{Functions: 1}, raw(secType, oneType, secFunction, []byte{2, 0, 0}), "2 functions are more than the 1 allowed"},
	"tables":         {Limits{Tables: 1}, raw(secTable, code(2, FuncRef, 0, 0, FuncRef, 0, 0)), "2 tables are more than the 1 allowed"},
	"table elements": {Limits{TableElements: 1}, raw(secTable, code(1, FuncRef, 0, 2)), "tables of 2 elements together"},
	"globals":        {Limits{Globals: 1}, raw(secGlobal, code(2, times(2, I32, 0, opI32Const, 0, opEnd))), "2 globals are more than the 1 allowed"},
	"exports":        {Limits{Exports: 1}, raw(secMemory, []byte{1, 0, 0}, secExport, code(2, "a", 2, 0, "b", 2, 0)), "2 exports are more than the 1 allowed"},
	"import's name":  {Limits{NameBytes: 2}, raw(secType, oneType, secImport, code(1, "ab", "abc", 0, 0)), "import section, offset 0x14: a name of 3 bytes, 2 are allowed"},
	"import's place": {Limits{NameBytes: 2}, raw(secType, oneType, secImport, code(1, "abc", "ab", 0, 0)), "import section, offset 0x11: a name of 3 bytes, 2 are allowed"},
	"export's name":  {Limits{NameBytes: 2}, raw(secMemory, []byte{1, 0, 0}, secExport, code(2, "ab", 2, 0, "abc", 2, 0)), "a name of 3 bytes, 2 are allowed"},
	"data":           {Limits{Segments: 1}, raw(secData, []byte{2, 1, 0, 1, 0}), "2 data segments are more than the 1 allowed"},
	"segments":       {Limits{Segments: 1}, raw(secElement, []byte{2, 1, 0, 0, 1, 0, 0}), "2 element segments are more than the 1 allowed"},
	"elements":       {Limits{Elements: 3}, raw(secElement, code(2, times(2, 5, FuncRef, 2, times(2, 0xd0, FuncRef, opEnd)))), "4 elements so far are more than the 3 allowed"},
	"locals":         {Limits{Locals: 2}, (&build{}).withFn([]ValueType{I32}, []ValueType{I32, I32}), "3 parameters and local variables are more than the 2 allowed"},
	"all locals":     {Limits{AllLocals: 5}, (&build{}).withFn(nil, []ValueType{I32, I32, I32}, []ValueType{I32, I32, I32}), "6 local variables so far are more than the 5 allowed"},
	"branches":       {Limits{Branches: 2}, body(times(3, opBlock, emptyBlock, opEnd)), "3 branches are more than the 2 allowed"},
	"targets":        {Limits{Targets: 2}, body(opI32Const, 0, opBrTable, 2, 0, 0, 0), "3 targets of br_table are more than the 2 allowed"},
	"depth":          {Limits{Depth: 2}, body(times(3, opBlock, emptyBlock), times(3, opEnd)), "blocks are nested more than 2 deep"},
}

// withFn is a module of functions with these parameters and sets of local variables.
func (b *build) withFn(params []ValueType, locals ...[]ValueType) []byte {
	for _, l := range locals {
		b.fn(params, nil, l)
	}
	return b.bytes()
}

// TestLimitsHold finds what Check says of a thing too many, and that it accepts the same with one more allowed.
func TestLimitsHold(t *testing.T) {
	for name, l := range overLimits {
		t.Run(name, func(t *testing.T) {
			_, err := Check(l.bin, l.limits)
			require.ErrorContains(t, err, l.says)
			_, err = Check(l.bin, Limits{})
			if name != "functions" { // has no code
				require.NoError(t, err)
			}
		})
	}
}

func TestZeroLimitsAreTheDefaults(t *testing.T) {
	require.Equal(t, DefaultLimits, Limits{}.orDefaults())
	want := DefaultLimits
	want.Types = 7
	require.Equal(t, want, Limits{Types: 7}.orDefaults())
}

// TestCheckDescribesTheModule looks at all that a Module says.
func TestCheckDescribesTheModule(t *testing.T) {
	b := &build{mems: [][]byte{{1, 2, 5}}, tables: [][]byte{code(FuncRef, 0, 4), code(ExternRef, 0, 4)}}
	b.globals = [][]byte{code(I64, 1, opI64Const, 3, opEnd)}
	b.imports = [][]byte{code("env", "log", 0, u(b.typ([]ValueType{I32, F64}, nil)))}
	fn := b.fn([]ValueType{I32}, []ValueType{I64, V128}, []ValueType{F32, F32}, opBlock, emptyBlock, opBlock, emptyBlock, opBr, 1, opEnd, opEnd, opUnreachable)
	start := b.fn(nil, nil, nil)
	b.export("go", Function, fn)
	b.export("tab", Table, 1)
	b.export("mem", Mem, 0)
	b.export("glob", Global, 0)
	b.start = u(start)
	m, err := Check(b.bytes(), Limits{})
	require.NoError(t, err)
	require.Equal(t, []Import{{"env", "log", Function, Signature{[]ValueType{I32, F64}, []ValueType{}}}}, m.Imports)
	require.Equal(t, []Export{
		{"go", Function, Signature{[]ValueType{I32}, []ValueType{I64, V128}}, 1}, {"tab", Table, Signature{}, 1},
		{"mem", Mem, Signature{}, 0}, {"glob", Global, Signature{}, 0},
	}, m.Exports)
	require.Equal(t, []Memory{{2, 5, true}}, m.Memories)
	require.True(t, m.HasStart)
	require.Equal(t, []int{2, 2, 1, 3, 3, 2}, []int{m.Functions, m.Tables, m.Globals, m.Locals, m.Branches, m.Depth})
	require.Equal(t, len(slices.Concat(b.bodies...))-2, m.CodeBytes)
	require.Equal(t, b.bytes(), m.Bytes)
}

func TestKindsAndTypesHaveNames(t *testing.T) {
	require.Equal(t, "function", Function.String())
	require.Equal(t, "memory", Mem.String())
	require.Equal(t, "kind 77", Kind(77).String())
	require.Equal(t, "externref", ExternRef.String())
	require.Equal(t, "type 0x1", ValueType(1).String())
}

// TestTheModuleKeepsNoMemoryOfTheFile scribbles over it.
func TestTheModuleKeepsNoMemoryOfTheFile(t *testing.T) {
	bin, _ := generate(testseed.Rand(t))
	m, err := Check(bin, Limits{})
	require.NoError(t, err)
	want, _, err := m.Meter(metering)
	require.NoError(t, err)
	clear(bin)
	got, _, err := m.Meter(metering)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// TestWhatCheckDoesNotKnowWazeroDoesNotTake tries all instructions that Check refuses, with several operands,
// where every instruction is valid that has any meaning.
func TestWhatCheckDoesNotKnowWazeroDoesNotTake(t *testing.T) {
	h := newHost(t)
	ctx := context.Background()
	refused := 0
	try := func(op ...any) {
		for _, operand := range [][]byte{nil, {0}, {0, 0}, {2, 0}, {0, 0, 0}, {0x40}, {0x70}} {
			b := &build{mems: [][]byte{{0, 1}}, tables: [][]byte{code(FuncRef, 0, 1)}, globals: [][]byte{code(I32, 1, opI32Const, 0, opEnd)}}
			b.fn(nil, nil, []ValueType{I32}, opUnreachable, code(op...), operand, opUnreachable)
			bin := b.bytes()
			if _, err := Check(bin, Limits{}); err == nil {
				continue
			}
			refused++
			_, err := h.CompileModule(ctx, bin)
			require.Error(t, err, "%x", bin)
		}
	}
	for op := range 0xfb {
		try(op)
	}
	for sub := range 256 {
		try(opMisc, u(sub))
		try(opVec, u(sub))
	}
	require.Greater(t, refused, 1000)
}

// TestCustomSectionsGo keeps all but names out of what is compiled.
func TestCustomSectionsGo(t *testing.T) {
	b := (&build{}).run()
	without := b.bytes()
	b.custom = [][]byte{code("producers", "somebody"), code(".debug_info", make([]byte, 1000)), code("", 1, 2, 3)}
	m, err := Check(b.bytes(), Limits{})
	require.NoError(t, err)
	require.Equal(t, without, m.Bytes)
	between := append(raw(secCustom, code("a")), bytes.TrimPrefix(b.bytes(), []byte(preamble))...)
	m, err = Check(between, Limits{})
	require.NoError(t, err)
	require.Equal(t, without, m.Bytes)
}
