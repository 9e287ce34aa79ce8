package host

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/hostile"
)

// kept are the files in a directory of compiled modules.
func kept(t testing.TB, dir string) (paths []string) {
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			paths = append(paths, path)
		}
		return err
	}))
	return paths
}

// cached loads a plugin that is compiled or found compiled, tries it, and returns what was logged.
func cached(t testing.TB, dir string) string {
	t.Helper()
	o, log := recorded(Options{CacheDir: dir})
	g := New(o)
	defer g.Close()
	require.NoError(t, g.Load([]Spec{{Name: "p", Path: file(t, hostile.Guest), Hooks: Authorize, Limits: patient}}))
	require.Equal(t, Allowed, put(g.Caller(), Authorize, hostile.Allows).Outcome)
	require.Equal(t, hostile.Failed, string(put(g.Caller(), Authorize, "A").Reason), "found compiled, it is metered as well")
	return log.text()
}

func TestCompiledModulesAreKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	cached(t, dir)
	first := kept(t, dir)
	require.Len(t, first, 1)
	before, err := os.Stat(first[0])
	require.NoError(t, err)
	cached(t, dir)
	require.Equal(t, first, kept(t, dir))
	after, err := os.Stat(first[0])
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after), "it was not compiled again")
}

// TestDamagedCompiledModulesCostTimeOnly: power failures leave half a file, full disks none.
func TestDamagedCompiledModulesCostTimeOnly(t *testing.T) {
	const warning = "compiled plugins cannot be kept"
	for about, damage := range map[string]func([]byte) []byte{
		"empty":         func([]byte) []byte { return nil },
		"cut":           func(b []byte) []byte { return b[:len(b)/2] },
		"another magic": func(b []byte) []byte { b[0] ^= 1; return b },
		"a bit of code": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"zeros":         func(b []byte) []byte { return make([]byte, len(b)) },
	} {
		t.Run(about, func(t *testing.T) {
			dir := t.TempDir()
			cached(t, dir)
			path := kept(t, dir)[0]
			bin, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, damage(bin), 0o600))
			require.Contains(t, cached(t, dir), warning)
			require.Empty(t, kept(t, dir), "what is damaged is gone")
			require.NotContains(t, cached(t, dir), warning, "and the next start keeps it again")
			require.Len(t, kept(t, dir), 1)
		})
	}
}

// TestNoDirectoryCostsTimeOnly has a file in its place.
func TestNoDirectoryCostsTimeOnly(t *testing.T) {
	require.Contains(t, cached(t, file(t, nil)), "compiled plugins cannot be kept")
}

// TestOldCompiledModulesGo when there are too many.
func TestOldCompiledModulesGo(t *testing.T) {
	dir := t.TempDir()
	for k := range cacheFiles + 10 {
		path := filepath.Join(dir, fmt.Sprint(k))
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		at := time.Unix(int64(1000+k), 0)
		require.NoError(t, os.Chtimes(path, at, at))
	}
	trimCache(dir, cacheFiles)
	require.Len(t, kept(t, dir), cacheFiles)
	require.NoFileExists(t, filepath.Join(dir, "9"))
	require.FileExists(t, filepath.Join(dir, "10"))
}
