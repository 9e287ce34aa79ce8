package wasm

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero/api"
)

// endless are programs that run for ever, or as good as.
var endless = map[string]func() *build{
	"a loop": func() *build {
		return (&build{}).run(opLoop, emptyBlock, opBr, u(0), opEnd)
	},
	"a loop with a condition": func() *build {
		return (&build{}).run(opLoop, emptyBlock, opI32Const, s(1), opBrIf, u(0), opEnd)
	},
	"a loop that hands values over": func() *build {
		b := &build{}
		t := b.typ([]ValueType{I32}, []ValueType{I32})
		return b.run(opI32Const, s(1), opLoop, u(t), opBr, u(0), opEnd, opDrop)
	},
	"a loop that hands values over on a condition": func() *build {
		b := &build{}
		t := b.typ([]ValueType{I32}, []ValueType{I32})
		return b.run(opI32Const, s(1), opLoop, u(t), opI32Const, s(1), opBrIf, u(0), opEnd, opDrop)
	},
	"a loop by table": func() *build {
		return (&build{}).run(opLoop, emptyBlock, opI32Const, s(5), opBrTable, u(1), u(1), u(0), opEnd)
	},
	"a loop from within blocks": func() *build {
		return (&build{}).run(opLoop, emptyBlock, opBlock, emptyBlock, opBlock, emptyBlock, opBr, u(2), opEnd, opEnd, opEnd)
	},
	"a loop with many ways back": func() *build {
		return (&build{}).run(opLoop, emptyBlock, times(maxEdges+1, opI32Const, s(0), opBrIf, u(0)), opBr, u(0), opEnd)
	},
	"loops in turns": func() *build {
		return (&build{}).run(opLoop, emptyBlock, opLoop, emptyBlock, opI32Const, s(0), opBrIf, u(0), opBr, u(1), opEnd, opEnd)
	},
	"a loop behind dead code": func() *build {
		return (&build{}).run(opBlock, emptyBlock, opBr, u(0), opLoop, emptyBlock, opBr, u(0), opEnd, opEnd, opLoop, emptyBlock, opBr, u(0), opEnd)
	},
	"recursion": func() *build { return (&build{}).run(opCall, u(0)) },
	"recursion in turns": func() *build {
		b := &build{}
		b.fn(nil, nil, nil, opCall, u(1))
		return b.run(opCall, u(0))
	},
	"recursion through a table": func() *build {
		b := withTable(4)
		b.elems = [][]byte{code(0, opI32Const, s(0), opEnd, u(1), u(0))}
		return b.run(opI32Const, s(0), opCallIndirect, u(0), u(0))
	},
	"recursion through a reference": func() *build {
		b := withTable(4)
		return b.run(opI32Const, s(0), opRefFunc, u(0), 0x26, u(0), opI32Const, s(0), opCallIndirect, u(0), u(0))
	},
	"recursion that comes back": func() *build { // a tree of calls that is 100 deep
		b := &build{}
		fn := b.fn([]ValueType{I32}, nil, nil, opLocalGet, u(0), opIf, emptyBlock,
			times(2, opLocalGet, u(0), opI32Const, s(1), opI32Sub, opCall, u(0)), opEnd)
		return b.run(opI32Const, s(100), opCall, u(fn))
	},
	"a tree of calls without recursion": func() *build {
		b := &build{}
		fn := b.fn(nil, nil, nil, opNop)
		for range 60 {
			fn = b.fn(nil, nil, nil, times(2, opCall, u(fn)))
		}
		return b.run(opCall, u(fn))
	},
	"a tree of calls that does its work on the way back": func() *build {
		b := &build{}
		fn := b.fn(nil, nil, nil, opNop)
		for range 60 {
			fn = b.fn(nil, nil, nil, times(2, opCall, u(fn), times(300, opNop)))
		}
		return b.run(opCall, u(fn))
	},
	"fills": func() *build {
		return withMemory().run(times(50, opI32Const, s(0), opI32Const, s(0), opI32Const, s(0xffff), opMisc, miscMemoryFill, 0))
	},
	"copies": func() *build {
		return withMemory().run(times(50, opI32Const, s(0), opI32Const, s(0), opI32Const, s(0xffff), opMisc, miscMemoryCopy, 0, 0))
	},
	"inits": func() *build {
		b := withMemory()
		b.count, b.datas = u(1), [][]byte{code(1, u(0x4000), make([]byte, 0x4000))}
		return b.run(times(150, opI32Const, s(0), opI32Const, s(0), opI32Const, s(0x4000), opMisc, miscMemoryInit, u(0), 0))
	},
	"fills of a table": func() *build {
		return withTable(4096).run(times(70, opI32Const, s(0), 0xd0, FuncRef, opI32Const, s(4096), opMisc, miscTableFill, u(0)))
	},
	"copies of a table": func() *build {
		return withTable(4096).run(times(70, opI32Const, s(0), opI32Const, s(0), opI32Const, s(4096), opMisc, miscTableCopy, u(0), u(0)))
	},
	"inits of a table": func() *build {
		b := withTable(4096)
		b.elems = [][]byte{code(1, 0, u(4096), make([]byte, 4096))}
		return b.run(times(70, opI32Const, s(0), opI32Const, s(0), opI32Const, s(4096), opMisc, miscTableInit, u(0), u(0)))
	},
	"growth of memory": func() *build { return withMemory().run(times(6, opI32Const, s(0), opMemoryGrow, 0, opDrop)) },
	"growth of a table": func() *build {
		return withTable(4).run(times(6, 0xd0, FuncRef, opI32Const, s(0), opMisc, miscTableGrow, u(0), opDrop))
	},
	"calls of the host": func() *build { return withHost().run(times(2000, opCall, u(0))) },
	"a long way":        func() *build { return calling(times(50_000, opNop), 45) },
	"many small calls": func() *build {
		b := &build{}
		small := b.fn(nil, nil, nil, opNop)
		many := b.fn(nil, nil, nil, times(1000, opCall, u(small)))
		return b.run(times(120, opCall, u(many)))
	},
	"conditions in rows": func() *build { return calling(times(400, opI32Const, s(0), opIf, emptyBlock, opEnd), 4_000) },
	"branches behind each other": func() *build {
		return calling(code(opBlock, emptyBlock, times(2000, opI32Const, s(0)), times(2000, opBrIf, u(0)), opEnd), 200)
	},
	"branches in rows": func() *build {
		return calling(times(400, opBlock, emptyBlock, opI32Const, s(0), opBrIf, u(0), opEnd), 3_000)
	},
}

