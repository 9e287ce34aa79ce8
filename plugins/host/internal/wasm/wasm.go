package wasm

import (
	"fmt"
	"reflect"
)

// Limits of what is worth compiling. Zero values are replaced by DefaultLimits'.
type Limits struct {
	Types         int // signatures
	Params        int // parameters and results of a signature together
	Imports       int
	Functions     int // defined ones
	Tables        int
	TableElements int // of all tables at the start together
	Globals       int
	Exports       int
	NameBytes     int // of an import's or an export's name
	Segments      int // of data, and of elements
	Elements      int // of all element segments together
	Locals        int // of a function, parameters included
	AllLocals     int // of all functions together
	Branches      int // of a function: blocks, loops, conditions and branches
	Targets       int // of a function's br_tables together
	Depth         int // of blocks within blocks

	// How long a function and all functions together may take to compile when they are metered, estimated in
	// milliseconds. Real programs take half of the estimate. Meter looks at these two, Check at all others.
	FunctionEffort int
	Effort         int
}

// DefaultLimits are far above what compilers make of real programs, and far below what harms.
//
// Of wazero 1.12, on one core of a server of 2020: 2,000 types of 128 parameters cost 80 MB while they are
// compared; 100,000 functions 0.3 s; 200,000 elements 15 MB and 25 ms; 2 million local variables 16 MB. The
// largest real plugin tried, 6.4 MB from Go with JSON, templates, regular expressions and signatures, is
// estimated at 3.4 s, of which its largest function takes 0.15 s, and has functions with 1,639 branches, 21
// local variables and blocks nested 400 deep. Without a limit of effort, 60 KB of branches between 2,000 local
// variables take 4 s and 800 MB, and 300 KB of loads in a row 9 s and 5 GB; both grow quadratically or worse.
var DefaultLimits = Limits{
	Types:          2_000,
	Params:         128,
	Imports:        1_000,
	Functions:      100_000,
	Tables:         16,
	TableElements:  100_000,
	Globals:        10_000,
	Exports:        10_000,
	NameBytes:      1_000,
	Segments:       100_000,
	Elements:       200_000,
	Locals:         2_048,
	AllLocals:      2_000_000,
	Branches:       16_384,
	Targets:        32_768,
	Depth:          8_192,
	FunctionEffort: 3_000,
	Effort:         20_000,
}

// orDefaults is l with its zero values replaced.
func (l Limits) orDefaults() Limits {
	given, defaults := reflect.ValueOf(&l).Elem(), reflect.ValueOf(DefaultLimits)
	for i := range given.NumField() {
		if f := given.Field(i); f.IsZero() {
			f.Set(defaults.Field(i))
		}
	}
	return l
}

// Kind is what an import or an export is.
type Kind byte

// The kinds.
const (
	Function Kind = iota
	Table
	Mem
	Global
)

func (k Kind) String() string {
	if names := []string{"function", "table", "memory", "global", "exception tag"}; int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind %d", byte(k))
}

// ValueType is the type of a parameter or a result, as the binary format has it.
type ValueType byte

// The types.
const (
	I32       ValueType = 0x7f
	I64       ValueType = 0x7e
	F32       ValueType = 0x7d
	F64       ValueType = 0x7c
	V128      ValueType = 0x7b
	FuncRef   ValueType = 0x70
	ExternRef ValueType = 0x6f
)

var valueTypes = map[ValueType]string{
	I32: "i32", I64: "i64", F32: "f32", F64: "f64", V128: "v128", FuncRef: "funcref", ExternRef: "externref",
}

func (t ValueType) String() string {
	if name, ok := valueTypes[t]; ok {
		return name
	}
	return fmt.Sprintf("type %#x", byte(t))
}

func (t ValueType) valid() bool {
	return t >= V128 && t <= I32 || t == FuncRef || t == ExternRef
}

// Signature is a function's type. Its slices are the module's memory.
type Signature struct {
	Params, Results []ValueType
}

// Import is a function that a module needs.
type Import struct {
	Module, Name string
	Kind         Kind // always Function
	Signature
}

// Export is what a module offers.
type Export struct {
	Name      string
	Kind      Kind
	Signature // of functions
	index     uint32
}

// Memory is a memory's size in pages of 64 KiB.
type Memory struct {
	Min, Max uint32
	HasMax   bool
}

// Module is a checked module.
type Module struct {
	// Bytes are the module without custom sections, except for a sound name section's function names, which
	// make traces readable.
	Bytes []byte

	Imports  []Import
	Exports  []Export
	Memories []Memory // defined ones: one or none
	HasStart bool

	Functions int // defined ones
	Tables    int
	Globals   int
	CodeBytes int // of all functions
	Locals    int // of the function that has most, parameters included
	Branches  int // of the function that has most
	Depth     int // of the blocks that are nested most

	types    []Signature
	funcs    []uint32 // the signatures of all functions, imported ones first
	sections [sectionIDs]section
	names    *section // a name section's contents, as they were
	lim      Limits
}

// signature is a function's.
func (m *Module) signature(fn uint32) Signature { return m.types[m.funcs[fn]] }

// imported says how many functions are.
func (m *Module) imported() int { return len(m.Imports) }
