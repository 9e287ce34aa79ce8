package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	locktopus "github.com/locktopus-project/locktopus/v2/plugins/sdk/go"
)

// TestAnEmptyQuestionIsDenied calls the hook as it is, where there is no server.
func TestAnEmptyQuestionIsDenied(t *testing.T) {
	require.Equal(t, locktopus.StatusDeny, authorize(64).Status())
}
