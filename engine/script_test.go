package engine_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/engine/enginetest"
)

var update = flag.Bool("update", false, "write the answers into the scripts")

// TestScripts plays testdata/scripts, whose indented lines are the expected answers.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/scripts/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			e := engine.New(engine.Limits{}, 0)
			got, err := enginetest.Play(e, string(text))
			require.NoError(t, err)
			e.Check()
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
			}
			require.True(t, *update || got == string(text), "got:\n%s", got)
		})
	}
}

// TestScriptsOfCallsAreCalls writes random calls as a script and plays it beside them.
func TestScriptsOfCallsAreCalls(t *testing.T) {
	for seed := uint64(1); seed <= 20; seed++ {
		calls := enginetest.Random(seed, 100)
		limits := engine.Limits{Resources: enginetest.TestLimits.Resources}
		a, b := engine.New(limits, 0), engine.New(limits, 0)
		p := enginetest.Player{Engine: a}
		for _, c := range calls {
			p.Do(c)
		}
		_, err := enginetest.Play(b, enginetest.Format(calls))
		require.NoError(t, err)
		sa, sb := a.Stats(), b.Stats()
		require.Equal(t, sa, sb, "seed %d", seed)
	}
}
