package examples

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/plugins/internal/build"
	"github.com/locktopus-project/locktopus/v2/plugins/sdk/conformance"
)

func TestSmallestInGo(t *testing.T) {
	require.NoError(t, conformance.Smallest(t.Context(), build.Go(t, "smallest-go")))
}

func TestSmallestInWAT(t *testing.T) {
	wasm, err := os.ReadFile("smallest-wat/plugin.wasm")
	require.NoError(t, err)
	require.NoError(t, conformance.Smallest(t.Context(), wasm))
}
