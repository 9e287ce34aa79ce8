package wasm

import (
	"context"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero/api"

	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

// TestMeteredModulesDoTheSame runs random modules as they are and metered, with random arguments, and compares
// results, traps, memory, globals and tables.
func TestMeteredModulesDoTheSame(t *testing.T) {
	t.Parallel()
	seed := testseed.New(t)
	calls, traps := 0, 0
	for n := range 300 {
		r := rand.New(rand.NewPCG(seed, uint64(n)))
		bin, sigs := generate(r)
		requireHeights(t, reread(t, bin))
		out := metered(t, bin)
		requireBounded(t, out)
		plain, err := newHost(t).load(bin, "")
		require.NoError(t, err, "module %d\n%s", n, hex.EncodeToString(bin))
		h := newHost(t)
		h.depth = 1 << 30
		other, err := h.load(out, "")
		require.NoError(t, err, "module %d\n%s", n, hex.EncodeToString(bin))
		for range 8 {
			i := r.IntN(len(sigs))
			name := "f" + string(rune('0'+i))
			args := arguments(r, sigs[i].Params)
			want, wantErr := invoke(plain, name, args)
			got, gotErr := invoke(other, name, args)
			calls++
			if wantErr != "" {
				traps++
			}
			require.Equal(t, wantErr, gotErr, "module %d, %s(%x)\n%s", n, name, args, hex.EncodeToString(bin))
			require.Equal(t, want, got, "module %d, %s(%x)\n%s", n, name, args, hex.EncodeToString(bin))
			require.Equal(t, state(t, plain), state(t, other), "module %d, %s(%x)\n%s", n, name, args, hex.EncodeToString(bin))
		}
		require.NoError(t, h.Close(context.Background()))
	}
	t.Logf("%d calls, %d of them ended in a trap", calls, traps)
}

func arguments(r *rand.Rand, types []ValueType) []uint64 {
	var args []uint64
	for _, t := range types {
		switch t {
		case I32:
			args = append(args, uint64(r.Uint32()>>r.IntN(32)))
		case F32:
			args = append(args, uint64(api.EncodeF32(float32(r.NormFloat64()))))
		case F64:
			args = append(args, api.EncodeF64(r.NormFloat64()))
		case V128:
			args = append(args, r.Uint64(), r.Uint64())
		default:
			args = append(args, r.Uint64()>>r.IntN(64))
		}
	}
	return args
}

// invoke gives a call's results, or what it trapped with.
func invoke(m api.Module, name string, args []uint64) ([]uint64, string) {
	m.ExportedGlobal("g0").(api.MutableGlobal).Set(3000) // steps
	if fuel := m.ExportedGlobal(metering.FuelExport); fuel != nil {
		fuel.(api.MutableGlobal).Set(Fill(metering.Slice))
	}
	results, err := m.ExportedFunction(name).Call(context.Background(), args...)
	if err != nil {
		return nil, trap(err)
	}
	return results, ""
}

// trap is what an error says, without the trace.
func trap(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

// state is all that a random module remembers.
func state(t *testing.T, m api.Module) any {
	memory, _ := m.Memory().Read(0, m.Memory().Size())
	var globals, elements []uint64
	for i := range 1 + len(genTypes) {
		globals = append(globals, m.ExportedGlobal("g"+string(rune('0'+i))).Get())
	}
	for i := uint64(0); ; i++ {
		r, err := m.ExportedFunction("peek").Call(context.Background(), i)
		if err != nil {
			break
		}
		elements = append(elements, r[0])
	}
	return []any{memory, globals, elements}
}
