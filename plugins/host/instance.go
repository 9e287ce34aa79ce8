package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/locktopus-project/locktopus/v2/plugins/host/internal/wasm"
)

// Names that the metered module shares with the host. The NUL keeps them apart from any that a
// language's toolchain would make up.
const (
	fuelExport   = "locktopus\x00fuel"
	refuelModule = "locktopus\x00meter"
	refuelName   = "refuel"

	// fuelSlice is the most that a guest may do before the clock is looked at: some tens of microseconds of
	// arithmetic, some milliseconds of memory that is in no cache.
	fuelSlice = 4096

	// A call begins with a small slice, which nearly all calls get by with. From then on slices double while
	// they are over within sliceShort, where looking at the clock would be what takes long, and are
	// halved when they take sliceLong: so a guest that is slow at what it does, or is kept off the processor, is
	// looked at more often.
	firstSlice = fuelSlice / 4
	leastSlice = fuelSlice / 64
	sliceShort = 20 * time.Microsecond
	sliceLong  = 80 * time.Microsecond

	// stackBytes is how deep calls may nest. It is looked at when the clock is, and slices are small when
	// little of it is left, so that it is passed by what the smallest slice allows.
	stackBytes = 1 << 20
)

// Names of a guest's exports.
const (
	exportVersion      = "locktopus_abi_1"
	exportBuffer       = "locktopus_buffer"
	exportInit         = "locktopus_init"
	exportAuthenticate = "locktopus_authenticate"
	exportAuthorize    = "locktopus_authorize"
	exportNormalize    = "locktopus_normalize"
	exportInitialize   = "_initialize"
)

var (
	errOverrun = errors.New("it took longer than it may")
	errStack   = errors.New("its calls nest too deep")
	errAbort   = errors.New("it called abort")
	errExit    = errors.New("it called proc_exit")
)

// epoch is where monotonic times are counted from.
var epoch = time.Now()

// monotonic is the time that the limits of calls are measured in.
func monotonic() time.Duration { return time.Since(epoch) }

// instance is a guest: one memory, one call at a time. It is the context of its own calls, so that
// host functions find it without anything being allocated.
type instance struct {
	context.Context
	plugin *plugin
	module api.Module
	memory api.Memory
	fuel   api.MutableGlobal
	buffer uint32
	stack  [2]uint64

	authenticate, authorize, normalize api.Function // nil: not asked for

	// Of the call in progress.
	limit    time.Duration
	penalty  *penalty      // of the caller; nil: none
	deadline time.Duration // monotonic; 0: the clock wasn't looked at yet
	looked   time.Duration // when it was, monotonic
	slice    int64         // that was handed out last
	pure     bool          // neither time nor chance may show
}

type instanceKey struct{}

// Value implements context.Context.
func (i *instance) Value(key any) any {
	if _, ok := key.(instanceKey); ok {
		return i
	}
	return nil
}

func instanceOf(ctx context.Context) *instance { return ctx.Value(instanceKey{}).(*instance) }

// start makes an instance ready for calls of its hooks. All of it together may take Limits.Init.
func (p *plugin) start() (*instance, error) {
	i, err := p.instantiate()
	if err != nil {
		return nil, err
	}
	i.fuel = i.module.ExportedGlobal(fuelExport).(api.MutableGlobal)
	if err := i.prepare(); err != nil {
		i.close()
		return nil, err
	}
	return i, nil
}

// instantiate makes a module's memory and all else of its own, and runs its start functions.
func (p *plugin) instantiate() (*instance, error) {
	i := &instance{Context: context.Background(), plugin: p, limit: p.limits.Init, slice: firstSlice}
	memory := &allocator{check: i.checkTime}
	ctx := experimental.WithMemoryAllocator(i, memory)
	module, err := p.runtime.InstantiateModule(ctx, p.code, wazero.NewModuleConfig().WithName("").WithStartFunctions(exportInitialize))
	if err != nil {
		memory.free()
		return nil, i.startError("start", err)
	}
	i.module, i.memory = module, module.Memory()
	return i, nil
}

// prepare makes an instance and the host known to each other.
func (i *instance) prepare() error {
	if err := i.greet(); err != nil {
		return err
	}
	i.authenticate = i.hook(Authenticate, exportAuthenticate)
	i.authorize = i.hook(Authorize, exportAuthorize)
	i.normalize = i.hook(Normalize, exportNormalize)
	i.limit = i.plugin.limits.Call
	return nil
}

func (i *instance) hook(h Hooks, name string) api.Function {
	if i.plugin.hooks&h == 0 {
		return nil
	}
	return i.module.ExportedFunction(name)
}

// greet asks for the guest's version and buffer, and hands over its configuration.
func (i *instance) greet() error {
	version, err := i.call(i.module.ExportedFunction(exportVersion), 0)
	if err != nil {
		return i.startError(exportVersion, err)
	}
	if minor := uint32(version); minor > abiMinor {
		return fmt.Errorf("it needs version %d.%d of the plugin interface, and this server speaks %d.%d", abiMajor, minor, abiMajor, abiMinor)
	}
	at, err := i.call(i.module.ExportedFunction(exportBuffer), bufferBytes)
	if err != nil {
		return i.startError(exportBuffer, err)
	}
	i.buffer = uint32(at)
	buffer, ok := i.memory.Read(i.buffer, bufferBytes)
	if i.buffer == 0 || !ok {
		return fmt.Errorf("%s(%d) returned %#x, where no %d bytes of its memory (%d bytes) are", exportBuffer, bufferBytes, i.buffer, bufferBytes, i.memory.Size())
	}
	init := i.module.ExportedFunction(exportInit)
	if init == nil {
		return nil
	}
	result, err := i.call(init, uint64(copy(buffer, i.plugin.config)))
	if err != nil {
		return i.startError(exportInit, err)
	}
	return i.initError(unpack(result))
}

