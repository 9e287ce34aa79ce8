package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const figures = `[
 {"file":"bars.svg","title":"Bars","x":{"label":""},"y":{"label":"pairs","log":true},"groups":["64 connections, own path","64 connections, one path"],
  "series":[{"name":"ours","points":[{"x":0,"y":400,"low":300,"high":500},{"x":1,"y":90,"low":80,"high":95}]},{"name":"theirs","points":[{"x":1,"y":3,"low":3,"high":3}]}]},
 {"file":"../lines.svg","title":"Lines","x":{"label":"held","log":true,"ticks":[{"at":1,"name":"none"}]},"y":{"label":"us","log":true},
  "series":[{"name":"ours","points":[{"x":1,"y":1,"low":0.5,"high":2},{"x":1000,"y":3,"low":2,"high":4}]}]},
 {"file":"plain.svg","title":"Plain","x":{"label":"s"},"y":{"label":"MiB"},"series":[{"name":"ours","points":[{"x":0,"y":1,"low":1,"high":1},{"x":1,"y":2,"low":2,"high":2}]}]}
]`

func TestFiguresAreDrawn(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, run(strings.NewReader(figures), dir))
	for name, words := range map[string][]string{
		"bars.svg":  {"Bars", "ours", "theirs", "one path", "sans-serif"},
		"lines.svg": {"Lines", "none", "held"}, // a figure's file is in the directory, whatever it is called
		"plain.svg": {"Plain", "MiB"},
	} {
		svg, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Contains(t, string(svg), "<svg")
		for _, w := range words {
			require.Contains(t, string(svg), w)
		}
	}
}

func TestWhatIsNoFigureIsAnError(t *testing.T) {
	for _, text := range []string{`{`, `[{"file":"a.svg"}]`, `[{"file":"a.svg","series":[{"name":"empty"}]}]`} {
		require.Error(t, run(strings.NewReader(text), t.TempDir()), text)
	}
}
