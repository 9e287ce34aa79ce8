//go:build toolchains

package examples

import (
	"testing"

	"github.com/locktopus-project/locktopus/v2/plugins/internal/build"
)

// TestSmallestOnesCompileWithoutWarnings asks the compilers that have warnings for more of them than the
// READMEs do.
func TestSmallestOnesCompileWithoutWarnings(t *testing.T) {
	build.C(t, "smallest-c/plugin.c", "-Wpedantic", "-Wconversion", "-Wundef")
	build.Rust(t, "smallest-rust/plugin.rs")
}
