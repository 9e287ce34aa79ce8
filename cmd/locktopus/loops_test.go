package main

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/locktopus-project/locktopus/v2/internal/config"
	"github.com/stretchr/testify/require"
)

// TestNoMoreEventLoopsThanCanServe: a machine may have more cores.
func TestNoMoreEventLoopsThanCanServe(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, c := range []struct{ cores, configured, want int }{
		{loopsMax + 50, 0, loopsMax},
		{loopsMax, 0, loopsMax},
		{3, 0, 3},
		{3, 5, 5},
		{3, loopsMax, loopsMax},
	} {
		runtime.GOMAXPROCS(c.cores)
		require.Equal(t, c.want, eventLoops(c.configured), c)
		require.Equal(t, c.want+1, runtime.GOMAXPROCS(0), c)
	}
}

func TestConfigurationTakesAsManyLoopsAsCanServe(t *testing.T) {
	load := func(loops int) error {
		_, err := config.Load(config.Input{Environ: []string{fmt.Sprintf("LOCKTOPUS_SERVER_LOOPS=%d", loops)}})
		return err
	}
	require.NoError(t, load(loopsMax))
	require.Error(t, load(loopsMax+1))
}
