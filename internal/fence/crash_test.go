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

// promises are what a process must find kept by those before it.
type promises struct {
	used    uint64        // ids up to this one were handed out
	covered time.Duration // sessions may live for that long
	special time.Duration // in the namespace "special", if that is longer
}

// life opens the fence on d, hands out ids one by one until so many are out or the fence is dead, and has longer
// sessions covered meanwhile, and now and then fewer again. Each id must be above all that were handed out in earlier lives, and what
// was covered must be owed. A life that ends well settles for less.
func life(t *testing.T, d *simDisk, p promises, ids int) promises {
	f, err := open(simDir, simBlock, nil, d)
	if err != nil {
		requireHarmless(t, err)
		return p
	}
	defer func() {
		if err := f.Close(); err != nil {
			requireHarmless(t, err)
		}
	}()
	require.GreaterOrEqual(t, f.Start(), p.used, "an id would repeat")
	debt := f.Debt()
	require.GreaterOrEqual(t, debt.Others, p.covered, "clients would be waited for too shortly")
	require.GreaterOrEqual(t, debt.Of("special"), p.special, "clients would be waited for too shortly")
	p = promises{f.Start(), debt.Others, debt.Of("special")}
	for n := 0; n < ids; {
		synctest.Wait() // the background has done what it can
		longer := p.covered + time.Second
		f.Cover(longer)
		synctest.Wait()
		if f.Covers(longer) {
			p.covered = longer
		}
		if n%4 == 3 {
			p.covered -= 2 * time.Second // those sessions are over
			f.Relax(func() time.Duration { return p.covered })
			synctest.Wait()
		}
		if f.Allows(p.used + 1) {
			p.used++
			n++
			continue
		}
		synctest.Wait()
		if f.Allows(p.used + 1) {
			continue
		}
		if f.Err() == nil || d.isDead() {
			return p
		}
		<-time.After(retryMost) // synctest's clock: at once
		debt = f.Debt()
		p.special = debt.Of("special")
	}
	if !d.isDead() {
		p.covered, p.special = p.covered/2, max(p.special, p.covered)
		f.Settle(Debt{Others: p.covered, Named: map[string]time.Duration{"special": p.special}})
	}
	return p
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

// TestIdsNeverRepeatWhateverStepFails, nor is what was covered forgotten: it fails or crashes at every single step of a life in turn, in
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
	p := life(t, d, promises{}, ids)
	for range 2 {
		d = d.reboot(chance > 0, rng)
		last := p
		p = life(t, d, p, ids)
		require.GreaterOrEqual(t, p.used, last.used+uint64(ids), "it doesn't go on")
	}
}

func countSteps(t *testing.T, ids int) (steps int) {
	synctest.Test(t, func(t *testing.T) {
		d := newSimDisk()
		require.Equal(t, promises{uint64(ids), time.Duration(ids) * time.Second / 4, time.Duration(ids) * time.Second / 2}, life(t, d, promises{}, ids))
		steps = d.steps
	})
	return steps
}

// TestIdsNeverRepeatWhateverFailsAtRandom goes through many lives on one disk with several faults each.
func TestIdsNeverRepeatWhateverFailsAtRandom(t *testing.T) {
	rng := testseed.Rand(t)
	synctest.Test(t, func(t *testing.T) {
		d, p := newSimDisk(), promises{}
		for range 2000 {
			rate := 3 + rng.IntN(40)
			d.fault = func(int, string) outcome {
				if rng.IntN(rate) == 0 {
					return outcome(rng.IntN(int(outcomes)))
				}
				return works
			}
			p = life(t, d, p, rng.IntN(5*simBlock))
			d = d.reboot(rng.IntN(2) == 0, rng)
		}
		require.Greater(t, p.used, uint64(2000), "too few ids to mean anything")
	})
}
