// Package build makes plugins from source, for tests. The commands are those that the examples'
// READMEs give to plugin authors.
//
// Go is always there. The other compilers may be missing: call their functions only from files with
// the build tag "toolchains". Nothing is kept: the compilers take a second at most, or have a cache
// of their own.
package build

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/locktopus-project/locktopus/v2/internal/example"
)

// Go builds the package main in dir.
func Go(t testing.TB, dir string) []byte {
	t.Helper()
	out := output(t)
	cmd := exec.Command("go", "build", "-C", dir, "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, ".")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	return run(t, cmd, out)
}

// C builds one file without a C library. More arguments go to the compiler, before the file.
func C(t testing.TB, file string, more ...string) []byte {
	t.Helper()
	out := output(t)
	return run(t, command("clang", slices.Concat(more, []string{file}), "-std=c11", "-Wall", "-Wextra", "-Werror",
		"--target=wasm32", "-O2", "-nostdlib", "-Wl,--no-entry", "-Wl,--stack-first", "-Wl,--strip-all", "-o", out), out)
}

// Rust builds one file, with the modules that it names. More arguments go to the compiler.
func Rust(t testing.TB, file string, more ...string) []byte {
	t.Helper()
	out := output(t)
	return run(t, command("rustc", more, "--edition=2021", "--target=wasm32-unknown-unknown", "--crate-type=cdylib",
		"-Dwarnings", "-Copt-level=3", "-Clto", "-Cpanic=abort", "-Cstrip=symbols", "-o", out, file), out)
}

// AssemblyScript builds one file, with those that it imports. More arguments go to the compiler.
func AssemblyScript(t testing.TB, file string, more ...string) []byte {
	t.Helper()
	out := output(t)
	return run(t, command("asc", more, file, "-O3", "-o", out), out)
}

// Zig builds one file, with those that it imports. More arguments go to the compiler.
func Zig(t testing.TB, file string, more ...string) []byte {
	t.Helper()
	out := output(t)
	return run(t, command("zig", more, "build-lib", "-target", "wasm32-freestanding", "-dynamic", "-rdynamic",
		"-O", "ReleaseSafe", "-fstrip", "-femit-bin="+out, file), out)
}

// WAT builds one file of WebAssembly's text format.
func WAT(t testing.TB, file string) []byte {
	t.Helper()
	out := output(t)
	return run(t, command("wat2wasm", nil, "-o", out, file), out)
}

func output(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "plugin.wasm")
}

func command(compiler string, more []string, args ...string) *exec.Cmd {
	return exec.Command(example.Compiler(compiler), append(args, more...)...)
}

// run calls the compiler and reads what it made.
func run(t testing.TB, cmd *exec.Cmd, out string) []byte {
	t.Helper()
	example.NoteSources(t)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, said.Bytes())
	}
	wasm, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}
