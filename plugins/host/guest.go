package host

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/locktopus-project/locktopus/v2/plugins/host/internal/wasm"
)

// function is one that guests may import. It finds its parameters on the stack and leaves its result
// there.
type function struct {
	module, name    string
	params, results []wasm.ValueType
	call            func(*instance, api.Module, []uint64)
}

const (
	i32 = wasm.I32
	i64 = wasm.I64
)

// types is for tables of functions: "ii" is two i32, "iI" an i32 and an i64.
func types(letters string) []wasm.ValueType {
	ts := make([]wasm.ValueType, len(letters))
	for k, l := range letters {
		ts[k] = i32
		if l == 'I' {
			ts[k] = i64
		}
	}
	return ts
}

// offered are the functions that every guest may import; all else is refused at load.
var offered = append([]function{
	{"locktopus", "log", types("iii"), nil, guestLog},
	{"env", "abort", types("iiii"), nil, func(*instance, api.Module, []uint64) { panic(errAbort) }},
}, wasi...)

// refuelFunction is known to metered modules only: its name can't be imported by others.
var refuelFunction = function{refuelModule, refuelName, nil, nil, func(i *instance, m api.Module, _ []uint64) { i.refuel(m) }}

// findOffered gives the function of that name; nil: there is none.
func findOffered(module, name string) *function {
	for k := range offered {
		if offered[k].module == module && offered[k].name == name {
			return &offered[k]
		}
	}
	return nil
}

// offerFunctions makes the host's functions known to a runtime.
func offerFunctions(r wazero.Runtime) error {
	builders := map[string]wazero.HostModuleBuilder{}
	for _, f := range append([]function{refuelFunction}, offered...) {
		b := builders[f.module]
		if b == nil {
			b = r.NewHostModuleBuilder(f.module)
			builders[f.module] = b
		}
		call := f.call
		b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, m api.Module, stack []uint64) {
			call(instanceOf(ctx), m, stack)
		}), apiTypes(f.params), apiTypes(f.results)).Export(f.name)
	}
	for name, b := range builders {
		if _, err := b.Instantiate(context.Background()); err != nil {
			return fmt.Errorf("module %q of the host: %w", name, err)
		}
	}
	return nil
}

func apiTypes(ts []wasm.ValueType) []api.ValueType {
	out := make([]api.ValueType, len(ts))
	for k, t := range ts {
		out[k] = api.ValueType(t)
	}
	return out
}

// Bounds and prices of logging. A price is in units of fuel, and pays for the time that the host takes.
const (
	logBytes   = 1024 // of a line
	logPrice   = 2048
	dropPrice  = 64
	bytePrice  = 1 // for each 16 bytes looked at
	priceBytes = 16
)

// Levels of log lines, as guests give them.
const (
	guestDebug = iota
	guestInfo
	guestWarn
	guestError
)

// guestLog is locktopus.log(level, ptr, len).
func guestLog(i *instance, m api.Module, stack []uint64) {
	level := slog.LevelError
	switch uint32(stack[0]) {
	case guestDebug:
		level = slog.LevelDebug
	case guestInfo:
		level = slog.LevelInfo
	case guestWarn:
		level = slog.LevelWarn
	}
	line, ok := m.Memory().Read(uint32(stack[1]), min(uint32(stack[2]), logBytes))
	if !ok {
		panic(fmt.Errorf("it called log with memory that it doesn't have (%d bytes at %#x)", uint32(stack[2]), uint32(stack[1])))
	}
	i.log(level, line)
}

// log writes a line of a guest's, if it may write one now.
func (i *instance) log(level slog.Level, line []byte) {
	i.pay(dropPrice)
	text := strings.TrimRight(string(line), "\r\n")
	if text == "" || !i.plugin.mayLog() {
		return
	}
	i.pay(logPrice)
	i.plugin.options.Log.Log(context.Background(), level, "plugin says", "plugin", i.plugin.name, "text", strings.ToValidUTF8(text, "\uFFFD"))
}
