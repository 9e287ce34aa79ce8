package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	locktopus "github.com/locktopus-project/locktopus/v2/plugins/sdk/go"
)

func TestAPatternStandsForAllBelowIt(t *testing.T) {
	r := rule{all, []string{"bench", "*"}}
	for path, want := range map[string]bool{
		"bench\x00own\x00": true, "bench\x00own\x00000001\x00": true, "bench\x00": false, "": false, "other\x00own\x00": false,
	} {
		require.Equal(t, want, r.matches(locktopus.Path(path)), "%q", path)
	}
}

// TestAnEmptyQuestionIsDenied calls the hook as it is, where there is no server.
func TestAnEmptyQuestionIsDenied(t *testing.T) {
	require.Equal(t, locktopus.StatusDeny, authorize(64).Status())
}
