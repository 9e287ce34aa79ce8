package main

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

func TestQuantilesAreAtMostABucketAboveTheTruth(t *testing.T) {
	r := testseed.Rand(t)
	var h histogram
	require.Zero(t, h.quantile(0.5))
	var all []time.Duration
	for range 10_000 {
		d := time.Duration(r.Uint64() >> (1 + r.IntN(63)))
		h.count(d)
		all = append(all, d)
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.001, 0.5, 0.99, 0.999, 1} {
		truth := all[max(0, int(q*float64(len(all))+0.9999)-1)]
		got := h.quantile(q)
		require.GreaterOrEqual(t, got, truth, "quantile %v", q)
		require.LessOrEqual(t, float64(got), float64(truth)*(1+1.0/32), "quantile %v", q)
	}
}

func TestBucketsMeet(t *testing.T) {
	for i := range len(histogram{}.counts) - 1 {
		most := bucketMost(i)
		if most >= 1<<63 {
			return
		}
		require.Equal(t, i, bucketOf(most))
		require.Equal(t, i+1, bucketOf(most+1))
	}
}

// serverFrame is a frame as the server sends it.
func serverFrame(head byte, payload string) []byte {
	if n := len(payload); n >= 126 {
		return append([]byte{head, 126, byte(n >> 8), byte(n)}, payload...)
	}
	return append([]byte{head, byte(len(payload))}, payload...)
}

func TestFramesAreToldApart(t *testing.T) {
	for text, want := range map[string]answer{
		`{"id":"1","action":"lock","state":"acquired"}`:   acquired,
		`{"id":"77","action":"lock","state":"enqueued"}`:  enqueued,
		`{"id":"123","action":"release","state":"ready"}`: ready,
	} {
		frame := serverFrame(frameText, text)
		for n := range frame {
			size, _, _, err := nextFrame(frame[:n])
			require.NoError(t, err)
			require.Zero(t, size, "%q isn't whole", frame[:n])
		}
		size, payload, a, err := nextFrame(append(frame, frame...))
		require.NoError(t, err)
		require.Equal(t, len(frame), size)
		require.Equal(t, text, string(payload))
		require.Equal(t, want, a)
	}
	_, payload, a, err := nextFrame(serverFrame(framePing, "hi"))
	require.NoError(t, err)
	require.Equal(t, ping, a)
	require.Equal(t, "hi", string(payload))
}

func TestOtherFramesAreErrors(t *testing.T) {
	for _, frame := range [][]byte{
		serverFrame(frameText, "communication error: lock is not allowed now"),
		serverFrame(frameText, "communication error: "+string(bytes.Repeat([]byte("x"), 200))),
		serverFrame(frameText, ""),
		serverFrame(frameText, `{"id":"1","action":"lock","state":"revoked"}`),
		serverFrame(frameClose, "\x03\xe9"),
		{frameText, 0x80},
		{frameText, 127, 0, 0, 0, 0, 0, 1, 0, 0},
	} {
		_, _, _, err := nextFrame(frame)
		require.ErrorIs(t, err, errAnswer, "%q", frame)
	}
}

// repeatWith is a repeat in which others used these shares of the cores.
func repeatWith(server, ceiling float64) repeat {
	return repeat{Server: slice{Others: server}, Ceiling: &slice{Others: ceiling}}
}

func TestDisturbedRepeatsAreDroppedAndCounted(t *testing.T) {
	good, bad := repeatWith(0.01, 0.01), repeatWith(0.01, 0.5)
	kept, dropped := quiet([]repeat{good, bad, good, good, bad})
	require.Len(t, kept, 3)
	require.Equal(t, 2, dropped)
	require.Equal(t, "2 disturbed repeats dropped", notes(kept, dropped))

	kept, dropped = quiet([]repeat{bad, bad, good, good})
	require.Len(t, kept, 4, "two are too few to say anything")
	require.Zero(t, dropped)
	require.Contains(t, notes(kept, dropped), "DISTURBED")
}

func TestAGeneratorThatBoundsTheRateIsNamed(t *testing.T) {
	r := repeatWith(0, 0)
	require.Empty(t, notes([]repeat{r}, 0))
	r.Server = slice{GeneratorBusy: 0.99, ServerCPU: 0.8}
	require.Contains(t, notes([]repeat{r}, 0), "the generator bounds the server's rate")
}
