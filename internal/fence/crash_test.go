package fence

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

const (
	simDir   = "/var/lib/locktopus"
	simBlock = 8
)

// life opens the fence on d, hands out ids one by one until so many are out or the fence is dead,
// and returns the highest. Each id must be above all that were handed out in earlier lives.
func life(t *testing.T, d *simDisk, used uint64, ids int) uint64 {
	f, err := open(simDir, simBlock, nil, d)
	if err != nil {
		requireHarmless(t, err)
		return used
	}
	defer func() { require.NoError(t, f.Close()) }()
	require.GreaterOrEqual(t, f.Start(), used, "an id would repeat")
	used = f.Start()
	for n := 0; n < ids; {
		synctest.Wait() // the background has done what it can
		if f.Allows(used + 1) {
			used++
			n++
			continue
		}
		synctest.Wait()
		if f.Allows(used + 1) {
			continue
		}
		if f.Err() == nil || d.isDead() {
			return used
		}
		<-time.After(retryMost) // synctest's clock: at once
	}
	return used
}

func (d *simDisk) isDead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead
}

// requireHarmless asserts that an Open failed for the fault and not because the mark is damaged: no
// crash may lead to that.
func requireHarmless(t *testing.T, err error) {
	t.Helper()
	require.True(t, errors.Is(err, errFault) || errors.Is(err, errCrashed), "Open: %v", err)
}

// TestIdsNeverRepeatWhateverStepFails fails or crashes at every single step of a life in turn, in
// every way, with and without a power cut, and lives on after it.
func TestIdsNeverRepeatWhateverStepFails(t *testing.T) {
	const ids = 3 * simBlock
	steps := countSteps(t, ids)
	require.Greater(t, steps, 20)
	for step := range steps {
		for what := failsBefore; what < outcomes; what++ {
			for chance := range uint64(8) { // 0: no power cut; else what a power cut leaves
				t.Run(fmt.Sprintf("step=%d/outcome=%d/chance=%d", step, what, chance), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { failAt(t, step, what, chance, ids) })
				})
			}
		}
	}
}

func failAt(t *testing.T, step int, what outcome, chance uint64, ids int) {
	rng := rand.New(rand.NewPCG(chance, uint64(step)))
	d := newSimDisk()
	d.fault = func(n int, _ string) outcome {
		if n == step {
			return what
		}
		return works
	}
	used := life(t, d, 0, ids)
	for range 2 {
		d = d.reboot(chance > 0, rng)
		last := used
		used = life(t, d, used, ids)
		require.GreaterOrEqual(t, used, last+uint64(ids), "it doesn't go on")
	}
}

func countSteps(t *testing.T, ids int) (steps int) {
	synctest.Test(t, func(t *testing.T) {
		d := newSimDisk()
		require.Equal(t, uint64(ids), life(t, d, 0, ids))
		steps = d.steps
	})
	return steps
}

// TestIdsNeverRepeatWhateverFailsAtRandom goes through many lives on one disk with several faults each.
func TestIdsNeverRepeatWhateverFailsAtRandom(t *testing.T) {
	rng := testseed.Rand(t)
	synctest.Test(t, func(t *testing.T) {
		d, used := newSimDisk(), uint64(0)
		for range 2000 {
			rate := 3 + rng.IntN(40)
			d.fault = func(int, string) outcome {
				if rng.IntN(rate) == 0 {
					return outcome(rng.IntN(int(outcomes)))
				}
				return works
			}
			used = life(t, d, used, rng.IntN(5*simBlock))
			d = d.reboot(rng.IntN(2) == 0, rng)
		}
		require.Greater(t, used, uint64(2000), "too few ids to mean anything")
	})
}
