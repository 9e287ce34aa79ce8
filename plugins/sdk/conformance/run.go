package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// Limits of a guest.
const (
	memoryPages = 256 // of 64 KiB: what the server gives a plugin by default
	logsMax     = 100 // lines of one call; a guest that writes more is wrong anyhow
)

// rubbish lies behind a request, where a guest has nothing to read.
var rubbish = bytes.Repeat([]byte{0xee}, bufferBytes)

// Run asks a conformance guest all cases, each twice, and tells all that was wrong: nil if nothing
// was. It ends early when ctx does; a guest that never answers holds it until then.
func Run(ctx context.Context, wasm []byte) error { return runCases(ctx, wasm, Cases()) }

func runCases(ctx context.Context, wasm []byte, cases []Case) error {
	k, err := newKit(ctx, wasm, cases)
	if err != nil {
		return err
	}
	defer k.runtime.Close(context.WithoutCancel(ctx))
	faults := []error{k.refusesLargeBuffers(ctx)}
	for _, c := range cases {
		if err := k.try(ctx, &c); err != nil {
			faults = append(faults, fmt.Errorf("%s (%s): %w", c.Name, c.About, err))
		}
	}
	if errors.Join(faults...) == nil {
		faults = append(faults, k.staysSmall(ctx, cases))
	}
	return errors.Join(faults...)
}

// Calls that show whether a guest's memory grows for ever.
const (
	callsToWarmUp = 1_000
	callsToGrow   = 10_000
)

// repeated are the cases that are asked again and again: an answer of each kind that a busy server
// gets.
var repeated = map[string]bool{
	"authorize/allow": true, "authorize/deny": true, "authorize/smallest-plain": true, "authorize/smallest-write": true,
	"authenticate/identity-longest": true, "authenticate/find-last": true,
	"normalize/unchanged": true, "normalize/rewrite-several": true,
}

// staysSmall asks for so long that a guest that leaks a few bytes a call has to ask for memory.
func (k *kit) staysSmall(ctx context.Context, cases []Case) error {
	for _, c := range cases {
		if !repeated[c.Name] {
			continue
		}
		size := uint32(0)
		for i := range callsToWarmUp + callsToGrow {
			if err := k.shared.expect(ctx, &c); err != nil {
				return fmt.Errorf("%s: asked %d times more: %w", c.Name, i, err)
			}
			if i == callsToWarmUp {
				size = k.shared.module.Memory().Size()
			}
		}
		if got := k.shared.module.Memory().Size(); got != size {
			return fmt.Errorf("%s: the memory grew from %d to %d bytes in %d calls", c.Name, size, got, callsToGrow)
		}
	}
	return nil
}

// kit is a compiled guest and the instance that most cases share.
type kit struct {
	runtime wazero.Runtime
	module  wazero.CompiledModule
	shared  *guest
}

// guest is an instance that is ready to be asked.
type guest struct {
	module api.Module
	buffer uint32
	logs   []Line // of the call that is running, or the last one
}

func newKit(ctx context.Context, wasm []byte, cases []Case) (*kit, error) {
	config := wazero.NewRuntimeConfig().WithMemoryLimitPages(memoryPages).WithCloseOnContextDone(true)
	k := &kit{runtime: wazero.NewRuntimeWithConfig(ctx, config)}
	err := k.offerImports(ctx)
	if err == nil {
		k.module, err = k.runtime.CompileModule(ctx, wasm)
	}
	if err == nil {
		err = checkExports(k.module, cases)
	}
	if err != nil {
		k.runtime.Close(ctx)
		return nil, fmt.Errorf("load: %w", err)
	}
	return k, nil
}

// guestKey is where a call's context has the *guest that is called.
type guestKey struct{}

// offerImports is all that the server offers to plugins.
func (k *kit) offerImports(ctx context.Context) error {
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, k.runtime); err != nil {
		return err
	}
	abort := func(context.Context, api.Module, uint32, uint32, uint32, uint32) { panic("the guest called env.abort") }
	env := k.runtime.NewHostModuleBuilder("env").NewFunctionBuilder().WithFunc(abort).Export("abort")
	if _, err := env.Instantiate(ctx); err != nil {
		return err
	}
	ours := k.runtime.NewHostModuleBuilder("locktopus").NewFunctionBuilder().WithFunc(log).Export("log")
	_, err := ours.Instantiate(ctx)
	return err
}

