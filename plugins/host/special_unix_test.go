//go:build unix

package host

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestAPipeInThePlaceOfAPluginIsRefused: opening one usually waits for somebody who writes to it.
func TestAPipeInThePlaceOfAPluginIsRefused(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, unix.Mkfifo(pipe, 0o600))
	require.Contains(t, refused(t, Spec{Name: "p", Path: pipe, Hooks: Authorize}), "it is no regular file")
	require.Contains(t, refused(t, Spec{Name: "p", Path: "/dev/zero", Hooks: Authorize}), "it is no regular file")
}

// TestDirectoriesThatOthersWriteToAreNotUsed: what lies there would be executed.
func TestDirectoriesThatOthersWriteToAreNotUsed(t *testing.T) {
	dir := t.TempDir()
	cached(t, dir)
	inner := filepath.Dir(kept(t, dir)[0])
	for _, open := range []string{dir, inner} {
		for _, bits := range []os.FileMode{0o720, 0o702} {
			require.NoError(t, os.Chmod(open, bits))
			require.Contains(t, cached(t, dir), "others may write to "+open)
			require.Len(t, kept(t, dir), 1, "nor is anything removed there")
			require.NoError(t, os.Chmod(open, 0o755))
			require.Empty(t, cached(t, dir)[:0])
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(dir, link))
	require.NoError(t, os.Chmod(dir, 0o777))
	require.Contains(t, cached(t, link), "others may write to "+dir, "through a link")
}
