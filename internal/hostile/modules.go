package hostile

import (
	"bytes"
	_ "embed" // for the guest
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
)

// A Module is a file that a server must not take for a plugin that authorizes.
type Module struct {
	About  string
	Make   func() []byte
	Config string // a JSON object; "": none
	Says   string // a part of the reason, without quotes
}

// A Recipe is what a plugin does before it is asked anything: steps.wat says what there is. All that
// it is asked it allows.
type Recipe struct {
	Step, How byte
	Minor     uint32 // version that it needs
	Buffer    uint32 // where it is
	Init      uint64 // what locktopus_init returns
}

// Good is a recipe of a plugin that can be used.
var Good = Recipe{Buffer: 65536, Init: Allow}

//go:embed steps.wasm
var steps []byte

// Module is the plugin that follows the recipe.
func (r Recipe) Module() []byte {
	bin := slices.Clone(steps)
	at := bytes.Index(bin, []byte("RECIPE\x00\x00........"))
	if at < 0 {
		panic("hostile: steps.wasm has no recipe")
	}
	bin[at+8], bin[at+9] = r.Step, r.How
	binary.LittleEndian.PutUint32(bin[at+12:], r.Minor)
	binary.LittleEndian.PutUint32(bin[at+16:], r.Buffer)
	binary.LittleEndian.PutUint64(bin[at+24:], r.Init)
	return bin
}

// Modules are all that there are. Those that never return take as long as a plugin may take to start.
func Modules() []Module {
	return slices.Concat(files, incomplete, large, bombs, starts())
}

func of(bin []byte) func() []byte { return func() []byte { return bin } }

// files are no modules, or damaged ones.
var files = []Module{
	{"an empty file", of(nil), "", "the file is empty"},
	{"a truncated file", func() []byte { return Good.Module()[:200] }, "", "the file is truncated"},
	{"a file that goes on behind its end", func() []byte { return append(Good.Module(), 0xff) }, "", "unknown section 255"},
	{"text", of([]byte("(module)")), "", "WAT must be compiled first"},
	{"native code", of([]byte("\x7fELF\x02\x01\x01")), "", "this is native code"},
	{"garbage", garbage, "", "not WebAssembly"},
	{"garbage that begins well", func() []byte { return append([]byte(preamble), garbage()...) }, "", "section"},
	{"a component", of([]byte("\x00asm\x0d\x00\x01\x00")), "", "this is a component"},
	{"15 bytes that end the decoder", of([]byte(preamble + "\x02\x05\xff\xff\xff\xff\x0f")), "", "4294967295 imports are announced"},
	{"a module of another version", of([]byte("\x00asm\x02\x00\x00\x00")), "", "unsupported WebAssembly version"},
	{"the smallest module", of([]byte(preamble)), "", "it doesn't export the function locktopus_abi_1"},
}

func garbage() []byte {
	b := make([]byte, 1000)
	for i, r := 0, rand.New(rand.NewPCG(1, 2)); i < len(b); i++ {
		b[i] = 0x80 | byte(r.Uint32())
	}
	return b
}

func made(s func() sections) func() []byte { return func() []byte { return s().module() } }

// importing is the smallest plugin with an import more, whose functions are numbered accordingly.
func importing(items ...[]byte) func() []byte {
	return func() []byte {
		s := smallest(Allow).with(importSection, items...)
		n := len(items)
		return s.instead(exportSection, bytesOf("memory", aMemory, 0), bytesOf(exportVersion, aFunction, n),
			bytesOf(exportBuffer, aFunction, n+1), bytesOf(exportAuthorize, aFunction, n+2)).module()
	}
}

