package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// nobody is the number of the user that owns nothing.
const nobody = 65534

// unprivileged is a run of the program by a user whom permissions bind: another one than root, which may write
// everywhere.
func unprivileged(t *testing.T, args ...string) *exec.Cmd {
	cmd := command(args...)
	if os.Getuid() != 0 {
		return cmd
	}
	// By its descriptor: the directory that it is in is closed to others.
	file, err := os.Open(program)
	require.NoError(t, err)
	t.Cleanup(func() { file.Close() })
	cmd.Path, cmd.ExtraFiles = "/proc/self/fd/3", []*os.File{file}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd
}

// openDir is a directory that others can get to.
func openDir(t *testing.T) string {
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		require.NoError(t, os.Chmod(d, 0o755))
	}
	return dir
}

// outcome is the exit code of a run that ends by itself, and all that it says.
func outcome(cmd *exec.Cmd) (code int, text string) {
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		return -1, err.Error()
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func TestOperatorReadsWhyAStateDirectoryCannotBeWritten(t *testing.T) {
	dir := filepath.Join(openDir(t), "state")
	require.NoError(t, os.Mkdir(dir, 0o555))
	config := filepath.Join(openDir(t), "config.toml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, "[state]\ndir = %q\n", dir), 0o644))

	code, text := outcome(unprivileged(t, "config", "check", config))
	require.Equal(t, 78, code, text)
	require.Equal(t, fmt.Sprintf("%s:2:1: state.dir: cannot use %s: nothing can be written in %s: permission denied\n", config, dir, dir), text)

	for _, below := range []string{"", "below"} {
		code, text = outcome(unprivileged(t, "serve", "-c", config, "--listen", "127.0.0.1:0", "--state-dir", filepath.Join(dir, below)))
		require.Equal(t, 1, code, text)
		require.Regexp(t, `level=ERROR msg="fence: state directory.*`+dir+`.*permission denied: the user that runs the server must be able to read and write there`, text)
	}

	require.NoError(t, os.Chmod(dir, 0o777))
	code, text = outcome(unprivileged(t, "config", "check", config))
	require.Equal(t, 0, code, text)
}
