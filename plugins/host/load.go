package host

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/locktopus-project/locktopus/v2/plugins/host/internal/wasm"
)

// pageBytes is the unit of memories.
const pageBytes = 64 << 10

// tableElements is how far a guest may grow a table.
const tableElements = 1 << 16

// loading is a plugin on its way in.
type loading struct {
	spec    Spec
	options *Options

	bin    []byte
	digest [32]byte
	module *wasm.Module
	report Report
}

// Report says what was found out about a module, as far as its loading came.
type Report struct {
	Digest      [32]byte // SHA-256 of module and configuration, each behind its length
	Bytes       int      // of the file
	Imports     []string // "module.name"
	Hooks       Hooks    // that it exports
	TakesConfig bool
	Functions   int
	CodeBytes   int
	MemoryBytes int64 // at the start
	Charges     int   // places where metering takes fuel
	Loops       int   // of these, at loops
	Metered     int   // bytes of the metered module
	Compile     time.Duration
	Start       time.Duration // of one instance, configuration included
	Started     int64         // bytes of an instance's memory after that
	Warnings    []string
}

// read reads the file, a byte more than allowed at most, and takes its digest.
func (l *loading) read() error {
	// Opening a named pipe would wait for a writer, and what was looked at before it is opened may be another
	// file by then.
	f, err := os.OpenFile(l.spec.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return bareError(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && !info.Mode().IsRegular() {
		return errors.New("it is no regular file")
	}
	if l.bin, err = io.ReadAll(io.LimitReader(f, int64(l.spec.Limits.ModuleBytes)+1)); err != nil {
		return bareError(err)
	}
	if len(l.bin) > l.spec.Limits.ModuleBytes {
		return fmt.Errorf("the file is larger than module_bytes allows (%d)", l.spec.Limits.ModuleBytes)
	}
	l.digest = digest(l.bin, l.spec.Config)
	l.report.Digest, l.report.Bytes = l.digest, len(l.bin)
	return nil
}

func bareError(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("cannot %s it: %w", pe.Op, pe.Err)
	}
	return err
}

// digest tells plugins apart, on one server and between servers.
func digest(module, config []byte) (sum [32]byte) {
	h := sha256.New()
	for _, part := range [...][]byte{module, config} {
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	h.Sum(sum[:0])
	return sum
}

// load takes a file that was read through all steps to running instances.
func (l *loading) load() (*plugin, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	metered, err := l.meter()
	if err == nil {
		err = l.validate()
	}
	if err != nil {
		return nil, err
	}
	p := l.plugin()
	if err := l.compile(p, metered); err != nil {
		return nil, err
	}
	if err := l.start(p); err != nil {
		for k := range p.slots {
			if i := p.slots[k].instance; i != nil {
				i.close()
			}
		}
		p.release()
		return nil, err
	}
	p.mending.Go(p.mend)
	return p, nil
}

// plugin has nothing yet that must be given back.
func (l *loading) plugin() *plugin {
	n := l.options.Instances
	return &plugin{
		name: l.spec.Name, path: l.spec.Path, hooks: l.spec.Hooks, config: l.spec.Config,
		namespaces: l.spec.Namespaces, limits: l.spec.Limits, digest: l.digest, options: l.options,
		slots: make([]slot, n), work: make(chan *slot, n), stop: make(chan struct{}),
	}
}

// check judges the module by its structure and by what it offers and needs.
func (l *loading) check() (err error) {
	if l.module, err = wasm.Check(l.bin, wasm.Limits{}); err != nil {
		return err
	}
	l.report.Functions, l.report.CodeBytes = l.module.Functions, l.module.CodeBytes
	return errors.Join(l.checkImports(), l.checkExports(), l.checkMemory(), l.checkConfig())
}

// validate has wazero judge the original module, for it speaks of its author's functions by their numbers. It
// comes behind metering, which refuses what would take too long here too.
func (l *loading) validate() error {
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithMemoryLimitPages(l.pages()))
	defer r.Close(ctx)
	if _, err := r.CompileModule(ctx, l.module.Bytes); err != nil {
		return fmt.Errorf("the module is not valid: %w", err)
	}
	return nil
}

func (l *loading) pages() uint32 {
	return uint32(min((l.spec.Limits.MemoryBytes+pageBytes-1)/pageBytes, 1<<16))
}

// checkImports names all imports that aren't offered.
func (l *loading) checkImports() error {
	var unknown []string
	for _, im := range l.module.Imports {
		name := im.Module + "." + im.Name
		l.report.Imports = append(l.report.Imports, name)
		f := findOffered(im.Module, im.Name)
		switch {
		case f == nil:
			unknown = append(unknown, fmt.Sprintf("%q", name))
		case !slices.Equal(f.params, im.Params) || !slices.Equal(f.results, im.Results):
			unknown = append(unknown, fmt.Sprintf("%q as a function %s (it is %s)", name, signature(im.Params, im.Results), signature(f.params, f.results)))
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	if more := len(unknown) - importsNamed; more > 0 {
		unknown = append(unknown[:importsNamed], fmt.Sprintf("and %d more", more))
	}
	hint := ""
	if slices.ContainsFunc(l.module.Imports, func(im wasm.Import) bool {
		return im.Module == "wasi_unstable" || strings.HasPrefix(im.Module, "wasi:")
	}) {
		hint = "; of WASI, preview 1 is offered"
	}
	return fmt.Errorf("it imports what this server doesn't offer: %s%s", strings.Join(unknown, ", "), hint)
}

const importsNamed = 20 // in an error; who has more has another problem

func signature(params, results []wasm.ValueType) string {
	return "(" + typeList(params) + ") -> (" + typeList(results) + ")"
}

func typeList(ts []wasm.ValueType) string {
	names := make([]string, len(ts))
	for k, t := range ts {
		names[k] = t.String()
	}
	return strings.Join(names, ", ")
}

// hookExports are the exports that hooks need.
var hookExports = []struct {
	hook   Hooks
	export string
}{
	{Authenticate, exportAuthenticate},
	{Authorize, exportAuthorize},
	{Normalize, exportNormalize},
}

// checkExports looks for what the contract and the configuration ask for.
func (l *loading) checkExports() error {
	if e := l.export("_start", wasm.Function); e != nil {
		return errors.New("it is a command, which runs once and ends (it exports _start): build a reactor or a library. " +
			"With Go that is -buildmode=c-shared, with clang -mexec-model=reactor or -nostdlib -Wl,--no-entry, with Rust crate-type cdylib")
	}
	faults := []error{
		l.want(exportVersion, nil, types("i"), true),
		l.want(exportBuffer, types("i"), types("i"), true),
		l.want(exportInit, types("i"), types("I"), l.spec.Config != nil),
		l.want(exportInitialize, nil, nil, false),
	}
	if l.export("memory", wasm.Mem) == nil {
		faults = append(faults, errors.New(`it exports no memory called "memory"`))
	}
	l.report.TakesConfig = l.export(exportInit, wasm.Function) != nil
	for _, h := range hookExports {
		faults = append(faults, l.want(h.export, types("i"), types("I"), l.spec.Hooks&h.hook != 0))
		if l.export(h.export, wasm.Function) != nil {
			l.report.Hooks |= h.hook
		}
	}
	return errors.Join(faults...)
}

func (l *loading) export(name string, kind wasm.Kind) *wasm.Export {
	for k := range l.module.Exports {
		if e := &l.module.Exports[k]; e.Name == name && e.Kind == kind {
			return e
		}
	}
	return nil
}

// want checks an export's signature, if it is there or must be.
func (l *loading) want(name string, params, results []wasm.ValueType, must bool) error {
	e := l.export(name, wasm.Function)
	switch {
	case e == nil && !must:
		return nil
	case e == nil && name == exportInit:
		return fmt.Errorf("it is given a configuration, but doesn't export %s to take it", name)
	case e == nil:
		return fmt.Errorf("it doesn't export the function %s %s", name, signature(params, results))
	case !slices.Equal(e.Params, params) || !slices.Equal(e.Results, results):
		return fmt.Errorf("its export %s is a function %s and must be %s", name, signature(e.Params, e.Results), signature(params, results))
	}
	return nil
}

func (l *loading) checkMemory() error {
	if len(l.module.Memories) != 1 {
		return errors.New("it has no memory of its own")
	}
	l.report.MemoryBytes = int64(l.module.Memories[0].Min) * pageBytes
	if l.report.MemoryBytes > int64(l.pages())*pageBytes {
		return fmt.Errorf("its memory begins with %d bytes, and memory_bytes allows %d", l.report.MemoryBytes, l.spec.Limits.MemoryBytes)
	}
	return nil
}

func (l *loading) checkConfig() error {
	if n := len(l.spec.Config); n > bufferBytes {
		return fmt.Errorf("its configuration has %d bytes as JSON, and a plugin's buffer holds %d", n, bufferBytes)
	}
	return nil
}

func (l *loading) meter() ([]byte, error) {
	metered, cost, err := l.module.Meter(wasm.Metering{
		Slice: fuelSlice, FuelExport: fuelExport, RefuelModule: refuelModule, RefuelName: refuelName, TableMax: tableElements,
	})
	if err != nil {
		return nil, err
	}
	l.report.Charges, l.report.Loops, l.report.Metered = cost.Charges, cost.Loops, len(metered)
	return metered, nil
}

// compile compiles a module, or finds it compiled. A directory of compiled modules that can't be used, because
// the disk is full or somebody else has written there, costs time and nothing else.
func (l *loading) compile(p *plugin, metered []byte) error {
	begun := monotonic()
	dir := l.options.CacheDir
	err := l.compileWith(p, metered, dir)
	if err != nil && dir != "" {
		useless := err
		if err = l.compileWith(p, metered, ""); err == nil {
			l.options.Log.Warn("compiled plugins cannot be kept: they are compiled at each start", "directory", dir, "error", useless)
			emptyCache(dir)
		}
	}
	if err != nil {
		return fmt.Errorf("it cannot be compiled: %w", err)
	}
	l.report.Compile = monotonic() - begun
	return nil
}

// compileWith makes a runtime of the plugin's own, so that everything goes when it is closed. Compiled modules
// are kept in dir; "": nowhere.
func (l *loading) compileWith(p *plugin, metered []byte, dir string) (err error) {
	ctx := context.Background()
	config := wazero.NewRuntimeConfig().WithMemoryLimitPages(l.pages())
	if dir != "" {
		if p.cache, err = openCache(dir); err != nil {
			return err
		}
		config = config.WithCompilationCache(p.cache)
	}
	p.runtime = wazero.NewRuntimeWithConfig(ctx, config)
	if err = offerFunctions(p.runtime); err == nil {
		p.code, err = p.runtime.CompileModule(experimental.WithCompilationWorkers(ctx, 1), metered)
	}
	if err != nil {
		p.release()
	}
	return err
}

// start makes all instances, one after the other: the first that fails is reason enough.
func (l *loading) start(p *plugin) error {
	for k := range p.slots {
		begun := monotonic()
		i, err := p.start()
		if err != nil {
			return err
		}
		p.slots[k].instance = i
		l.report.Start, l.report.Started = monotonic()-begun, int64(i.memory.Size())
	}
	return nil
}

// Examine takes a plugin through all steps of loading without using it afterwards, and reports what it
// learned. With an error the report goes as far as the loading did.
func Examine(spec Spec, o Options) (*Report, error) {
	o = o.orDefaults()
	o.Instances = 1
	l := loading{spec: spec.orDefaults(), options: &o}
	if err := l.read(); err != nil {
		return &l.report, err
	}
	p, err := l.load()
	if err != nil {
		return &l.report, err
	}
	p.retire()
	return &l.report, nil
}
