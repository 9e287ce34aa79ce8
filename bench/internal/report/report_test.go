package report

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/stretchr/testify/require"
)

// rowOf is a row with these rates; others are the shares that somebody else had meanwhile.
func rowOf(load, in, candidate string, rates []float64, others ...float64) *Row {
	r := &Row{Load: load, Case: in, Candidate: candidate, Client: Raw}
	for i, v := range rates {
		var s Slice
		s.Set(Pairs, v)
		if i < len(others) {
			s.Others = others[i]
		}
		r.Slices = append(r.Slices, s)
	}
	return r
}

func TestDisturbedRepeatsAreDroppedAndCounted(t *testing.T) {
	r := rowOf("u", "x", "locktopus", []float64{10, 1, 12, 11, 2}, 0.01, 0.5, 0.01, 0.02, 0.3)
	s, ok := r.Spread(Pairs)
	require.True(t, ok)
	require.Equal(t, Spread{10, 11, 12}, s)
	require.Equal(t, "2 disturbed repeats dropped", notes(r))
}

func TestTooFewQuietRepeatsAreAllKeptAndMarked(t *testing.T) {
	r := rowOf("u", "x", "locktopus", []float64{10, 1, 12, 2}, 0.01, 0.5, 0.01, 0.3)
	s, _ := r.Spread(Pairs)
	require.Equal(t, Spread{1, 6, 12}, s)
	require.Equal(t, "DISTURBED by other processes", notes(r))
}

func TestRatiosAreTakenRepeatByRepeatWhereBothAreQuiet(t *testing.T) {
	a := rowOf("u", "x", "locktopus", []float64{10, 20, 30, 40}, 0, 0, 0, 0.5)
	b := rowOf("u", "x", "ceiling", []float64{20, 10, 30, 1, 7}, 0, 0, 0, 0)
	s, ok := ratio(a, b, Pairs)
	require.True(t, ok)
	require.Equal(t, Spread{0.5, 1, 2}, s)
	_, ok = ratio(a, rowOf("u", "x", "ceiling", []float64{0, 0, 0, 0}), Pairs)
	require.False(t, ok)
}

func TestAGeneratorThatBoundsTheRateIsNamed(t *testing.T) {
	r := rowOf("u", "x", "locktopus", []float64{1})
	require.Empty(t, notes(r))
	r.Slices[0].Set(GeneratorBusy, 99)
	r.Slices[0].Set(ServerBusy, 80)
	require.Equal(t, "bounded by the generator", notes(r))
	r.Slices[0].Set(ServerBusy, 99.5)
	require.Empty(t, notes(r))
}

func histogramOf(t *testing.T, values ...int64) *hdrhistogram.Histogram {
	h := hdrhistogram.New(1, 60e9, 3)
	for _, v := range values {
		require.NoError(t, h.RecordValue(v))
	}
	return h
}

func TestDurationsKeepTheirWholeDistribution(t *testing.T) {
	h := hdrhistogram.New(1, 60e9, 3)
	for i := range 1000 {
		require.NoError(t, h.RecordValue(int64(1000*(i+1))))
	}
	var s Slice
	require.NoError(t, s.SetDurations("lock", h))
	for m, want := range map[Metric]float64{"lock-p50 us": 500, "lock-p99 us": 990, "lock-p99.9 us": 999, "lock-max us": 1000} {
		require.InEpsilon(t, want, s.Values[m], 0.002, m)
	}
	back, err := decode(s.Histograms["lock"])
	require.NoError(t, err)
	require.True(t, h.Equals(back))

	var empty Slice
	require.NoError(t, empty.SetDurations("lock", histogramOf(t)))
	require.NoError(t, empty.SetEncoded("lock", ""))
	require.Empty(t, empty.Values)
	require.Error(t, empty.SetEncoded("lock", "nonsense"))
}

func TestTablesCompareWithTheReferenceOfTheCase(t *testing.T) {
	rows := []*Row{
		rowOf("u", "64 connections", "locktopus", []float64{30_000, 31_000, 32_000}),
		rowOf("u", "64 connections", "ceiling", []float64{40_000, 40_000, 40_000}),
		rowOf("u", "1000 connections", "ceiling", []float64{10, 10, 10}),
		rowOf("c", "64 connections", "locktopus", []float64{1, 1, 1}),
	}
	var out bytes.Buffer
	SheetOf("u").Write(&out, rows)
	text := out.String()
	require.Contains(t, text, "31.0 k (30.0 k-32.0 k)")
	require.Contains(t, text, "0.775 (0.750-0.800)")
	require.NotContains(t, text, "us/pair", "nobody measured it")
	require.Equal(t, 1, strings.Count(text, "0.775"))

	out.Reset()
	peer := rowOf("peers", "64 connections, own paths", "redis", []float64{10_000, 10_000, 10_000})
	ours := rowOf("peers", "64 connections, own paths", "locktopus", []float64{30_000, 30_000, 30_000})
	peer.Client, ours.Client = Lib, Lib
	SheetOf("peers").Write(&out, []*Row{ours, peer})
	require.Contains(t, out.String(), "3.00 (3.00-3.00)")
	require.Contains(t, out.String(), Lib)
}

func TestAReportIsWhatItWasAfterSaving(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results.json")
	r := &Report{Machine: Machine{CPU: "some"}, Command: "go run ./bench", Rows: []*Row{rowOf("u", "x", "locktopus", []float64{1, 2})}}
	require.NoError(t, r.Save(file))
	back, err := Load(file)
	require.NoError(t, err)
	require.Equal(t, r, back)
}

func TestWhatIsNoReportIsSaidToBeNone(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]string{
		`{`:                                   "is no report of bench",
		`{"schema": 99}`:                      "its schema is 99, this program's is 1",
		`{"schema": 1, "rows": [{}]}`:         "a row has no slices",
		`{"schema": 1, "rows": [null]}`:       "a row has no slices",
		`{"schema": 1, "rows": [{"x": "y"}]}`: "is no report of bench",
	} {
		file := filepath.Join(dir, "r.json")
		require.NoError(t, os.WriteFile(file, []byte(name), 0o600))
		_, err := Load(file)
		require.ErrorContains(t, err, want)
	}
	_, err := Load(filepath.Join(dir, "absent.json"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestEveryMetricHasAUnitAndEverySheetColumns(t *testing.T) {
	loads := map[string]bool{}
	for _, s := range Sheets {
		require.False(t, loads[s.Load])
		loads[s.Load] = true
		require.NotEmpty(t, s.Columns)
		require.NotEmpty(t, s.About)
		for _, m := range s.Columns {
			require.NotEmpty(t, m.unit(), m)
		}
	}
}
