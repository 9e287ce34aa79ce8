package wasm

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero/api"

	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

// reread is a metered module, read again.
func reread(t *testing.T, bin []byte) *Module {
	m, err := Check(bin, Limits{})
	require.NoError(t, err, "%x", bin)
	return m
}

// TestMeteringAddsAnImportAndAGlobal looks at what a metered module needs and offers.
func TestMeteringAddsAnImportAndAGlobal(t *testing.T) {
	b := withHost()
	b.globals = [][]byte{code(I32, 0, opI32Const, 1, opEnd)}
	b.run(opCall, u(0))
	b.start = u(1)
	m := reread(t, metered(t, b.bytes()))
	require.Equal(t, "do", m.Imports[0].Name)
	require.Equal(t, Import{metering.RefuelModule, metering.RefuelName, Function, Signature{[]ValueType{}, []ValueType{}}}, m.Imports[1])
	require.Equal(t, Export{"run", Function, Signature{[]ValueType{}, []ValueType{}}, 2}, m.Exports[0], "one further behind")
	require.Equal(t, Export{metering.FuelExport, Global, Signature{}, 1}, m.Exports[1])
	require.Equal(t, u(2), m.sections[secStart].body)
}

// TestTheSmallestModuleCanBeMetered meters a module without anything.
func TestTheSmallestModuleCanBeMetered(t *testing.T) {
	m, err := newHost(t).load(metered(t, []byte(preamble)), "")
	require.NoError(t, err)
	fuel := m.ExportedGlobal(metering.FuelExport).(api.MutableGlobal)
	require.Equal(t, Fill(metering.Slice), fuel.Get())
	fuel.Set(7)
	require.Equal(t, uint64(7), fuel.Get())
}

// TestReservedNamesAreRefused keeps modules from reaching what is the host's.
func TestReservedNamesAreRefused(t *testing.T) {
	b := &build{}
	b.imports = [][]byte{code(metering.RefuelModule, metering.RefuelName, 0, u(b.typ(nil, nil)))}
	m := reread(t, b.bytes())
	_, _, err := m.Meter(metering)
	require.ErrorContains(t, err, `it imports "refuel" of "locktopus", a reserved name`)
	b = &build{}
	b.export(metering.FuelExport, Function, b.fn(nil, nil, nil))
	m = reread(t, b.bytes())
	_, _, err = m.Meter(metering)
	require.ErrorContains(t, err, `it exports "locktopus_fuel", a reserved name`)
}

// TestTablesGetAMaximum clamps how far tables grow.
func TestTablesGetAMaximum(t *testing.T) {
	b := &build{tables: [][]byte{
		code(FuncRef, 0, u(3)), code(FuncRef, 1, u(3), u(5)), code(ExternRef, 1, u(3), u(1000)), code(FuncRef, 0, u(50)), code(FuncRef, 1, u(0), u(0)),
	}}
	o := metering
	o.TableMax = 10
	out, _, err := reread(t, b.bytes()).Meter(o)
	require.NoError(t, err)
	require.Equal(t, code(5, FuncRef, 1, u(3), u(10), FuncRef, 1, u(3), u(5), ExternRef, 1, u(3), u(10), FuncRef, 1, u(50), u(50),
		FuncRef, 1, u(0), u(0)), reread(t, out).sections[secTable].body)
}

// TestReferencesAreTakenOnce has the runtime make one for each function, however often the code asks.
func TestReferencesAreTakenOnce(t *testing.T) {
	b := withTable(4)
	b.imports = [][]byte{code("host", "do", 0, u(b.typ(nil, nil)))}
	b.elems = [][]byte{code(3, 0, u(2), u(0), u(1))}
	b.run(times(3, opI32Const, 0, opRefFunc, u(1), 0x26, u(0), opI32Const, 1, opRefFunc, u(0), 0x26, u(0)))
	m := reread(t, metered(t, b.bytes()))
	r := &reader{b: m.bodies()[0]}
	r.locals()
	for r.p < len(r.b) {
		require.NotEqual(t, byte(opRefFunc), r.next().op)
	}
	require.Equal(t, 3, m.Globals)
	require.True(t, bytes.HasSuffix(m.sections[secGlobal].body, code(FuncRef, 0, opRefFunc, u(2), opEnd, FuncRef, 0, opRefFunc, u(0), opEnd)))
	h := newHost(t)
	offerHost(t, h)
	_, err := h.load(metered(t, b.bytes()), "")
	require.NoError(t, err)
}

