package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/plugins/internal/build"
	"github.com/locktopus-project/locktopus/v2/plugins/sdk/conformance"
)

func TestGuestPasses(t *testing.T) {
	require.NoError(t, conformance.Run(t.Context(), build.Go(t, ".")))
}

// TestAnEmptyQuestionIsReported calls the hooks as they are, where there is no server.
func TestAnEmptyQuestionIsReported(t *testing.T) {
	const allow, deny, rewritten = 1, 2, 3
	require.EqualValues(t, allow, initialize(0)&0xff)
	require.EqualValues(t, deny, authorize(64)&0xff)
	require.EqualValues(t, deny, authenticate(64)&0xff)
	require.EqualValues(t, rewritten, normalize(64)&0xff)
}
