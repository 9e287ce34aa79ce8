//go:build toolchains

package sdk_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/example"
	"github.com/locktopus-project/locktopus/v2/plugins/internal/build"
	"github.com/locktopus-project/locktopus/v2/plugins/sdk"
	"github.com/locktopus-project/locktopus/v2/plugins/sdk/conformance"
)

// guests are the conformance guests that need a compiler besides Go, whose own is tested beside it. Each is
// built in every way that an author may choose, the usual one first.
var guests = map[string]struct {
	build func(t testing.TB, file string, more ...string) []byte
	file  string
	ways  [][]string
}{
	"c": {build.C, guestInC, [][]string{
		{"-Wpedantic", "-Wconversion", "-Wundef"},
		{"-std=c99", "-Wpedantic"},
		{"-O0"},
		{"-Oz"},
		{"-mbulk-memory", "-msign-ext"},
		{"-xc++", "-std=c++11"},
		{"-xc++", "-std=c++20"},
	}},
	"rust": {build.Rust, "rust/conformance/guest.rs", [][]string{
		{},
		{"-Clto=no"},
		{"-Copt-level=0", "-Cdebug-assertions"},
		{"-Copt-level=z"},
	}},
	"assemblyscript": {build.AssemblyScript, "assemblyscript/conformance/guest.ts", [][]string{
		{},
		{"--runtime", "stub"},
		{"--runtime", "minimal"},
		{"-O0"},
		{"-Oz", "--noAssert"},
	}},
	"zig": {build.Zig, "zig/conformance/guest.zig", [][]string{
		{},
		{"-O", "Debug"},
		{"-O", "ReleaseFast"},
		{"-O", "ReleaseSmall"},
	}},
}

func TestGuestsPass(t *testing.T) {
	for language, g := range guests {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			for _, more := range g.ways {
				if language == "zig" { // of files, the compiler reads only those below the one it is given
					more = slices.Concat([]string{"--mod", "locktopus::zig/locktopus.zig", "--deps", "locktopus"}, more)
				}
				require.NoError(t, conformance.Run(t.Context(), g.build(t, g.file, more...)), "%q", more)
			}
		})
	}
}

// TestProjectsAreBuiltAsTestsBuild compares what the command of a project makes with what the tests make of the
// same source.
func TestProjectsAreBuiltAsTestsBuild(t *testing.T) {
	path := example.Path(t)
	for language, direct := range map[string]func(t testing.TB, source string) []byte{
		"assemblyscript": func(t testing.TB, source string) []byte { return build.AssemblyScript(t, source) },
		"c":              func(t testing.TB, source string) []byte { return build.C(t, source) },
		"go":             func(t testing.TB, source string) []byte { return build.Go(t, filepath.Dir(source)) },
		"rust":           func(t testing.TB, source string) []byte { return build.Rust(t, source) },
		"wat":            func(t testing.TB, source string) []byte { return build.WAT(t, source) },
		"zig":            func(t testing.TB, source string) []byte { return build.Zig(t, source) },
	} {
		p, found := sdk.NewProject(language, "p")
		require.True(t, found)
		dir := t.TempDir()
		for _, f := range p.Files {
			require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, f.Name)), 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(dir, f.Name), f.Text, 0o600))
		}
		cmd := exec.Command("sh", "-ec", p.Build)
		// Go writes down whether cgo was on, which is of no consequence here: it is off on both sides.
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+path, "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s\n%s", p.Build, out)
		wasm, err := os.ReadFile(filepath.Join(dir, "plugin.wasm"))
		require.NoError(t, err)
		require.True(t, bytes.Equal(direct(t, filepath.Join(dir, p.Source)), wasm), "%s makes something else", p.Build)
		require.NoError(t, conformance.Smallest(t.Context(), wasm))
	}
}
