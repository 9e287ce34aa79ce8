package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/plugins/internal/build"
	"github.com/locktopus-project/locktopus/v2/plugins/sdk/conformance"
	locktopus "github.com/locktopus-project/locktopus/v2/plugins/sdk/go"
)

func TestGuestPasses(t *testing.T) {
	require.NoError(t, conformance.Run(t.Context(), build.Go(t, ".")))
}

// TestAnEmptyQuestionIsReported calls the hooks as they are, where there is no server.
func TestAnEmptyQuestionIsReported(t *testing.T) {
	require.Equal(t, locktopus.StatusAllow, initialize(0).Status())
	require.Equal(t, locktopus.StatusDeny, authorize(64).Status())
	require.Equal(t, locktopus.StatusDeny, authenticate(64).Status())
	require.Equal(t, locktopus.StatusRewritten, normalize(64).Status())
}