// log is the import locktopus.log.
func log(ctx context.Context, m api.Module, level int32, at, n uint32) {
	g, _ := ctx.Value(guestKey{}).(*guest)
	text, ok := m.Memory().Read(at, n)
	if g == nil || !ok || len(g.logs) == logsMax {
		panic(fmt.Sprintf("locktopus.log: %d bytes at %d, level %d: out of bounds, or too many lines", n, at, level))
	}
	g.logs = append(g.logs, Line{level, string(text)})
}

// checkExports looks for what is going to be called.
func checkExports(module wazero.CompiledModule, cases []Case) error {
	const i32, i64 = api.ValueTypeI32, api.ValueTypeI64
	exports := module.ExportedFunctions()
	check := func(name string, result api.ValueType, params ...api.ValueType) error {
		f, ok := exports[name]
		if !ok {
			return fmt.Errorf("%s is not exported", name)
		}
		if !bytes.Equal(f.ParamTypes(), params) || !bytes.Equal(f.ResultTypes(), []api.ValueType{result}) {
			return fmt.Errorf("%s has another signature than the ABI's", name)
		}
		return nil
	}
	faults := []error{check("locktopus_abi_1", i32), check("locktopus_buffer", i32, i32)}
	checked := map[string]bool{}
	for _, c := range cases {
		if !checked[c.Hook] {
			faults = append(faults, check("locktopus_"+c.Hook, i64, i32))
		}
		checked[c.Hook] = true
	}
	if module.ExportedMemories()["memory"] == nil {
		faults = append(faults, errors.New("memory is not exported"))
	}
	if exports["_start"] != nil {
		faults = append(faults, errors.New("_start is exported: this is a command, not a reactor"))
	}
	return errors.Join(faults...)
}

// fresh is a new instance, before locktopus_init.
func (k *kit) fresh(ctx context.Context) (*guest, error) {
	g := &guest{}
	ctx = context.WithValue(ctx, guestKey{}, g)
	var err error
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize")
	if g.module, err = k.runtime.InstantiateModule(ctx, k.module, config); err != nil {
		return nil, err
	}
	minor, err := g.call(ctx, "abi_1")
	if err == nil && minor != 0 {
		err = fmt.Errorf("locktopus_abi_1: got %d, want 0", minor)
	}
	if err != nil {
		return nil, err
	}
	at, err := g.call(ctx, "buffer", bufferBytes)
	if g.buffer = uint32(at); err == nil && (at == 0 || at+bufferBytes > uint64(g.module.Memory().Size())) {
		err = fmt.Errorf("locktopus_buffer: %d, and %d bytes of memory: there is no room for %d bytes", at, g.module.Memory().Size(), bufferBytes)
	}
	return g, err
}