// TestElementsMove looks at all eight kinds of element segments.
func TestElementsMove(t *testing.T) {
	b := &build{tables: [][]byte{code(FuncRef, 0, u(4)), code(FuncRef, 0, u(4))}}
	b.fn(nil, nil, nil)
	zero := code(opI32Const, 0, opEnd)
	segments := func(fn int) [][]byte {
		ref := code(opRefFunc, u(fn), opEnd)
		return [][]byte{
			code(0, zero, u(2), u(fn), u(fn)), code(1, 0, u(1), u(fn)), code(2, u(1), zero, 0, u(1), u(fn)), code(3, 0, u(1), u(fn)),
			code(4, zero, u(1), ref), code(5, FuncRef, u(2), ref, 0xd0, FuncRef, opEnd), code(6, u(1), zero, FuncRef, u(1), ref),
			code(7, FuncRef, u(1), ref),
		}
	}
	b.elems = segments(0)
	out := metered(t, b.bytes())
	want := &build{elems: segments(1)}
	require.True(t, bytes.Contains(out, want.bytes()[len(preamble):]), "%x", out)
	_, err := newHost(t).load(out, "")
	require.NoError(t, err)
}

// TestSmallFunctionsStayAsTheyAre leaves them alone: their callers pay.
func TestSmallFunctionsStayAsTheyAre(t *testing.T) {
	b := &build{}
	b.fn([]ValueType{I32}, []ValueType{I32}, []ValueType{I32}, opLocalGet, 0, opI32Const, 1, 0x6a, opLocalTee, 1)
	want := reread(t, b.bytes()).bodies()
	require.Equal(t, want, reread(t, metered(t, b.bytes())).bodies())
}

// TestMeteringIsRepeatable meters a module twice, and leaves it as it is.
func TestMeteringIsRepeatable(t *testing.T) {
	bin, _ := generate(testseed.Rand(t))
	m := reread(t, bin)
	before := bytes.Clone(m.Bytes)
	one, costOne, err := m.Meter(metering)
	require.NoError(t, err)
	two, costTwo, err := m.Meter(metering)
	require.NoError(t, err)
	require.Equal(t, one, two)
	require.Equal(t, costOne, costTwo)
	require.Equal(t, before, m.Bytes)
}

// TestCostIsCounted meters one of each.
func TestCostIsCounted(t *testing.T) {
	b := withMemory()
	b.fn(nil, nil, nil, opCall, u(0))
	b.run(opLoop, emptyBlock, opI32Const, 0, opBrIf, u(0), opEnd, opI32Const, 0, opMemoryGrow, 0, opDrop, times(300, opI32Const, 1, opDrop))
	m := reread(t, b.bytes())
	out, cost, err := m.Meter(metering)
	require.NoError(t, err)
	require.Equal(t, Cost{Functions: 2, Charges: 5, Loops: 1, Calls: 2, Bulk: 1, InBytes: len(m.Bytes), OutBytes: len(out)}, cost)
}

// TestRecursionIsAccountedNotMore finds the calls that close circles.
func TestRecursionIsAccountedNotMore(t *testing.T) {
	b := &build{}
	b.fn(nil, nil, nil, opCall, u(1), opCall, u(2)) // 0 → 1, 2
	b.fn(nil, nil, nil, opCall, u(2), opCall, u(3)) // 1 → 2, 3
	b.fn(nil, nil, nil, opNop)
	b.fn(nil, nil, nil, opCall, u(1), opCall, u(3)) // 3 → 1, 3
	s := reread(t, b.bytes()).survey()
	require.Equal(t, []uint32{2, 3, 1, 0}, s.plan())
	require.Equal(t, []call{1, 2, 2, 3, 1 | accounted, 3 | accounted}, s.calls)
}

// TestFarCallsAreAccounted cuts long ways through functions with large frames.
func TestFarCallsAreAccounted(t *testing.T) {
	b := &build{}
	for i := range 100 {
		b.fn(nil, nil, make64(100), opCall, u(i+1))
	}
	b.fn(nil, nil, nil)
	s := reread(t, b.bytes()).survey()
	s.plan()
	n := 0
	for i, f := range s.functions {
		require.LessOrEqual(t, f.height, int32(maxHeight), "function %d", i)
		if calls := s.callsOf(uint32(i)); len(calls) > 0 && calls[0]&accounted != 0 {
			n++
		}
	}
	frame := int(s.functions[0].frame)
	require.InDelta(t, 100*frame/maxHeight, n, 1)
}

func make64(n int) []ValueType { return bytesTo(bytes.Repeat([]byte{I64.b()}, n)) }

func bytesTo(all []byte) []ValueType {
	types := make([]ValueType, len(all))
	for i, b := range all {
		types[i] = ValueType(b)
	}
	return types
}

// TestRefuelSeesItsOwnModule has refuel work for two instances of one module.
func TestRefuelSeesItsOwnModule(t *testing.T) {
	bin := metered(t, (&build{}).run(opLoop, emptyBlock, opBr, 0, opEnd).bytes())
	h := newHost(t)
	for _, name := range []string{"one", "two"} {
		m, err := h.load(bin, name)
		require.NoError(t, err)
		h.slices = 2
		_, err = m.ExportedFunction("run").Call(context.Background())
		require.ErrorIs(t, err, errNoFuel)
		require.Negative(t, Units(m.ExportedGlobal(metering.FuelExport).Get()))
	}
}