// incomplete are modules that don't keep the contract, or want more than there is.
var incomplete = []Module{
	{"a command", made(func() sections {
		return smallest(Allow).doing(nil).with(exportSection, bytesOf("_start", aFunction, 3))
	}), "", "it is a command"},
	{"no memory", made(func() sections {
		s := smallest(Allow).instead(memorySection)
		return s.instead(exportSection, s[exportSection][1:]...)
	}), "", "it exports no memory called"},
	{"two memories", made(func() sections { return smallest(Allow).with(memorySection, []byte{0, 1}) }), "", "2 memories are declared"},
	{"an imported memory", importing(bytesOf("env", "memory", aMemory, 0, 2)), "", "only functions can be imported"},
	{"an import that doesn't exist", importing(bytesOf("env", "system", aFunction, int(typeNothing))), "", "env.system"},
	{"a thousand imports", importing(slices.Repeat([][]byte{bytesOf("env", "system", aFunction, int(typeNothing))}, 1000)...), "", "and 980 more"},
	{"an import with a long name", importing(bytesOf("env", strings.Repeat("x", 1<<20), aFunction, int(typeNothing))), "", "a name of 1048576 bytes"},
	{"an import of another type", importing(bytesOf("locktopus", "log", aFunction, int(typeII))), "", "(it is (i32, i32, i32) -"},
	{"another WASI", importing(bytesOf("wasi:io/streams@0.2.0", "read", aFunction, int(typeII))), "", "of WASI, preview 1 is offered"},
	{"the import of refuel", importing(bytesOf("locktopus\x00meter", "refuel", aFunction, int(typeNothing))), "", "it imports what this server doesn't offer"},
	{"the export of fuel", made(func() sections {
		return smallest(Allow).with(exportSection, bytesOf("locktopus\x00fuel", aFunction, 2))
	}), "", "a reserved name"},
	{"no hook", made(func() sections { s := smallest(Allow); return s.instead(exportSection, s[exportSection][:3]...) }), "", "it doesn't export the function locktopus_authorize"},
	{"no buffer", made(func() sections {
		s := smallest(Allow)
		return s.instead(exportSection, s[exportSection][0], s[exportSection][1], s[exportSection][3])
	}), "", "it doesn't export the function locktopus_buffer"},
	{"a hook of another type", made(func() sections {
		return smallest(Allow).instead(functionSection, []byte{typeI}, []byte{typeII}, []byte{typeII})
	}), "", "its export locktopus_authorize is a function (i32) -"},
	{"code of another type", made(func() sections {
		s := smallest(Allow)
		return s.instead(codeSection, s[codeSection][0], s[codeSection][1], body(nil, []byte{0x41, 1}))
	}), "", "the module is not valid"},
	{"a configuration that it can't take", made(func() sections { return smallest(Allow) }), "{}", "locktopus_init to take it"},
	{"data outside of the memory", made(func() sections {
		return smallest(Allow).with(dataSection, bytesOf(0, byte(0x41), []byte{0xff, 0xff, 0xff, 0}, byte(0x0b), "x"))
	}), "", "out of bounds memory access"},
}

// large modules have more of something than they may.
var large = []Module{
	{"a file of 9 MiB", func() []byte { return append(Good.Module(), bytesOf(0, 9<<20, make([]byte, 9<<20))...) }, "", "larger than module_bytes allows"},
	{"a memory larger than allowed", made(func() sections { return smallest(Allow).instead(memorySection, bytesOf(0, 257)) }), "", "memory_bytes allows 16777216"},
	{"a table larger than allowed", made(func() sections { return smallest(Allow).with(tableSection, bytesOf(funcRef, 0, 100_001)) }), "", "tables of 100001 elements"},
	{"tables larger than allowed", made(func() sections {
		return smallest(Allow).with(tableSection, slices.Repeat([][]byte{bytesOf(funcRef, 0, 60_000)}, 2)...)
	}), "", "tables of 120000 elements"},
	{"4 billion local variables", made(func() sections {
		return smallest(Allow).doing([][]byte{bytesOf(1<<32-1, i32)})
	}), "", "parameters and local variables are more than the 2048 allowed"},
	{"100,001 functions", made(func() sections {
		s := smallest(Allow)
		return s.with(functionSection, slices.Repeat([][]byte{{typeNothing}}, 99_998)...).with(codeSection, slices.Repeat([][]byte{{2, 0, 0x0b}}, 99_998)...)
	}), "", "100001 functions are more than the 100000 allowed"},
	{"blocks nested 10,000 deep", made(func() sections {
		return smallest(Allow).doing(nil, append(repeat(10_000, 0x02, 0x40), repeat(10_000, 0x0b)...)...)
	}), "", "blocks are nested more than 8192 deep"},
	{"20,000 branches", made(func() sections {
		return smallest(Allow).doing(nil, repeat(20_000, 0x41, 0, 0x0d, 0)...)
	}), "", "branches are more than the 16384 allowed"},
}

// loads are n pairs of loads, the second from where the first says, each of a condition's length.
func loads(n int) []byte { return repeat(n, 0x41, 0, 0x28, 2, 0, 0x28, 2, 0, 0x1a) }

