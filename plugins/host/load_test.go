package host

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/hostile"
)

// refused is the error of a plugin that must not be loaded. Nothing of it may be left.
func refused(t testing.TB, spec Spec) string {
	t.Helper()
	g := New(Options{})
	defer g.Close()
	err := g.Load([]Spec{spec})
	require.Error(t, err)
	require.Nil(t, g.current.Load())
	var le *LoadError
	require.ErrorAs(t, err, &le)
	require.Equal(t, spec.Path, le.Path)
	require.Less(t, len(err.Error()), 4096, "it must fit into a line of a log")
	return err.Error()
}

// hurried is how long the start of a plugin may take that never ends it. Others fill all their memory in that time,
// on a busy machine and with the race detector, too.
var hurried = Limits{Init: 300 * time.Millisecond}

// TestModulesAreRefused loads all that must not be loaded.
func TestModulesAreRefused(t *testing.T) {
	for _, m := range hostile.Modules() {
		t.Run(m.About, func(t *testing.T) {
			spec := Spec{Name: "p", Path: file(t, m.Make()), Hooks: Authorize, Limits: hurried}
			if m.Config != "" {
				spec.Config = []byte(m.Config)
			}
			begun := time.Now()
			why := refused(t, spec)
			t.Logf("%.1f ms: %s", time.Since(begun).Seconds()*1000, why)
			require.Contains(t, why, m.Says)
		})
	}
}

// TestTheOthersAreLoaded is what the modules above are made from: without their fault they are plugins.
func TestTheOthersAreLoaded(t *testing.T) {
	for about, bin := range map[string][]byte{"steps": hostile.Good.Module(), "guest": hostile.Guest, "heavy": hostile.Heavy()} {
		begun := time.Now()
		g := loaded(t, Options{}, Spec{Name: "p", Path: file(t, bin), Hooks: Authorize, Limits: patient})
		t.Logf("%s: %.1f ms", about, time.Since(begun).Seconds()*1000)
		require.Equal(t, Allowed, put(g.Caller(), Authorize, hostile.Allows).Outcome)
	}
}

// TestAtTheLimitsOfAFile has files of exactly as many bytes as allowed, and one more.
func TestAtTheLimitsOfAFile(t *testing.T) {
	bin := hostile.Good.Module()
	spec := Spec{Name: "p", Path: file(t, bin), Hooks: Authorize, Limits: Limits{ModuleBytes: len(bin), Init: time.Hour}}
	loaded(t, Options{}, spec)
	spec.Limits.ModuleBytes--
	require.Contains(t, refused(t, spec), "larger than module_bytes allows")
}

// TestAtTheLimitOfAConfiguration has one that just fills the buffer, and one byte more.
func TestAtTheLimitOfAConfiguration(t *testing.T) {
	spec := Spec{Name: "p", Path: file(t, hostile.Good.Module()), Hooks: Authorize, Limits: patient}
	spec.Config = make([]byte, bufferBytes)
	loaded(t, Options{}, spec)
	spec.Config = append(spec.Config, ' ')
	require.Contains(t, refused(t, spec), "its configuration has 65537 bytes as JSON, and a plugin's buffer holds 65536")
}

// TestAtTheLimitOfMemory has a module that begins with as much as it may have, and with more.
func TestAtTheLimitOfMemory(t *testing.T) {
	spec := Spec{Name: "p", Path: file(t, hostile.Good.Module()), Hooks: Authorize, Limits: patient}
	spec.Limits.MemoryBytes = 3 * pageBytes // what it begins with
	loaded(t, Options{}, spec)
	spec.Limits.MemoryBytes = 2*pageBytes + 1 // rounded up
	loaded(t, Options{}, spec)
	spec.Limits.MemoryBytes = 2 * pageBytes
	require.Contains(t, refused(t, spec), "its memory begins with 196608 bytes, and memory_bytes allows 131072")
}

// TestWhatIsNoRegularFileIsRefused at once, and not when somebody writes to it.
func TestWhatIsNoRegularFileIsRefused(t *testing.T) {
	spec := Spec{Name: "p", Hooks: Authorize}
	for path, says := range map[string]string{
		t.TempDir():                             "it is no regular file",
		filepath.Join(t.TempDir(), "x", "nil"):  "cannot open it",
		file(t, nil) + "/plugin.wasm":           "cannot open it",
		file(t, hostile.Good.Module()) + "\x00": "cannot open it",
	} {
		spec.Path = path
		require.Contains(t, refused(t, spec), says, "%q", path)
	}
}

// TestAllFaultsAreToldAtOnce of all plugins, and none of them is used.
func TestAllFaultsAreToldAtOnce(t *testing.T) {
	good := Spec{Name: "good", Path: file(t, hostile.Good.Module()), Hooks: Authorize}
	empty := Spec{Name: "empty", Path: file(t, nil), Hooks: Authorize}
	gone := Spec{Name: "gone", Path: filepath.Join(t.TempDir(), "nil"), Hooks: Authorize}
	g := New(Options{})
	defer g.Close()
	err := g.Load([]Spec{empty, good, gone})
	require.ErrorContains(t, err, `plugin "empty"`)
	require.ErrorContains(t, err, `plugin "gone"`)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NotContains(t, err.Error(), "good")
	require.Nil(t, g.current.Load())
}

// TestRefusedImportsAreNamed all, with what is wrong with each.
func TestRefusedImportsAreNamed(t *testing.T) {
	for _, m := range hostile.Modules() {
		if m.About == "a thousand imports" {
			why := refused(t, Spec{Name: "p", Path: file(t, m.Make()), Hooks: Authorize})
			require.Contains(t, why, `"env.system", "env.system", `)
			require.Contains(t, why, ", and 980 more")
		}
	}
}
