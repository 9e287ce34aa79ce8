// Package testseed gives random tests their seed. Only tests import it.
package testseed

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// Env names the environment variable that repeats a run.
const Env = "LOCKTOPUS_SEED"

// New is a seed of its own for every run, or the one that Env holds. The test's log says how to get
// it back.
func New(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv(Env); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", Env, err)
		}
	}
	t.Logf("%s=%d repeats this run", Env, seed)
	return seed
}

// Rand is randomness from New.
func Rand(t testing.TB) *rand.Rand {
	t.Helper()
	return rand.New(rand.NewPCG(New(t), 0))
}
