package report

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFiguresAreThoseThatTheRowsSufficeFor(t *testing.T) {
	require.Empty(t, (&Report{}).Figures())
	flat := func(name string, held float64) *Row {
		r := rowOf("flat", "64 connections", name, []float64{100, 110, 120})
		r.X = held
		return r
	}
	fs := (&Report{Rows: []*Row{flat("nothing else held", 0), flat("1 k held", 1000)}}).Figures()
	require.Len(t, fs, 1)
	require.Equal(t, "flat.svg", fs[0].File)
	require.Equal(t, []Series{{"64 connections", []Point{{1, 110, 100, 120}, {1000, 110, 100, 120}}}}, fs[0].Series, "0 stands at 1")
}

func TestSegmentsAndResourcesAreLinesOfTheirOwn(t *testing.T) {
	row := func(in string, x, cost float64) *Row {
		r := &Row{Load: "depth", Case: in, Candidate: "locktopus", X: x, Slices: make([]Slice, 1)}
		r.Slices[0].Set(PairCPU, cost)
		return r
	}
	fs := (&Report{Rows: []*Row{row("1 segments", 1, 10), row("100 segments", 100, 30), row("10 resources", 10, 20), row("100 resources", 100, 50)}}).Figures()
	require.Len(t, fs, 1)
	require.Equal(t, "segments", fs[0].Series[0].Name)
	require.Len(t, fs[0].Series[0].Points, 2)
	require.Equal(t, "resources", fs[0].Series[1].Name)
}

func TestLatencyOverRatesIsALineForEachQuantile(t *testing.T) {
	row := func(in string, x float64) *Row {
		r := &Row{Load: "rate", Case: in, Candidate: "locktopus", X: x, Slices: make([]Slice, 1)}
		require.NoError(t, r.Slices[0].SetDurations("lock", histogramOf(t, 1000, 2000)))
		return r
	}
	fs := (&Report{Rows: []*Row{
		row("64 connections, 50 % of 3.0 k", 50), row("1000 connections, 10 % of 3.0 k", 10), row("1000 connections, 50 % of 3.0 k", 50),
	}}).Figures()
	require.Len(t, fs, 1)
	var names []string
	for _, s := range fs[0].Series {
		names = append(names, s.Name)
		require.Len(t, s.Points, 2)
	}
	require.Equal(t, []string{"p50, 1000 connections", "p99, 1000 connections", "p99.9, 1000 connections"}, names, "a single point is no line")
}

func TestPeersAreBarsInGroups(t *testing.T) {
	lib := func(in, candidate string, rates ...float64) *Row {
		r := rowOf("peers", in, candidate, rates)
		r.Client = Lib
		return r
	}
	raw := rowOf("peers", "64 connections, own paths", "locktopus", []float64{9})
	handing := lib("64 connections, one path", "locktopus", 50)
	require.NoError(t, handing.Slices[0].SetDurations("hand-off", histogramOf(t, 1e6, 2e6, 3e6, 4e6)))
	fs := (&Report{Rows: []*Row{
		raw, lib("64 connections, own paths", "locktopus", 100), lib("64 connections, own paths", "redis", 0), handing,
		lib("64 connections, one path", "redis", 5),
	}}).Figures()
	require.Len(t, fs, 2)
	require.Equal(t, []string{"64 connections\nown paths", "64 connections\none path"}, fs[0].Groups)
	require.Equal(t, []Series{
		{"locktopus", []Point{{0, 100, 100, 100}, {1, 50, 50, 50}}},
		{"redis", []Point{{1, 5, 5, 5}}}, // nothing at all has no place on a logarithmic axis
	}, fs[0].Series)
	require.Equal(t, "hand-off-64-connections-one-path.svg", fs[1].File)
	require.Len(t, fs[1].Series, 1)
	points := fs[1].Series[0].Points
	require.InEpsilon(t, 1, points[0].Y, 0.01)
	require.InEpsilon(t, 3, points[len(points)-1].Y, 0.01)
	require.LessOrEqual(t, points[len(points)-1].X, 4.0, "no more than the values can tell")
}

func TestTheSummaryIsMarkdown(t *testing.T) {
	lib := func(in, candidate string, rates ...float64) *Row {
		r := rowOf("peers", in, candidate, rates)
		r.Client = Lib
		return r
	}
	var out bytes.Buffer
	(&Report{Rows: []*Row{
		lib("64 connections, own paths", "locktopus", 100, 200, 300), lib("64 connections, own paths", "redis", 50), lib("64 connections, one path", "redis", 5),
		rowOf("u", "64 connections", "locktopus", []float64{9, 9, 9}), rowOf("u", "64 connections", "ceiling", []float64{10, 10, 10}),
	}}).Summary(&out)
	require.Contains(t, out.String(), `
| pairs of lock and release a second | 64 connections, own paths | 64 connections, one path |
| --- | --- | --- |
| locktopus | 200 | - |
| redis | 50.0 | 5.00 |

| | | median (lowest-highest) |
| --- | --- | --- |
| rate, of the bare echo's | 64 connections | 0.900 (0.900-0.900) |
`)
}
