package host

import (
	"crypto/rand"
	"log/slog"
	"time"

	"github.com/tetratelabs/wazero/api"
)

// WASI preview 1, as little of it as language runtimes need to start: there is a clock, there are
// random bytes, what is written to standard output and error is logged, and there are no arguments,
// no environment, no files. Error numbers are those of its witx description ("errno").
const (
	errnoSuccess = 0
	errnoBadf    = 8
	errnoFault   = 21
	errnoInval   = 28
	errnoNosys   = 52
)

const wasiModule = "wasi_snapshot_preview1"

var wasi = []function{
	wasiFunction("args_sizes_get", "ii", twoZeros),
	wasiFunction("args_get", "ii", success),
	wasiFunction("environ_sizes_get", "ii", twoZeros),
	wasiFunction("environ_get", "ii", success),
	wasiFunction("clock_res_get", "ii", clockResolution),
	wasiFunction("clock_time_get", "iIi", clockTime),
	wasiFunction("random_get", "ii", randomBytes),
	wasiFunction("sched_yield", "", success),
	wasiFunction("poll_oneoff", "iiii", notOffered),
	wasiFunction("proc_raise", "i", notOffered),
	{wasiModule, "proc_exit", types("i"), nil, func(*instance, api.Module, []uint64) { panic(errExit) }},
	wasiFunction("fd_write", "iiii", writeLines),

	// There are no files: no descriptor but 1 and 2 is good, and those are no files.
	wasiFunction("fd_advise", "iIIi", noFile),
	wasiFunction("fd_allocate", "iII", noFile),
	wasiFunction("fd_close", "i", noFile),
	wasiFunction("fd_datasync", "i", noFile),
	wasiFunction("fd_fdstat_get", "ii", noFile),
	wasiFunction("fd_fdstat_set_flags", "ii", noFile),
	wasiFunction("fd_fdstat_set_rights", "iII", noFile),
	wasiFunction("fd_filestat_get", "ii", noFile),
	wasiFunction("fd_filestat_set_size", "iI", noFile),
	wasiFunction("fd_filestat_set_times", "iIIi", noFile),
	wasiFunction("fd_pread", "iiiIi", noFile),
	wasiFunction("fd_prestat_get", "ii", noFile),
	wasiFunction("fd_prestat_dir_name", "iii", noFile),
	wasiFunction("fd_pwrite", "iiiIi", noFile),
	wasiFunction("fd_read", "iiii", noFile),
	wasiFunction("fd_readdir", "iiiIi", noFile),
	wasiFunction("fd_renumber", "ii", noFile),
	wasiFunction("fd_seek", "iIii", noFile),
	wasiFunction("fd_sync", "i", noFile),
	wasiFunction("fd_tell", "ii", noFile),
	wasiFunction("path_create_directory", "iii", noFile),
	wasiFunction("path_filestat_get", "iiiii", noFile),
	wasiFunction("path_filestat_set_times", "iiiiIIi", noFile),
	wasiFunction("path_link", "iiiiiii", noFile),
	wasiFunction("path_open", "iiiiiIIii", noFile),
	wasiFunction("path_readlink", "iiiiii", noFile),
	wasiFunction("path_remove_directory", "iii", noFile),
	wasiFunction("path_rename", "iiiiii", noFile),
	wasiFunction("path_symlink", "iiiii", noFile),
	wasiFunction("path_unlink_file", "iii", noFile),
}

// wasiFunction is one whose result is an error number, the only kind but for proc_exit.
func wasiFunction(name, params string, f func(*instance, api.Memory, []uint64) uint32) function {
	return function{wasiModule, name, types(params), types("i"), func(i *instance, m api.Module, stack []uint64) {
		// Taken along, not returned into: a function without parameters has a stack of one.
		stack[0] = uint64(f(i, m.Memory(), stack))
	}}
}

func success(*instance, api.Memory, []uint64) uint32 { return errnoSuccess }

func notOffered(*instance, api.Memory, []uint64) uint32 { return errnoNosys }

func noFile(*instance, api.Memory, []uint64) uint32 { return errnoBadf }

// twoZeros says that there is nothing of what is asked for, and that it takes no bytes.
func twoZeros(_ *instance, m api.Memory, stack []uint64) uint32 {
	if !m.WriteUint32Le(uint32(stack[0]), 0) || !m.WriteUint32Le(uint32(stack[1]), 0) {
		return errnoFault
	}
	return errnoSuccess
}

// Clocks.
const (
	clockRealtime  = 0
	clockMonotonic = 1
	clockPrice     = 64
)

func clockResolution(_ *instance, m api.Memory, stack []uint64) uint32 {
	if id := uint32(stack[0]); id != clockRealtime && id != clockMonotonic {
		return errnoInval
	}
	if !m.WriteUint64Le(uint32(stack[1]), 1) {
		return errnoFault
	}
	return errnoSuccess
}

// clockTime gives the real time to all but normalize. The monotonic clock goes on there too, because
// language runtimes can't do without.
func clockTime(i *instance, m api.Memory, stack []uint64) uint32 {
	i.pay(clockPrice)
	var now int64
	switch uint32(stack[0]) {
	case clockMonotonic:
		now = int64(monotonic())
	case clockRealtime:
		if !i.pure {
			now = time.Now().UnixNano()
		}
	default:
		return errnoInval
	}
	if !m.WriteUint64Le(uint32(stack[2]), uint64(now)) {
		return errnoFault
	}
	return errnoSuccess
}

const (
	randomBytesMax = 64 << 10 // of one call
	randomPrice    = 1024
)

// randomBytes gives real ones to all but normalize, which gets zeros.
func randomBytes(i *instance, m api.Memory, stack []uint64) uint32 {
	n := uint32(stack[1])
	if n > randomBytesMax {
		return errnoInval
	}
	b, ok := m.Read(uint32(stack[0]), n)
	if !ok {
		return errnoFault
	}
	i.pay(randomPrice + int64(n)/4)
	if i.pure {
		clear(b)
		return errnoSuccess
	}
	_, _ = rand.Read(b) // never fails: crypto/rand
	return errnoSuccess
}

const ioVectorsMax = 64 // of one write; a guest may write the rest with the next

// writeLines logs what is written to standard output and error.
func writeLines(i *instance, m api.Memory, stack []uint64) uint32 {
	var level slog.Level
	switch uint32(stack[0]) {
	case 1:
		level = slog.LevelInfo
	case 2:
		level = slog.LevelWarn
	default:
		return errnoBadf
	}
	var line [logBytes]byte
	kept, written := 0, uint32(0)
	for k := range min(uint32(stack[2]), ioVectorsMax) {
		at := uint32(stack[1]) + 8*k
		ptr, ok1 := m.ReadUint32Le(at)
		length, ok2 := m.ReadUint32Le(at + 4)
		b, ok3 := m.Read(ptr, length)
		if !ok1 || !ok2 || !ok3 || written+length < written {
			return errnoFault
		}
		kept += copy(line[kept:], b)
		written += length
	}
	i.log(level, line[:kept])
	if !m.WriteUint32Le(uint32(stack[3]), written) {
		return errnoFault
	}
	return errnoSuccess
}
