package main

import (
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAWatchThatIsStoppedLeavesNoSession: otherwise the server would keep it until its time is over.
func TestAWatchThatIsStoppedLeavesNoSession(t *testing.T) {
	heedHangups(t)
	s, address := newServer(t)
	for signal, code := range map[os.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143, syscall.SIGHUP: 129} {
		cmd, lines, stderr := startWatch(t, address+"?namespace=n")
		_, err := lines.ReadString('\n') // the heading: it has a session
		require.NoError(t, err)
		require.NoError(t, cmd.Process.Signal(signal))
		_, err = io.ReadAll(lines)
		require.NoError(t, err)
		_ = cmd.Wait()
		require.Equal(t, code, shellCode(cmd), "%s", stderr)
		require.Empty(t, stderr.String())
		sessions, _, _ := s.AdminSessions("n", "", 10) // or nobody uses the namespace any more
		require.Empty(t, sessions)
	}
}

// TestAWatchThatIsStoppedEndsThoughNobodyReads what it shows: a pager that stands still, for example.
func TestAWatchThatIsStoppedEndsThoughNobodyReads(t *testing.T) {
	s, address := newServer(t)
	out, in, err := os.Pipe()
	require.NoError(t, err)
	defer out.Close()
	fill(t, in)
	cmd := exec.Command("locktopus", "watch", "--url", address+"?namespace=n", "")
	cmd.Stdout = in
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	eventually(t, "it has a session", func() bool {
		sessions, _, err := s.AdminSessions("n", "", 10)
		return err == nil && len(sessions) == 1
	})
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	_ = cmd.Wait()
	require.Equal(t, 143, cmd.ProcessState.ExitCode())
	require.NoError(t, in.Close())
}

// TestAWatchThatNobodyReadsEnds, with its session, also when nothing changes any more: grep -m1 goes when it has seen
// what it waits for.
func TestAWatchThatNobodyReadsEnds(t *testing.T) {
	s, address := newServer(t)
	out, in, err := os.Pipe()
	require.NoError(t, err)
	cmd := exec.Command("locktopus", "watch", "--url", address+"?namespace=n", "")
	cmd.Stdout = in
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	require.NoError(t, in.Close())
	_, err = out.Read(make([]byte, 1)) // of the heading: it has a session
	require.NoError(t, err)
	require.NoError(t, out.Close())
	_ = cmd.Wait()
	require.Equal(t, exitNobodyReads, cmd.ProcessState.ExitCode())
	sessions, _, _ := s.AdminSessions("n", "", 10) // or nobody uses the namespace any more
	require.Empty(t, sessions)
}

// TestWhatNobodyReadsIsNoFault of who writes it, unlike a disk that is full.
func TestWhatNobodyReadsIsNoFault(t *testing.T) {
	out, in, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, out.Close())
	require.Equal(t, errNobodyReads, newLines(in, false).write("text"))
	require.NoError(t, in.Close())
	require.ErrorIs(t, newLines(in, false).write("text"), errOutput)
}
