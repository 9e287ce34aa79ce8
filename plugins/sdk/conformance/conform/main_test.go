package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConformTellsWhatIsWrong(t *testing.T) {
	require.ErrorContains(t, conform("nowhere.wasm"), "nowhere.wasm")
	require.ErrorContains(t, conform("../../../examples/smallest-wat/plugin.wasm"), "locktopus_normalize is not exported")
}