// bombs are small, valid, and would take seconds to minutes to compile.
var bombs = []Module{
	{"a bomb of variables and branches", made(func() sections {
		return smallest(Allow).doing([][]byte{bytesOf(2000, i64)}, times(2000, func(i int) []byte {
			return bytesOf([]byte{0x41, 0, 0x28, 2, 0, 0x04, 0x40, 0x20}, i, []byte{0x42, 1, 0x7c, 0x21}, (i+1)%2000, byte(0x0b))
		})...)
	}), "", "would take too long to compile"},
	{"a bomb of loads", made(func() sections { return smallest(Allow).doing(nil, loads(50_000)...) }), "", "would take too long to compile"},
	{"a bomb of loads and branches", made(func() sections {
		return smallest(Allow).doing(nil, append(loads(50_000), repeat(2000, 0x02, 0x40, 0x41, 0, 0x0d, 0, 0x0b)...)...)
	}), "", "would take too long to compile"},
	{"a bomb of calls", made(func() sections {
		return smallest(Allow).with(tableSection, bytesOf(funcRef, 0, 1)).doing(nil, repeat(10_000, 0x41, 0, 0x11, typeNothing, 0)...)
	}), "", "would take too long to compile"},
	{"a bomb of fills", made(func() sections {
		return smallest(Allow).doing(nil, repeat(10_000, 0x41, 0, 0x41, 0, 0x41, 1, 0xfc, 11, 0)...)
	}), "", "would take too long to compile"},
	{"a bomb of nested loops", made(func() sections {
		code := slices.Concat(repeat(1000, 0x03, 0x40), times(1999, func(i int) []byte {
			return bytesOf(byte(0x20), i, byte(0x21), i+1)
		}), repeat(1000, 0x41, 1, 0x0d, 0, 0x0b))
		return smallest(Allow).doing([][]byte{bytesOf(2000, i64)}, code...)
	}), "", "would take too long to compile"},
	{"a bomb of many functions", made(func() sections {
		s := smallest(Allow)
		for range 200 {
			s.doing(nil, repeat(2000, 0x41, 0, 0x28, 2, 0, 0x04, 0x40, 0x0b)...)
		}
		return s
	}), "", "the module would take too long to compile"},
}

// Heavy is a plugin that allows everything and is about as much work to compile as one may be.
func Heavy() []byte {
	s := smallest(Allow)
	for range 12 {
		s.doing(nil, repeat(2000, 0x41, 0, 0x28, 2, 0, 0x04, 0x40, 0x0b)...)
	}
	return s.module()
}

// starts are plugins that misbehave before they are asked anything.
func starts() []Module {
	all := []Module{
		recipe("needs a newer server", "it needs version 1.1 of the plugin interface", func(r *Recipe) { r.Minor = 1 }),
		recipe("needs one of the far future", "it needs version 1.4294967295", func(r *Recipe) { r.Minor = 1<<32 - 1 }),
		recipe("a buffer nowhere", "returned 0x0, where no 65536 bytes", func(r *Recipe) { r.Buffer = 0 }),
		recipe("a buffer across the end of memory", "returned 0x20001", func(r *Recipe) { r.Buffer = 0x20001 }),
		recipe("a buffer across all addresses", "returned 0xffffffff", func(r *Recipe) { r.Buffer = 1<<32 - 1 }),
		recipe("an init that forgets to return", "locktopus_init returned status 0", func(r *Recipe) { r.Init = None }),
		recipe("an init that rewrites", "locktopus_init returned status 3", func(r *Recipe) { r.Init = Rewritten }),
		recipe("an init of all ones", "locktopus_init returned status 255", func(r *Recipe) { r.Init = 1<<64 - 1 }),
		recipe("an init that refuses", "without saying why (code 7)", func(r *Recipe) { r.Init = Deny | 7<<8 }),
		recipe("an init whose reason is nowhere", "its message is no UTF-8 text in its memory", func(r *Recipe) { r.Init = Fault | 1<<16 | (1<<32-1)<<32 }),
	}
	for _, step := range []struct {
		letter byte
		name   string
	}{{'s', "start"}, {'i', "start"}, {'a', "locktopus_abi_1"}, {'b', "locktopus_buffer"}, {'c', "locktopus_init"}} {
		about := map[byte]string{'s': "a start function", 'i': "an _initialize"}[step.letter]
		if about == "" {
			about = "a " + step.name
		}
		for _, how := range []struct {
			letter     byte
			does, says string
		}{
			{'l', "never returns", step.name + " took longer than init_timeout"},
			{'r', "calls itself for ever", step.name}, // it gets too deep, or takes too long
			{'u', "traps", "unreachable"},
			{'x', "exits", "it called proc_exit"},
			{'m', "fills its memory and traps", "unreachable"},
		} {
			all = append(all, recipe(about+" that "+how.does, how.says, func(r *Recipe) { r.Step, r.How = step.letter, how.letter }))
		}
	}
	return all
}

func recipe(about, says string, change func(*Recipe)) Module {
	r := Good
	change(&r)
	return Module{about, r.Module, "", says}
}
