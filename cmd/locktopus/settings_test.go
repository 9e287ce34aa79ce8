package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/config"
	"github.com/locktopus-project/locktopus/v2/internal/session"
)

// TestAnswersHaveRoomInTheOutput behind what may wait there when the next request is read.
func TestAnswersHaveRoomInTheOutput(t *testing.T) {
	for _, c := range []struct{ output, pause, want int }{
		{1 << 20, 64 << 10, session.Defaults.AnswerBytes},
		{256 << 10, 64 << 10, 192<<10 - 1024},
		{256 << 10, 256 << 10, 128<<10 - 1024}, // who sets it so has it so
		{4096, 1024, 2048},
		{4096, 4096, 1024},
		{500_000_000, 1024, session.Defaults.AnswerBytes},
	} {
		require.Equal(t, c.want, answerBytes(&config.Limits{OutputBytes: c.output, PauseReadingBytes: c.pause}), "%+v", c)
	}
}
