package report

import (
	"bytes"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

func compared(t *testing.T, old, new []*Row) string {
	var out bytes.Buffer
	Compare(&out, &Report{Rows: old}, &Report{Rows: new})
	t.Logf("\n%s", &out)
	return out.String()
}

func TestAChangeThatTheTestBelievesInIsShown(t *testing.T) {
	text := compared(t,
		[]*Row{rowOf("u", "64 connections", "locktopus", []float64{100, 101, 102, 103, 104})},
		[]*Row{rowOf("u", "64 connections", "locktopus", []float64{150, 151, 152, 153, 154})})
	require.Regexp(t, regexp.MustCompile(`64 connections, locktopus +102 ± \S+ +152 ± \S+ +\+49\.02% +\(p=0\.008 n=5\)`), text)
}

func TestNoiseIsNoChange(t *testing.T) {
	text := compared(t,
		[]*Row{rowOf("u", "64 connections", "locktopus", []float64{100, 150, 90, 120, 110})},
		[]*Row{rowOf("u", "64 connections", "locktopus", []float64{105, 149, 95, 121, 99})})
	require.Regexp(t, regexp.MustCompile(`110 ± \S+ +105 ± \S+ +~ +\(p=`), text)
}

func TestOnlyWhatBothHaveIsCompared(t *testing.T) {
	text := compared(t,
		[]*Row{rowOf("u", "64 connections", "locktopus", []float64{1, 2, 3})},
		[]*Row{rowOf("u", "65 connections", "locktopus", []float64{1, 2, 3}), rowOf("c", "64 connections", "locktopus", []float64{1})})
	require.NotContains(t, text, "connections")
}

func TestTooFewRepeatsAreWarnedAbout(t *testing.T) {
	rows := []*Row{rowOf("u", "64 connections", "locktopus", []float64{1, 2, 3})}
	require.Contains(t, compared(t, rows, rows), "need >= 4 samples")
}

func TestDisturbedRepeatsAreNotCompared(t *testing.T) {
	text := compared(t,
		[]*Row{rowOf("u", "64 connections", "locktopus", []float64{100, 101, 102, 103, 104, 1}, 0, 0, 0, 0, 0, 0.9)},
		[]*Row{rowOf("u", "64 connections", "locktopus", []float64{150, 151, 152, 153, 154})})
	require.Contains(t, text, "n=5")
	require.NotContains(t, text, "n=6")
}
