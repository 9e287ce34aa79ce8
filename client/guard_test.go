package client

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAGuardLetsNothingStaleThrough(t *testing.T) {
	var g Guard
	require.NoError(t, g.Read(5))
	require.NoError(t, g.Write(5))
	require.NoError(t, g.Read(7))
	require.NoError(t, g.Read(6), "readers share")
	require.ErrorContains(t, g.Write(6), "token 6 is stale: 7 or more is needed")
	require.NoError(t, g.Write(8))
	require.ErrorContains(t, g.Read(7), "token 7 is stale: 8 or more is needed")
	var h Guard
	h.Restore(g.Marks())
	require.Error(t, h.Write(7))
	require.NoError(t, h.Write(8))
}
