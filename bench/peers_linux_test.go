//go:build peers

package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/bench/internal/report"
)

// TestPeersAreMeasuredBesideUs needs the packages of Debian that README.md names.
func TestPeersAreMeasuredBesideUs(t *testing.T) {
	opt := small(t)
	opt.loads, opt.conns, opt.slice, opt.stall = []string{peersLoad}, []int{4, 20}, 100*time.Millisecond, time.Minute
	r := loaded(t, opt)
	require.Empty(t, r.Remarks)
	for _, name := range append([]string{"locktopus"}, peerNames...) {
		for _, in := range []string{"4 connections, own paths", "20 connections, own paths", "4 connections, one path", "20 connections, 16 paths"} {
			load := peersLoad
			if name == "postgresql" {
				load = apartLoad
			}
			row := r.Find(load, in, name, report.Lib)
			require.NotNil(t, row, "%s, %s", name, in)
			require.Len(t, row.Slices, opt.repeats)
		}
	}
	for _, name := range []string{"locktopus", "echo", "redis"} {
		require.NotNil(t, r.Find(peersLoad, "4 connections, own paths", name, report.Raw), name)
	}
	for _, name := range []string{"redis", "etcd", "zookeeper", "postgresql"} {
		require.NotEmpty(t, r.Versions[name])
	}
}

func TestPlotsAreDrawn(t *testing.T) {
	opt := small(t)
	opt.loads, opt.out = []string{"depth"}, t.TempDir()
	require.NoError(t, run(t.Context(), opt, os.Stderr))
	require.FileExists(t, filepath.Join(opt.out, "depth.svg"))
	require.FileExists(t, filepath.Join(opt.out, "results.txt"))
}
