package host

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/hostile"
)

// usage is what the process has of the system's.
type usage struct {
	resident    int // bytes
	mappings    int
	descriptors int
	goroutines  int
}

func used(t testing.TB) (u usage) {
	t.Helper()
	runtime.GC()
	runtime.GC() // finalizers of the first are done when the second has ended
	statm, err := os.ReadFile("/proc/self/statm")
	require.NoError(t, err)
	_, err = fmt.Sscan(strings.Fields(string(statm))[1], &u.resident)
	require.NoError(t, err)
	u.resident *= os.Getpagesize()
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	u.mappings = bytes.Count(maps, []byte("\n"))
	files, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	u.descriptors, u.goroutines = len(files), runtime.NumGoroutine()
	return u
}

// requireNoLeak does something often, and then again: the second time nothing more is used than the first.
func requireNoLeak(t *testing.T, times int, do func(k int)) {
	t.Helper()
	for k := range times {
		do(k)
	}
	before := used(t)
	for k := range times {
		do(times + k)
	}
	after := used(t)
	t.Logf("%+v, then %+v", before, after)
	require.Less(t, after.resident, before.resident+16<<20)
	require.Less(t, after.mappings, before.mappings+times/4+10)
	require.LessOrEqual(t, after.descriptors, before.descriptors+2)
	require.LessOrEqual(t, after.goroutines, before.goroutines+2)
}

// TestReloadsLeaveNothing replaces a plugin some hundred times, and again with compiled modules kept.
func TestReloadsLeaveNothing(t *testing.T) {
	for dir, times := range map[string]int{"": 200, t.TempDir(): 40} {
		spec := mean(t, Authorize, patient)
		g := loaded(t, Options{Instances: 2, CacheDir: dir}, spec)
		requireNoLeak(t, times, func(k int) {
			require.NoError(t, os.WriteFile(spec.Path, another(hostile.Guest, k), 0o600))
			require.NoError(t, g.Load([]Spec{spec}))
			require.Equal(t, Allowed, put(g.Caller(), Authorize, hostile.Allows).Outcome)
			g.retiring.Wait()
		})
	}
}

// TestFailedStartsLeaveNothing, whatever the guest has done to its memory, and wherever it ended.
func TestFailedStartsLeaveNothing(t *testing.T) {
	for _, step := range []byte("siabc") {
		r := hostile.Good
		r.Step, r.How = step, 'm' // 16 MiB of memory, all of it written to
		spec := Spec{Name: "p", Path: file(t, r.Module()), Hooks: Authorize, Limits: patient}
		g := New(Options{})
		requireNoLeak(t, 10, func(int) {
			require.ErrorContains(t, g.Load([]Spec{spec}), "unreachable")
			g.retiring.Wait()
		})
		g.Close()
	}
}

// TestDiscardedInstancesLeaveNothing: each had grown to all the memory that it may have.
func TestDiscardedInstancesLeaveNothing(t *testing.T) {
	g := unmended(loaded(t, Options{}, mean(t, Authorize, impatient)))
	for _, namespace := range []string{"F", "t", "A", "T"} {
		requireNoLeak(t, 25, func(int) {
			require.Equal(t, Failed, put(g.Caller(), Authorize, namespace).Outcome)
			renew(t, g)
		})
	}
}
