//go:build toolchains

package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/plugins/internal/build"
	"github.com/locktopus-project/locktopus/v2/plugins/sdk/conformance"
)

func TestSmallestInC(t *testing.T) {
	require.NoError(t, conformance.Smallest(t.Context(), build.C(t, "smallest-c/plugin.c")))
}

func TestTheModuleBesideTheWATIsMadeFromIt(t *testing.T) {
	wasm, err := os.ReadFile("smallest-wat/plugin.wasm")
	require.NoError(t, err)
	require.Equal(t, wasm, build.WAT(t, "smallest-wat/plugin.wat"))
}

// TestCommandsInTheReadmesBuild runs them as they stand there, but for where the module goes to.
func TestCommandsInTheReadmesBuild(t *testing.T) {
	for _, folder := range described {
		out := filepath.Join(t.TempDir(), "smallest.wasm")
		command := matched(t, readme(t, folder), "(?s)## Build\n\n    (.*?)\n\n")
		require.Contains(t, command, "smallest.wasm")
		cmd := exec.Command("sh", "-ec", strings.Replace(command, "smallest.wasm", out, 1))
		cmd.Dir = folder
		said, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s\n%s", folder, command, said)
		wasm, err := os.ReadFile(out)
		require.NoError(t, err)
		require.NoError(t, conformance.Smallest(t.Context(), wasm))
	}
}
