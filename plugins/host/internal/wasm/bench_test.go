package wasm

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero/api"
)

// programs are what is timed as it is and metered.
var programs = map[string]func() *build{
	"sum": func() *build { // 8192 bytes
		b := withMemory()
		fn := b.fn(nil, nil, []ValueType{I32, I32}, opLoop, emptyBlock, opLocalGet, 1, opLocalGet, 0, 0x2d, 0, 0, 0x6a, opLocalSet, 1,
			opLocalGet, 0, opI32Const, 1, 0x6a, opLocalTee, 0, opI32Const, s(8192), 0x49, opBrIf, 0, opEnd)
		b.export("run", Function, fn)
		return b
	},
	"fib": func() *build { // of 20
		b := &build{}
		fn := b.fn([]ValueType{I32}, []ValueType{I32}, nil, opLocalGet, 0, opI32Const, 2, 0x49, opIf, I32, opLocalGet, 0, opElse,
			opLocalGet, 0, opI32Const, 1, opI32Sub, opCall, 0, opLocalGet, 0, opI32Const, 2, opI32Sub, opCall, 0, 0x6a, opEnd)
		return b.run(opI32Const, 20, opCall, u(fn), opDrop)
	},
	"calls": func() *build { // 1000, of a small function
		b := &build{}
		fn := b.fn([]ValueType{I32}, []ValueType{I32}, nil, opLocalGet, 0, opI32Const, 1, 0x6a)
		run := b.fn(nil, nil, []ValueType{I32}, opLoop, emptyBlock, opLocalGet, 0, opCall, u(fn), opLocalTee, 0, opI32Const, s(1000), 0x49, opBrIf, 0, opEnd)
		b.export("run", Function, run)
		return b
	},
	"calls through a table": func() *build { // 1000
		b := withTable(1)
		fn := b.fn([]ValueType{I32}, []ValueType{I32}, nil, opLocalGet, 0, opI32Const, 1, 0x6a)
		b.elems = [][]byte{code(0, opI32Const, 0, opEnd, 1, u(fn))}
		run := b.fn(nil, nil, []ValueType{I32}, opLoop, emptyBlock, opLocalGet, 0, opI32Const, 0, opCallIndirect, 0, 0, opLocalTee, 0, opI32Const, s(1000), 0x49, opBrIf, 0, opEnd)
		b.export("run", Function, run)
		return b
	},
}

func BenchmarkRun(b *testing.B) {
	for name, program := range programs {
		bin := program().bytes()
		b.Run(name+"/plain", func(b *testing.B) { benchmarkRun(b, bin) })
		b.Run(name+"/metered", func(b *testing.B) { benchmarkRun(b, metered(b, bin)) })
	}
}

func benchmarkRun(b *testing.B, bin []byte) {
	m, err := newHost(b).load(bin, "")
	require.NoError(b, err)
	fuel, _ := m.ExportedGlobal(metering.FuelExport).(api.MutableGlobal)
	run, ctx, stack := m.ExportedFunction("run"), context.Background(), make([]uint64, 1)
	b.ReportAllocs()
	for b.Loop() {
		if fuel != nil {
			fuel.Set(Fill(metering.Slice))
		}
		if err := run.CallWithStack(ctx, stack); err != nil {
			b.Fatal(err)
		}
	}
}

// large is a module of some size.
func large() []byte {
	bin, _ := generate(rand.New(rand.NewPCG(1, 1)))
	return bin
}

func BenchmarkCheck(b *testing.B) {
	bin := large()
	b.SetBytes(int64(len(bin)))
	for b.Loop() {
		if _, err := Check(bin, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMeter(b *testing.B) {
	bin := large()
	m, err := Check(bin, Limits{})
	require.NoError(b, err)
	b.SetBytes(int64(len(bin)))
	for b.Loop() {
		if _, _, err := m.Meter(metering); err != nil {
			b.Fatal(err)
		}
	}
}