// initError is what the guest says of its configuration.
func (i *instance) initError(a answer) error {
	switch a.status {
	case statusAllow:
		return nil
	case statusDeny, statusFault:
		text, ok := i.text(a)
		if !ok {
			return fmt.Errorf("%s failed, and its message is no UTF-8 text in its memory", exportInit)
		}
		if len(text) == 0 {
			return fmt.Errorf("%s refused the configuration without saying why (code %d)", exportInit, a.code)
		}
		return fmt.Errorf("%s refused the configuration: %s", exportInit, text)
	}
	return fmt.Errorf("%s returned status %d; 1 is for success", exportInit, a.status)
}

// startError says which step failed. The limit is the usual reason.
func (i *instance) startError(step string, err error) error {
	if errors.Is(err, errOverrun) {
		return fmt.Errorf("%s took longer than init_timeout (%v)", step, i.plugin.limits.Init)
	}
	return fmt.Errorf("%s failed: %w", step, err)
}

// call calls a function of one parameter or none.
func (i *instance) call(f api.Function, parameter uint64) (uint64, error) {
	i.stack[0] = parameter
	err := f.CallWithStack(i, i.stack[:])
	return i.stack[0], err
}

// ask calls a hook with the question of this length that is in the buffer.
func (i *instance) ask(f api.Function, length int, caller *penalty) (answer, error) {
	i.penalty, i.deadline, i.pure = caller, 0, f == i.normalize
	i.slice = firstSlice
	i.fuel.Set(wasm.Fill(firstSlice))
	result, err := i.call(f, uint64(length))
	i.penalty = nil
	return unpack(result), err
}

// refuel is called by the guest when it has used up its fuel. It hands out more or panics, which
// ends the call.
func (i *instance) refuel(module api.Module) {
	now := monotonic()
	switch {
	case i.deadline == 0:
		i.deadline = now + i.penalty.allowance(now, i.limit)
	case now > i.deadline:
		i.overrun(now)
	default:
		i.slice = nextSlice(i.slice, now-i.looked)
	}
	i.looked = now
	if i.fuel == nil { // its start function runs before we are told of the module
		i.fuel = module.ExportedGlobal(fuelExport).(api.MutableGlobal)
	}
	fuel := i.fuel.Get()
	room := int64(stackBytes - wasm.Stack(fuel))
	if room < 0 {
		panic(errStack)
	}
	i.fuel.Set(wasm.Refill(fuel, min(i.slice, max(room/wasm.StackUnit, leastSlice))))
}

// nextSlice is how much a guest may do next, after a slice that took so long.
func nextSlice(slice int64, took time.Duration) int64 {
	switch {
	case took < sliceShort:
		return min(2*slice, fuelSlice)
	case took > sliceLong:
		return max(slice/2, leastSlice)
	}
	return slice
}

// checkTime ends the call in progress if it has taken longer than it may.
func (i *instance) checkTime() {
	if i.deadline == 0 {
		return
	}
	if now := monotonic(); now > i.deadline {
		i.overrun(now)
	}
}

// overrun ends the call in progress.
func (i *instance) overrun(now time.Duration) {
	i.penalty.strike(now)
	panic(errOverrun)
}

// pay takes the fuel for work that the host does for the guest.
func (i *instance) pay(cost int64) {
	if i.fuel != nil {
		i.fuel.Set(i.fuel.Get() - wasm.Fill(cost))
	}
}

// text is the text of an answer, cut to what is passed on. It is the guest's memory. It isn't ok if
// it is not in the memory, or is no UTF-8.
func (i *instance) text(a answer) (text []byte, ok bool) {
	if a.length == 0 {
		return nil, true
	}
	text, ok = i.memory.Read(a.at, a.length)
	if !ok {
		return nil, false
	}
	return checkedText(text)
}

func (i *instance) close() {
	_ = i.module.Close(context.Background()) // gives back memory; there is nothing to fail
}

// penalty bounds what guests that overrun can take from one goroutine, however many do so in a row:
// each overrun halves the time that the next call may take, down to a 64th, and time forgives. Calls
// that need less are not touched. The zero value is ready; a nil one knows no penalty.
type penalty struct {
	strikes int
	last    time.Duration // monotonic
}

const (
	strikesMax    = 6
	forgivenAfter = 10 // limits of a call without an overrun
)

func (p *penalty) allowance(now, limit time.Duration) time.Duration {
	if p == nil || p.strikes == 0 {
		return limit
	}
	if forgiven := int64((now - p.last) / (forgivenAfter * limit)); forgiven > 0 {
		p.strikes -= int(min(forgiven, int64(p.strikes)))
		p.last = now
	}
	return limit >> p.strikes
}

func (p *penalty) strike(now time.Duration) {
	if p != nil {
		p.strikes, p.last = min(p.strikes+1, strikesMax), now
	}
}
