package wasm

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// metering is how the tests meter.
var metering = Metering{
	Slice:        4096,
	FuelExport:   "locktopus_fuel",
	RefuelModule: "locktopus",
	RefuelName:   "refuel",
	TableMax:     10_000_000,
}

var (
	errNoFuel = errors.New("no fuel left")
	errDeep   = errors.New("the stack is too deep")
)

// A host runs modules as plugins are run: with a refuel that stops them after a number of slices or below a
// depth of the stack.
type host struct {
	wazero.Runtime
	slices  int // that may yet be granted
	depth   int // of the stack, in bytes
	refuels int // so far
	deepest int // the stack has been
}

// newHost makes a host that grants any number of slices and a deep stack.
func newHost(t testing.TB) *host {
	ctx := context.Background()
	config := wazero.NewRuntimeConfigCompiler().WithMemoryLimitPages(1024)
	h := &host{Runtime: wazero.NewRuntimeWithConfig(ctx, config), slices: 1 << 40, depth: 8 << 20}
	t.Cleanup(func() { require.NoError(t, h.Close(ctx)) })
	_, err := h.NewHostModuleBuilder(metering.RefuelModule).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(h.refuel), nil, nil).Export(metering.RefuelName).Instantiate(ctx)
	require.NoError(t, err)
	return h
}

func (h *host) refuel(_ context.Context, mod api.Module, _ []uint64) {
	h.refuels++
	fuel := mod.ExportedGlobal(metering.FuelExport).(api.MutableGlobal)
	if h.slices--; h.slices < 0 {
		panic(errNoFuel)
	}
	h.deepest = max(h.deepest, Stack(fuel.Get()))
	if Stack(fuel.Get()) > h.depth {
		panic(errDeep)
	}
	fuel.Set(Refill(fuel.Get(), metering.Slice))
}

// load instantiates a module without calling anything but its start function.
func (h *host) load(bin []byte, name string) (api.Module, error) {
	config := wazero.NewModuleConfig().WithName(name).WithStartFunctions()
	return h.InstantiateWithConfig(context.Background(), bin, config)
}

// metered is a module that Check accepts, metered.
func metered(t testing.TB, bin []byte) []byte {
	m, err := Check(bin, Limits{})
	require.NoError(t, err, "%x", bin)
	out, _, err := m.Meter(metering)
	require.NoError(t, err, "%x", bin)
	return out
}
