//go:build toolchains

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCommittedModulesAreWhatTheirSourceSays compiles testdata's text again.
func TestCommittedModulesAreWhatTheirSourceSays(t *testing.T) {
	out := filepath.Join(t.TempDir(), "hostile.wasm")
	text, err := exec.Command("wat2wasm", "testdata/hostile.wat", "-o", out).CombinedOutput()
	require.NoError(t, err, "%s", text)
	want, err := os.ReadFile(out)
	require.NoError(t, err)
	got, err := os.ReadFile("testdata/hostile.wasm")
	require.NoError(t, err)
	require.Equal(t, want, got)
}