// refusesLargeBuffers asks for a buffer as a later version might.
func (k *kit) refusesLargeBuffers(ctx context.Context) error {
	g, err := k.fresh(ctx)
	if err != nil {
		return err
	}
	defer g.module.Close(ctx)
	for _, size := range []uint64{1 << 20, 1<<32 - 1} {
		at, err := g.call(ctx, "buffer", size)
		if err == nil && at != 0 {
			err = fmt.Errorf("locktopus_buffer(%d): got %d, want 0", size, at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (g *guest) call(ctx context.Context, name string, params ...uint64) (uint64, error) {
	results, err := g.module.ExportedFunction("locktopus_"+name).Call(context.WithValue(ctx, guestKey{}, g), params...)
	if err != nil {
		return 0, err
	}
	return results[0], nil
}

// try asks one case.
func (k *kit) try(ctx context.Context, c *Case) error {
	if c.Hook != "init" && len(c.Config) == 0 && !c.Want.Trap {
		return k.tryShared(ctx, c)
	}
	g, err := k.fresh(ctx)
	if err != nil {
		return err
	}
	defer g.module.Close(ctx)
	if c.Hook == "init" {
		return g.expect(ctx, c)
	}
	if err := g.init(ctx, c.Config); err != nil {
		return err
	}
	return g.expectTwice(ctx, c)
}

// tryShared asks the instance that was asked before, so that what a call leaves behind shows in the
// next. One that was wrong is not asked again.
func (k *kit) tryShared(ctx context.Context, c *Case) error {
	if k.shared == nil {
		g, err := k.fresh(ctx)
		if err == nil {
			err = g.init(ctx, nil)
		}
		if err != nil {
			return err
		}
		k.shared = g
	}
	err := k.shared.expectTwice(ctx, c)
	if err != nil {
		k.shared.module.Close(ctx)
		k.shared = nil
	}
	return err
}

// init gives a configuration that is to be taken. A guest that wants none may do without.
func (g *guest) init(ctx context.Context, config []byte) error {
	if g.module.ExportedFunction("locktopus_init") == nil {
		return nil
	}
	return g.expect(ctx, &Case{Hook: "init", Request: config, Want: Answer{Status: allow}})
}

// expectTwice asks again, unless a trap ended the instance.
func (g *guest) expectTwice(ctx context.Context, c *Case) error {
	if err := g.expect(ctx, c); err != nil || c.Want.Trap {
		return err
	}
	if err := g.expect(ctx, c); err != nil {
		return fmt.Errorf("asked again: %w", err)
	}
	return nil
}

// expect asks once and compares.
func (g *guest) expect(ctx context.Context, c *Case) error {
	got, err := g.ask(ctx, c.Hook, c.Request)
	switch {
	case c.Want.Trap && err == nil:
		return fmt.Errorf("%s: got status %d, want a trap", c.Hook, got.Status)
	case c.Want.Trap:
		return nil
	case err == nil:
		err = got.differs(&c.Want)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.Hook, err)
	}
	return nil
}

// ask puts a question and reads the answer.
func (g *guest) ask(ctx context.Context, hook string, request []byte) (*Answer, error) {
	g.logs = nil
	buffer, ok := g.module.Memory().Read(g.buffer, bufferBytes)
	if !ok {
		return nil, errors.New("the buffer is out of bounds")
	}
	copy(buffer[copy(buffer, request):], rubbish)
	result, err := g.call(ctx, hook, uint64(len(request)))
	if err != nil {
		return nil, err
	}
	a := &Answer{Status: uint8(result), Code: uint8(result >> 8), Logs: g.logs}
	if n := uint32(result >> 16 & 0xffff); n > 0 {
		text, ok := g.module.Memory().Read(uint32(result>>32), n)
		if !ok {
			return nil, fmt.Errorf("the answer's %d bytes at %d are out of bounds", n, result>>32)
		}
		a.Bytes = bytes.Clone(text)
	}
	return a, nil
}

// differs tells the first difference, or nil.
func (a *Answer) differs(want *Answer) error {
	switch {
	case a.Status != want.Status || a.Code != want.Code:
		return fmt.Errorf("got status %d, code %d, %s; want status %d, code %d", a.Status, a.Code, excerpt(a.Bytes, 0), want.Status, want.Code)
	case !bytes.Equal(a.Bytes, want.Bytes):
		at := 0
		for at < len(a.Bytes) && at < len(want.Bytes) && a.Bytes[at] == want.Bytes[at] {
			at++
		}
		return fmt.Errorf("answers of %d and %d bytes differ from byte %d on: got %s, want %s", len(a.Bytes), len(want.Bytes), at,
			excerpt(a.Bytes, at), excerpt(want.Bytes, at))
	case len(a.Logs) != len(want.Logs):
		return fmt.Errorf("log: got %d lines, want %d: %q", len(a.Logs), len(want.Logs), a.Logs)
	}
	for i, l := range want.Logs {
		if a.Logs[i] != l {
			return fmt.Errorf("log, line %d: got %d %q, want %d %q", i, a.Logs[i].Level, a.Logs[i].Text, l.Level, l.Text)
		}
	}
	return nil
}

// excerpt shows b around at: from the start of its line, if that is not far.
func excerpt(b []byte, at int) string {
	const before, after = 40, 60
	start, end := max(0, at-before), min(len(b), at+after)
	if nl := bytes.LastIndexByte(b[start:at], '\n'); nl >= 0 {
		start += nl + 1
	}
	if text := b[start:end]; utf8.Valid(text) {
		return fmt.Sprintf("…%q…", text)
	}
	return fmt.Sprintf("…%x…", b[start:end])
}
