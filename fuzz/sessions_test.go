package fuzz

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/fuzz/internal/world"
	"github.com/locktopus-project/locktopus/v2/fuzz/probe"
	"github.com/locktopus-project/locktopus/v2/internal/server"
	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

// FuzzSessions plays scripts of several clients, well-behaved ones and others, against a real server: what
// each hears must be what the model says.
func FuzzSessions(f *testing.F) {
	fuzzSessions(f, func(target *probe.Target, space string, data []byte) (probe.Played, error) {
		return probe.Play(context.Background(), target, space, probe.ScriptOf(data), patience)
	})
}

// sessionBytes are enough for a dozen steps: more inputs find more than longer ones.
const sessionBytes = 150

// FuzzSessionsV2 does so with clients of version 2.
func FuzzSessionsV2(f *testing.F) {
	for n := range byte(8) {
		seed := make([]byte, sessionBytes)
		rng := rand.NewChaCha8([32]byte{n})
		rng.Read(seed)
		f.Add(seed)
	}
	fuzzSessions(f, func(target *probe.Target, space string, data []byte) (probe.Played, error) {
		target.URL.Path = "/v2"
		data = data[:min(len(data), sessionBytes)]
		return probe.PlayV2(context.Background(), target, space, probe.ScriptV2Of(data), patience)
	})
}

func fuzzSessions(f *testing.F, play func(*probe.Target, string, []byte) (probe.Played, error)) {
	ln, target := world.Unix(f)
	world.Serve(f, ln, server.Options{})
	played := 0
	f.Fuzz(func(t *testing.T, data []byte) {
		played++
		got, err := play(&target, fmt.Sprintf("round-%d", played), data)
		if err != nil {
			t.Fatalf("%v\n%s", err, got.Transcript)
		}
	})
}

// TestTheServerIsSound is what people do with cmd/protocol to theirs.
func TestTheServerIsSound(t *testing.T) {
	rep := soundRun(t, "/v1")
	require.Positive(t, rep.StormLocks)
}

func TestTheServerIsSoundForVersion2(t *testing.T) { soundRun(t, "/v2") }

func soundRun(t *testing.T, path string) probe.Report {
	ln, target := world.Unix(t)
	target.URL.Path = path
	world.Serve(t, ln, server.Options{})
	rep, err := probe.Run(t.Context(), probe.Options{Target: target, Seed: testseed.New(t), Rounds: 50, Time: time.Hour, Patience: patience})
	require.NoError(t, err)
	for _, f := range rep.Findings {
		t.Errorf("round %d: %v\n%s", f.Round, f.Err, f.Text)
	}
	require.Equal(t, 50, rep.Rounds)
	return rep
}
