package wasm

import (
	"context"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// FuzzCheck reads anything. What Check accepts, Meter rewrites, unless it takes too long to compile; wazero
// takes the rewritten module if and only if it takes the original, and whatever that does, it stops.
func FuzzCheck(f *testing.F) {
	for _, fault := range faults {
		f.Add(fault.bin)
	}
	for _, program := range endless {
		if bin := program().bytes(); len(bin) < 1000 {
			f.Add(bin)
		}
	}
	for n := range uint64(20) {
		bin, _ := generate(rand.New(rand.NewPCG(n, 0)))
		f.Add(bin)
	}
	f.Fuzz(func(t *testing.T, bin []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := Check(bin, Limits{})
		runtime.ReadMemStats(&after)
		require.LessOrEqual(t, after.TotalAlloc-before.TotalAlloc, uint64(40*len(bin)+1<<18), "memory for %d bytes", len(bin))
		if err != nil {
			return
		}
		requireSame(t, m)
	})
}

// requireSame has wazero compile a module as it is and metered, and runs all that it exports.
func requireSame(t *testing.T, m *Module) {
	out, cost, err := m.Meter(metering)
	if err != nil {
		require.ErrorContains(t, err, "too long to compile")
		return
	}
	require.Equal(t, len(out), cost.OutBytes)
	h := newHost(t)
	ctx := context.Background()
	_, wantErr := h.CompileModule(ctx, m.Bytes)
	compiled, gotErr := h.CompileModule(ctx, out)
	if wantErr != nil && strings.Contains(wantErr.Error(), "undeclared function index") {
		return // the rewritten module does declare it
	}
	require.Equal(t, wantErr == nil, gotErr == nil, "plain: %v\nmetered: %v\n%x", wantErr, gotErr, m.Bytes)
	if gotErr != nil {
		return
	}
	requireBounded(t, out)
	requireHeights(t, m)
	h.slices, h.depth = 2, 1<<20
	mod, err := h.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		return // it imports something, or its start function fails
	}
	for _, e := range m.Exports {
		if e.Kind == Function && len(e.Params) == 0 {
			h.slices = 2
			mod.ExportedGlobal(metering.FuelExport).(api.MutableGlobal).Set(Fill(metering.Slice))
			_, _ = mod.ExportedFunction(e.Name).Call(ctx)
		}
	}
}
