package wasm

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// requireHeights follows the stack's height through all functions of a valid module: where a block's end is
// reached there must be its results, and nothing else.
func requireHeights(t testing.TB, m *Module) {
	for n, body := range m.bodies() {
		r := &reader{b: body}
		r.locals()
		y := tally{Module: m}
		y.begin(m.signature(uint32(m.imported() + n)))
		for dead := []bool{false}; len(dead) > 0; {
			i := r.next()
			if top := y.levels[len(y.levels)-1]; (i.op == opElse || i.op == opEnd) && !dead[len(dead)-1] {
				require.Equal(t, top.below+top.results, y.height, "function %d, offset %d of %x", n, i.at, body)
			}
			y.add(i, r)
			switch i.op {
			case opBlock, opLoop, opIf:
				dead = append(dead, false)
			case opElse:
				dead[len(dead)-1] = false
			case opEnd:
				dead = dead[:len(dead)-1]
			case opBr, opBrTable, opReturn, opUnreachable:
				dead[len(dead)-1] = true
			}
		}
	}
}

// bombs are modules that take long to compile, or much memory, for their size. What they took of wazero 1.12 on
// one core of a server of 2020 stands beside them.
var bombs = map[string]func() *build{
	"variables and branches": func() *build { // 32 KB, 3.5 s, 0.8 GB
		b := withMemory()
		b.fn(nil, nil, slices.Repeat([]ValueType{I64}, 2000), numbered(2000, func(i int) []byte {
			return code(opI32Const, 0, 0x28, 2, 0, opIf, emptyBlock, opLocalGet, u(i), opI64Const, 1, opI64Add, opLocalSet, u((i+1)%2000), opEnd)
		}))
		return b
	},
	"nested loops": func() *build { // 27 KB, 0.5 s
		return (&build{}).withLocals(2000, times(1000, opLoop, emptyBlock),
			numbered(1999, func(i int) []byte { return code(opLocalGet, u(i), opLocalSet, u(i+1)) }), times(1000, opI32Const, 1, opBrIf, 0, opEnd))
	},
	"values on the stack and branches": func() *build { // 58 KB, 1.1 s, 1.3 GB
		return withMemory().run(opI32Const, 0, times(4000, opI32Const, 0, 0x29, 3, 0),
			times(2000, opBlock, emptyBlock, opI32Const, 0, 0x28, 2, 0, opBrIf, 0, opEnd), times(3999, opI64Add), 0x37, 3, 0)
	},
	"loads": func() *build { // 0.35 MB, 1.6 s, 2.3 GB
		return withMemory().withLocals(1, times(50_000, opI32Const, 0, 0x28, 2, 0, 0x28, 2, 0, opDrop))
	},
	"loads and branches": func() *build { // 0.6 MB, 32 s, 18 GB
		return withMemory().run(times(50_000, opI32Const, 0, 0x28, 2, 0, 0x28, 2, 0, opDrop), times(2000, opBlock, emptyBlock, opI32Const, 0, opBrIf, 0, opEnd))
	},
	"constants": func() *build { // 1.2 MB, 11 s, 6 GB
		return withMemory().run(times(50_000, opI32Const, 0, opVec, 12, make([]byte, 16), opVec, 11, 4, 0))
	},
	"calls through a table": func() *build { // 50 KB, 5.3 s
		return withTable(1).run(times(10_000, opI32Const, 0, opCallIndirect, 0, 0))
	},
	"fills": func() *build { // 90 KB, 6 s
		return withMemory().run(times(10_000, opI32Const, 0, opI32Const, 0, opI32Const, 1, opMisc, miscMemoryFill, 0))
	},
	"branches with many values": func() *build { // as many as 300 KB can hand over: 5 s, 1.6 GB
		b := withMemory()
		t := b.typ(nil, slices.Repeat([]ValueType{I64}, 100))
		return b.run(times(40, opBlock, t), times(800, opI32Const, 0, opIf, emptyBlock, times(100, opI64Const, 0), opI32Const, 0,
			opBrTable, 39, numbered(40, func(i int) []byte { return u(i + 1) }), opEnd), opUnreachable,
			times(40, opEnd, times(100, opDrop), times(100, opI64Const, 0)), times(100, opDrop))
	},
}

func numbered(n int, f func(i int) []byte) []byte {
	var all []byte
	for i := range n {
		all = append(all, f(i)...)
	}
	return all
}

// withLocals adds a function with n local variables.
func (b *build) withLocals(n int, parts ...any) *build {
	b.fn(nil, nil, make64(n), parts...)
	return b
}

// TestBombsAreRefused meters modules that nobody should compile.
func TestBombsAreRefused(t *testing.T) {
	t.Parallel()
	for name, bomb := range bombs {
		t.Run(name, func(t *testing.T) {
			m, err := Check(bomb().bytes(), Limits{})
			require.NoError(t, err)
			_, _, err = m.Meter(metering)
			require.ErrorContains(t, err, "function 0 would take too long to compile, about ")
			o := m.lim
			m.lim.FunctionEffort, m.lim.Effort = 1<<40, 1<<40
			_, cost, err := m.Meter(metering)
			require.NoError(t, err)
			require.Greater(t, cost.Millis, o.FunctionEffort)
		})
	}
}

// TestSizeAloneIsAnEffort refuses a function that is long and nothing else.
func TestSizeAloneIsAnEffort(t *testing.T) {
	m, err := Check((&build{}).run(times(100_000, opNop)).bytes(), Limits{FunctionEffort: 29})
	require.NoError(t, err)
	_, _, err = m.Meter(metering)
	require.ErrorContains(t, err, "about 32 ms instead of 29 at most")
}

// TestManyFunctionsAreABombToo finds that all together are too much.
func TestManyFunctionsAreABombToo(t *testing.T) {
	b := withMemory()
	for range 200 {
		b.fn(nil, nil, nil, times(2000, opI32Const, 0, 0x28, 2, 0, opIf, emptyBlock, opEnd))
	}
	m, err := Check(b.bytes(), Limits{})
	require.NoError(t, err)
	_, _, err = m.Meter(metering)
	require.ErrorContains(t, err, "the module would take too long to compile, about ")
}

// TestMeteredFunctionsHaveASize refuses what would become enormous, whatever the limits.
func TestMeteredFunctionsHaveASize(t *testing.T) {
	m, err := Check(withTable(1).run(times(800_000, opI32Const, 0, opCallIndirect, 0, 0)).bytes(), Limits{FunctionEffort: 1 << 60, Effort: 1 << 60})
	require.NoError(t, err)
	_, _, err = m.Meter(metering)
	require.ErrorContains(t, err, "function 0 would be too large when metered")
}
