//go:build toolchains

package tidy

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCommittedModulesAreWhatTheirSourceSays compiles the text beside each committed module again.
func TestCommittedModulesAreWhatTheirSourceSays(t *testing.T) {
	compiler := os.Getenv("PLUGINS_WAT2WASM")
	if compiler == "" {
		compiler = "wat2wasm"
	}
	modules := 0
	eachFile(t, ".wasm", func(path string, committed []byte) {
		modules++
		source, out := filepath.Join(root, strings.TrimSuffix(path, ".wasm")+".wat"), filepath.Join(t.TempDir(), "module.wasm")
		text, err := exec.Command(compiler, source, "-o", out).CombinedOutput()
		require.NoError(t, err, "%s: %s", path, text)
		built, err := os.ReadFile(out)
		require.NoError(t, err)
		if !bytes.Equal(built, committed) {
			t.Errorf("%s is not what wat2wasm makes of the text beside it", path)
		}
	})
	require.Positive(t, modules)
}