func withMemory() *build { return &build{mems: [][]byte{code(0, u(1))}} }

func withTable(n int) *build { return &build{tables: [][]byte{code(FuncRef, 0, u(n))}} }

func withHost() *build {
	b := &build{}
	b.imports = [][]byte{code("host", "do", 0, u(b.typ(nil, nil)))}
	return b
}

// calling makes a program that calls a function with this code n times.
func calling(body any, n int) *build {
	b := &build{}
	fn := b.fn(nil, nil, nil, body)
	return b.run(times(n, opCall, u(fn)))
}

// TestEverythingStops grants one slice to programs without an end.
func TestEverythingStops(t *testing.T) {
	t.Parallel()
	for name, program := range endless {
		t.Run(name, func(t *testing.T) {
			out := meterAll(t, program().bytes())
			requireBounded(t, out)
			h := newHost(t)
			offerHost(t, h)
			h.slices, h.depth = 1, 1<<40
			m, err := h.load(out, "")
			require.NoError(t, err)
			_, err = m.ExportedFunction("run").Call(context.Background())
			require.ErrorIs(t, err, errNoFuel)
			require.Equal(t, 2, h.refuels)
		})
	}
}

// TestStartFunctionsStop runs out of fuel before anybody has called anything.
func TestStartFunctionsStop(t *testing.T) {
	b := (&build{}).run(opLoop, emptyBlock, opBr, u(0), opEnd)
	b.start = u(0)
	h := newHost(t)
	h.slices = 0
	_, err := h.load(meterAll(t, b.bytes()), "")
	require.ErrorIs(t, err, errNoFuel)
}

// meterAll meters a module however long it takes to compile.
func meterAll(t testing.TB, bin []byte) []byte {
	m, err := Check(bin, Limits{FunctionEffort: 1 << 40, Effort: 1 << 40, Branches: 1 << 30})
	require.NoError(t, err)
	out, _, err := m.Meter(metering)
	require.NoError(t, err)
	return out
}

func offerHost(t testing.TB, h *host) {
	_, err := h.NewHostModuleBuilder("host").NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(func(context.Context, api.Module, []uint64) {}), nil, nil).
		Export("do").Instantiate(context.Background())
	require.NoError(t, err)
}

