package fuzz

import (
	"context"
	"fmt"
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
	ln, target := world.Unix(f)
	world.Serve(f, ln, server.Options{})
	played := 0
	f.Fuzz(func(t *testing.T, data []byte) {
		played++
		got, err := probe.Play(context.Background(), &target, fmt.Sprintf("round-%d", played), probe.ScriptOf(data), patience)
		if err != nil {
			t.Fatalf("%v\n%s", err, got.Transcript)
		}
	})
}

// TestTheServerIsSound is what people do with cmd/protocol to theirs.
func TestTheServerIsSound(t *testing.T) {
	ln, target := world.Unix(t)
	world.Serve(t, ln, server.Options{})
	rep, err := probe.Run(t.Context(), probe.Options{Target: target, Seed: testseed.New(t), Rounds: 50, Time: time.Hour, Patience: patience})
	require.NoError(t, err)
	for _, f := range rep.Findings {
		t.Errorf("round %d: %v\n%s", f.Round, f.Err, f.Text)
	}
	require.Equal(t, 50, rep.Rounds)
	require.Positive(t, rep.StormLocks)
}
