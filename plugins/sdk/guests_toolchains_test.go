//go:build toolchains

package sdk_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/plugins/internal/build"
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
		{"-Clto"},
		{"-Copt-level=0", "-Cdebug-assertions"},
		{"-Copt-level=z"},
	}},
	"assemblyscript": {build.AssemblyScript, "assemblyscript/conformance/guest.ts", [][]string{
		{},
		{"--runtime", "incremental"},
		{"--runtime", "minimal"},
		{"-O0"},
		{"-Oz", "--noAssert"},
	}},
	"zig": {build.Zig, "zig/conformance/guest.zig", [][]string{
		{},
		{"-O", "Debug"},
		{"-O", "ReleaseSafe"},
		{"-O", "ReleaseSmall"},
	}},
}

func TestGuestsPass(t *testing.T) {
	for language, g := range guests {
		for _, more := range g.ways {
			if language == "zig" { // of files, the compiler reads only those below the one it is given
				more = slices.Concat([]string{"--mod", "locktopus::zig/locktopus.zig", "--deps", "locktopus"}, more)
			}
			require.NoError(t, conformance.Run(t.Context(), g.build(t, g.file, more...)), "%s %q", language, more)
		}
	}
}