// deep are functions that call themselves for ever and take stack in different ways. Each leaves 0 on the
// stack of the function that it is called from.
var deep = map[string]func(b *build) int{
	"nothing": func(b *build) int {
		return b.fn(nil, []ValueType{I32}, nil, opCall, u(0))
	},
	"a table": func(b *build) int {
		b.tables = [][]byte{code(FuncRef, 0, u(1))}
		b.elems = [][]byte{code(0, opI32Const, s(0), opEnd, u(1), u(0))}
		t := b.typ(nil, []ValueType{I32})
		return b.fn(nil, []ValueType{I32}, nil, opI32Const, s(0), opCallIndirect, u(t), u(0))
	},
	"local variables": func(b *build) int {
		locals := slices.Repeat([]ValueType{I64}, 500)
		var set, use []byte
		for i := range locals {
			set = append(set, code(opGlobalGet, u(0), opI64Const, s(i), opI64Add, opLocalSet, u(i))...)
			use = append(use, code(opLocalGet, u(i), opI64Add)...)
		}
		return b.fn(nil, []ValueType{I32}, locals, set, opCall, u(0), opGlobalGet, u(0), use, opGlobalSet, u(0))
	},
	"vectors": func(b *build) int {
		locals := slices.Repeat([]ValueType{V128}, 100)
		var set, use []byte
		for i := range locals {
			set = append(set, code(opGlobalGet, u(0), opVec, 0x12, opLocalSet, u(i))...)
			use = append(use, code(opLocalGet, u(i), opVec, 0x1d, 0, opI64Add)...)
		}
		return b.fn(nil, []ValueType{I32}, locals, set, opCall, u(0), opGlobalGet, u(0), use, opGlobalSet, u(0))
	},
	"operands": func(b *build) int {
		return b.fn(nil, []ValueType{I32}, nil, times(2000, opGlobalGet, u(0), opI64Const, s(7), opI64Add), opCall, u(0),
			0xad, times(2000, opI64Add), opGlobalSet, u(0), opI32Const, s(0))
	},
	"parameters": func(b *build) int {
		params := slices.Repeat([]ValueType{I64}, 100)
		return b.fn(params, []ValueType{I32}, nil, times(100, opGlobalGet, u(0)), opCall, u(0))
	},
	"other functions": func(b *build) int {
		const n = 300
		for i := range n - 1 {
			b.fn(nil, []ValueType{I32}, nil, times(20, opGlobalGet, u(0), opI64Const, s(7), opI64Add), opCall, u(i+1),
				0xad, times(20, opI64Add), opGlobalSet, u(0), opI32Const, s(0))
		}
		return b.fn(nil, []ValueType{I32}, nil, opCall, u(0))
	},
}

// TestTheStackIsCounted lets functions call themselves until refuel finds the stack too deep, which must be long
// before wazero does.
func TestTheStackIsCounted(t *testing.T) {
	for name, program := range deep {
		t.Run(name, func(t *testing.T) {
			b := &build{globals: [][]byte{code(I64, 1, opI64Const, s(0), opEnd)}}
			program(b)
			params := len(b.types[b.funcs[0]].Params)
			b.run(times(params, opI64Const, s(0)), opCall, u(0), opDrop)
			out := metered(t, b.bytes())
			requireBounded(t, out)
			h := newHost(t)
			m, err := h.load(out, "")
			require.NoError(t, err)
			_, err = m.ExportedFunction("run").Call(context.Background())
			require.ErrorIs(t, err, errDeep)
			require.Less(t, h.deepest, h.depth+h.depth/2, "the stack grew too much between two looks")
		})
	}
}

// TestWhatReturnsGivesTheStackBack calls deeply and often, and looks at the depth afterwards.
func TestWhatReturnsGivesTheStackBack(t *testing.T) {
	b := &build{}
	fn := b.fn([]ValueType{I32}, nil, nil, opLocalGet, u(0), opIf, emptyBlock, opLocalGet, u(0), opI32Const, s(1), opI32Sub,
		opCall, u(0), opEnd)
	b.run(opI32Const, s(10_000), opCall, u(fn), opI32Const, s(20_000), opCall, u(fn))
	h := newHost(t)
	m, err := h.load(metered(t, b.bytes()), "")
	require.NoError(t, err)
	_, err = m.ExportedFunction("run").Call(context.Background())
	require.NoError(t, err)
	require.Zero(t, Stack(m.ExportedGlobal(metering.FuelExport).Get()))
	require.Greater(t, h.deepest, 20_000*48*9/10)
}

// TestTheWayBackIsCharged compares what a deep recursion costs without and with work on its way back.
func TestTheWayBackIsCharged(t *testing.T) {
	spent := func(work []byte) int64 {
		b := &build{}
		fn := b.fn([]ValueType{I32}, nil, nil, opLocalGet, u(0), opIf, emptyBlock, opLocalGet, u(0), opI32Const, s(1), opI32Sub,
			opCall, u(0), work, opEnd)
		b.run(opI32Const, s(1000), opCall, u(fn))
		m, err := newHost(t).load(metered(t, b.bytes()), "")
		require.NoError(t, err)
		fuel := m.ExportedGlobal(metering.FuelExport).(api.MutableGlobal)
		fuel.Set(Fill(1 << 30))
		_, err = m.ExportedFunction("run").Call(context.Background())
		require.NoError(t, err)
		return 1<<30 - Units(fuel.Get())
	}
	idle, busy := spent(nil), spent(times(10*unitRun, opNop))
	require.GreaterOrEqual(t, busy-idle, int64(1000*9))
}
